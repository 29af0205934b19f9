//! One event as bytes inside a chunk. Knows nothing of compression, checksums or keys.
//!
//! ```text
//! varint  length of what follows
//! u8      kind: 1 = whole (2 = erased and 3 = removed are reserved)
//! u8      flags: 0x01 last of its append, 0x02 has created_at,
//!                0x0c content type: 0x00 JSON, 0x04 octet-stream, 0x08 given as text
//! varint  revision
//! varint  zigzag(recorded_at - base time of the chunk), nanoseconds
//! varint  zigzag(created_at - recorded_at), only with 0x02
//! 16      event id
//! bytes   stream            (bytes = varint length, then the bytes)
//! bytes   event type
//! bytes   content type, only with 0x08
//! varint  number of tags, then bytes for each
//! bytes   metadata
//! ...     data, up to the end of the record
//! ```

use crate::encoding::{Input, put_bytes, put_varint, unzigzag, zigzag};
use bytes::Bytes;
use bytestring::ByteString;
use icecore_core::{
    ContentType, EventType, Position, RecordedEvent, Revision, StreamName, Tag, Timestamp,
};
use uuid::Uuid;

const KIND_WHOLE: u8 = 1;
const FLAG_END: u8 = 0x01;
const FLAG_CREATED_AT: u8 = 0x02;
const CONTENT_TYPE: u8 = 0x0c;
const CONTENT_TYPE_JSON: u8 = 0x00;
const CONTENT_TYPE_OCTETS: u8 = 0x04;
const CONTENT_TYPE_TEXT: u8 = 0x08;

/// What a record has besides the event's own fields, at most: lengths, numbers, id.
const OVERHEAD_BYTES_MAX: usize = 96;

/// Where an event stands in its append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// More events of the same append follow.
    Inner,
    /// The append is whole with this event.
    End,
}

/// Stored bytes that cannot be what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Damage(pub(crate) &'static str);

/// No less than the record of this event takes.
pub(crate) fn size_max(event: &RecordedEvent) -> usize {
    event.size() + OVERHEAD_BYTES_MAX + 2 * event.tags.len()
}

/// Appends the record of an event. `scratch` is memory to work in.
pub(crate) fn encode(
    event: &RecordedEvent,
    mark: Mark,
    base: Timestamp,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) {
    scratch.clear();
    let content_type = content_type_flag(&event.content_type);
    let mut flags = content_type;
    if mark == Mark::End {
        flags |= FLAG_END;
    }
    if event.created_at.is_some() {
        flags |= FLAG_CREATED_AT;
    }
    scratch.extend_from_slice(&[KIND_WHOLE, flags]);
    put_varint(scratch, event.revision.get());
    let recorded = event.recorded_at.nanos();
    put_varint(scratch, zigzag(recorded.wrapping_sub(base.nanos())));
    if let Some(created_at) = event.created_at {
        put_varint(scratch, zigzag(created_at.nanos().wrapping_sub(recorded)));
    }
    scratch.extend_from_slice(event.id.as_bytes());
    put_bytes(scratch, event.stream.as_str().as_bytes());
    put_bytes(scratch, event.event_type.as_str().as_bytes());
    if content_type == CONTENT_TYPE_TEXT {
        put_bytes(scratch, event.content_type.as_str().as_bytes());
    }
    put_varint(scratch, event.tags.len() as u64);
    for tag in &event.tags {
        put_bytes(scratch, tag.as_str().as_bytes());
    }
    put_bytes(scratch, &event.metadata);
    put_varint(out, (scratch.len() + event.data.len()) as u64);
    out.extend_from_slice(scratch);
    out.extend_from_slice(&event.data);
}

/// Whether a record (without its length) ends its append.
pub(crate) fn mark(record: &[u8]) -> Result<Mark, Damage> {
    match record {
        [KIND_WHOLE, flags, ..] if flags & FLAG_END != 0 => Ok(Mark::End),
        [KIND_WHOLE, _, ..] => Ok(Mark::Inner),
        _ => Err(Damage("a record of an unknown kind")),
    }
}

/// Reads a record (without its length). All texts and payloads point into it.
pub(crate) fn decode(
    record: &Bytes,
    position: Position,
    base: Timestamp,
) -> Result<RecordedEvent, Damage> {
    let mut fields = Fields {
        record,
        input: Input::new(record),
    };
    let [kind, flags] = fields.input.array().ok_or(SHORT)?;
    if kind != KIND_WHOLE {
        return Err(Damage("a record of an unknown kind"));
    }
    if flags & !(FLAG_END | FLAG_CREATED_AT | CONTENT_TYPE) != 0 {
        return Err(Damage("a record with unknown flags"));
    }
    let revision = Revision::new(fields.input.varint().ok_or(SHORT)?);
    let recorded_at = fields.time(base)?;
    let created_at = if flags & FLAG_CREATED_AT == 0 {
        None
    } else {
        Some(fields.time(recorded_at)?)
    };
    let id = Uuid::from_bytes(fields.input.array().ok_or(SHORT)?);
    let stream = StreamName::derived(fields.text()?).map_err(|_| INVALID)?;
    let event_type = EventType::new(fields.text()?).map_err(|_| INVALID)?;
    let content_type = match flags & CONTENT_TYPE {
        CONTENT_TYPE_JSON => ContentType::JSON,
        CONTENT_TYPE_OCTETS => ContentType::OCTET_STREAM,
        CONTENT_TYPE_TEXT => ContentType::new(fields.text()?).map_err(|_| INVALID)?,
        _ => return Err(Damage("a record with unknown flags")),
    };
    let tags = fields.tags()?;
    let metadata = fields.bytes()?;
    let data = record.slice(record.len() - fields.input.remaining()..);
    Ok(RecordedEvent {
        stream,
        revision,
        position,
        id,
        event_type,
        content_type,
        data,
        metadata,
        tags,
        recorded_at,
        created_at,
    })
}

const SHORT: Damage = Damage("a record is cut off");
const INVALID: Damage = Damage("a record with an invalid text");

struct Fields<'a> {
    record: &'a Bytes,
    input: Input<'a>,
}

impl Fields<'_> {
    fn bytes(&mut self) -> Result<Bytes, Damage> {
        let bytes = self.input.bytes().ok_or(SHORT)?;
        Ok(if bytes.is_empty() {
            Bytes::new()
        } else {
            self.record.slice_ref(bytes)
        })
    }

    fn text(&mut self) -> Result<ByteString, Damage> {
        ByteString::try_from(self.bytes()?).map_err(|_| INVALID)
    }

    fn time(&mut self, base: Timestamp) -> Result<Timestamp, Damage> {
        let delta = unzigzag(self.input.varint().ok_or(SHORT)?);
        Ok(Timestamp::from_nanos(base.nanos().wrapping_add(delta)))
    }

    fn tags(&mut self) -> Result<Vec<Tag>, Damage> {
        let count = self
            .input
            .count()
            .filter(|count| *count <= self.input.remaining())
            .ok_or(SHORT)?;
        let mut tags = Vec::with_capacity(count);
        for _ in 0..count {
            tags.push(Tag::new(self.text()?).map_err(|_| INVALID)?);
        }
        Ok(tags)
    }
}

fn content_type_flag(content_type: &ContentType) -> u8 {
    if content_type.is_json() {
        CONTENT_TYPE_JSON
    } else if *content_type == ContentType::OCTET_STREAM {
        CONTENT_TYPE_OCTETS
    } else {
        CONTENT_TYPE_TEXT
    }
}
