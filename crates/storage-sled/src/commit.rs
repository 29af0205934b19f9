//! The write path: one thread that makes groups of appends durable and then visible.
//!
//! ```text
//! records into chunks -> sled, a barrier whenever the budget is used up -> barrier
//!   -> watermark -> index tail -> readers see it -> last position -> answer
//! ```
//!
//! A small group goes into the open chunk, whose key is overwritten; what does not fit becomes
//! chunks of its own. Any error ends all writing until a restart.

use crate::chunk::ChunkBuilder;
use crate::engine::{Fault, Writing};
use crate::lot::Place;
use crate::record::{self, Record};
use crate::salt::new_seed;
use crate::store::Store;
use icecore_core::{Error, LogEntry, Mark, Position, RecordedEvent, Result, Timestamp};
use icecore_storage::{Committed, Lease, NumberedAppend};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Frozen tails in memory before a commit waits for the index.
pub(crate) const FROZEN_TAILS_MAX: usize = 4;
const FROZEN_WAIT: Duration = Duration::from_millis(5);

/// What the writing thread is asked to do.
pub(crate) enum Command {
    Lead(oneshot::Sender<Result<Lease>>),
    Commit {
        epoch: u64,
        after: Position,
        appends: Vec<NumberedAppend>,
        reply: oneshot::Sender<Committed>,
    },
    Restore {
        epoch: u64,
        after: Position,
        entries: Vec<LogEntry>,
        reply: oneshot::Sender<Committed>,
    },
    /// Nothing that is stored now shall be changed by the next commit.
    Seal {
        epoch: u64,
        what: Seal,
        reply: oneshot::Sender<Result<()>>,
    },
}

/// What is closed, so that it can be written anew by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seal {
    /// Nothing: only the lease is looked at.
    Nothing,
    /// The open chunk.
    Chunk,
    /// The open chunk and the index in memory.
    Index,
}

/// One position, about to be written.
#[derive(Clone, Copy)]
enum Item<'a> {
    New(&'a RecordedEvent, Mark),
    Kept(&'a LogEntry),
}

impl<'a> Item<'a> {
    fn position(self) -> Position {
        match self {
            Self::New(event, _) => event.position,
            Self::Kept(entry) => entry.position,
        }
    }

    fn event(self) -> Option<&'a RecordedEvent> {
        match self {
            Self::New(event, _) => Some(event),
            Self::Kept(entry) => entry.event(),
        }
    }

    /// No less than its record takes.
    fn size_max(self) -> usize {
        self.event().map_or(record::REMOVED_BYTES, record::size_max)
    }
}

/// The writing thread's own state.
pub(crate) struct Writer {
    store: Arc<Store>,
    epoch: u64,
    /// The chunk that the next group may go into. It is in sled as it stands here.
    open: Option<ChunkBuilder>,
    /// The size of its value in sled.
    open_bytes: u64,
    scratch: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            epoch: 0,
            open: None,
            open_bytes: 0,
            scratch: Vec::new(),
        }
    }

    /// Works until nobody can ask any more. An answer that nobody waits for is dropped.
    pub(crate) fn run(mut self, commands: &mut mpsc::Receiver<Command>, wake_upkeep: &dyn Fn()) {
        while let Some(command) = commands.blocking_recv() {
            match command {
                Command::Lead(reply) => {
                    let _ = reply.send(self.lead());
                }
                Command::Commit {
                    epoch,
                    after,
                    appends,
                    reply,
                } => {
                    let _ = reply.send(self.commit(epoch, after, &new_items(&appends)));
                }
                Command::Restore {
                    epoch,
                    after,
                    entries,
                    reply,
                } => {
                    let kept = entries.iter().map(Item::Kept);
                    let _ = reply.send(self.commit(epoch, after, &kept));
                }
                Command::Seal { epoch, what, reply } => {
                    let _ = reply.send(self.seal_for(epoch, what));
                }
            }
            if self.store.index.frozen() > 0 {
                wake_upkeep();
            }
        }
    }

    fn seal_for(&mut self, epoch: u64, what: Seal) -> Result<()> {
        self.store.check_writable()?;
        if epoch != self.epoch {
            return Err(Error::unavailable("another writer leads"));
        }
        if what == Seal::Nothing {
            return Ok(());
        }
        let store = self.store.clone();
        if let Some(open) = self.open.take() {
            let first = self.seal(open);
            store.log.publish(&[first], None, store.log.last());
        }
        if what == Seal::Index {
            store.index.freeze();
        }
        Ok(())
    }

    fn lead(&mut self) -> Result<Lease> {
        self.store.check_writable()?;
        self.epoch += 1;
        Ok(Lease { epoch: self.epoch })
    }

    fn commit<'a>(
        &mut self,
        epoch: u64,
        after: Position,
        items: &(impl Iterator<Item = Item<'a>> + Clone),
    ) -> Committed {
        if let Err(error) = self.store.check_writable() {
            return Committed::Unknown(error);
        }
        if epoch != self.epoch {
            return Committed::Fenced;
        }
        if let Err(error) = check_positions(self.store.log.last(), after, items.clone()) {
            return Committed::Unknown(error);
        }
        let written = catch_unwind(AssertUnwindSafe(|| self.write(items)))
            .unwrap_or_else(|_| Err(Fault("the writing thread panicked".to_owned())));
        match written {
            Ok(()) => Committed::Done,
            Err(fault) => {
                self.store.fail(&fault.0);
                unknown(fault)
            }
        }
    }

    fn write<'a>(&mut self, items: &(impl Iterator<Item = Item<'a>> + Clone)) -> Result<(), Fault> {
        let begin = Instant::now();
        self.wait_for_index()?;
        let store = self.store.clone();
        let Some(last) = items.clone().last().map(Item::position) else {
            return Ok(());
        };
        let mut writing = store.engine.write();
        let sealed = self.write_chunks(&mut writing, items.clone())?;
        writing.barrier()?;
        drop(writing);
        let watermark = store.watermark.write(last.get());
        watermark.map_err(|error| Fault(format!("the watermark cannot be written: {error}")))?;
        // A sync that failed elsewhere meanwhile may have been about these bytes.
        let sound = store.check_writable();
        sound.map_err(|error| Fault(error.to_string()))?;
        store.dirty.store(true, Relaxed);
        self.publish(items.clone(), sealed, last);
        let micros = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
        store.commits.fetch_add(1, Relaxed);
        store.commit_micros.fetch_add(micros, Relaxed);
        Ok(())
    }

    /// The index is bounded in memory: when it cannot keep up, commits slow down.
    fn wait_for_index(&self) -> Result<(), Fault> {
        while self.store.index.frozen() >= FROZEN_TAILS_MAX {
            self.store
                .check_writable()
                .map_err(|error| Fault(error.to_string()))?;
            if self.store.closing.load(Relaxed) {
                return Ok(());
            }
            std::thread::sleep(FROZEN_WAIT);
        }
        Ok(())
    }

    /// Writes the group as chunks and leaves the last one open if it is small. Returns the first
    /// positions of the chunks that are sealed by this.
    fn write_chunks<'a>(
        &mut self,
        writing: &mut Writing<'_>,
        items: impl Iterator<Item = Item<'a>> + Clone,
    ) -> Result<Vec<u64>, Fault> {
        let chunk_bytes = self.store.config.chunk_bytes;
        let size: usize = items.clone().map(Item::size_max).sum();
        let mut sealed = Vec::new();
        let mut current = self.open.take();
        if current
            .as_ref()
            .is_some_and(|open| open.raw_len() + size > chunk_bytes)
        {
            sealed.extend(current.take().map(|open| self.seal(open)));
        }
        if current.is_none() {
            self.open_bytes = 0;
        }
        for item in items {
            let full = current.take_if(|chunk| chunk.raw_len() + item.size_max() > chunk_bytes);
            if let Some(full) = full {
                self.put(writing, &full)?;
                sealed.push(self.seal(full));
            }
            let chunk = current.get_or_insert_with(|| {
                let base = item
                    .event()
                    .map_or(Timestamp::from_nanos(0), |event| event.recorded_at);
                ChunkBuilder::new(item.position(), base, self.store.generation)
            });
            match item {
                Item::New(event, mark) => chunk.push(event, mark, new_seed, &mut self.scratch),
                Item::Kept(entry) => {
                    let record = Record::from(&entry.content);
                    chunk.push_record(&record, entry.mark, &mut self.scratch);
                }
            }
        }
        if let Some(last) = current {
            let bytes = self.put(writing, &last)?;
            if last.raw_len() < self.store.config.open_chunk_bytes {
                (self.open, self.open_bytes) = (Some(last), bytes);
            } else {
                sealed.push(self.seal(last));
            }
        }
        Ok(sealed)
    }

    /// Writes a chunk; the first one of a group may take the place of the open one.
    fn put(&mut self, writing: &mut Writing<'_>, chunk: &ChunkBuilder) -> Result<u64, Fault> {
        let values = chunk.encode(self.store.id, self.store.value_bytes_max());
        let share = chunk.raw_len() / values.len();
        let bytes = values.iter().map(|value| value.len() as u64).sum();
        let place = if self.open_bytes > 0 {
            Place::Again
        } else {
            Place::New
        };
        for (part, value) in (0..).zip(values) {
            writing.put_log((chunk.first(), part), place, value, share)?;
        }
        self.store.log.count_stored(self.open_bytes, bytes);
        self.open_bytes = 0;
        Ok(bytes)
    }

    /// Hands a chunk that will not change any more to the cache, where readers find it once it is
    /// published.
    fn seal(&self, chunk: ChunkBuilder) -> u64 {
        let first = chunk.first();
        self.store.log.remember(Arc::new(chunk.into_chunk()));
        first
    }

    /// Shows a durable group to readers. The index comes first: readers never look beyond the last
    /// position, so they do not mind that it knows more.
    fn publish<'a>(
        &mut self,
        items: impl Iterator<Item = Item<'a>>,
        mut sealed: Vec<u64>,
        last: Position,
    ) {
        let store = self.store.clone();
        let events = items.filter_map(Item::event);
        store.index.add(store.run_reader(), events);
        store.index.reach(last.get());
        let full = store.index.is_full();
        if full {
            // A run covers whole chunks.
            sealed.extend(self.open.take().map(|open| self.seal(open)));
        }
        let open = self.open.as_ref().map(|open| Arc::new(open.snapshot()));
        store.log.publish(&sealed, open, last.get());
        if full {
            store.index.freeze();
        }
    }
}

/// What a failed write means is said by whoever asked for it; the bare reason is ours.
fn unknown(fault: Fault) -> Committed {
    Committed::Unknown(Error::internal(fault.0))
}

/// Events with their marks.
fn new_items(appends: &[NumberedAppend]) -> impl Iterator<Item = Item<'_>> + Clone {
    appends.iter().flat_map(|append| {
        let count = append.events.len();
        let mark = move |nth| if nth == count { Mark::End } else { Mark::Inner };
        (1..)
            .zip(&*append.events)
            .map(move |(nth, event)| Item::New(event, mark(nth)))
    })
}

/// What the caller numbers must follow what is stored without a gap.
fn check_positions<'a>(
    last: u64,
    after: Position,
    items: impl Iterator<Item = Item<'a>>,
) -> Result<()> {
    if after.get() != last {
        return Err(Error::internal(format!(
            "commit after position {after}, but the store ends at {last}"
        )));
    }
    let positions = items.map(Item::position);
    match (last + 1..)
        .zip(positions)
        .find(|(expected, found)| found.get() != *expected)
    {
        Some((expected, found)) => Err(Error::internal(format!(
            "an event for position {expected} bears position {found}"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
