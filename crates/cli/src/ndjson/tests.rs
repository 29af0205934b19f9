//! Lines in, lines out, and that nothing changes on the way.

use super::*;
use crate::foreign;
use icecore_client::{Position, Revision};
use proptest::prelude::*;

const ID: Uuid = Uuid::from_u128(7);

#[test]
fn only_what_imports_make_is_their_progress() {
    let digits = "0123456789abcdef0123456789abcdef";
    for (name, expected) in [
        (format!("$import-{digits}"), true),
        (format!("$import-{digits}-2"), true),
        (format!("$$$import-{digits}-12"), true),
        (format!("$import-{digits}-1"), false),
        (format!("$import-{digits}-02"), false),
        (format!("$import-{digits}-x"), false),
        (format!("$import-{digits}0"), false),
        (format!("$import-{}", digits.to_uppercase()), false),
        (format!("import-{digits}"), false),
        ("$import-foo".to_owned(), false),
        ("$$$import-foo".to_owned(), false),
    ] {
        assert_eq!(is_import_progress(&name), expected, "{name}");
    }
}

fn import(line: &str) -> Result<ImportLine, LineError> {
    import_line(line.as_bytes(), || ID)
}

fn error(line: &str) -> String {
    import(line).unwrap_err().to_string()
}

fn recorded(line: ImportLine) -> RecordedEvent {
    RecordedEvent {
        stream: line.stream,
        revision: Revision::new(3),
        position: Position::new(12),
        id: line.event.id,
        event_type: line.event.event_type,
        content_type: line.event.content_type,
        data: line.event.data,
        metadata: line.event.metadata,
        tags: line.event.tags,
        recorded_at: line.time.unwrap_or(Timestamp::from_nanos(0)),
        created_at: line.created_at,
        erased: false,
    }
}

fn exported(event: &RecordedEvent) -> String {
    let mut line = Vec::new();
    write_export(&mut line, event).unwrap();
    String::from_utf8(line).unwrap()
}

fn shown(event: &RecordedEvent) -> String {
    let mut line = Vec::new();
    write_event(&mut line, event).unwrap();
    String::from_utf8(line).unwrap()
}

#[test]
fn a_line_keeps_its_json_as_it_is_written() {
    let line = import(
        r#"{"stream":"order-1","type":"T","data":{"n": 1.50, "b":[1 ,2]},"metadata":"\u00e9","tags":["a:1"]}"#,
    )
    .unwrap();
    assert_eq!(line.event.data, r#"{"n": 1.50, "b":[1 ,2]}"#);
    assert_eq!(line.event.metadata, r#""\u00e9""#);
    assert_eq!(line.event.tags[0].as_str(), "a:1");
    assert_eq!((line.event.id, line.time), (ID, None));
}

#[test]
fn null_is_data_and_nothing_is_no_data() {
    let line = import(r#"{"stream":"a","type":"T","data":null}"#).unwrap();
    assert_eq!(line.event.data, "null");
    let line = import(r#"{"stream":"a","type":"T"}"#).unwrap();
    assert_eq!(line.event.data, "");
}

#[test]
fn base64_is_bytes_unless_the_line_says_otherwise() {
    let line = import(r#"{"stream":"a","type":"T","data_base64":"AAE="}"#).unwrap();
    assert_eq!(line.event.data.as_ref(), [0, 1]);
    assert_eq!(line.event.content_type, ContentType::OCTET_STREAM);
    let line = r#"{"stream":"a","type":"T","data_base64":"AAE=","content_type":"image/png"}"#;
    assert_eq!(
        import(line).unwrap().event.content_type.as_str(),
        "image/png"
    );
}

#[test]
fn a_bad_line_says_what_is_wrong() {
    let cases = [
        ("{", "EOF while parsing an object (column 1)"),
        ("[]", "it is no JSON object"),
        (r#"{"type":"T"}"#, "`stream` is missing"),
        (r#"{"stream":"","type":"T"}"#, "`stream`: is empty"),
        (
            r#"{"stream":"$import-0123456789abcdef0123456789abcdef","type":"T"}"#,
            "progress of imports",
        ),
        (
            r#"{"stream":"$$$import-0123456789abcdef0123456789abcdef-2","type":"T"}"#,
            "progress of imports",
        ),
        (r#"{"stream":"a"}"#, "`type` is missing"),
        (
            r#"{"stream":"a","typ":"T"}"#,
            "unknown field `typ`, expected one of `stream`, `type`",
        ),
        (
            r#"{"stream":"a","type":"T","time":"soon"}"#,
            "`time`: `soon` is no RFC 3339 time",
        ),
        (
            r#"{"stream":"a","type":"T","tags":["x"]}"#,
            "`tag`: `x` is not of the form key:value",
        ),
        (
            r#"{"stream":"a","type":"T","id":"7"}"#,
            "`id`: `7` is no UUID",
        ),
        (
            r#"{"stream":"a","type":"T","data":1,"data_base64":""}"#,
            "are both given",
        ),
        (
            r#"{"stream":"a","type":"T","data_base64":"?"}"#,
            "`data_base64`: Invalid",
        ),
        (
            r#"{"stream":"a","type":"T","created_at":"2012-01-31T00:00:00Z"}"#,
            "`created_at` needs a `time`",
        ),
    ];
    for (line, expected) in cases {
        let error = error(line);
        assert!(error.contains(expected), "{line} gave: {error}");
    }
}

#[test]
fn appends_take_no_stream_and_no_time() {
    let refused = append_line(br#"{"stream":"a","type":"T","data":1}"#, || ID).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("`stream` cannot be set by an append")
    );
    let event = append_line(
        br#"{"type":"T","data":1,"content_type":"text/plain"}"#,
        || ID,
    )
    .unwrap();
    assert_eq!(
        (event.data.as_ref(), event.content_type.as_str()),
        (&b"1"[..], "text/plain")
    );
}

#[test]
fn an_exported_line_carries_what_an_import_needs_and_no_more() {
    let line = r#"{"stream":"a-1","type":"T","time":"2012-01-31T01:00:00+01:00","data":{"x": 1},"tags":["k:v"]}"#;
    let event = recorded(import(line).unwrap());
    assert_eq!(
        exported(&event),
        concat!(
            r#"{"stream":"a-1","type":"T","time":"2012-01-31T00:00:00Z","data":{"x": 1},"tags":["k:v"],"#,
            r#""id":"00000000-0000-0000-0000-000000000007"}"#,
            "\n"
        )
    );
}

#[test]
fn a_shown_line_carries_everything() {
    let line = r#"{"stream":"a-1","type":"T","time":"2012-01-31T00:00:00Z","data":{"x":1},"metadata_base64":"/w=="}"#;
    let event = recorded(import(line).unwrap());
    assert_eq!(
        shown(&event),
        concat!(
            r#"{"stream":"a-1","revision":3,"position":12,"id":"00000000-0000-0000-0000-000000000007","#,
            r#""type":"T","time":"2012-01-31T00:00:00Z","content_type":"application/json","#,
            r#""data":{"x":1},"metadata_base64":"/w==","tags":[]}"#,
            "\n"
        )
    );
}

#[test]
fn json_over_several_lines_is_shown_in_one_and_exported_as_it_is() {
    let mut event = recorded(import(r#"{"stream":"a","type":"T"}"#).unwrap());
    event.data = "{\n  \"a b\": \"c \\\" \\\\\", \n\t\"d\": [1, 2]\r\n}\n".into();
    assert!(shown(&event).contains(r#""data":{"a b":"c \" \\","d":[1,2]}"#));
    assert!(exported(&event).contains(r#""data_base64":""#));
    assert_eq!(
        recorded(import(exported(&event).trim_end()).unwrap()).data,
        event.data
    );
}

#[test]
fn data_that_is_not_what_it_says_is_base64() {
    let mut event = recorded(import(r#"{"stream":"a","type":"T"}"#).unwrap());
    event.data = "{broken".into();
    assert!(
        shown(&event).contains(r#""content_type":"application/json","data_base64":"e2Jyb2tlbg==""#)
    );
    event.data = "12".into();
    event.content_type = ContentType::OCTET_STREAM;
    assert!(shown(&event).contains(r#""data_base64":"MTI=""#));
    event.content_type = ContentType::new("application/cloudevents+json; charset=utf-8").unwrap();
    assert!(shown(&event).contains(r#""data":12"#));
}

fn payloads() -> impl Strategy<Value = Bytes> {
    let json = prop_oneof![
        Just(String::new()),
        Just(" {}".to_owned()),
        Just("{\"a\":\r1}".to_owned()),
        Just(r#""\ud800""#.to_owned()),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        any::<f64>().prop_map(|number| format!("[{number:?} , null]")),
    ];
    prop_oneof![
        json.prop_map(Bytes::from),
        any::<Vec<u8>>().prop_map(Bytes::from)
    ]
}

/// Whatever a line holds: what is imported is exported as a line that says the same.
fn import_and_export(line: &[u8]) {
    drop(append_line(line, || ID));
    let Ok(read) = import_line(line, || ID) else {
        return;
    };
    let event = recorded(read);
    let again = import_line(exported(&event).trim_end().as_bytes(), || ID);
    assert_eq!(again.map(recorded), Ok(event));
}

#[test]
fn lines_of_the_corpus_are_imported_or_refused() {
    for line in foreign::corpus("ndjson") {
        import_and_export(&line);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn damaged_lines_are_imported_or_refused(line in foreign::damaged("ndjson")) {
        import_and_export(&line);
    }

    #[test]
    fn any_bytes_are_imported_or_refused(bytes: Vec<u8>) {
        import_and_export(&bytes);
    }
}

proptest! {
    #[test]
    fn an_exported_event_is_imported_as_the_same_event(
        data in payloads(),
        metadata in payloads(),
        content_type in prop_oneof![
            Just("application/json"), Just("application/octet-stream"), Just("a/b+json"),
        ],
        nanos in any::<i64>(),
        tag in "[^:\\p{C}]{1,20}:[^\\p{C}]{1,20}",
        stream in "[a-zé\"\\\\{]{1,20}",
    ) {
        let event = RecordedEvent {
            data,
            metadata,
            content_type: ContentType::new(content_type).unwrap(),
            tags: vec![Tag::new(tag).unwrap()],
            stream: StreamName::new(stream).unwrap(),
            recorded_at: Timestamp::from_nanos(nanos),
            created_at: nanos.checked_sub(1).map(Timestamp::from_nanos),
            ..recorded(import(r#"{"stream":"a","type":"T"}"#).unwrap())
        };
        let line = exported(&event);
        prop_assert_eq!(line.matches('\n').count(), 1);
        let again = recorded(import_line(line.trim_end().as_bytes(), || ID).unwrap());
        prop_assert_eq!(&again, &event);
        let shown = shown(&again);
        prop_assert_eq!(shown.matches('\n').count(), 1);
        prop_assert!(is_json(shown.as_bytes()));
    }
}
