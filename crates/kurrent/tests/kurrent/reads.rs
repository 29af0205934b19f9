//! Reads: places, directions, counts, filters, retention, and how events look.

use crate::support::*;
use icecore_core::Timestamp;
use icecore_kurrent::proto::event_store::client::streams::append_req;
use icecore_kurrent::proto::event_store::client::streams::read_req::options::{
    ControlOption, FilterOptions, Position, UuidOption, filter_options, uuid_option,
};
use icecore_kurrent::proto::event_store::client::streams::read_resp;
use icecore_kurrent::proto::event_store::client::{Empty, StreamIdentifier, uuid};
use tonic::Code;

/// Five events of stream `s` at positions 1 to 5.
async fn five() -> Door {
    let door = Door::open().await;
    success(door.put("s", NoStream, &[1, 2, 3, 4, 5]).await.unwrap());
    door
}

#[tokio::test]
async fn a_stream_that_is_not_there_is_an_answer() {
    let door = Door::open().await;
    door.bring("deleted", Before::SoftDeleted).await;
    door.bring("plain", Before::Living).await;
    door.bring("described", Before::OnlyMetadata).await;
    for stream in ["absent", "deleted", "$$plain", "described"] {
        let name = StreamIdentifier {
            stream_name: stream.into(),
        };
        let expected = Content::StreamNotFound(read_resp::StreamNotFound {
            stream_identifier: Some(name),
        });
        for options in [of_stream(stream), backwards(from_end(stream))] {
            let found = door.read(options).await.unwrap();
            assert_eq!(found, std::slice::from_ref(&expected));
        }
    }
    assert_eq!(door.revisions(of_stream("$$described")).await.unwrap(), [0]);
}

#[tokio::test]
async fn a_stream_is_read_from_a_revision_either_way() {
    let door = five().await;
    let forwards = |options| door.revisions(options);
    assert_eq!(forwards(of_stream("s")).await.unwrap(), [0, 1, 2, 3, 4]);
    assert_eq!(forwards(from_revision("s", 3)).await.unwrap(), [3, 4]);
    assert_eq!(forwards(from_revision("s", 9)).await.unwrap(), [0; 0]);
    assert_eq!(forwards(from_end("s")).await.unwrap(), [0; 0]);
    assert_eq!(forwards(counted(of_stream("s"), 2)).await.unwrap(), [0, 1]);
    assert_eq!(forwards(counted(of_stream("s"), 0)).await.unwrap(), [0; 0]);
    let back = |options| door.revisions(backwards(options));
    assert_eq!(back(from_end("s")).await.unwrap(), [4, 3, 2, 1, 0]);
    assert_eq!(back(from_revision("s", 2)).await.unwrap(), [2, 1, 0]);
    assert_eq!(back(from_revision("s", u64::MAX)).await.unwrap().len(), 5);
    assert_eq!(back(of_stream("s")).await.unwrap(), [0]);
    assert_eq!(back(counted(from_end("s"), 1)).await.unwrap(), [4]);
}

#[tokio::test]
async fn all_are_read_from_a_position_and_backwards_before_it() {
    let door = five().await;
    let forwards = |from| door.positions(of_all(from));
    assert_eq!(forwards(START).await.unwrap(), [1, 2, 3, 4, 5]);
    assert_eq!(forwards(at(4)).await.unwrap(), [4, 5]);
    assert_eq!(forwards(at(6)).await.unwrap(), [0; 0]);
    assert_eq!(forwards(END).await.unwrap(), [0; 0]);
    let back = |from| door.positions(backwards(of_all(from)));
    assert_eq!(back(END).await.unwrap(), [5, 4, 3, 2, 1]);
    assert_eq!(back(at(3)).await.unwrap(), [2, 1]);
    assert_eq!(back(at(1)).await.unwrap(), [0; 0]);
    assert_eq!(back(at(0)).await.unwrap(), [0; 0]);
    assert_eq!(back(START).await.unwrap(), [0; 0]);
    assert_eq!(back(at(u64::MAX)).await.unwrap().len(), 5);
}

#[tokio::test]
async fn an_event_comes_as_it_was_written() {
    let door = Door::open().await;
    let written = append_req::ProposedMessage {
        custom_metadata: r#"{ "$correlationId": "c", "n": 1.0 }"#.into(),
        ..event(0xabc, "OrderPlaced", r#"{"total":12}"#)
    };
    let mut binary = event(2, "Scanned", "\u{1}");
    binary.metadata[1].value = "image/png".into();
    success(
        door.append("order-1", NoStream, [written, binary])
            .await
            .unwrap(),
    );
    let read = door.read(of_stream("order-1")).await.unwrap();
    let Content::Event(found) = &read[0] else {
        panic!("no event: {read:?}");
    };
    assert_eq!(found.link, None);
    let position = read_resp::read_event::Position::CommitPosition(1);
    assert_eq!(found.position, Some(position));
    let events = events(read);
    let first = &events[0];
    assert_eq!(first.id, Some(text_id(0xabc)));
    assert_eq!(first.stream_identifier, Some(identifier("order-1")));
    let numbers = (
        first.stream_revision,
        first.commit_position,
        first.prepare_position,
    );
    assert_eq!(numbers, (0, 1, 1));
    let metadata = |event: &Recorded, key: &str| event.metadata[key].clone();
    assert_eq!(metadata(first, "type"), "OrderPlaced");
    assert_eq!(metadata(first, "content-type"), "application/json");
    assert_eq!(metadata(first, "created"), "17000000001234567");
    assert_eq!(first.metadata.len(), 3);
    assert_eq!(
        first.custom_metadata,
        r#"{ "$correlationId": "c", "n": 1.0 }"#
    );
    assert_eq!(first.data, r#"{"total":12}"#);
    assert_eq!(
        metadata(&events[1], "content-type"),
        "application/octet-stream"
    );
}

#[tokio::test]
async fn ids_come_in_the_form_that_is_asked_for() {
    let door = Door::open().await;
    success(door.put("s", Any, &[1 << 127 | 5]).await.unwrap());
    let structured = uuid_option::Content::Structured(Empty {});
    let options = Options {
        uuid_option: Some(UuidOption {
            content: Some(structured),
        }),
        ..of_stream("s")
    };
    let events = events(door.read(options).await.unwrap());
    let halves = uuid::Structured {
        most_significant_bits: i64::MIN,
        least_significant_bits: 5,
    };
    let id = events[0].id.clone().unwrap();
    assert_eq!(id.value, Some(uuid::Value::Structured(halves)));
}

#[tokio::test]
async fn tags_are_read_and_written_in_the_metadata() {
    let door = Door::open().await;
    let tagged = append_req::ProposedMessage {
        custom_metadata: r#"{"$tags":["customer:7"],"user":"me"}"#.into(),
        ..event(1, "T", "{}")
    };
    success(door.append("s", Any, [tagged]).await.unwrap());
    let read = icecore_core::Read::stream(icecore_core::StreamName::new("s").unwrap());
    let batch = Box::pin(door.store.read(read));
    let batches: Vec<_> = futures::StreamExt::collect(batch).await;
    let stored = &batches[0].as_ref().unwrap().events[0];
    assert_eq!(stored.tags[0].as_str(), "customer:7");
    assert_eq!(stored.metadata, r#"{"user":"me"}"#);
    let events = events(door.read(of_stream("s")).await.unwrap());
    assert_eq!(
        events[0].custom_metadata,
        r#"{"$tags":["customer:7"],"user":"me"}"#
    );
}

#[tokio::test]
async fn hidden_events_are_passed_over() {
    let door = five().await;
    let read = || async { door.revisions(of_stream("s")).await.unwrap() };
    door.set_metadata("s", 100, r#"{"$tb":2}"#).await;
    assert_eq!(read().await, [2, 3, 4]);
    door.set_metadata("s", 101, r#"{"$maxCount":1}"#).await;
    assert_eq!(read().await, [4]);
    door.set_metadata("s", 102, r#"{"$maxAge":10}"#).await;
    assert_eq!(read().await.len(), 5);
    door.clock
        .set(Timestamp::from_nanos(BEGIN.nanos() + 11 * SECOND));
    assert_eq!(door.read(of_stream("s")).await.unwrap(), []);
    let old = backwards(from_end("s"));
    assert_eq!(door.read(old).await.unwrap(), []);
}

#[tokio::test]
async fn who_asks_for_it_is_told_the_end_of_the_stream() {
    let door = five().await;
    let compatible = |options| Options {
        control_option: Some(ControlOption { compatibility: 1 }),
        ..options
    };
    let end = Content::LastStreamPosition(4);
    for options in [counted(of_stream("s"), 1), backwards(from_end("s"))] {
        let answers = door.read(compatible(options.clone())).await.unwrap();
        assert_eq!(answers.last(), Some(&end));
        assert!(!door.read(options).await.unwrap().contains(&end));
    }
    let all = door.read(compatible(of_all(START))).await.unwrap();
    assert_eq!(events(all.clone()).len(), all.len());
    let absent = door.read(compatible(of_stream("absent"))).await.unwrap();
    assert!(matches!(absent[..], [Content::StreamNotFound(_)]));
}

fn filtered(filter: filter_options::Filter) -> Options {
    Options {
        filter_option: Some(FilterOption::Filter(FilterOptions {
            filter: Some(filter),
            window: Some(filter_options::Window::Max(30)),
            checkpoint_interval_multiplier: 5,
        })),
        ..of_all(START)
    }
}

fn regex(regex: &str) -> filter_options::Expression {
    filter_options::Expression {
        regex: regex.to_owned(),
        prefix: Vec::new(),
    }
}

#[tokio::test]
async fn filters_take_streams_and_types_by_prefix_and_regex() {
    use filter_options::Filter::{EventType, StreamIdentifier};
    let door = Door::open().await;
    for (id, stream, event_type) in [
        (1, "order-1", "OrderPlaced"),
        (2, "cart-1", "ItemAdded"),
        (3, "order-2", "$internal"),
        (4, "$$order-1", "$metadata"),
    ] {
        let event = event(id, event_type, "{}");
        success(door.append(stream, Any, [event]).await.unwrap());
    }
    let prefixes = filter_options::Expression {
        regex: String::new(),
        prefix: vec!["order-".into(), "$$".into()],
    };
    for (filter, positions) in [
        (StreamIdentifier(prefixes), &[1, 3, 4][..]),
        (StreamIdentifier(regex("^[^$].*")), &[1, 2, 3]),
        (EventType(regex(r"^[^\$].*")), &[1, 2]),
        (EventType(regex(r"^(?!(\$.+$|Item.*$))")), &[1]),
        (EventType(regex("^Never$")), &[]),
    ] {
        let options = filtered(filter);
        assert_eq!(door.positions(options.clone()).await.unwrap(), positions);
        let back: Vec<_> = positions.iter().rev().copied().collect();
        let options = Options {
            stream_option: of_all(END).stream_option,
            ..backwards(options)
        };
        assert_eq!(door.positions(options).await.unwrap(), back);
    }
    let one = counted(filtered(EventType(regex("^[A-Z]"))), 1);
    assert_eq!(door.positions(one).await.unwrap(), [1]);
}

#[tokio::test]
async fn indexes_are_read_as_a_filter_on_all() {
    use filter_options::Filter::StreamIdentifier;
    let door = Door::open().await;
    for (id, stream, event_type) in [
        (1, "order-1", "Placed"),
        (2, "cart-1", "Placed"),
        (3, "order-2", "Paid"),
        (4, "$$order-1", "Placed"),
    ] {
        let event = event(id, event_type, "{}");
        success(door.append(stream, Any, [event]).await.unwrap());
    }
    let named = |name: &str| {
        filtered(StreamIdentifier(filter_options::Expression {
            regex: String::new(),
            prefix: vec![name.to_owned()],
        }))
    };
    for (name, positions) in [
        ("$idx-all", &[1, 2, 3][..]),
        ("$idx-ce-order", &[1, 3]),
        ("$idx-et-Placed", &[1, 2]),
        ("$idx-et-Never", &[]),
    ] {
        assert_eq!(
            door.positions(named(name)).await.unwrap(),
            positions,
            "{name}"
        );
    }
    for options in [named("$idx-user-mine"), followed(named("$idx-user-mine"))] {
        let status = door.begin_read(options).await.unwrap_err();
        check_status(&status, Code::NotFound, &[]);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_refused() {
    use filter_options::Filter::StreamIdentifier;
    let door = five().await;
    let filter = |options| Options {
        filter_option: filtered(StreamIdentifier(regex("^a"))).filter_option,
        ..options
    };
    let position = all_options::AllOption::Position(Position {
        commit_position: 1,
        prepare_position: 2,
    });
    for bad in [
        Options {
            uuid_option: None,
            ..of_stream("s")
        },
        Options {
            count_option: None,
            ..of_stream("s")
        },
        Options {
            filter_option: None,
            ..of_stream("s")
        },
        Options {
            stream_option: None,
            ..of_stream("s")
        },
        Options {
            read_direction: 7,
            ..of_stream("s")
        },
        of_stream(""),
        filter(of_stream("s")),
        counted(filter(of_stream("s")), 0),
        counted(of_stream(""), 0),
        filter(followed(of_stream("s"))),
        backwards(followed(of_stream("s"))),
        backwards(followed(of_all(START))),
        of_all(position),
        followed(of_all(at(6))),
        filtered(StreamIdentifier(regex("("))),
    ] {
        let status = match door.begin_read(bad.clone()).await {
            Err(status) => status,
            Ok(mut answers) => answers.message().await.unwrap_err(),
        };
        check_status(&status, Code::InvalidArgument, &[]);
    }
}
