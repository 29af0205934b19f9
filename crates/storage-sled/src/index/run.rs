//! An immutable part of the index on disk: what of it stays in memory, and lookups in it.
//!
//! A run covers all events from its first to its last position. In memory are a bloom filter and,
//! for every block, what its first entry is; blocks are read when they are needed. The payloads of
//! its other sections, each cut into parts:
//!
//! ```text
//! Bloom    the bits
//! Starts   for every block: bytes first term, varint first position, varint its revision
//! Chunks   first positions of the chunks: varint distances, the first one from the run's own
//! ```

use super::block::{BlockReader, Entry};
use super::bloom::Bloom;
use super::posting::{Axis, Posting, Query};
use super::section::{self, Section, SectionKey};
use crate::budget::Write;
use crate::encoding::{Input, put_bytes, put_varint};
use crate::engine::{Engine, Fault};
use crate::log::ReadError;
use crate::record::Damage;
use icecore_core::{Direction, StoreId};
use std::cmp::Ordering;

/// What the manifest says of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunInfo {
    pub(crate) id: u64,
    /// How often its events have been merged.
    pub(crate) tier: u8,
    /// First position that it covers.
    pub(crate) first: u64,
    /// Last position that it covers, inclusive.
    pub(crate) last: u64,
    pub(crate) blocks: u32,
    pub(crate) bloom_parts: u32,
    pub(crate) starts_parts: u32,
    pub(crate) chunks_parts: u32,
    /// Streams that begin in it.
    pub(crate) streams: u64,
    /// Bytes of the log in its range, as stored.
    pub(crate) log_bytes: u64,
}

/// A run that can be asked.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) info: RunInfo,
    bloom: Bloom,
    starts: Vec<BlockStart>,
}

/// The first entry of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlockStart {
    pub(crate) term: Box<[u8]>,
    pub(crate) first: Posting,
}

/// Where the values of runs are.
#[derive(Clone, Copy)]
pub(crate) struct RunReader<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) store_id: StoreId,
}

impl RunReader<'_> {
    /// The payload of one value.
    pub(crate) fn payload(&self, key: SectionKey) -> Result<Vec<u8>, ReadError> {
        let value = self.engine.run_value(&key.to_bytes())?;
        let value = value.ok_or(Damage("an index value is missing"))?;
        Ok(section::decode(self.store_id, key, &value)?.to_vec())
    }

    fn joined(&self, run: u64, section: Section, parts: u32) -> Result<Vec<u8>, ReadError> {
        let mut joined = Vec::new();
        for number in 0..parts {
            joined.extend(self.payload(SectionKey {
                run,
                section,
                number,
            })?);
        }
        Ok(joined)
    }

    /// Reads what stays in memory of a run, and the first positions of its chunks.
    pub(crate) fn load(&self, info: RunInfo) -> Result<(Run, Vec<u64>), ReadError> {
        let bloom = self.joined(info.id, Section::Bloom, info.bloom_parts)?;
        let starts = self.joined(info.id, Section::Starts, info.starts_parts)?;
        let chunks = self.joined(info.id, Section::Chunks, info.chunks_parts)?;
        let starts = parse_starts(&starts, info.blocks)
            .filter(|_| !bloom.is_empty())
            .ok_or(Damage("the block list of an index run cannot be read"))?;
        let firsts = parse_chunks(&chunks, &info)
            .ok_or(Damage("the chunk list of an index run cannot be read"))?;
        Ok((
            Run {
                info,
                bloom: Bloom::from_bytes(bloom),
                starts,
            },
            firsts,
        ))
    }
}

impl Run {
    pub(crate) fn new(info: RunInfo, bloom: Bloom, starts: Vec<BlockStart>) -> Self {
        Self {
            info,
            bloom,
            starts,
        }
    }

    /// Whether a lookup has to read from this run: its range and its bloom filter do not exclude it.
    pub(crate) fn may_answer(&self, query: &Query<'_>, hash: u64) -> bool {
        let in_range = match (query.axis, query.direction) {
            (Axis::Position, Direction::Forwards) => self.info.last >= query.from,
            (Axis::Position, Direction::Backwards) => self.info.first <= query.from,
            (Axis::Revision, _) => true,
        };
        in_range && self.info.first <= query.last && self.bloom.may_hold(hash)
    }

    /// Adds what a query wants; `true` when there is enough.
    pub(crate) fn find(
        &self,
        reader: RunReader<'_>,
        query: &Query<'_>,
        found: &mut Vec<Posting>,
    ) -> Result<bool, ReadError> {
        // The last block that begins at or before the place where the query begins.
        let at_or_before = |start: &BlockStart| {
            let by_place = query.place(&start.first).cmp(&query.from);
            (*start.term).cmp(query.term).then(by_place) != Ordering::Greater
        };
        let Some(mut block) = self
            .starts
            .partition_point(at_or_before)
            .checked_sub(1)
            .or_else(|| {
                (query.direction == Direction::Forwards && !self.starts.is_empty()).then_some(0)
            })
        else {
            return Ok(false);
        };
        loop {
            let entries = self.entries(reader, block, query.term)?;
            let postings: Vec<_> = entries.iter().flat_map(Entry::postings).collect();
            if query.collect(postings.into_iter(), found) {
                return Ok(true);
            }
            let next = match query.direction {
                Direction::Forwards => {
                    let next = block + 1;
                    self.starts
                        .get(next)
                        .filter(|start| *start.term <= *query.term)
                        .map(|_| next)
                }
                Direction::Backwards if *self.starts[block].term == *query.term => {
                    block.checked_sub(1)
                }
                Direction::Backwards => None,
            };
            match next {
                Some(next) => block = next,
                None => return Ok(false),
            }
        }
    }

    /// The entries of one term in a block.
    fn entries(
        &self,
        reader: RunReader<'_>,
        block: usize,
        term: &[u8],
    ) -> Result<Vec<Entry>, ReadError> {
        let payload = self.block(reader, block)?;
        let mut entries = Vec::new();
        let mut block = BlockReader::new(&payload, self.info.first);
        while let Some(entry) = block.next()? {
            match block.term().cmp(term) {
                Ordering::Less => {}
                Ordering::Equal => entries.push(entry.decode(term)?),
                Ordering::Greater => break,
            }
        }
        Ok(entries)
    }

    pub(crate) fn block(&self, reader: RunReader<'_>, block: usize) -> Result<Vec<u8>, ReadError> {
        let number =
            u32::try_from(block).map_err(|_| Damage("an index run has too many blocks"))?;
        reader.payload(SectionKey {
            run: self.info.id,
            section: Section::Block,
            number,
        })
    }

    /// Reads everything once.
    pub(crate) fn verify(&self, reader: RunReader<'_>) -> Result<(), ReadError> {
        self.for_each(reader, |_| {})
    }

    /// Calls `visit` for every entry.
    pub(crate) fn for_each(
        &self,
        reader: RunReader<'_>,
        mut visit: impl FnMut(&Entry),
    ) -> Result<(), ReadError> {
        for block in 0..self.blocks() {
            let payload = self.block(reader, block)?;
            let mut block = BlockReader::new(&payload, self.info.first);
            while let Some(entry) = block.next()? {
                visit(&entry.decode(block.term())?);
            }
        }
        Ok(())
    }

    /// The block in which the terms from `term` on begin.
    pub(crate) fn block_of(&self, term: &[u8]) -> usize {
        self.starts
            .partition_point(|start| *start.term <= *term)
            .saturating_sub(1)
    }

    pub(crate) fn blocks(&self) -> usize {
        self.starts.len()
    }
}

pub(crate) fn encode_starts(starts: &[BlockStart]) -> Vec<u8> {
    let mut out = Vec::new();
    for start in starts {
        put_bytes(&mut out, &start.term);
        put_varint(&mut out, start.first.position);
        put_varint(&mut out, start.first.revision);
    }
    out
}

pub(crate) fn parse_starts(bytes: &[u8], count: u32) -> Option<Vec<BlockStart>> {
    let mut input = Input::new(bytes);
    let mut starts = Vec::new();
    for _ in 0..count {
        let term = input.bytes()?.into();
        let first = Posting {
            position: input.varint()?,
            revision: input.varint()?,
        };
        starts.push(BlockStart { term, first });
    }
    input.is_empty().then_some(starts)
}

pub(crate) fn encode_chunks(firsts: &[u64], base: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut before = base;
    for first in firsts {
        put_varint(&mut out, first - before);
        before = *first;
    }
    out
}

pub(crate) fn parse_chunks(bytes: &[u8], info: &RunInfo) -> Option<Vec<u64>> {
    let mut input = Input::new(bytes);
    let mut firsts = Vec::new();
    let mut at = info.first;
    while !input.is_empty() {
        at = at.checked_add(input.varint()?)?;
        firsts.push(at);
    }
    let ascending = firsts.is_sorted_by(|a, b| a < b);
    let in_range = firsts.first() == Some(&info.first) && firsts.last() <= Some(&info.last);
    (ascending && in_range).then_some(firsts)
}

/// Deletes the values of a run that no reader and no manifest knows any more, unless `stop` says
/// that there is no time for that; the rest is deleted after the next start.
pub(crate) fn delete_run(engine: &Engine, run: u64, stop: &dyn Fn() -> bool) -> Result<(), Fault> {
    let mut from = run_key(engine, run)?;
    while let Some((key, bytes)) = from.take().filter(|_| !stop()) {
        if section::run_of(&key) != Some(run) {
            break;
        }
        let write = Write::Deletions { keys: 1, bytes };
        engine.write_when_admitted(write)?.delete_run(&key, bytes)?;
        from = engine.run_key_from(&key)?;
    }
    Ok(())
}

fn run_key(engine: &Engine, run: u64) -> Result<Option<(sled::IVec, usize)>, Fault> {
    engine.run_key_from(&section::run_start(run))
}
