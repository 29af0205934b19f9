//! Writes runs: from a frozen tail, and from several older runs. Bounded steps: every value goes
//! through the budget, and nothing holds more than a block per source.

use super::block::{BlockBuilder, BlockReader, Entry};
use super::bloom::{self, Bloom};
use super::run::{BlockStart, Run, RunInfo, RunReader, encode_chunks, encode_starts};
use super::section::{self, Section, SectionKey};
use super::tail::Tail;
use super::term::has_revisions;
use crate::budget::Write;
use crate::engine::Fault;
use crate::log::ReadError;
use std::collections::VecDeque;
use std::sync::Arc;

/// About how large a block gets, in bytes.
const BLOCK_BYTES: usize = 4_096;

/// Most postings in one entry, so that an entry alone never makes a large block.
const ENTRY_POSTINGS_MAX: usize = 512;

/// Payload of the values that hold parts of a longer list.
const PART_BYTES: usize = 16 * 1_024;

/// Why a run was not written.
#[derive(Debug)]
pub(crate) enum Halt {
    /// The store is being closed; what was written is deleted after the next start.
    Stopped,
    Failed(Fault),
    /// A run that was to be merged is damaged.
    Damaged(u64, ReadError),
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

/// What is known of a run before it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunPlan<'a> {
    pub(crate) id: u64,
    pub(crate) tier: u8,
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// First positions of the chunks in its range.
    pub(crate) chunks: &'a [u64],
    pub(crate) streams: u64,
    pub(crate) log_bytes: u64,
}

/// Writes one run. Nobody sees it before the manifest names it.
pub(crate) struct RunWriter<'a> {
    reader: RunReader<'a>,
    stop: &'a dyn Fn() -> bool,
    plan: RunPlan<'a>,
    /// What waits to be put into a block.
    pending: Entry,
    block: BlockBuilder,
    starts: Vec<BlockStart>,
    start: Option<BlockStart>,
    hashes: Vec<u64>,
}

impl<'a> RunWriter<'a> {
    pub(crate) fn new(
        reader: RunReader<'a>,
        stop: &'a dyn Fn() -> bool,
        plan: RunPlan<'a>,
    ) -> Self {
        Self {
            reader,
            stop,
            plan,
            pending: Entry::default(),
            block: BlockBuilder::default(),
            starts: Vec::new(),
            start: None,
            hashes: Vec::new(),
        }
    }

    /// Writes a whole tail.
    pub(crate) fn write_tail(mut self, tail: &Tail) -> Result<Run, Halt> {
        for (term, postings) in tail.sorted() {
            let streams = has_revisions(term);
            self.push(Entry {
                term: term.to_vec(),
                first_revision: if streams {
                    postings.first_revision()
                } else {
                    0
                },
                tombstone: streams && postings.tombstone(),
                positions: postings.positions(tail.first()).collect(),
            })?;
        }
        self.finish()
    }

    /// Writes what several runs hold, which cover the range one after the other, but for what `gone`
    /// says of a term and a position.
    pub(crate) fn merge(
        mut self,
        runs: &[Arc<Run>],
        gone: impl Fn(&[u8], u64) -> bool,
    ) -> Result<Run, Halt> {
        let mut cursors = Vec::new();
        for run in runs {
            cursors.push(Cursor::new(self.reader, run)?);
        }
        // The smallest term, and of equal ones the oldest: that keeps postings ascending.
        while let Some(next) = (0..cursors.len())
            .filter(|at| cursors[*at].peek().is_some())
            .min_by_key(|at| (cursors[*at].peek().map(|entry| entry.term.clone()), *at))
        {
            if let Some(entry) = cursors[next].pop()?.and_then(|entry| entry.without(&gone)) {
                self.push(entry)?;
            }
        }
        self.finish()
    }

    /// Adds postings; terms must come in order, and equal ones with ascending positions.
    fn push(&mut self, entry: Entry) -> Result<(), Halt> {
        if self.continues(&entry) {
            if self.pending.positions.is_empty() {
                self.pending.first_revision = entry.first_revision;
            }
            self.pending.positions.extend(entry.positions);
            self.pending.tombstone = entry.tombstone;
        } else {
            self.drain_pending(0)?;
            self.hashes.push(bloom::hash(&entry.term));
            self.pending = entry;
        }
        self.drain_pending(ENTRY_POSTINGS_MAX)
    }

    /// Whether postings belong to the entry that is pending: of a stream also the revisions must go on,
    /// which they do not where events were removed.
    fn continues(&self, entry: &Entry) -> bool {
        let count = self.pending.positions.len() as u64;
        let next = self.pending.first_revision + count;
        let follows = !has_revisions(&entry.term)
            || count == 0
            || next == entry.first_revision
            || entry.is_tombstone_alone();
        self.pending.term == entry.term && !self.pending.tombstone && follows
    }

    /// Puts what is pending into blocks until no more than `keep` postings are left.
    fn drain_pending(&mut self, keep: usize) -> Result<(), Halt> {
        while self.pending.positions.len() > keep {
            let rest = self
                .pending
                .positions
                .len()
                .saturating_sub(ENTRY_POSTINGS_MAX);
            let later = self
                .pending
                .positions
                .split_off(self.pending.positions.len() - rest);
            let taken = std::mem::replace(&mut self.pending.positions, later);
            let piece = Entry {
                term: self.pending.term.clone(),
                first_revision: self.pending.first_revision,
                tombstone: self.pending.tombstone && rest == 0,
                positions: taken,
            };
            if has_revisions(&piece.term) {
                self.pending.first_revision += piece.positions.len() as u64;
            }
            self.put_entry(&piece)?;
        }
        Ok(())
    }

    fn put_entry(&mut self, entry: &Entry) -> Result<(), Halt> {
        if self.start.is_none() {
            let term = entry.term.as_slice().into();
            self.start = Some(BlockStart {
                term,
                first: entry.first_place(),
            });
        }
        self.block.push(entry, self.plan.first);
        if self.block.len() >= BLOCK_BYTES {
            self.put_block()
        } else {
            Ok(())
        }
    }

    fn put_block(&mut self) -> Result<(), Halt> {
        if let Some(start) = self.start.take() {
            let payload = self.block.finish();
            self.put(Section::Block, self.starts.len(), &payload)?;
            self.starts.push(start);
        }
        Ok(())
    }

    fn put(&self, section: Section, number: usize, payload: &[u8]) -> Result<(), Halt> {
        if (self.stop)() {
            return Err(Halt::Stopped);
        }
        let number =
            u32::try_from(number).map_err(|_| Fault("an index run is too large".into()))?;
        let key = SectionKey {
            run: self.plan.id,
            section,
            number,
        };
        let value = section::encode(self.reader.store_id, key, payload);
        let engine = self.reader.engine;
        engine
            .write_when_admitted(Write::Index { bytes: value.len() })?
            .put_run(&key.to_bytes(), value)?;
        Ok(())
    }

    fn put_parts(&self, section: Section, bytes: &[u8]) -> Result<u32, Halt> {
        let mut parts = 0;
        for (number, part) in bytes.chunks(PART_BYTES).enumerate() {
            self.put(section, number, part)?;
            parts += 1;
        }
        Ok(parts)
    }

    /// Writes what is left and returns when the run is durable.
    fn finish(mut self) -> Result<Run, Halt> {
        self.drain_pending(0)?;
        self.put_block()?;
        let bloom = Bloom::build(&self.hashes);
        let RunPlan {
            id,
            tier,
            first,
            last,
            chunks,
            streams,
            log_bytes,
        } = self.plan;
        let info = RunInfo {
            id,
            tier,
            first,
            last,
            blocks: u32::try_from(self.starts.len())
                .map_err(|_| Fault("an index run is too large".into()))?,
            bloom_parts: self.put_parts(Section::Bloom, bloom.as_bytes())?,
            starts_parts: self.put_parts(Section::Starts, &encode_starts(&self.starts))?,
            chunks_parts: self.put_parts(Section::Chunks, &encode_chunks(chunks, first))?,
            streams,
            log_bytes,
        };
        self.reader.engine.write().barrier()?;
        Ok(Run::new(info, bloom, self.starts))
    }
}

/// Reads a run entry by entry, a block at a time.
struct Cursor<'a> {
    reader: RunReader<'a>,
    run: &'a Run,
    block: usize,
    entries: VecDeque<Entry>,
}

impl<'a> Cursor<'a> {
    fn new(reader: RunReader<'a>, run: &'a Run) -> Result<Self, Halt> {
        let mut cursor = Self {
            reader,
            run,
            block: 0,
            entries: VecDeque::new(),
        };
        cursor.fill()?;
        Ok(cursor)
    }

    fn peek(&self) -> Option<&Entry> {
        self.entries.front()
    }

    fn pop(&mut self) -> Result<Option<Entry>, Halt> {
        let entry = self.entries.pop_front();
        self.fill()?;
        Ok(entry)
    }

    fn fill(&mut self) -> Result<(), Halt> {
        while self.entries.is_empty() && self.block < self.run.blocks() {
            self.entries = self
                .read_block()
                .map_err(|error| Halt::Damaged(self.run.info.id, error))?;
            self.block += 1;
        }
        Ok(())
    }

    fn read_block(&self) -> Result<VecDeque<Entry>, ReadError> {
        let payload = self.run.block(self.reader, self.block)?;
        let mut block = BlockReader::new(&payload, self.run.info.first);
        let mut entries = VecDeque::new();
        while let Some(entry) = block.next()? {
            entries.push_back(entry.decode(block.term())?);
        }
        Ok(entries)
    }
}
