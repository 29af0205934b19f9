//! `ReadResp`, encoded by hand: there is one for each event, so it is written straight from the event into
//! the buffer of the connection. Decoding goes through the generated messages; a test holds both to the
//! same.

use crate::id::{IdForm, halves};
use crate::proto::event_store::client::streams::{ReadResp, read_resp};
use crate::tags;
use crate::ticks::{Decimal, ticks};
use bytes::{Buf, BufMut, Bytes};
use icecore_core::RecordedEvent;
use icecore_eventstore::Resolved;
use prost::encoding::{
    DecodeContext, WireType, encode_key, encode_varint, encoded_len_varint, key_len, skip_field,
};
use prost::{DecodeError, Message};

/// Numbers of fields, as they stand in `streams.proto`.
mod tag {
    pub(super) const RESPONSE_EVENT: u32 = 1;
    pub(super) const EVENT: u32 = 1;
    pub(super) const LINK: u32 = 2;
    pub(super) const EVENT_COMMIT_POSITION: u32 = 3;
    pub(super) const ID: u32 = 1;
    pub(super) const STREAM: u32 = 2;
    pub(super) const REVISION: u32 = 3;
    pub(super) const PREPARE_POSITION: u32 = 4;
    pub(super) const COMMIT_POSITION: u32 = 5;
    pub(super) const METADATA: u32 = 6;
    pub(super) const CUSTOM_METADATA: u32 = 7;
    pub(super) const DATA: u32 = 8;
    pub(super) const ID_STRUCTURED: u32 = 1;
    pub(super) const ID_TEXT: u32 = 2;
    pub(super) const STREAM_NAME: u32 = 3;
    pub(super) const KEY: u32 = 1;
    pub(super) const VALUE: u32 = 2;
}

/// Length of an id as text.
const ID_TEXT_BYTES: usize = 36;

/// One message of an answer to `Read`, as it goes over the wire.
#[derive(Debug, Default)]
pub(crate) struct ReadAnswer(Content);

#[derive(Debug)]
enum Content {
    /// What happens once or now and then.
    Other(Box<ReadResp>),
    /// What happens all the time.
    Event(Box<Found>),
}

impl Default for Content {
    fn default() -> Self {
        Self::Other(Box::default())
    }
}

/// An event, and the link through which it was found.
#[derive(Debug)]
struct Found {
    event: Option<Recorded>,
    link: Option<Recorded>,
    position: u64,
    /// Encoded length of the whole.
    bytes: usize,
}

impl From<read_resp::Content> for ReadAnswer {
    fn from(content: read_resp::Content) -> Self {
        let content = Some(content);
        Self(Content::Other(Box::new(ReadResp { content })))
    }
}

impl ReadAnswer {
    /// An event as it was found. The position is that of the link, if there is one.
    pub(super) fn found(resolved: Resolved, ids: IdForm) -> Self {
        let Resolved { event, link } = resolved;
        let place = link.as_ref().or(event.as_ref());
        let position = place.map_or(0, |event| event.position.get());
        let event = event.map(|event| Recorded::new(event, ids));
        let link = link.map(|link| Recorded::new(link, ids));
        let mut found = Found {
            event,
            link,
            position,
            bytes: 0,
        };
        found.bytes = found.len();
        Self(Content::Event(Box::new(found)))
    }
}

impl Found {
    fn len(&self) -> usize {
        let recorded = |tag, recorded: &Option<Recorded>| match recorded {
            Some(recorded) => whole_len(tag, recorded.bytes),
            None => 0,
        };
        recorded(tag::EVENT, &self.event)
            + recorded(tag::LINK, &self.link)
            + key_len(tag::EVENT_COMMIT_POSITION)
            + encoded_len_varint(self.position)
    }

    fn put(&self, buffer: &mut impl BufMut) {
        for (tag, recorded) in [(tag::EVENT, &self.event), (tag::LINK, &self.link)] {
            if let Some(recorded) = recorded {
                put_head(tag, recorded.bytes, buffer);
                recorded.put(buffer);
            }
        }
        // It is one of a choice, so it is there also when it is 0.
        encode_key(tag::EVENT_COMMIT_POSITION, WireType::Varint, buffer);
        encode_varint(self.position, buffer);
    }
}

/// `RecordedEvent`: an event with what has to be made of it first.
#[derive(Debug)]
struct Recorded {
    event: RecordedEvent,
    ids: IdForm,
    custom_metadata: Bytes,
    created: Decimal,
    /// Encoded length.
    bytes: usize,
}

impl Recorded {
    fn new(event: RecordedEvent, ids: IdForm) -> Self {
        let mut recorded = Self {
            custom_metadata: tags::put_in(&event.metadata, &event.tags),
            created: Decimal::new(ticks(event.recorded_at)),
            ids,
            event,
            bytes: 0,
        };
        recorded.bytes = recorded.len();
        recorded
    }

    /// What every event says of itself. Of content types these clients know two.
    fn metadata(&self) -> [(&[u8], &[u8]); 3] {
        let content_type: &[u8] = if self.event.content_type.is_json() {
            b"application/json"
        } else {
            b"application/octet-stream"
        };
        [
            (b"type", self.event.event_type.as_str().as_bytes()),
            (b"created", self.created.as_bytes()),
            (b"content-type", content_type),
        ]
    }

    fn id_len(&self) -> usize {
        match self.ids {
            IdForm::Text => whole_len(tag::ID_TEXT, ID_TEXT_BYTES),
            IdForm::Structured => {
                whole_len(tag::ID_STRUCTURED, halves(self.event.id).encoded_len())
            }
        }
    }

    fn len(&self) -> usize {
        let event = &self.event;
        let metadata = self.metadata();
        let entries = metadata.iter().map(|(key, value)| {
            let entry = entry_len(key, value);
            whole_len(tag::METADATA, entry)
        });
        whole_len(tag::ID, self.id_len())
            + whole_len(
                tag::STREAM,
                whole_len(tag::STREAM_NAME, event.stream.as_str().len()),
            )
            + varint_len(tag::REVISION, event.revision.get())
            + varint_len(tag::PREPARE_POSITION, event.position.get())
            + varint_len(tag::COMMIT_POSITION, event.position.get())
            + entries.sum::<usize>()
            + bytes_len(tag::CUSTOM_METADATA, &self.custom_metadata)
            + bytes_len(tag::DATA, &event.data)
    }

    fn put(&self, buffer: &mut impl BufMut) {
        let event = &self.event;
        put_head(tag::ID, self.id_len(), buffer);
        match self.ids {
            IdForm::Text => {
                let mut text = [0; ID_TEXT_BYTES];
                event.id.hyphenated().encode_lower(&mut text);
                put_whole(tag::ID_TEXT, &text, buffer);
            }
            IdForm::Structured => {
                let halves = halves(event.id);
                put_head(tag::ID_STRUCTURED, halves.encoded_len(), buffer);
                halves.encode_raw(buffer);
            }
        }
        let stream = event.stream.as_str().as_bytes();
        put_head(
            tag::STREAM,
            whole_len(tag::STREAM_NAME, stream.len()),
            buffer,
        );
        put_whole(tag::STREAM_NAME, stream, buffer);
        put_varint(tag::REVISION, event.revision.get(), buffer);
        put_varint(tag::PREPARE_POSITION, event.position.get(), buffer);
        put_varint(tag::COMMIT_POSITION, event.position.get(), buffer);
        for (key, value) in self.metadata() {
            put_head(tag::METADATA, entry_len(key, value), buffer);
            put_whole(tag::KEY, key, buffer);
            put_whole(tag::VALUE, value, buffer);
        }
        put_bytes(tag::CUSTOM_METADATA, &self.custom_metadata, buffer);
        put_bytes(tag::DATA, &event.data, buffer);
    }
}

/// Length of an entry of a map.
fn entry_len(key: &[u8], value: &[u8]) -> usize {
    whole_len(tag::KEY, key.len()) + whole_len(tag::VALUE, value.len())
}

/// A field with its key, whatever its value.
fn whole_len(tag: u32, bytes: usize) -> usize {
    key_len(tag) + encoded_len_varint(bytes as u64) + bytes
}

/// Key and length of what follows.
fn put_head(tag: u32, bytes: usize, buffer: &mut impl BufMut) {
    encode_key(tag, WireType::LengthDelimited, buffer);
    encode_varint(bytes as u64, buffer);
}

fn put_whole(tag: u32, value: &[u8], buffer: &mut impl BufMut) {
    put_head(tag, value.len(), buffer);
    buffer.put_slice(value);
}

/// Left out when it is empty, as every field of its kind.
fn bytes_len(tag: u32, value: &[u8]) -> usize {
    if value.is_empty() {
        0
    } else {
        whole_len(tag, value.len())
    }
}

fn put_bytes(tag: u32, value: &[u8], buffer: &mut impl BufMut) {
    if !value.is_empty() {
        put_whole(tag, value, buffer);
    }
}

/// Left out when it is 0.
fn varint_len(tag: u32, value: u64) -> usize {
    if value == 0 {
        0
    } else {
        key_len(tag) + encoded_len_varint(value)
    }
}

fn put_varint(tag: u32, value: u64, buffer: &mut impl BufMut) {
    if value != 0 {
        encode_key(tag, WireType::Varint, buffer);
        encode_varint(value, buffer);
    }
}

impl Message for ReadAnswer {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        match &self.0 {
            Content::Other(message) => message.encode_raw(buffer),
            Content::Event(found) => {
                put_head(tag::RESPONSE_EVENT, found.bytes, buffer);
                found.put(buffer);
            }
        }
    }

    /// A server decodes no answers; what comes is passed over.
    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        skip_field(wire_type, tag, buffer, context)
    }

    fn encoded_len(&self) -> usize {
        match &self.0 {
            Content::Other(message) => message.encoded_len(),
            Content::Event(found) => whole_len(tag::RESPONSE_EVENT, found.bytes),
        }
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests;
