//! Small events for the unit tests of this crate.

use bytes::Bytes;
use icecore_core::{
    ContentType, EventType, Position, RecordedEvent, Revision, StreamName, Timestamp,
};
use uuid::Uuid;

/// An event of type `T` whose id is its position.
pub(crate) fn event(stream: &str, revision: u64, position: u64) -> RecordedEvent {
    RecordedEvent {
        stream: StreamName::new(stream.to_owned()).unwrap(),
        revision: Revision::new(revision),
        position: Position::new(position),
        id: Uuid::from_u128(position.into()),
        event_type: EventType::new("T").unwrap(),
        content_type: ContentType::JSON,
        data: Bytes::from_static(b"{}"),
        metadata: Bytes::new(),
        tags: Vec::new(),
        recorded_at: Timestamp::from_nanos(0),
        created_at: None,
        erased: false,
    }
}
