//! What is encoded by hand is what the generated messages read.

use super::*;
use crate::proto::event_store::client as shared;
use crate::proto::event_store::client::streams::read_resp::read_event;
use icecore_core::{ContentType, EventType, Position, Revision, StreamName, Tag, Timestamp};
use proptest::prelude::*;
use std::collections::HashMap;
use uuid::Uuid;

fn event(id: u128, number: u64, nanos: i64, metadata: Vec<u8>, data: Vec<u8>) -> RecordedEvent {
    let content_type = if number.is_multiple_of(2) {
        ContentType::JSON
    } else {
        ContentType::new("text/plain").unwrap()
    };
    RecordedEvent {
        stream: StreamName::new("ordér-1").unwrap(),
        revision: Revision::new(number),
        position: Position::new(number / 2),
        id: Uuid::from_u128(id),
        event_type: EventType::new("T".repeat(200)).unwrap(),
        content_type,
        data: data.into(),
        metadata: metadata.into(),
        tags: Vec::new(),
        recorded_at: Timestamp::from_nanos(nanos),
        created_at: None,
        erased: false,
    }
}

/// The message as the generated code writes it.
fn expected(event: &RecordedEvent, ids: IdForm) -> read_event::RecordedEvent {
    let id = match ids {
        IdForm::Text => shared::uuid::Value::String(event.id.to_string()),
        IdForm::Structured => shared::uuid::Value::Structured(halves(event.id)),
    };
    let content_type = if event.content_type.is_json() {
        "application/json"
    } else {
        "application/octet-stream"
    };
    let created = event.recorded_at.nanos().div_euclid(100).to_string();
    let metadata = [
        ("type", event.event_type.as_str()),
        ("created", &created),
        ("content-type", content_type),
    ];
    read_event::RecordedEvent {
        id: Some(shared::Uuid { value: Some(id) }),
        stream_identifier: Some(crate::event::identifier(event.stream.clone())),
        stream_revision: event.revision.get(),
        prepare_position: event.position.get(),
        commit_position: event.position.get(),
        metadata: metadata
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        custom_metadata: event.metadata.clone(),
        data: event.data.clone(),
    }
}

proptest! {
    #[test]
    fn by_hand_and_generated_are_the_same(
        id: u128,
        number: u64,
        nanos: i64,
        metadata: Vec<u8>,
        data in proptest::collection::vec(any::<u8>(), 0..300),
        parts in 1_u8..4,
        structured: bool,
    ) {
        let ids = if structured { IdForm::Structured } else { IdForm::Text };
        let event = event(id, number, nanos, metadata, data);
        let (has_event, has_link) = (parts & 1 != 0, parts & 2 != 0);
        let answer = ReadAnswer::found(
            Resolved {
                event: has_event.then(|| event.clone()),
                link: has_link.then(|| event.clone()),
            },
            ids,
        );
        let encoded = answer.encode_to_vec();
        prop_assert_eq!(encoded.len(), answer.encoded_len());
        let recorded = expected(&event, ids);
        let message = ReadResp {
            content: Some(read_resp::Content::Event(read_resp::ReadEvent {
                event: has_event.then(|| recorded.clone()),
                link: has_link.then_some(recorded),
                position: Some(read_resp::read_event::Position::CommitPosition(number / 2)),
            })),
        };
        prop_assert_eq!(encoded.len(), message.encoded_len());
        prop_assert_eq!(ReadResp::decode(&encoded[..]).unwrap(), message);
    }
}

#[test]
fn tags_go_out_in_the_custom_metadata() {
    let tagged = RecordedEvent {
        tags: vec![Tag::new("customer:7").unwrap()],
        ..event(1, 2, 3, Vec::new(), Vec::new())
    };
    let answer = ReadAnswer::found(Resolved::plain(tagged), IdForm::Text);
    let decoded = ReadResp::decode(&answer.encode_to_vec()[..]).unwrap();
    let Some(read_resp::Content::Event(found)) = decoded.content else {
        panic!("no event: {decoded:?}");
    };
    let recorded = found.event.unwrap();
    assert_eq!(recorded.custom_metadata, r#"{"$tags":["customer:7"]}"#);
    let metadata: HashMap<_, _> = recorded.metadata;
    assert_eq!(metadata.len(), 3);
}
