//! Events, offered and recorded. Replays of millions go through here: nothing is copied, what
//! `core` gets points into the received message.

use crate::field::{
    InField, rename, stored_stream, stream_bytes, text, text_bytes, uuid, uuid_bytes,
};
use crate::proto;
use bytes::Bytes;
use icecore_core::{
    ContentType, Error, EventData, EventType, Position, RecordedEvent, Result, Revision, Tag,
    Timestamp,
};

/// Takes the events of one message. Errors name them as `events[n]`.
pub(crate) fn recorded_events(events: Vec<proto::RecordedEvent>) -> Result<Vec<RecordedEvent>> {
    events
        .into_iter()
        .enumerate()
        .map(|(n, event)| RecordedEvent::try_from(event).inside(|| format!("events[{n}]")))
        .collect()
}

impl TryFrom<proto::RecordedEvent> for RecordedEvent {
    type Error = Error;

    fn try_from(event: proto::RecordedEvent) -> Result<Self> {
        Ok(Self {
            stream: stored_stream(event.stream)?,
            revision: Revision::new(event.revision),
            position: Position::new(event.position),
            id: uuid(&event.id)?,
            event_type: event_type(event.r#type)?,
            content_type: content_type(event.content_type)?,
            data: event.data,
            metadata: event.metadata,
            tags: tags(event.tags)?,
            recorded_at: Timestamp::from_nanos(event.recorded_at),
            created_at: event.created_at.map(Timestamp::from_nanos),
            erased: event.erased,
        })
    }
}

impl From<RecordedEvent> for proto::RecordedEvent {
    fn from(event: RecordedEvent) -> Self {
        Self {
            stream: stream_bytes(event.stream),
            revision: event.revision.get(),
            position: event.position.get(),
            id: uuid_bytes(event.id),
            r#type: text_bytes(event.event_type.into_inner()),
            content_type: content_type_bytes(event.content_type),
            data: event.data,
            metadata: event.metadata,
            tags: tag_bytes(event.tags),
            recorded_at: event.recorded_at.nanos(),
            created_at: event.created_at.map(Timestamp::nanos),
            erased: event.erased,
        }
    }
}

/// The event, without the stream it goes to: that is the append's to look up.
impl TryFrom<proto::EventData> for EventData {
    type Error = Error;

    fn try_from(event: proto::EventData) -> Result<Self> {
        Ok(Self {
            id: uuid(&event.id)?,
            event_type: event_type(event.r#type)?,
            content_type: content_type(event.content_type)?,
            data: event.data,
            metadata: event.metadata,
            tags: tags(event.tags)?,
        })
    }
}

/// An event that goes to the stream at index `stream` of its append.
pub(crate) fn event_data(stream: u32, event: EventData) -> proto::EventData {
    proto::EventData {
        stream,
        id: uuid_bytes(event.id),
        r#type: text_bytes(event.event_type.into_inner()),
        content_type: content_type_bytes(event.content_type),
        data: event.data,
        metadata: event.metadata,
        tags: tag_bytes(event.tags),
    }
}

/// Names the place of what the append's builder found wrong with its event `n`.
pub(crate) fn locate(error: Error, n: usize) -> Error {
    rename(error, |field| {
        if field == "events" {
            return field;
        }
        let inner = field.strip_prefix("events.").unwrap_or(&field);
        format!("events[{n}].{inner}").into()
    })
}

fn event_type(bytes: Bytes) -> Result<EventType> {
    text(bytes).and_then(EventType::new).named("type")
}

/// The types of a filter or query.
pub(crate) fn event_types(types: Vec<Bytes>) -> Result<Vec<EventType>> {
    types
        .into_iter()
        .enumerate()
        .map(|(n, bytes)| event_type(bytes).named_by(|| format!("types[{n}]")))
        .collect()
}

/// The tags of an event, filter or query.
pub(crate) fn tags(tags: Vec<Bytes>) -> Result<Vec<Tag>> {
    tags.into_iter()
        .enumerate()
        .map(|(n, bytes)| {
            text(bytes)
                .and_then(Tag::new)
                .named_by(|| format!("tags[{n}]"))
        })
        .collect()
}

/// Tags as they go into a message.
pub(crate) fn tag_bytes(tags: Vec<Tag>) -> Vec<Bytes> {
    tags.into_iter()
        .map(|tag| text_bytes(tag.into_inner()))
        .collect()
}

fn content_type(bytes: Bytes) -> Result<ContentType> {
    if bytes.is_empty() {
        return Ok(ContentType::JSON);
    }
    text(bytes).and_then(ContentType::new).named("content_type")
}

fn content_type_bytes(content_type: ContentType) -> Bytes {
    if content_type.is_json() {
        Bytes::new()
    } else {
        text_bytes(content_type.into_inner())
    }
}
