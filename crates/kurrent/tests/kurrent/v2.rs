//! Appends to several streams: sessions, records with checks, and the details of what was refused.

use crate::support::*;
use futures::stream;
use icecore_core::limits::EVENT_BYTES_MAX;
use icecore_kurrent::proto::google::rpc;
use icecore_kurrent::proto::kurrentdb::protocol::v2::streams::consistency_check::{
    StreamStateCheck, Type,
};
use icecore_kurrent::proto::kurrentdb::protocol::v2::streams::errors::consistency_violation::{
    StreamStateViolation, Type as ViolationType,
};
use icecore_kurrent::proto::kurrentdb::protocol::v2::streams::errors::{
    AppendConsistencyViolationErrorDetails, AppendRecordSizeExceededErrorDetails,
    ConsistencyViolation, StreamAlreadyInAppendSessionErrorDetails,
    StreamRevisionConflictErrorDetails, StreamTombstonedErrorDetails,
};
use icecore_kurrent::proto::kurrentdb::protocol::v2::streams::streams_service_client::StreamsServiceClient;
use icecore_kurrent::proto::kurrentdb::protocol::v2::streams::{
    AppendRecord, AppendRecordsRequest, AppendRecordsResponse, AppendRequest,
    AppendSessionResponse, ConsistencyCheck, SchemaFormat, SchemaInfo,
};
use prost::{Message, Name};
use tonic::{Code, Status};
use uuid::Uuid;

fn record(id: u128) -> AppendRecord {
    AppendRecord {
        record_id: Some(Uuid::from_u128(id).to_string()),
        properties: std::collections::HashMap::new(),
        schema: Some(SchemaInfo {
            format: SchemaFormat::Json.into(),
            name: "T".to_owned(),
            id: None,
        }),
        data: "{}".into(),
        stream: String::new(),
    }
}

fn record_of(stream: &str, id: u128) -> AppendRecord {
    AppendRecord {
        stream: stream.to_owned(),
        ..record(id)
    }
}

fn request(stream: &str, expected: Option<i64>, ids: &[u128]) -> AppendRequest {
    AppendRequest {
        stream: stream.to_owned(),
        records: ids.iter().copied().map(record).collect(),
        expected_revision: expected,
    }
}

async fn session(
    door: &Door,
    requests: impl IntoIterator<Item = AppendRequest>,
) -> Result<AppendSessionResponse, Status> {
    let requests: Vec<_> = requests.into_iter().collect();
    let mut client = StreamsServiceClient::new(door.kurrent.clone());
    let answer = client.append_session(stream::iter(requests)).await?;
    Ok(answer.into_inner())
}

fn check(stream: &str, expected: i64) -> ConsistencyCheck {
    ConsistencyCheck {
        r#type: Some(Type::StreamState(StreamStateCheck {
            stream: stream.to_owned(),
            expected_state: expected,
        })),
    }
}

async fn records(
    door: &Door,
    records: impl IntoIterator<Item = AppendRecord>,
    checks: impl IntoIterator<Item = ConsistencyCheck>,
) -> Result<AppendRecordsResponse, Status> {
    let request = AppendRecordsRequest {
        records: records.into_iter().collect(),
        checks: checks.into_iter().collect(),
    };
    let mut client = StreamsServiceClient::new(door.kurrent.clone());
    Ok(client.append_records(request).await?.into_inner())
}

/// The last detail of a status, after the name of the error.
#[track_caller]
fn detail<M: Message + Name + Default>(status: &Status, code: Code, reason: &str) -> M {
    assert_eq!(status.code(), code, "{status:?}");
    let details = rpc::Status::decode(status.details()).unwrap();
    assert_eq!(details.code, i32::from(code));
    assert_eq!(details.message, status.message());
    let [name, detail] = &details.details[..] else {
        panic!("not two details: {details:?}");
    };
    assert_eq!(name.type_url, "type.googleapis.com/google.rpc.ErrorInfo");
    assert_eq!(
        rpc::ErrorInfo::decode(&name.value[..]).unwrap().reason,
        reason
    );
    let url = format!("type.googleapis.com/{}", M::full_name());
    assert_eq!(detail.type_url, url);
    M::decode(&detail.value[..]).unwrap()
}

#[tokio::test]
async fn a_session_writes_all_of_its_streams() {
    let door = Door::open().await;
    success(door.put("a", Any, &[1]).await.unwrap());
    let requests = [
        request("a", Some(0), &[2, 3]),
        request("b", Some(-1), &[4]),
        request("c", None, &[5]),
    ];
    let answer = session(&door, requests.clone()).await.unwrap();
    assert_eq!(answer.position, 5);
    let output = answer.output.iter();
    let output: Vec<_> = output
        .map(|o| (o.stream.as_str(), o.stream_revision))
        .collect();
    assert_eq!(output, [("a", 2), ("b", 0), ("c", 0)]);
    assert_eq!(session(&door, requests).await.unwrap(), answer, "a retry");
    assert_eq!(door.store.last_position().get(), 5);
}

#[tokio::test]
async fn a_session_is_written_as_a_whole_or_not_at_all() {
    let door = Door::open().await;
    for (stream, before) in [
        ("living", Before::Living),
        ("closed", Before::Tombstoned),
        ("deleted", Before::SoftDeleted),
    ] {
        door.bring(stream, before).await;
    }
    let last = door.store.last_position();
    let try_with = |bad| session(&door, [request("new", None, &[1]), bad]);

    let failed = Code::FailedPrecondition;
    let status = try_with(request("living", Some(7), &[2]))
        .await
        .unwrap_err();
    let reason = "STREAMS_ERROR_STREAM_REVISION_CONFLICT";
    let conflict: StreamRevisionConflictErrorDetails = detail(&status, failed, reason);
    let numbers = (conflict.expected_revision, conflict.actual_revision);
    assert_eq!((conflict.stream.as_str(), numbers), ("living", (7, 1)));

    let status = try_with(request("absent", Some(-4), &[2]))
        .await
        .unwrap_err();
    let conflict: StreamRevisionConflictErrorDetails = detail(&status, failed, reason);
    let numbers = (conflict.expected_revision, conflict.actual_revision);
    assert_eq!(numbers, (-4, -1));

    let status = try_with(request("closed", None, &[2])).await.unwrap_err();
    let reason = "STREAMS_ERROR_STREAM_TOMBSTONED";
    let closed: StreamTombstonedErrorDetails = detail(&status, failed, reason);
    assert_eq!(closed.stream, "closed");

    let status = try_with(request("deleted", Some(-4), &[2]))
        .await
        .unwrap_err();
    let deleted: StreamTombstonedErrorDetails = detail(&status, failed, reason);
    assert_eq!(deleted.stream, "deleted");

    let status = try_with(request("NEW", None, &[2])).await.unwrap_err();
    let reason = "STREAMS_ERROR_STREAM_ALREADY_IN_APPEND_SESSION";
    let twice: StreamAlreadyInAppendSessionErrorDetails = detail(&status, Code::Aborted, reason);
    assert_eq!(twice.stream, "NEW");
    assert_eq!(door.store.last_position(), last);
}

#[tokio::test]
async fn a_session_without_requests_is_refused() {
    let door = Door::open().await;
    let status = session(&door, []).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    let details = rpc::Status::decode(status.details()).unwrap().details;
    let name = rpc::ErrorInfo::decode(&details[0].value[..]).unwrap();
    assert_eq!(name.reason, "STREAMS_ERROR_APPEND_SESSION_NO_REQUESTS");
}

#[tokio::test]
async fn what_is_too_large_or_makes_no_sense_is_refused() {
    let door = Door::open().await;
    let with = |record| AppendRequest {
        stream: "s".to_owned(),
        records: vec![record],
        expected_revision: None,
    };
    let large = AppendRecord {
        data: vec![b'1'; EVENT_BYTES_MAX].into(),
        ..record(1)
    };
    let status = session(&door, [with(large)]).await.unwrap_err();
    let reason = "STREAMS_ERROR_APPEND_RECORD_SIZE_EXCEEDED";
    let large: AppendRecordSizeExceededErrorDetails =
        detail(&status, Code::InvalidArgument, reason);
    assert_eq!(large.record_id, Uuid::from_u128(1).to_string());
    assert_eq!(large.max_size, i32::try_from(EVENT_BYTES_MAX).unwrap());

    let schema = |format: SchemaFormat, name: &str| {
        Some(SchemaInfo {
            format: format.into(),
            name: name.to_owned(),
            id: None,
        })
    };
    for bad in [
        AppendRecord {
            record_id: Some("order-1".to_owned()),
            ..record(1)
        },
        AppendRecord {
            schema: None,
            ..record(1)
        },
        AppendRecord {
            schema: schema(SchemaFormat::Unspecified, "T"),
            ..record(1)
        },
        AppendRecord {
            schema: schema(SchemaFormat::Json, ""),
            ..record(1)
        },
    ] {
        let status = session(&door, [with(bad)]).await.unwrap_err();
        check_status(&status, Code::InvalidArgument, &[]);
    }
    for bad in [
        request("", None, &[1]),
        request("s", None, &[]),
        request("s", Some(-3), &[1]),
        request("s", Some(-5), &[1]),
    ] {
        let status = session(&door, [bad]).await.unwrap_err();
        check_status(&status, Code::InvalidArgument, &[]);
    }
    assert_eq!(door.store.last_position().get(), 0);
}

#[tokio::test]
async fn records_go_to_their_streams_in_their_order() {
    let door = Door::open().await;
    success(door.put("rule", Any, &[1]).await.unwrap());
    let to = [record_of("b", 2), record_of("a", 3), record_of("b", 4)];
    let checks = [check("rule", 0), check("a", -1)];
    let answer = records(&door, to.clone(), checks.clone()).await.unwrap();
    assert_eq!(answer.position, 4);
    let revisions = answer.revisions.iter();
    let revisions: Vec<_> = revisions.map(|r| (r.stream.as_str(), r.revision)).collect();
    assert_eq!(revisions, [("b", 1), ("a", 0)]);
    assert_eq!(door.positions(of_stream("b")).await.unwrap(), [2, 4]);

    // A retry is one also when what was only checked has changed since.
    success(door.put("rule", Any, &[5]).await.unwrap());
    assert_eq!(records(&door, to, checks).await.unwrap(), answer);
}

#[tokio::test]
async fn every_check_that_does_not_hold_is_told() {
    let door = Door::open().await;
    for (stream, before) in [
        ("living", Before::Living),
        ("closed", Before::Tombstoned),
        ("deleted", Before::SoftDeleted),
    ] {
        door.bring(stream, before).await;
    }
    let to = [record_of("new", 1), record_of("closed", 2)];
    let checks = [
        check("living", -1),
        check("deleted", 1),
        check("absent", -4),
        check("other", -6),
        check("new", -1),
    ];
    let status = records(&door, to, checks).await.unwrap_err();
    let reason = "STREAMS_ERROR_APPEND_CONSISTENCY_VIOLATION";
    let found: AppendConsistencyViolationErrorDetails =
        detail(&status, Code::FailedPrecondition, reason);
    let violation =
        |check_index, stream: &str, expected_state, actual_state| ConsistencyViolation {
            check_index,
            r#type: Some(ViolationType::StreamState(StreamStateViolation {
                stream: stream.to_owned(),
                expected_state,
                actual_state,
            })),
        };
    let expected = [
        violation(0, "living", -1, 1),
        violation(1, "deleted", 1, -5),
        violation(2, "absent", -4, -1),
        violation(3, "other", -6, -1),
        violation(5, "closed", -2, -6),
    ];
    assert_eq!(found.violations, expected);
    assert_eq!(door.revisions(of_stream("new")).await.unwrap(), [0; 0]);
}

/// The states that streams are brought to, and the number that stands for each.
const STATES: [(&str, Before, i64); 5] = [
    ("absent", Before::Absent, -1),
    ("meta", Before::OnlyMetadata, -1),
    ("living", Before::Living, 1),
    ("deleted", Before::SoftDeleted, -5),
    ("closed", Before::Tombstoned, -6),
];

/// Each expectation, and whether a check of it holds in each of the states, for a stream that is only
/// checked and for one that is also written.
const CHECKS: [(i64, [bool; 5], [bool; 5]); 6] = [
    (
        -1,
        [true, true, false, true, true],
        [true, true, false, true, false],
    ),
    (0, [false; 5], [false; 5]),
    (
        1,
        [false, false, true, false, false],
        [false, false, true, false, false],
    ),
    (
        -4,
        [false, false, true, false, false],
        [false, false, true, false, false],
    ),
    (
        -5,
        [false, false, false, true, false],
        [false, false, false, true, false],
    ),
    (-6, [false, false, false, false, true], [false; 5]),
];

/// Writes one record to `to` under a check of `stream`, and compares how that ended.
async fn check_one(to: &str, stream: &str, before: Before, expected: i64, actual: Option<i64>) {
    let door = Door::open().await;
    door.bring(stream, before).await;
    let last = door.store.last_position();
    let outcome = records(&door, [record_of(to, 99)], [check(stream, expected)]).await;
    let Some(actual_state) = actual else {
        let answer = outcome.unwrap();
        assert_eq!(answer.revisions[0].stream, to);
        return;
    };
    let reason = "STREAMS_ERROR_APPEND_CONSISTENCY_VIOLATION";
    let found: AppendConsistencyViolationErrorDetails =
        detail(&outcome.unwrap_err(), Code::FailedPrecondition, reason);
    let violation = ConsistencyViolation {
        check_index: 0,
        r#type: Some(ViolationType::StreamState(StreamStateViolation {
            stream: stream.to_owned(),
            expected_state: expected,
            actual_state,
        })),
    };
    assert_eq!(
        found.violations,
        [violation],
        "{expected} of {stream}, writing {to}"
    );
    assert_eq!(door.store.last_position(), last, "nothing is written");
}

#[tokio::test]
async fn every_check_in_every_state_of_a_stream() {
    for (expected, only_checked, written) in CHECKS {
        for (n, (stream, before, state)) in STATES.into_iter().enumerate() {
            let actual = |holds: bool| (!holds).then_some(state);
            check_one("log", stream, before, expected, actual(only_checked[n])).await;
            check_one(stream, stream, before, expected, actual(written[n])).await;
        }
    }
}

#[tokio::test]
async fn records_that_make_no_sense_are_refused() {
    let door = Door::open().await;
    let one = || [record_of("s", 1)];
    for (to, checks) in [
        (vec![], vec![]),
        (vec![record_of("", 1)], vec![]),
        (one().into(), vec![check("a", -2)]),
        (one().into(), vec![check("a", -3)]),
        (one().into(), vec![check("", -1)]),
        (one().into(), vec![check("a", -1), check("a", -1)]),
        (one().into(), vec![ConsistencyCheck { r#type: None }]),
    ] {
        let status = records(&door, to, checks).await.unwrap_err();
        check_status(&status, Code::InvalidArgument, &[]);
    }
}

#[tokio::test]
async fn properties_are_read_as_metadata() {
    use prost_types::value::Kind;
    let door = Door::open().await;
    let text = |text: &str| prost_types::Value {
        kind: Some(Kind::StringValue(text.to_owned())),
    };
    let json = AppendRecord {
        properties: [("user".to_owned(), text("me"))].into(),
        ..record(1)
    };
    let binary = AppendRecord {
        record_id: None,
        schema: Some(SchemaInfo {
            format: SchemaFormat::Protobuf.into(),
            name: "Scanned".to_owned(),
            id: Some("schema-7".to_owned()),
        }),
        data: vec![0, 255].into(),
        ..record(2)
    };
    let requests = [AppendRequest {
        stream: "s".to_owned(),
        records: vec![json, binary],
        expected_revision: None,
    }];
    session(&door, requests).await.unwrap();
    let read = events(door.read(of_stream("s")).await.unwrap());
    assert_eq!(read[0].custom_metadata, r#"{"user":"me"}"#);
    assert_eq!(read[0].metadata["content-type"], "application/json");
    let schema = r#"{"$schema.format":"Protobuf","$schema.id":"schema-7"}"#;
    assert_eq!(read[1].custom_metadata, schema);
    assert_eq!(read[1].metadata["content-type"], "application/octet-stream");
    assert_eq!(read[1].metadata["type"], "Scanned");
    assert!(read[1].id.is_some());
}
