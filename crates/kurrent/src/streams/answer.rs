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
mod tests {
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
}
