//! Events as they come in: an id, a map of properties, custom metadata and data.

use crate::errors::AppendError;
use crate::proto::event_store::client as proto;
use crate::proto::event_store::client::streams::{append_req, batch_append_req};
use crate::{id, tags};
use bytes::Bytes;
use bytestring::ByteString;
use icecore_core::limits::EVENT_BYTES_MAX;
use icecore_core::{ContentType, Error, EventData, EventType, Result, StreamName};

/// What every event must say of itself.
const TYPE: &[u8] = b"type";
const CONTENT_TYPE: &[u8] = b"content-type";

impl TryFrom<append_req::ProposedMessage> for Proposed {
    type Error = AppendError;

    fn try_from(message: append_req::ProposedMessage) -> Result<Self, AppendError> {
        let properties = message.metadata.into_iter();
        let properties = properties.map(|entry| (entry.key, entry.value));
        event(
            message.id.as_ref(),
            properties,
            message.custom_metadata,
            message.data,
        )
    }
}

impl TryFrom<batch_append_req::ProposedMessage> for Proposed {
    type Error = AppendError;

    fn try_from(message: batch_append_req::ProposedMessage) -> Result<Self, AppendError> {
        let properties = message.metadata.into_iter();
        let properties = properties.map(|entry| (entry.key, entry.value));
        event(
            message.id.as_ref(),
            properties,
            message.custom_metadata,
            message.data,
        )
    }
}

/// An event that is small enough.
pub(crate) struct Proposed(pub(crate) EventData);

fn event(
    id: Option<&proto::Uuid>,
    properties: impl Iterator<Item = (Bytes, Bytes)>,
    custom_metadata: Bytes,
    data: Bytes,
) -> Result<Proposed, AppendError> {
    let (mut event_type, mut content_type) = (None, None);
    for (key, value) in properties {
        match &key[..] {
            TYPE => event_type = Some(value),
            CONTENT_TYPE => content_type = Some(value),
            // The others are said by the server when the event is read.
            _ => {}
        }
    }
    let (Some(event_type), Some(content_type)) = (event_type, content_type) else {
        return Err(AppendError::MissingProperty);
    };
    let (metadata, tags) = tags::take_out(custom_metadata);
    checked(EventData {
        id: id::read(id)?,
        event_type: EventType::new(text("type", event_type)?)?,
        content_type: ContentType::new(text("content-type", content_type)?)?,
        data,
        metadata,
        tags,
    })
}

/// The event, if it is small enough.
pub(crate) fn checked(event: EventData) -> Result<Proposed, AppendError> {
    let bytes = event.size();
    if bytes > EVENT_BYTES_MAX {
        return Err(AppendError::EventTooLarge {
            id: event.id,
            bytes,
        });
    }
    Ok(Proposed(event))
}

/// The stream that a message names.
///
/// # Errors
///
/// `InvalidArgument`, when it names none or its name is no valid one.
pub(crate) fn stream(identifier: Option<proto::StreamIdentifier>) -> Result<StreamName> {
    let missing = || Error::invalid("stream_identifier", "is missing");
    let name = identifier.ok_or_else(missing)?.stream_name;
    StreamName::new(text("stream_identifier", name)?)
}

/// The message that names a stream.
pub(crate) fn identifier(stream: StreamName) -> proto::StreamIdentifier {
    proto::StreamIdentifier {
        stream_name: stream.into_inner().into_bytes(),
    }
}

fn text(field: &'static str, bytes: Bytes) -> Result<ByteString> {
    ByteString::try_from(bytes).map_err(|_| Error::invalid(field, "is not UTF-8"))
}
