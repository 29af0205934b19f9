//! Answers full of events, encoded by hand: straight from the events, without a message built of them
//! first, and only once where many subscribers get the same. Decoding goes through the generated
//! messages; a test holds both to the same bytes.

use crate::field::store_id_bytes;
use crate::{ReadMessage, proto};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use icecore_core::{Delivery, RecordedEvent, SubscriptionMessage};
use prost::DecodeError;
use prost::Message;
use prost::encoding::{
    DecodeContext, WireType, encode_key, encode_varint, encoded_len_varint, key_len, skip_field,
};

/// An answer as it goes over the wire. What servers send; clients read the generated message.
#[derive(Clone, Debug, Default)]
pub struct Encoded(Bytes);

/// Numbers of fields, as they stand in `streams.proto`.
const READ_STORE_ID: u32 = 1;
const READ_LAST_POSITION: u32 = 2;
const READ_EVENTS: u32 = 3;
const SUBSCRIBE_EVENTS: u32 = 2;
const EVENTS_EVENTS: u32 = 1;

impl From<ReadMessage> for Encoded {
    fn from(message: ReadMessage) -> Self {
        let ReadMessage { store_id, batch } = message;
        let store_id = store_id.map(store_id_bytes).unwrap_or_default();
        let last_position = batch.last_position.get();
        let head_bytes =
            bytes_len(READ_STORE_ID, &store_id) + varint_len(READ_LAST_POSITION, last_position);
        let events_bytes = events_len(READ_EVENTS, &batch.events);
        let mut encoded = BytesMut::with_capacity(head_bytes + events_bytes);
        put_bytes(READ_STORE_ID, &store_id, &mut encoded);
        put_varint(READ_LAST_POSITION, last_position, &mut encoded);
        put_events(READ_EVENTS, &batch.events, &mut encoded);
        Self(encoded.freeze())
    }
}

impl From<SubscriptionMessage> for Encoded {
    fn from(message: SubscriptionMessage) -> Self {
        match message {
            SubscriptionMessage::Events(events) => events_message(&[&encode_events(&events)]),
            other => Self(proto::SubscribeResponse::from(other).encode_to_vec().into()),
        }
    }
}

impl From<Delivery> for Encoded {
    fn from(delivery: Delivery) -> Self {
        match delivery {
            Delivery::Own(message) => message.into(),
            Delivery::Shared(appends) => {
                let parts = appends.iter().map(|events| events.encoded(encode_events));
                events_message(&parts.collect::<Vec<_>>())
            }
        }
    }
}

/// `SubscribeResponse` with these parts of an `Events`.
fn events_message(parts: &[&Bytes]) -> Encoded {
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    let head_bytes = key_len(SUBSCRIBE_EVENTS) + encoded_len_varint(bytes as u64);
    let mut encoded = BytesMut::with_capacity(head_bytes + bytes);
    put_head(SUBSCRIBE_EVENTS, bytes, &mut encoded);
    for part in parts {
        encoded.put_slice(part);
    }
    Encoded(encoded.freeze())
}

/// A part of an `Events`.
fn encode_events(events: &[RecordedEvent]) -> Bytes {
    let mut encoded = BytesMut::with_capacity(events_len(EVENTS_EVENTS, events));
    put_events(EVENTS_EVENTS, events, &mut encoded);
    encoded.freeze()
}

fn events_len(tag: u32, events: &[RecordedEvent]) -> usize {
    let bytes = events.iter().map(|event| {
        let bytes = event_len(event);
        key_len(tag) + encoded_len_varint(bytes as u64) + bytes
    });
    bytes.sum()
}

fn put_events(tag: u32, events: &[RecordedEvent], encoded: &mut BytesMut) {
    for event in events {
        put_head(tag, event_len(event), encoded);
        put_event(event, encoded);
    }
}

/// The media type, which is left out where it is the usual one.
fn content_type(event: &RecordedEvent) -> &[u8] {
    if event.content_type.is_json() {
        &[]
    } else {
        event.content_type.as_str().as_bytes()
    }
}

/// Bytes of a `RecordedEvent`; field by field as [`put_event`] writes it.
fn event_len(event: &RecordedEvent) -> usize {
    let tags = event.tags.iter();
    let created_at_bytes = match event.created_at {
        Some(_) => key_len(11) + size_of::<i64>(),
        None => 0,
    };
    bytes_len(1, event.stream.as_str().as_bytes())
        + varint_len(2, event.revision.get())
        + varint_len(3, event.position.get())
        + bytes_len(4, event.id.as_bytes())
        + bytes_len(5, event.event_type.as_str().as_bytes())
        + bytes_len(6, content_type(event))
        + bytes_len(7, &event.data)
        + bytes_len(8, &event.metadata)
        + tags
            .map(|tag| whole_len(9, tag.as_str().len()))
            .sum::<usize>()
        + fixed_len(10, event.recorded_at.nanos())
        + created_at_bytes
        + varint_len(12, event.erased.into())
}

fn put_event(event: &RecordedEvent, encoded: &mut BytesMut) {
    put_bytes(1, event.stream.as_str().as_bytes(), encoded);
    put_varint(2, event.revision.get(), encoded);
    put_varint(3, event.position.get(), encoded);
    put_bytes(4, event.id.as_bytes(), encoded);
    put_bytes(5, event.event_type.as_str().as_bytes(), encoded);
    put_bytes(6, content_type(event), encoded);
    put_bytes(7, &event.data, encoded);
    put_bytes(8, &event.metadata, encoded);
    for tag in &event.tags {
        put_head(9, tag.as_str().len(), encoded);
        encoded.put_slice(tag.as_str().as_bytes());
    }
    if event.recorded_at.nanos() != 0 {
        put_fixed(10, event.recorded_at.nanos(), encoded);
    }
    if let Some(created_at) = event.created_at {
        put_fixed(11, created_at.nanos(), encoded);
    }
    put_varint(12, event.erased.into(), encoded);
}

/// Key and length of what follows.
fn put_head(tag: u32, bytes: usize, encoded: &mut BytesMut) {
    encode_key(tag, WireType::LengthDelimited, encoded);
    encode_varint(bytes as u64, encoded);
}

/// A field with its key, whatever its value.
fn whole_len(tag: u32, bytes: usize) -> usize {
    key_len(tag) + encoded_len_varint(bytes as u64) + bytes
}

fn bytes_len(tag: u32, value: &[u8]) -> usize {
    if value.is_empty() {
        0
    } else {
        whole_len(tag, value.len())
    }
}

/// Left out when it is empty, as every field of its kind.
fn put_bytes(tag: u32, value: &[u8], encoded: &mut BytesMut) {
    if !value.is_empty() {
        put_head(tag, value.len(), encoded);
        encoded.put_slice(value);
    }
}

fn varint_len(tag: u32, value: u64) -> usize {
    if value == 0 {
        0
    } else {
        key_len(tag) + encoded_len_varint(value)
    }
}

/// Left out when it is 0.
fn put_varint(tag: u32, value: u64, encoded: &mut BytesMut) {
    if value != 0 {
        encode_key(tag, WireType::Varint, encoded);
        encode_varint(value, encoded);
    }
}

fn fixed_len(tag: u32, value: i64) -> usize {
    if value == 0 {
        0
    } else {
        key_len(tag) + size_of::<i64>()
    }
}

fn put_fixed(tag: u32, value: i64, encoded: &mut BytesMut) {
    encode_key(tag, WireType::SixtyFourBit, encoded);
    encoded.put_i64_le(value);
}

impl Message for Encoded {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        buffer.put_slice(&self.0);
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
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}
