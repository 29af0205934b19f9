//! Appends and imports that are wrong.

use crate::bench::Bench;
use crate::raw::{Frames, append, check_status, event, expectation, framed, prefix};
use bytes::Bytes;
use icecore_client::limits::{
    APPEND_BYTES_MAX, APPEND_EVENTS_MAX, EVENT_BYTES_MAX, EVENT_TYPE_BYTES_MAX, MESSAGE_BYTES_MAX,
    STREAM_NAME_BYTES_MAX, TAG_BYTES_MAX, TAGS_PER_EVENT_MAX,
};
use icecore_wire::proto;
use icecore_wire::proto::append_session_response::Outcome;
use icecore_wire::proto::error_detail::Error as Detail;
use prost::Message;
use tonic::Code;

const APPEND: &str = "/icecore.v1.Streams/Append";

#[tokio::test]
async fn to_streams_that_cannot_be() {
    let mut bench = Bench::start().await;
    for name in [
        Bytes::new(),
        "s".repeat(STREAM_NAME_BYTES_MAX + 1).into(),
        Bytes::from_static(b"order-\xff\xfe"),
        Bytes::from_static(b"\xc3"),
        "order\n1".into(),
        "$$$$order-1".into(),
    ] {
        let spoil = |r: &mut proto::AppendRequest| r.streams[0].stream = name;
        bench.append("streams[0].stream", spoil).await;
    }
    let none = |r: &mut proto::AppendRequest| *r = proto::AppendRequest::default();
    bench.append("streams", none).await;
    let twice = |r: &mut proto::AppendRequest| r.streams.push(r.streams[0].clone());
    bench.append("streams", twice).await;
    let nowhere = |r: &mut proto::AppendRequest| r.events[0].stream = 1;
    bench.append("events[0].stream", nowhere).await;
    bench.finish(0).await;
}

#[tokio::test]
async fn with_unknown_expectations() {
    let mut bench = Bench::start().await;
    let field = "streams[0].expected";
    bench.append(field, |r| r.streams[0].expected = None).await;
    let unset = Some(proto::ExpectedRevision { expected: None });
    bench.append(field, |r| r.streams[0].expected = unset).await;
    for state in [0, 6, 77, -1] {
        let spoil = |r: &mut proto::AppendRequest| r.streams[0] = expectation("order-1", state);
        bench.append(field, spoil).await;
    }
    let tombstoned = proto::ExpectedState::Tombstoned as i32;
    let spoil = |r: &mut proto::AppendRequest| r.streams[0] = expectation("order-1", tombstoned);
    bench.append("streams.expected", spoil).await;
    bench.finish(0).await;
}

#[tokio::test]
async fn of_events_that_cannot_be() {
    let mut bench = Bench::start().await;
    let mut check = async |field: &str, spoil: &dyn Fn(&mut proto::EventData)| {
        bench.append(field, |r| spoil(&mut r.events[0])).await;
    };
    for id in [&b""[..], b"short", &[1; 15], &[1; 17], &[b'1'; 36]] {
        check("events[0].id", &|e| e.id = Bytes::copy_from_slice(id)).await;
    }
    let long = "T".repeat(EVENT_TYPE_BYTES_MAX + 1);
    for event_type in ["", &long, "a\tb"] {
        check("events[0].type", &|e| {
            e.r#type = event_type.to_owned().into();
        })
        .await;
    }
    check("events[0].type", &|e| {
        e.r#type = Bytes::from_static(b"\xff");
    })
    .await;
    check("events[0].content_type", &|e| e.content_type = "\n".into()).await;
    let long = format!("k:{}", "v".repeat(TAG_BYTES_MAX));
    for tag in ["colonless", ":value", "key:", "", &long] {
        let tags = vec!["order:1".into(), Bytes::from(tag.to_owned())];
        check("events[0].tags[1]", &|e| e.tags.clone_from(&tags)).await;
    }
    check("events[0].tags", &|e| {
        e.tags = vec!["order:1".into(); TAGS_PER_EVENT_MAX + 1];
    })
    .await;
    let closing = |r: &mut proto::AppendRequest| r.events[0].r#type = "$streamDeleted".into();
    bench.append("events.type", closing).await;
    bench.finish(0).await;
}

#[tokio::test]
async fn of_too_much() {
    let mut bench = Bench::start().await;
    bench.append("events", |r| r.events.clear()).await;
    let twice = |r: &mut proto::AppendRequest| r.events.push(r.events[0].clone());
    bench.append("events[1].id", twice).await;
    let many = |r: &mut proto::AppendRequest| {
        r.events = (0..=APPEND_EVENTS_MAX).map(|_| event()).collect();
    };
    bench.append("events", many).await;
    let large = |r: &mut proto::AppendRequest| r.events[0].data = vec![0; EVENT_BYTES_MAX].into();
    bench.append("events[0].data", large).await;
    let over = |r: &mut proto::AppendRequest| r.events[0].data = vec![0; MESSAGE_BYTES_MAX].into();
    bench.append("message", over).await;
    bench.finish(0).await;
}

#[tokio::test]
async fn with_conditions_that_cannot_be() {
    let mut bench = Bench::start().await;
    let condition = |query| Some(proto::Condition { query, after: 0 });
    let none = condition(None);
    bench
        .append("condition.query", |r| r.condition = none)
        .await;
    let item = proto::QueryItem {
        types: vec!["Noted".into()],
        tags: vec!["colonless".into()],
    };
    let query = |items| condition(Some(proto::Query { items }));
    let bad = query(vec![item]);
    bench
        .append("condition.query.items[0].tags[0]", |r| r.condition = bad)
        .await;
    let many = query(vec![proto::QueryItem::default(); 65]);
    bench
        .append("condition.query", |r| r.condition = many)
        .await;
    bench.finish(0).await;
}

/// The breach of a session's protocol ends it; an append that is wrong is an answer and does not.
#[tokio::test]
async fn in_a_session() {
    let mut bench = Bench::start().await;
    let part = |sequence, append, more| proto::AppendSessionRequest {
        sequence,
        append,
        more,
    };
    let mut bad = append("order-1");
    bad.events[0].id = "short".into();
    let good = append("order-1");
    let requests = vec![
        part(1, Some(bad), false),
        part(2, Some(good), false),
        part(2, Some(append("order-1")), false),
    ];
    let answers = bench
        .stubs
        .streams
        .append_session(tokio_stream::iter(requests));
    let mut answers = answers.await.unwrap().into_inner();
    let first = answers.message().await.unwrap().unwrap();
    let Some(Outcome::Error(error)) = first.outcome else {
        panic!("{first:?}");
    };
    let Some(Detail::InvalidArgument(invalid)) = error.error else {
        panic!("{error:?}");
    };
    assert_eq!((first.sequence, &*invalid.field), (1, &b"events[0].id"[..]));
    let second = answers.message().await.unwrap().unwrap();
    assert!(matches!(second.outcome, Some(Outcome::Appended(_))));
    let status = answers.message().await.unwrap_err();
    check_status("sequence", &status, Code::InvalidArgument, "sequence");

    for (field, requests) in [
        ("append", vec![part(1, None, false)]),
        ("more", vec![part(1, Some(append("order-1")), true)]),
    ] {
        let answers = bench
            .stubs
            .streams
            .append_session(tokio_stream::iter(requests));
        let mut answers = answers.await.unwrap().into_inner();
        let status = answers.message().await.unwrap_err();
        check_status(field, &status, Code::InvalidArgument, field);
    }
    bench.finish(1).await;
}

/// An append in parts is held to the limit of an append as its parts come.
#[tokio::test]
async fn in_parts_that_are_too_large_together() {
    let mut bench = Bench::start().await;
    let parts = APPEND_BYTES_MAX / EVENT_BYTES_MAX + 1;
    let requests = (0..parts).map(move |n| {
        let mut append = append("order-1");
        append.events[0].data = vec![b'1'; EVENT_BYTES_MAX - 100].into();
        if n > 0 {
            append.streams.clear();
        }
        proto::AppendSessionRequest {
            sequence: 1,
            append: Some(append),
            more: n + 1 < parts,
        }
    });
    let requests: Vec<_> = requests.collect();
    let answers = bench
        .stubs
        .streams
        .append_session(tokio_stream::iter(requests));
    let mut answers = answers.await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    let Some(Outcome::Error(error)) = answer.outcome else {
        panic!("{answer:?}");
    };
    let Some(Detail::InvalidArgument(invalid)) = error.error else {
        panic!("{error:?}");
    };
    assert_eq!(&*invalid.field, b"events");
    drop(answers);
    bench.finish(0).await;
}

#[tokio::test]
async fn as_imports() {
    let mut bench = Bench::start().await;
    let mut check = async |field: &str, spoil: &dyn Fn(&mut proto::ImportRequest)| {
        let append = append("order-1");
        let mut request = proto::ImportRequest {
            streams: append.streams,
            events: vec![proto::ImportEvent {
                event: Some(event()),
                ..Default::default()
            }],
        };
        spoil(&mut request);
        let status = bench.stubs.operations.import(request).await.unwrap_err();
        check_status(field, &status, Code::InvalidArgument, field);
    };
    check("events", &|r| r.events.clear()).await;
    check("events[0].event", &|r| r.events[0].event = None).await;
    check("events[0].created_at", &|r| {
        r.events[0].created_at = Some(1);
    })
    .await;
    check("streams[0].stream", &|r| r.streams[0].stream.clear()).await;
    check("events[0].event.id", &|r| {
        r.events[0].event = Some(proto::EventData {
            id: "short".into(),
            ..event()
        });
    })
    .await;
    check("recorded_at", &|r| r.events[0].recorded_at = Some(i64::MAX)).await;
    bench.finish(0).await;
}

/// What is no message at all.
#[tokio::test]
async fn that_are_no_messages() {
    let bench = Bench::start().await;
    for (what, body) in [
        ("garbage", framed(b"\xff\xff\xff\xff")),
        (
            "a cut field",
            framed(&append("order-1").encode_to_vec()[..7]),
        ),
        ("a cut message", prefix(1_000).freeze()),
        ("a cut prefix", Bytes::from_static(b"\0\0")),
        ("no message", Bytes::new()),
        (
            "a flag that nobody knows",
            Bytes::from_static(b"\x07\0\0\0\0"),
        ),
    ] {
        let mut call = Frames::open(&bench.server, APPEND).await;
        call.send(body);
        let status = call.finish().await;
        let code = status.code();
        assert_ne!(code, Code::Ok, "{what}: {status}");
        assert_ne!(code, Code::Unavailable, "{what} is not to be tried again");
    }
    bench.finish(0).await;
}

/// A message over the limit is refused by its prefix: its bytes are not waited for.
#[tokio::test]
async fn that_only_announce_too_much() {
    let bench = Bench::start().await;
    for path in [
        APPEND,
        "/icecore.v1.Streams/AppendSession",
        "/icecore.v1.Streams/Read",
        "/icecore.v1.Operations/Import",
    ] {
        let mut call = Frames::open(&bench.server, path).await;
        call.send(prefix(MESSAGE_BYTES_MAX + 1).freeze());
        let status = call.status().await;
        check_status(path, &status, Code::InvalidArgument, "message");
    }
    bench.finish(0).await;
}
