//! Events: as offered for an append and as stored.

use crate::limits::{
    CONTENT_TYPE_BYTES_MAX, CORRELATION_ID_BYTES_MAX, EVENT_BYTES_MAX, EVENT_TYPE_BYTES_MAX,
    TAG_BYTES_MAX, TAGS_PER_EVENT_MAX,
};
use crate::text::{check, text};
use crate::{Error, Position, Result, Revision, StreamName, Timestamp};
use bytes::Bytes;
use bytestring::ByteString;
use uuid::Uuid;

/// Event types that the store itself writes and understands, named as KurrentDB names them.
pub mod event_types {
    /// Closes a stream for ever; stands at [`crate::Revision::TOMBSTONE`].
    pub const STREAM_DELETED: &str = "$streamDeleted";
    /// The metadata of `s`, an event of `$$s`.
    pub const METADATA: &str = "$metadata";
    /// A link to an event of another stream, which its data names as `revision@stream`.
    pub const LINK: &str = "$>";
    /// An event is erased by the act that this event is; in [`super::system_streams::ERASURES`].
    pub const EVENT_ERASED: &str = "$eventErased";
    /// The erasure before it has reached log and indexes.
    pub const ERASURE_COMPLETED: &str = "$erasureCompleted";
    /// A scavenge begins; says what it may remove. In [`super::system_streams::SCAVENGES`].
    pub const SCAVENGE_STARTED: &str = "$scavengeStarted";
    /// The scavenge before it is done, with its figures.
    pub const SCAVENGE_COMPLETED: &str = "$scavengeCompleted";
    /// What no ordinary append may write; an import may, since it repeats what happened.
    pub const STORES_OWN: [&str; 5] = [
        STREAM_DELETED,
        EVENT_ERASED,
        ERASURE_COMPLETED,
        SCAVENGE_STARTED,
        SCAVENGE_COMPLETED,
    ];
}

/// Streams that the store itself writes, beside the metadata of others.
pub mod system_streams {
    /// Who erased which event and why.
    pub const ERASURES: &str = "$erasures";
    /// What was scavenged and when.
    pub const SCAVENGES: &str = "$scavenges";
}

/// Type of an event, like `OrderPlaced`: not empty, at most [`EVENT_TYPE_BYTES_MAX`] bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventType(ByteString);

text!(EventType);

impl EventType {
    /// Takes a type as a caller gave it.
    pub fn new(event_type: impl Into<ByteString>) -> Result<Self> {
        let event_type = event_type.into();
        check("type", &event_type, EVENT_TYPE_BYTES_MAX)?;
        Ok(Self(event_type))
    }
}

/// A `key:value` label of an event, for queries across streams. Neither side of the first `:` is
/// empty; at most [`TAG_BYTES_MAX`] bytes together.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(ByteString);

text!(Tag);

impl Tag {
    /// Takes a tag as a caller gave it.
    pub fn new(tag: impl Into<ByteString>) -> Result<Self> {
        let tag = tag.into();
        check("tag", &tag, TAG_BYTES_MAX)?;
        match tag.split_once(':') {
            Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok(Self(tag)),
            _ => Err(Error::invalid(
                "tag",
                format!("`{tag}` is not of the form key:value"),
            )),
        }
    }
}

/// What events have in common that belong to one transaction of the user's business: the text under
/// [`Self::KEY`] in the JSON object that is their metadata. 1 to [`CORRELATION_ID_BYTES_MAX`] bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CorrelationId(ByteString);

text!(CorrelationId);

impl CorrelationId {
    /// Where metadata has it, as KurrentDB's projection by correlation id expects it.
    pub const KEY: &str = "$correlationId";

    /// Takes an id as it stands in metadata or in the name of a stream.
    pub fn new(id: impl Into<ByteString>) -> Result<Self> {
        let id = id.into();
        check("correlation_id", &id, CORRELATION_ID_BYTES_MAX)?;
        Ok(Self(id))
    }
}

/// What the data of an event is, as a media type.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ContentType(ByteString);

text!(ContentType);

impl ContentType {
    /// `application/json`, the default.
    pub const JSON: Self = Self(ByteString::from_static("application/json"));
    /// `application/octet-stream`.
    pub const OCTET_STREAM: Self = Self(ByteString::from_static("application/octet-stream"));

    /// Takes a media type as a caller gave it.
    pub fn new(content_type: impl Into<ByteString>) -> Result<Self> {
        let content_type = content_type.into();
        check("content_type", &content_type, CONTENT_TYPE_BYTES_MAX)?;
        Ok(Self(content_type))
    }

    /// Whether the data is said to be JSON.
    pub fn is_json(&self) -> bool {
        *self == Self::JSON
    }
}

/// An event that is offered for an append.
///
/// The id makes a retry harmless: an append that is sent twice with the same ids is written once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventData {
    /// Unique within the stream, chosen by the caller.
    pub id: Uuid,
    /// What happened.
    pub event_type: EventType,
    /// What `data` is.
    pub content_type: ContentType,
    /// The payload. The store does not look into it.
    pub data: Bytes,
    /// Who, why, on whose behalf: usually JSON, or empty.
    pub metadata: Bytes,
    /// Labels for queries across streams, in the caller's order.
    pub tags: Vec<Tag>,
}

impl EventData {
    /// An event with JSON data and no metadata or tags; the text is not looked at.
    pub fn json(
        id: Uuid,
        event_type: impl Into<ByteString>,
        data: impl Into<Bytes>,
    ) -> Result<Self> {
        Ok(Self {
            id,
            event_type: EventType::new(event_type)?,
            content_type: ContentType::JSON,
            data: data.into(),
            metadata: Bytes::new(),
            tags: Vec::new(),
        })
    }

    /// The size that limits count: data, metadata, type, content type and tags, in bytes.
    pub fn size(&self) -> usize {
        payload_size(
            &self.data,
            &self.metadata,
            &self.event_type,
            &self.content_type,
            &self.tags,
        )
    }

    /// Checks what no field can check alone: the number of tags and the size as a whole.
    pub(crate) fn check(&self) -> Result<()> {
        if self.tags.len() > TAGS_PER_EVENT_MAX {
            return Err(Error::invalid(
                "tags",
                format!(
                    "{} tags on one event, the limit is {TAGS_PER_EVENT_MAX}",
                    self.tags.len()
                ),
            ));
        }
        if self.size() > EVENT_BYTES_MAX {
            return Err(Error::invalid(
                "data",
                format!(
                    "event {} is {} bytes with its metadata, the limit is {EVENT_BYTES_MAX}",
                    self.id,
                    self.size()
                ),
            ));
        }
        Ok(())
    }
}

/// An event as it is stored. Immutable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEvent {
    /// The stream it belongs to.
    pub stream: StreamName,
    /// Its place in the stream.
    pub revision: Revision,
    /// Its place in the store.
    pub position: Position,
    /// The id that the caller chose.
    pub id: Uuid,
    /// What happened.
    pub event_type: EventType,
    /// What `data` is.
    pub content_type: ContentType,
    /// The payload.
    pub data: Bytes,
    /// Usually JSON, or empty.
    pub metadata: Bytes,
    /// Labels, in the caller's order.
    pub tags: Vec<Tag>,
    /// When the store took it; never decreases along positions.
    pub recorded_at: Timestamp,
    /// The time that an import gave, where it lay before the last recorded one and was clamped.
    pub created_at: Option<Timestamp>,
    /// Data, metadata and tags were erased for good and are empty; everything else stays.
    pub erased: bool,
}

impl RecordedEvent {
    /// The size that pages and windows count, in bytes: what the event carries and its stream name.
    pub fn size(&self) -> usize {
        self.stream.as_str().len()
            + payload_size(
                &self.data,
                &self.metadata,
                &self.event_type,
                &self.content_type,
                &self.tags,
            )
    }

    /// What is left of this event when its payload is taken away.
    #[must_use]
    pub fn into_erased(self) -> Self {
        Self {
            data: Bytes::new(),
            metadata: Bytes::new(),
            tags: Vec::new(),
            erased: true,
            ..self
        }
    }

    /// Whether this event closes its stream for ever.
    pub fn is_tombstone(&self) -> bool {
        self.revision == Revision::TOMBSTONE
    }
}

fn payload_size(
    data: &Bytes,
    metadata: &Bytes,
    event_type: &EventType,
    content_type: &ContentType,
    tags: &[Tag],
) -> usize {
    let tags: usize = tags.iter().map(|tag| tag.as_str().len()).sum();
    data.len() + metadata.len() + event_type.as_str().len() + content_type.as_str().len() + tags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_needs_a_key_and_a_value() {
        for bad in ["", "order", ":1", "order:"] {
            assert!(Tag::new(bad).is_err(), "{bad}");
        }
        assert!(Tag::new("at:12:30").is_ok());
    }

    #[test]
    fn event_type_is_limited() {
        assert!(EventType::new("").is_err());
        assert!(EventType::new("T".repeat(256)).is_ok());
        assert!(EventType::new("T".repeat(257)).is_err());
    }
}
