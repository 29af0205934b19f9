//! One position of the log as bytes inside a chunk. Knows nothing of compression, checksums or keys.
//!
//! ```text
//! varint  length of what follows
//! u8      kind: 1 = whole, 2 = erased, 3 = removed
//! u8      flags: 0x01 last of its append
//!
//! whole and erased
//!         further flags: 0x02 has created_at,
//!                        0x0c content type: 0x00 JSON, 0x04 octet-stream, 0x08 given as text
//!                        0x30 salt, whole only: 0x00 from the seed before, 0x10 seed, 0x20 its own
//! varint  revision
//! varint  zigzag(recorded_at - base time of the chunk), nanoseconds
//! varint  zigzag(created_at - recorded_at), only with 0x02
//! 16      event id
//! bytes   stream            (bytes = varint length, then the bytes)
//! bytes   event type
//! bytes   content type, only with 0x08
//!
//! whole
//! 16      seed or salt, only with 0x10 or 0x20
//! varint  number of tags, then bytes for each
//! bytes   metadata
//! ...     data, up to the end of the record
//!
//! erased
//! 32      payload hash
//!
//! removed
//!         further flags: 0x10 it has the seed of records after it
//! 16      seed, only with 0x10
//! 32      leaf hash
//! ```
//!
//! A seed is shared by the records after it in its chunk, which saves 16 random bytes each; the salt
//! of an event is derived from it and the position. What erases an event gives all others of its chunk
//! salts of their own and drops the seed. What removes one leaves the seed: the leaf hash covers also
//! the id and the times, of which nothing is left.

use crate::encoding::{Input, put_bytes, put_varint, unzigzag, zigzag};
use bytes::Bytes;
use bytestring::ByteString;
use icecore_core::{
    ContentType, EntryContent, EventType, Hash, Mark, Position, RecordedEvent, Revision, Salt,
    StreamName, Tag, Timestamp,
};
use uuid::Uuid;

const KIND_WHOLE: u8 = 1;
const KIND_ERASED: u8 = 2;
const KIND_REMOVED: u8 = 3;
const FLAG_END: u8 = 0x01;
const FLAG_CREATED_AT: u8 = 0x02;
const CONTENT_TYPE: u8 = 0x0c;
const CONTENT_TYPE_JSON: u8 = 0x00;
const CONTENT_TYPE_OCTETS: u8 = 0x04;
const CONTENT_TYPE_TEXT: u8 = 0x08;
const SALT: u8 = 0x30;
const SALT_FROM_SEED: u8 = 0x00;
const SALT_SEED: u8 = 0x10;
const SALT_OWN: u8 = 0x20;

/// What a record has besides the event's own fields, at most: lengths, numbers, id.
const OVERHEAD_BYTES_MAX: usize = 112;

/// What the record of a removed event takes at most.
pub(crate) const REMOVED_BYTES: usize = 51;

/// Where the salt of a whole event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Salting {
    /// Derived from the seed of a record before it in its chunk.
    FromSeed,
    /// Derived from this seed, which further records may share.
    Seed(Salt),
    /// Its own.
    Own(Salt),
}

/// What a record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    Whole(RecordedEvent, Salting),
    Erased(RecordedEvent, Hash),
    /// With the seed of records after it, if it has that.
    Removed(Hash, Option<Salt>),
}

/// Stored bytes that cannot be what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Damage(pub(crate) &'static str);

/// No less than the record of this event takes.
pub(crate) fn size_max(event: &RecordedEvent) -> usize {
    event.size() + OVERHEAD_BYTES_MAX + 2 * event.tags.len()
}

/// Appends a record. `scratch` is memory to work in.
pub(crate) fn encode(
    record: &Record,
    mark: Mark,
    base: Timestamp,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) {
    match record {
        Record::Whole(event, salting) => {
            return encode_event(event, *salting, mark, base, scratch, out);
        }
        Record::Erased(event, payload) => {
            scratch.clear();
            scratch.extend_from_slice(&[KIND_ERASED, end_flag(mark)]);
            put_header(event, base, scratch);
            scratch.extend_from_slice(&payload.0);
        }
        Record::Removed(leaf, seed) => {
            scratch.clear();
            let flag = seed.map_or(0, |_| SALT_SEED);
            scratch.extend_from_slice(&[KIND_REMOVED, end_flag(mark) | flag]);
            scratch.extend(seed.iter().flat_map(|seed| seed.0));
            scratch.extend_from_slice(&leaf.0);
        }
    }
    put_bytes(out, scratch);
}

/// Appends the record of a whole event, as [`encode`] does.
pub(crate) fn encode_event(
    event: &RecordedEvent,
    salting: Salting,
    mark: Mark,
    base: Timestamp,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) {
    let (salt_flag, salt) = match salting {
        Salting::FromSeed => (SALT_FROM_SEED, None),
        Salting::Seed(seed) => (SALT_SEED, Some(seed)),
        Salting::Own(salt) => (SALT_OWN, Some(salt)),
    };
    scratch.clear();
    scratch.extend_from_slice(&[KIND_WHOLE, end_flag(mark) | salt_flag]);
    put_header(event, base, scratch);
    if let Some(salt) = salt {
        scratch.extend_from_slice(&salt.0);
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

impl From<&EntryContent> for Record {
    /// The salt of a whole event is its own.
    fn from(content: &EntryContent) -> Self {
        match content {
            EntryContent::Whole { event, salt } => Self::Whole(event.clone(), Salting::Own(*salt)),
            EntryContent::Erased { event, payload } => Self::Erased(event.clone(), *payload),
            EntryContent::Removed { leaf } => Self::Removed(*leaf, None),
        }
    }
}

impl Record {
    /// No less than it takes.
    pub(crate) fn size_max(&self) -> usize {
        match self {
            Self::Whole(event, _) | Self::Erased(event, _) => size_max(event),
            Self::Removed(..) => REMOVED_BYTES,
        }
    }
}

fn end_flag(mark: Mark) -> u8 {
    match mark {
        Mark::Inner => 0,
        Mark::End => FLAG_END,
    }
}

/// What whole and erased events have in common, after kind and flags; adds its own flags.
fn put_header(event: &RecordedEvent, base: Timestamp, out: &mut Vec<u8>) {
    let content_type = content_type_flag(&event.content_type);
    out[1] |= content_type;
    put_varint(out, event.revision.get());
    let recorded = event.recorded_at.nanos();
    put_varint(out, zigzag(recorded.wrapping_sub(base.nanos())));
    if let Some(created_at) = event.created_at {
        out[1] |= FLAG_CREATED_AT;
        put_varint(out, zigzag(created_at.nanos().wrapping_sub(recorded)));
    }
    out.extend_from_slice(event.id.as_bytes());
    put_bytes(out, event.stream.as_str().as_bytes());
    put_bytes(out, event.event_type.as_str().as_bytes());
    if content_type == CONTENT_TYPE_TEXT {
        put_bytes(out, event.content_type.as_str().as_bytes());
    }
}

/// Whether a record (without its length) ends its append.
pub(crate) fn mark(record: &[u8]) -> Result<Mark, Damage> {
    match record {
        [KIND_WHOLE..=KIND_REMOVED, flags, ..] if flags & FLAG_END != 0 => Ok(Mark::End),
        [KIND_WHOLE..=KIND_REMOVED, _, ..] => Ok(Mark::Inner),
        _ => Err(UNKNOWN_KIND),
    }
}

/// Reads a record (without its length). All texts and payloads point into it.
pub(crate) fn decode(
    record: &Bytes,
    position: Position,
    base: Timestamp,
) -> Result<Record, Damage> {
    let mut fields = Fields {
        record,
        input: Input::new(record),
    };
    let [kind, flags] = fields.input.array().ok_or(SHORT)?;
    let known = match kind {
        KIND_WHOLE => FLAG_END | FLAG_CREATED_AT | CONTENT_TYPE | SALT,
        KIND_ERASED => FLAG_END | FLAG_CREATED_AT | CONTENT_TYPE,
        KIND_REMOVED => FLAG_END | SALT_SEED,
        _ => return Err(UNKNOWN_KIND),
    };
    if flags & !known != 0 {
        return Err(UNKNOWN_FLAGS);
    }
    if kind == KIND_REMOVED {
        let seed = match fields.salting(flags)? {
            Salting::Seed(seed) => Some(seed),
            _ => None,
        };
        return Ok(Record::Removed(fields.last_hash()?, seed));
    }
    let event = fields.header(flags, position, base)?;
    if kind == KIND_ERASED {
        return Ok(Record::Erased(event.into_erased(), fields.last_hash()?));
    }
    let salting = fields.salting(flags)?;
    let event = RecordedEvent {
        tags: fields.tags()?,
        metadata: fields.bytes()?,
        data: record.slice(record.len() - fields.input.remaining()..),
        ..event
    };
    Ok(Record::Whole(event, salting))
}

const UNKNOWN_KIND: Damage = Damage("a record of an unknown kind");
const UNKNOWN_FLAGS: Damage = Damage("a record with unknown flags");
const SHORT: Damage = Damage("a record is cut off");
const INVALID: Damage = Damage("a record with an invalid text");

struct Fields<'a> {
    record: &'a Bytes,
    input: Input<'a>,
}

impl Fields<'_> {
    /// What whole and erased events have in common; the rest is empty.
    fn header(
        &mut self,
        flags: u8,
        position: Position,
        base: Timestamp,
    ) -> Result<RecordedEvent, Damage> {
        let revision = Revision::new(self.input.varint().ok_or(SHORT)?);
        let recorded_at = self.time(base)?;
        let created_at = if flags & FLAG_CREATED_AT == 0 {
            None
        } else {
            Some(self.time(recorded_at)?)
        };
        let id = Uuid::from_bytes(self.input.array().ok_or(SHORT)?);
        let stream = StreamName::derived(self.text()?).map_err(|_| INVALID)?;
        let event_type = EventType::new(self.text()?).map_err(|_| INVALID)?;
        let content_type = match flags & CONTENT_TYPE {
            CONTENT_TYPE_JSON => ContentType::JSON,
            CONTENT_TYPE_OCTETS => ContentType::OCTET_STREAM,
            CONTENT_TYPE_TEXT => ContentType::new(self.text()?).map_err(|_| INVALID)?,
            _ => return Err(UNKNOWN_FLAGS),
        };
        Ok(RecordedEvent {
            stream,
            revision,
            position,
            id,
            event_type,
            content_type,
            data: Bytes::new(),
            metadata: Bytes::new(),
            tags: Vec::new(),
            recorded_at,
            created_at,
            erased: false,
        })
    }

    fn salting(&mut self, flags: u8) -> Result<Salting, Damage> {
        let mut salt = || self.input.array().map(Salt).ok_or(SHORT);
        match flags & SALT {
            SALT_FROM_SEED => Ok(Salting::FromSeed),
            SALT_SEED => salt().map(Salting::Seed),
            SALT_OWN => salt().map(Salting::Own),
            _ => Err(UNKNOWN_FLAGS),
        }
    }

    /// A hash that ends the record.
    fn last_hash(&mut self) -> Result<Hash, Damage> {
        let hash = self.input.array().map(Hash).ok_or(SHORT)?;
        if self.input.is_empty() {
            Ok(hash)
        } else {
            Err(Damage("a record is too long"))
        }
    }

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
