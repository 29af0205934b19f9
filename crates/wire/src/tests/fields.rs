//! An invalid request names the field that is wrong.

use crate::proto::expected_revision::Expected;
use crate::proto::{self, ExpectedState};
use crate::{Delete, ListCategories, SetStreamMetadata};
use bytes::Bytes;
use icecore_core::{Append, Error, Read, Subscribe};

fn valid() -> proto::AppendRequest {
    let event = |id: u8| proto::EventData {
        id: Bytes::copy_from_slice(&[id; 16]),
        r#type: "OrderPlaced".into(),
        tags: vec!["order:1".into(), "customer:7".into()],
        ..Default::default()
    };
    proto::AppendRequest {
        streams: vec![proto::StreamExpectation {
            stream: "order-1".into(),
            expected: Some(any()),
        }],
        events: vec![event(1), event(2)],
        ..Default::default()
    }
}

fn any() -> proto::ExpectedRevision {
    proto::ExpectedRevision {
        expected: Some(Expected::State(ExpectedState::Any.into())),
    }
}

#[track_caller]
fn check<T: std::fmt::Debug>(outcome: Result<T, Error>, expected: &str) {
    match outcome {
        Err(Error::InvalidArgument { field, .. }) => assert_eq!(field, expected),
        other => panic!("expected an invalid {expected}, got {other:?}"),
    }
}

#[track_caller]
fn check_append(expected: &str, spoil: impl FnOnce(&mut proto::AppendRequest)) {
    let mut request = valid();
    spoil(&mut request);
    check(Append::try_from(request), expected);
}

#[test]
fn of_appends() {
    assert!(Append::try_from(valid()).is_ok());
    check_append("streams", |r| *r = proto::AppendRequest::default());
    check_append("events", |r| r.events.clear());
    check_append("streams[0].stream", |r| r.streams[0].stream.clear());
    check_append("streams[0].stream", |r| {
        r.streams[0].stream = "s".repeat(1_025).into();
    });
    check_append("streams[0].stream", |r| {
        r.streams[0].stream = Bytes::from_static(b"\xff");
    });
    check_append("streams[0].expected", |r| {
        r.streams[0].expected = None;
    });
    check_append("events[1].id", |r| {
        r.events[1].id = Bytes::from_static(b"short");
    });
    check_append("events[1].id", |r| {
        r.events[1].id = r.events[0].id.clone();
    });
    check_append("events[1].type", |r| r.events[1].r#type.clear());
    check_append("events[1].tags[1]", |r| {
        r.events[1].tags[1] = "colonless".into();
    });
    check_append("events[1].tags", |r| {
        r.events[1].tags = vec!["a:b".into(); 65];
    });
    check_append("events[1].stream", |r| {
        r.events[1].stream = 9;
    });
    check_append("events[0].content_type", |r| {
        r.events[0].content_type = "\n".into();
    });
    check_append("events[0].data", |r| {
        r.events[0].data = vec![0; 17 << 20].into();
    });
    check_append("condition.query", |r| {
        r.condition = Some(proto::Condition::default());
    });
    check_append("condition.query.items[0].tags[0]", |r| {
        r.condition = Some(proto::Condition {
            query: Some(proto::Query {
                items: vec![proto::QueryItem {
                    types: vec![],
                    tags: vec!["colonless".into()],
                }],
            }),
            after: 0,
        });
    });
}

#[test]
fn of_expectations() {
    for state in [0, 77] {
        let mut request = valid();
        request.streams[0].expected = Some(proto::ExpectedRevision {
            expected: Some(Expected::State(state)),
        });
        let error = Append::try_from(request).unwrap_err();
        assert_eq!(
            error.to_string(),
            "streams[0].expected: unknown expectation"
        );
    }
}

#[test]
fn of_imports() {
    let request = proto::ImportRequest {
        streams: valid().streams,
        events: vec![proto::ImportEvent::default()],
    };
    check(Append::try_from(request), "events[0].event");
}

#[test]
fn of_reads_and_subscriptions() {
    check(Read::try_from(proto::ReadRequest::default()), "target");
    let all = || proto::read_request::Target::All(proto::read_request::All::default());
    let read = |read| proto::ReadRequest {
        target: Some(all()),
        ..read
    };
    let direction = proto::ReadRequest {
        direction: 7,
        ..Default::default()
    };
    check(Read::try_from(read(direction)), "direction");
    let limit = proto::ReadRequest {
        limit: Some(0),
        ..Default::default()
    };
    check(Read::try_from(read(limit)), "limit");
    let filter = proto::ReadRequest {
        filter: Some(proto::Filter {
            category: "a-b".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    check(Read::try_from(read(filter)), "filter.category");

    check(
        Subscribe::try_from(proto::SubscribeRequest::default()),
        "target",
    );
    let subscribe = proto::SubscribeRequest {
        target: Some(proto::subscribe_request::Target::All(
            proto::subscribe_request::All::default(),
        )),
        store_id: "short".into(),
        filter: None,
    };
    check(Subscribe::try_from(subscribe), "store_id");
}

#[test]
fn of_other_calls() {
    let delete = proto::DeleteRequest {
        stream: "a".into(),
        expected: Some(any()),
        kind: 0,
    };
    check(Delete::try_from(delete.clone()), "kind");
    let delete = proto::DeleteRequest {
        expected: None,
        kind: 1,
        ..delete
    };
    check(Delete::try_from(delete), "expected");
    let metadata = proto::SetStreamMetadataRequest {
        stream: "$$a".into(),
        ..Default::default()
    };
    check(SetStreamMetadata::try_from(metadata), "stream");
    let list = proto::ListCategoriesRequest {
        after: Some("a-b".into()),
        ..Default::default()
    };
    check(ListCategories::try_from(list), "after");
}
