//! Chunks: some consecutive events as one compressed, checksummed unit. A large chunk is cut into
//! parts, each a value of its own, so that a scanner finds parts in a raw file without sled.
//!
//! ```text
//! part (all numbers big-endian)
//!  0  4  magic "ICEK"
//!  4  1  format
//!  5  1  codec: 0 = as it is, 1 = LZ4 block
//!  6  2  part, from 0
//!  8  2  number of parts
//! 10 16  store id
//! 26  4  generation: which opening of the store wrote these events
//! 30  8  first position
//! 38  4  number of records
//! 42  8  base time, nanoseconds since 1970
//! 50  4  length of the chunk before compression
//! 54  4  length of this part's payload
//! 58  4  CRC32C of bytes 0..58 and the payload
//! 62 ..  payload: this part of the compressed records
//! ```
//!
//! The generation never decreases along positions. It tells a scanner of the raw file which of two
//! chunks of one position counts: an opening may cut the end of an append that was never finished and
//! use its positions again. What rewrites a chunk keeps its generation.

use crate::directory::FORMAT;
use crate::encoding::Input;
use crate::record::{self, Damage, Record, Salting};
use bytes::Bytes;
use icecore_core::{
    EntryContent, LogEntry, Mark, Position, RecordedEvent, Salt, StoreId, Timestamp,
};
use uuid::Uuid;

pub(crate) const MAGIC: [u8; 4] = *b"ICEK";
pub(crate) const HEADER_BYTES: usize = 62;
const CHECKED_BYTES: usize = 58;
const CODEC_NONE: u8 = 0;
const CODEC_LZ4: u8 = 1;

/// Nothing that was ever written is larger; a length beyond it is not worth an allocation.
const RAW_BYTES_MAX: usize = 256 * 1_024 * 1_024;

/// Takes events and makes chunks of them.
#[derive(Debug)]
pub(crate) struct ChunkBuilder {
    first: u64,
    base: Timestamp,
    generation: u32,
    /// A record with a seed is in it.
    seeded: bool,
    count: u32,
    raw: Vec<u8>,
    bounds: Vec<(u32, u32)>,
}

impl ChunkBuilder {
    /// A chunk that begins at `first`; `base` is about the time of its events.
    pub(crate) fn new(first: Position, base: Timestamp, generation: u32) -> Self {
        Self {
            first: first.get(),
            base,
            generation,
            seeded: false,
            count: 0,
            raw: Vec::new(),
            bounds: Vec::new(),
        }
    }

    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Bytes before compression.
    pub(crate) fn raw_len(&self) -> usize {
        self.raw.len()
    }

    /// Adds the next event; the first one that is new gets a seed for the salts of all.
    pub(crate) fn push(
        &mut self,
        event: &RecordedEvent,
        mark: Mark,
        new_seed: impl FnOnce() -> Salt,
        scratch: &mut Vec<u8>,
    ) {
        let salting = if self.seeded {
            Salting::FromSeed
        } else {
            Salting::Seed(new_seed())
        };
        self.seeded = true;
        record::encode_event(event, salting, mark, self.base, scratch, &mut self.raw);
        self.end_record(scratch.len() + event.data.len());
    }

    /// Adds the next record. Its times are told by this chunk's base.
    pub(crate) fn push_record(&mut self, record: &Record, mark: Mark, scratch: &mut Vec<u8>) {
        let before = self.raw.len();
        record::encode(record, mark, self.base, scratch, &mut self.raw);
        let length = Input::new(&self.raw[before..]).count();
        self.end_record(length.expect("a record begins with its length"));
        self.seeded |= matches!(
            record,
            Record::Whole(_, Salting::Seed(_)) | Record::Removed(_, Some(_))
        );
    }

    fn end_record(&mut self, length: usize) {
        let end = self.raw.len();
        self.bounds.push((offset(end - length), offset(end)));
        self.count += 1;
    }

    /// What readers get of it as it is now.
    pub(crate) fn snapshot(&self) -> Chunk {
        Chunk {
            first: self.first,
            base: self.base,
            generation: self.generation,
            raw: Bytes::copy_from_slice(&self.raw),
            bounds: self.bounds.clone(),
        }
    }

    /// The finished chunk for readers.
    pub(crate) fn into_chunk(mut self) -> Chunk {
        self.raw.shrink_to_fit();
        self.bounds.shrink_to_fit();
        Chunk {
            first: self.first,
            base: self.base,
            generation: self.generation,
            raw: self.raw.into(),
            bounds: self.bounds,
        }
    }

    /// The values that are stored, each of at most `value_bytes_max` bytes.
    pub(crate) fn encode(&self, store_id: StoreId, value_bytes_max: usize) -> Vec<Vec<u8>> {
        let compressed = lz4_flex::block::compress(&self.raw);
        let (codec, stored) = if compressed.len() < self.raw.len() {
            (CODEC_LZ4, &compressed)
        } else {
            (CODEC_NONE, &self.raw)
        };
        let payloads = stored.chunks(value_bytes_max - HEADER_BYTES);
        let parts = u16::try_from(payloads.len()).expect("an event fits 65,535 parts");
        let header = Header {
            codec,
            part: 0,
            parts,
            store_id,
            generation: self.generation,
            first: self.first,
            count: self.count,
            base: self.base,
            raw_len: offset(self.raw.len()),
        };
        let part = |(part, payload)| Header { part, ..header }.encode(payload);
        (0..).zip(payloads).map(part).collect()
    }
}

/// Chunks are far below 4 GiB: an append is at most 64 MiB.
fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("chunks are smaller than 4 GiB")
}

/// What stands before the payload of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    codec: u8,
    pub(crate) part: u16,
    pub(crate) parts: u16,
    store_id: StoreId,
    pub(crate) generation: u32,
    pub(crate) first: u64,
    pub(crate) count: u32,
    base: Timestamp,
    raw_len: u32,
}

impl Header {
    fn encode(self, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES + payload.len());
        out.extend_from_slice(&MAGIC);
        out.push(FORMAT);
        out.push(self.codec);
        out.extend_from_slice(&self.part.to_be_bytes());
        out.extend_from_slice(&self.parts.to_be_bytes());
        out.extend_from_slice(self.store_id.get().as_bytes());
        out.extend_from_slice(&self.generation.to_be_bytes());
        out.extend_from_slice(&self.first.to_be_bytes());
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(&self.base.nanos().to_be_bytes());
        out.extend_from_slice(&self.raw_len.to_be_bytes());
        out.extend_from_slice(&offset(payload.len()).to_be_bytes());
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&out), payload);
        out.extend_from_slice(&checksum.to_be_bytes());
        out.extend_from_slice(payload);
        out
    }

    /// Checks a stored part by itself.
    pub(crate) fn decode(value: &[u8], store_id: StoreId) -> Result<(Self, &[u8]), Damage> {
        const SHORT: Damage = Damage("a chunk is cut off");
        let mut input = Input::new(value);
        if input.array() != Some(MAGIC) {
            return Err(Damage("a chunk does not begin with its magic"));
        }
        let format = input.u8().ok_or(SHORT)?;
        let codec = input.u8().ok_or(SHORT)?;
        let part = input.u16().ok_or(SHORT)?;
        let parts = input.u16().ok_or(SHORT)?;
        let id = StoreId::new(Uuid::from_bytes(input.array().ok_or(SHORT)?));
        let generation = input.u32().ok_or(SHORT)?;
        let first = input.u64().ok_or(SHORT)?;
        let count = input.u32().ok_or(SHORT)?;
        let base = Timestamp::from_nanos(input.u64().ok_or(SHORT)?.cast_signed());
        let raw_len = input.u32().ok_or(SHORT)?;
        let payload_len = input.u32().ok_or(SHORT)?;
        let checksum = input.u32().ok_or(SHORT)?;
        let payload = &value[HEADER_BYTES..];
        let found = crc32c::crc32c_append(crc32c::crc32c(&value[..CHECKED_BYTES]), payload);
        if found != checksum || payload.len() != payload_len as usize {
            return Err(Damage("a chunk does not match its checksum"));
        }
        if format != FORMAT {
            return Err(Damage("a chunk of another format"));
        }
        if id != store_id {
            return Err(Damage("a chunk of another store"));
        }
        // There is no position 0, and the next one must be a number too.
        let has_positions = first > 0 && first.checked_add(count.into()).is_some();
        if raw_len as usize > RAW_BYTES_MAX || part >= parts || !has_positions {
            return Err(Damage("a chunk with an impossible header"));
        }
        Ok((
            Self {
                codec,
                part,
                parts,
                store_id,
                generation,
                first,
                count,
                base,
                raw_len,
            },
            payload,
        ))
    }

    /// How many parts the chunk has, told by its first part.
    pub(crate) fn parts_of(value: &[u8], store_id: StoreId) -> Result<u16, Damage> {
        Self::decode(value, store_id).map(|(header, _)| header.parts)
    }
}

/// A chunk in memory, checked and decompressed. Events are read from it one by one.
#[derive(Debug)]
pub(crate) struct Chunk {
    first: u64,
    base: Timestamp,
    generation: u32,
    raw: Bytes,
    /// Start and end of each record, without its length.
    bounds: Vec<(u32, u32)>,
}

impl Chunk {
    /// Reads a chunk from all of its parts.
    pub(crate) fn decode<V: AsRef<[u8]>>(
        parts: &[V],
        store_id: StoreId,
        first: u64,
    ) -> Result<Self, Damage> {
        let (head, mut payload) = Header::decode(
            parts.first().ok_or(Damage("a chunk has no part"))?.as_ref(),
            store_id,
        )?;
        if head.first != first {
            return Err(Damage("a chunk stands at the wrong position"));
        }
        if usize::from(head.parts) != parts.len() || head.part != 0 {
            return Err(Damage("a chunk lacks a part"));
        }
        let mut joined = Vec::new();
        if parts.len() > 1 {
            joined.extend_from_slice(payload);
            for (number, part) in (1..).zip(&parts[1..]) {
                let (header, payload) = Header::decode(part.as_ref(), store_id)?;
                if header
                    != (Header {
                        part: number,
                        ..head
                    })
                {
                    return Err(Damage("a part belongs to another chunk"));
                }
                joined.extend_from_slice(payload);
            }
            payload = &joined;
        }
        let raw = decompress(head.codec, payload, head.raw_len as usize)?;
        let bounds = record_bounds(&raw, head.count)?;
        Ok(Self {
            first,
            base: head.base,
            generation: head.generation,
            raw,
            bounds,
        })
    }

    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Position of the last event.
    pub(crate) fn last(&self) -> u64 {
        self.first + self.bounds.len() as u64 - 1
    }

    pub(crate) fn contains(&self, position: u64) -> bool {
        (self.first..=self.last()).contains(&position)
    }

    /// An empty chunk that begins as this one does.
    pub(crate) fn builder(&self) -> ChunkBuilder {
        self.builder_at(Position::new(self.first))
    }

    /// An empty chunk for the later ones of these events.
    pub(crate) fn builder_at(&self, first: Position) -> ChunkBuilder {
        ChunkBuilder::new(first, self.base, self.generation)
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Bytes before compression.
    pub(crate) fn raw_len(&self) -> usize {
        self.raw.len()
    }

    /// What it takes in memory.
    pub(crate) fn weight(&self) -> u64 {
        (self.raw.len() + self.bounds.len() * size_of::<(u32, u32)>() + size_of::<Self>()) as u64
    }

    /// The event at a position of this chunk, unless it was removed.
    pub(crate) fn event(&self, position: u64) -> Result<Option<RecordedEvent>, Damage> {
        Ok(match self.record(position)? {
            Record::Whole(event, _) | Record::Erased(event, _) => Some(event),
            Record::Removed(..) => None,
        })
    }

    /// The record at a position of this chunk.
    pub(crate) fn record(&self, position: u64) -> Result<Record, Damage> {
        let (start, end) = self.bound(position)?;
        let record = self.raw.slice(start..end);
        record::decode(&record, Position::new(position), self.base)
    }

    /// All records with their marks.
    pub(crate) fn records(&self) -> Result<Vec<(Record, Mark)>, Damage> {
        let record = |position| Ok((self.record(position)?, self.mark(position)?));
        (self.first..=self.last()).map(record).collect()
    }

    /// All entries, each event with its own salt.
    pub(crate) fn entries(&self) -> Result<Vec<LogEntry>, Damage> {
        let mut seed = None;
        let entry = |position| {
            let content = match self.record(position)? {
                Record::Whole(event, salting) => {
                    let salt = match salting {
                        Salting::Own(salt) => salt,
                        Salting::Seed(new) => Salt::derive(*seed.insert(new), event.position),
                        Salting::FromSeed => {
                            let seed = seed.ok_or(Damage("a record has no salt"))?;
                            Salt::derive(seed, event.position)
                        }
                    };
                    EntryContent::Whole { event, salt }
                }
                Record::Erased(event, payload) => EntryContent::Erased { event, payload },
                Record::Removed(leaf, new) => {
                    seed = new.or(seed);
                    EntryContent::Removed { leaf }
                }
            };
            Ok(LogEntry {
                position: Position::new(position),
                mark: self.mark(position)?,
                content,
            })
        };
        (self.first..=self.last()).map(entry).collect()
    }

    /// Whether the event at a position of this chunk ends its append.
    pub(crate) fn mark(&self, position: u64) -> Result<Mark, Damage> {
        let (start, end) = self.bound(position)?;
        record::mark(&self.raw[start..end])
    }

    fn bound(&self, position: u64) -> Result<(usize, usize), Damage> {
        let index = position
            .checked_sub(self.first)
            .and_then(|index| usize::try_from(index).ok());
        let bound = index.and_then(|index| self.bounds.get(index));
        let (start, end) = bound.ok_or(Damage("a chunk does not hold its position"))?;
        Ok((*start as usize, *end as usize))
    }
}

fn decompress(codec: u8, payload: &[u8], raw_len: usize) -> Result<Bytes, Damage> {
    let raw = match codec {
        CODEC_NONE => Bytes::copy_from_slice(payload),
        CODEC_LZ4 => lz4_flex::block::decompress(payload, raw_len)
            .map_err(|_| Damage("a chunk cannot be decompressed"))?
            .into(),
        _ => return Err(Damage("a chunk of an unknown codec")),
    };
    if raw.len() == raw_len {
        Ok(raw)
    } else {
        Err(Damage("a chunk has the wrong length"))
    }
}

/// Finds the records; together they must be the whole chunk, and as many as the header says.
fn record_bounds(raw: &[u8], count: u32) -> Result<Vec<(u32, u32)>, Damage> {
    const WRONG: Damage = Damage("a chunk does not hold the records that its header tells");
    let mut input = Input::new(raw);
    if count == 0 || count as usize > raw.len() {
        return Err(WRONG);
    }
    let mut bounds = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let record = input.bytes().ok_or(WRONG)?;
        let end = raw.len() - input.remaining();
        bounds.push((offset(end - record.len()), offset(end)));
    }
    if input.is_empty() {
        Ok(bounds)
    } else {
        Err(WRONG)
    }
}

#[cfg(test)]
mod tests;
