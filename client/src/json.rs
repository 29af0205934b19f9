//! Typed events: values that serde knows, as the JSON data of events.

use crate::id::new_event_id;
use bytes::Bytes;
use bytestring::ByteString;
use icecore_core::{Error, EventData, RecordedEvent, Result, Tag};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// An event whose data is a value as JSON, with a new id.
///
/// # Errors
///
/// `InvalidArgument` for field `type` or `data`.
pub fn json_event(
    event_type: impl Into<ByteString>,
    data: &(impl Serialize + ?Sized),
) -> Result<EventData> {
    EventData::json(new_event_id(), event_type, to_json("data", data)?)
}

/// What is said about an event beside its data.
pub trait EventDataExt: Sized {
    /// With this id in place of the one it has.
    #[must_use]
    fn with_id(self, id: Uuid) -> Self;

    /// With a value as JSON metadata.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for field `metadata`.
    fn with_metadata(self, metadata: &(impl Serialize + ?Sized)) -> Result<Self>;

    /// With one more tag, of the form `key:value`.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for field `tag`.
    fn with_tag(self, tag: impl Into<ByteString>) -> Result<Self>;
}

impl EventDataExt for EventData {
    fn with_id(mut self, id: Uuid) -> Self {
        self.id = id;
        self
    }

    fn with_metadata(mut self, metadata: &(impl Serialize + ?Sized)) -> Result<Self> {
        self.metadata = to_json("metadata", metadata)?;
        Ok(self)
    }

    fn with_tag(mut self, tag: impl Into<ByteString>) -> Result<Self> {
        self.tags.push(Tag::new(tag)?);
        Ok(self)
    }
}

/// The data and metadata of an event as values.
pub trait RecordedEventExt {
    /// The data.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for field `data`, when it is not JSON or not a `T`.
    fn json<T: DeserializeOwned>(&self) -> Result<T>;

    /// The metadata.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for field `metadata`, when it is not JSON or not a `T`.
    fn metadata_json<T: DeserializeOwned>(&self) -> Result<T>;
}

impl RecordedEventExt for RecordedEvent {
    fn json<T: DeserializeOwned>(&self) -> Result<T> {
        from_json(self, "data", &self.data)
    }

    fn metadata_json<T: DeserializeOwned>(&self) -> Result<T> {
        from_json(self, "metadata", &self.metadata)
    }
}

fn to_json(field: &'static str, value: &(impl Serialize + ?Sized)) -> Result<Bytes> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|error| Error::invalid(field, error.to_string()))
}

fn from_json<T: DeserializeOwned>(
    event: &RecordedEvent,
    field: &'static str,
    json: &[u8],
) -> Result<T> {
    serde_json::from_slice(json).map_err(|error| {
        let RecordedEvent {
            event_type,
            position,
            ..
        } = event;
        Error::invalid(
            field,
            format!("of the `{event_type}` at position {position} is not as expected: {error}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use icecore_core::{ContentType, Position, Revision, StreamName, Timestamp};
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct OrderPlaced {
        total: u64,
    }

    fn recorded(event: EventData) -> RecordedEvent {
        RecordedEvent {
            stream: StreamName::new("order-1").unwrap(),
            revision: Revision::FIRST,
            position: Position::FIRST,
            id: event.id,
            event_type: event.event_type,
            content_type: ContentType::JSON,
            data: event.data,
            metadata: event.metadata,
            tags: event.tags,
            recorded_at: Timestamp::from_nanos(0),
            created_at: None,
            erased: false,
        }
    }

    #[test]
    fn values_go_in_and_come_out() {
        let event = json_event("OrderPlaced", &OrderPlaced { total: 12 })
            .and_then(|event| event.with_metadata("anna"))
            .and_then(|event| event.with_tag("order:1"))
            .unwrap()
            .with_id(Uuid::from_u128(7));
        assert_eq!(event.id, Uuid::from_u128(7));
        assert_eq!(event.tags[0].as_str(), "order:1");
        let event = recorded(event);
        assert_eq!(
            event.json::<OrderPlaced>().unwrap(),
            OrderPlaced { total: 12 }
        );
        assert_eq!(event.metadata_json::<String>().unwrap(), "anna");
    }

    #[test]
    fn data_of_another_shape_says_which_event_it_is() {
        let event = recorded(json_event("OrderPlaced", "twelve").unwrap());
        let error = event.json::<OrderPlaced>().unwrap_err().to_string();
        assert!(error.contains("`OrderPlaced` at position 1"), "{error}");
    }
}
