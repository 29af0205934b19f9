//! The open database: reads, writes within the budget, the barrier. The only module besides
//! [`crate::opening`] that calls sled. Knows keys and values, not what they mean.
//!
//! All writes go through one lock, which is what makes the budget true: whoever holds it is the only
//! one who adds to sled's log (reads finish splits and merges of pages, which the barrier covers).

use crate::barrier::Barrier;
use crate::budget::{Budget, Write};
use crate::handle::{Alarm, Handle};
use crate::keys::{filler_key, is_filler, log_key, parse_log_key};
use crate::lot::{FILLERS, LogValue, Lot, Place};
use crate::system::System;
use sled::{Batch, Db, IVec, Tree};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long work in the background waits for a commit's barrier before it makes its own.
const BARRIER_WAIT: Duration = Duration::from_millis(2);

/// The engine below failed. On the write path that is the end of writing.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Fault(pub(crate) String);

impl From<sled::Error> for Fault {
    fn from(error: sled::Error) -> Self {
        Self(format!("the database failed: {error}"))
    }
}

/// The open database.
pub(crate) struct Engine {
    /// Goes first: it has a handle of its own.
    _alarm: Alarm,
    log: Handle<Tree>,
    runs: Handle<Tree>,
    roots: Handle<Tree>,
    db: Handle<Db>,
    budget: Mutex<Budget>,
    barrier_passed: Condvar,
    barrier: Barrier,
    /// A descriptor of our own on sled's file: it reports what sled's own thread only logs.
    file: File,
    system: Arc<dyn System>,
    timing: Timing,
}

/// How long barriers take, in microseconds.
struct Timing {
    opened: Instant,
    /// When the barrier that is under way began, since `opened`; 0 when there is none.
    started: AtomicU64,
    count: AtomicU64,
    total: AtomicU64,
    last: AtomicU64,
}

/// Figures about barriers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlushFigures {
    pub(crate) count: u64,
    pub(crate) micros_total: u64,
    pub(crate) micros_last: u64,
}

impl Engine {
    pub(crate) fn new(
        db: Handle<Db>,
        alarm: Alarm,
        file: File,
        system: Arc<dyn System>,
        sync_budget_bytes: usize,
    ) -> Result<Self, Fault> {
        let barrier = if system.sled_syncs() {
            Barrier::InSled
        } else {
            Barrier::OwnSync
        };
        let timing = Timing {
            opened: Instant::now(),
            started: AtomicU64::new(0),
            count: AtomicU64::new(0),
            total: AtomicU64::new(0),
            last: AtomicU64::new(0),
        };
        Ok(Self {
            _alarm: alarm,
            log: Handle::new(db.open_tree("log")?),
            runs: Handle::new(db.open_tree("runs")?),
            roots: Handle::new(db.open_tree("roots")?),
            db,
            budget: Mutex::new(Budget::new(sync_budget_bytes)),
            barrier_passed: Condvar::new(),
            barrier,
            file,
            system,
            timing,
        })
    }

    pub(crate) fn barrier(&self) -> Barrier {
        self.barrier
    }

    /// One part of a chunk.
    pub(crate) fn log_value(&self, first: u64, part: u16) -> Result<Option<IVec>, Fault> {
        guarded(|| Ok(self.log.get(log_key(first, part))?))
    }

    /// First position of the chunk that begins at or before a position. Further parts do not count,
    /// an erasure may have left some behind, nor do fillers.
    pub(crate) fn chunk_at(&self, position: u64) -> Result<Option<u64>, Fault> {
        let mut before = self.log.range(..=log_key(position, u16::MAX));
        while let Some((key, _)) = guarded(|| Ok(before.next_back().transpose()?))? {
            if let Some((first, 0)) = parse_log_key(&key) {
                return Ok(Some(first));
            }
        }
        Ok(None)
    }

    /// The stored roots of one group.
    pub(crate) fn root_group(&self, group: u64) -> Result<Option<IVec>, Fault> {
        guarded(|| Ok(self.roots.get(group.to_be_bytes())?))
    }

    /// Calls `visit` for the log's pairs from a chunk on, until it answers `false`.
    pub(crate) fn scan_log<E: From<Fault>>(
        &self,
        first: u64,
        mut visit: impl FnMut(&[u8], IVec) -> Result<bool, E>,
    ) -> Result<(), E> {
        let mut pairs = self.log.range(log_key(first, 0)..);
        while let Some((key, value)) = guarded(|| Ok(pairs.next().transpose()?))? {
            if !is_filler(&key) && !visit(&key, value)? {
                break;
            }
        }
        Ok(())
    }

    pub(crate) fn run_value(&self, key: &[u8]) -> Result<Option<IVec>, Fault> {
        guarded(|| Ok(self.runs.get(key)?))
    }

    /// The first key of the index at or after `key`, with the size of its value.
    pub(crate) fn run_key_from(&self, key: &[u8]) -> Result<Option<(IVec, usize)>, Fault> {
        guarded(|| {
            let next = self.runs.range(key..).next().transpose()?;
            Ok(next.map(|(key, value)| (key, value.len())))
        })
    }

    /// The last key of the index.
    pub(crate) fn last_run_key(&self) -> Result<Option<IVec>, Fault> {
        guarded(|| Ok(self.runs.last()?.map(|(key, _)| key)))
    }

    /// The right to write, alone.
    pub(crate) fn write(&self) -> Writing<'_> {
        let budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        Writing {
            engine: self,
            budget,
            lot: Lot::default(),
        }
    }

    /// The right to write for work in the background, once the budget admits the write. It waits a
    /// moment for a commit to make the barrier, so that a busy store pays for few more barriers.
    pub(crate) fn write_when_admitted(&self, write: Write) -> Result<Writing<'_>, Fault> {
        let mut writing = self.write();
        if !writing.budget.admits(write) {
            let (budget, _) = self
                .barrier_passed
                .wait_timeout(writing.budget, BARRIER_WAIT)
                .unwrap_or_else(PoisonError::into_inner);
            writing = Writing {
                engine: self,
                budget,
                lot: Lot::default(),
            };
            writing.make_room(write)?;
        }
        Ok(writing)
    }

    /// Syncs through the second descriptor.
    pub(crate) fn sync(&self) -> Result<(), Fault> {
        let synced = self.system.sync(&self.file);
        synced.map_err(|error| Fault(format!("a sync failed: {error}")))
    }

    /// How long the barrier that is under way has lasted.
    pub(crate) fn barrier_age(&self) -> Option<Duration> {
        let started = self.timing.started.load(Relaxed);
        (started != 0).then(|| {
            self.timing
                .opened
                .elapsed()
                .saturating_sub(Duration::from_micros(started))
        })
    }

    pub(crate) fn flush_figures(&self) -> FlushFigures {
        let Timing {
            count, total, last, ..
        } = &self.timing;
        FlushFigures {
            count: count.load(Relaxed),
            micros_total: total.load(Relaxed),
            micros_last: last.load(Relaxed),
        }
    }

    pub(crate) fn size_on_disk(&self) -> Result<u64, Fault> {
        guarded(|| Ok(self.db.size_on_disk()?))
    }
}

/// The right to write to sled. Others wait while it is held.
pub(crate) struct Writing<'a> {
    engine: &'a Engine,
    budget: MutexGuard<'a, Budget>,
    /// Values of the log that are not written yet; a barrier does that.
    lot: Lot,
}

impl Writing<'_> {
    /// Stores one part of a chunk; `raw_bytes` is its share of the chunk before compression. Keys
    /// ascend. It may be written later, but no later than the next barrier.
    pub(crate) fn put_log(
        &mut self,
        (first, part): (u64, u16),
        place: Place,
        value: Vec<u8>,
        raw_bytes: usize,
    ) -> Result<(), Fault> {
        let key = log_key(first, part);
        let value = LogValue {
            key,
            place,
            value,
            raw_bytes,
        };
        if self.lot.is_full(&value, self.budget.log_bytes_max()) {
            self.write_lot()?;
        }
        self.lot.push(value);
        Ok(())
    }

    fn write_lot(&mut self) -> Result<(), Fault> {
        let lot = std::mem::take(&mut self.lot);
        let is_announced = lot.is_announced();
        if is_announced {
            let bytes = lot.announced_bytes();
            self.admit(Write::Lot { bytes })?;
            self.announce(&lot)?;
        }
        for LogValue {
            key,
            value,
            raw_bytes,
            ..
        } in lot.values
        {
            if !is_announced {
                self.admit(Write::Log { bytes: raw_bytes })?;
            }
            guarded(|| Ok(self.engine.log.insert(key, value)?))?;
        }
        Ok(())
    }

    /// Writes the keys of a lot, with fillers behind them.
    pub(crate) fn announce(&mut self, lot: &Lot) -> Result<(), Fault> {
        let log = &self.engine.log;
        for value in lot.values.iter().filter(|value| value.place == Place::New) {
            guarded(|| Ok(log.insert(value.key, &[])?))?;
        }
        let last = lot.values.last().map(|value| value.key);
        let fillers = (0..FILLERS).filter_map(|number| Some(filler_key(last?, number)));
        for filler in fillers {
            guarded(|| Ok(log.insert(filler, &[])?))?;
        }
        Ok(())
    }

    /// Stores a value of the index.
    pub(crate) fn put_run(&mut self, key: &[u8], value: Vec<u8>) -> Result<(), Fault> {
        self.admit(Write::Index { bytes: value.len() })?;
        guarded(|| Ok(self.engine.runs.insert(key, value)?))?;
        Ok(())
    }

    /// Removes one part of a chunk.
    pub(crate) fn delete_log(&mut self, (first, part): (u64, u16)) -> Result<(), Fault> {
        let key = log_key(first, part);
        let bytes = guarded(|| Ok(self.engine.log.get(key)?))?.map_or(0, |value| value.len());
        self.admit(Write::Deletions { keys: 1, bytes })?;
        guarded(|| Ok(self.engine.log.remove(key)?))?;
        Ok(())
    }

    /// Removes a value of the index, which has `bytes` bytes.
    pub(crate) fn delete_run(&mut self, key: &[u8], bytes: usize) -> Result<(), Fault> {
        self.admit(Write::Deletions { keys: 1, bytes })?;
        guarded(|| Ok(self.engine.runs.remove(key)?))?;
        Ok(())
    }

    /// Stores the roots of one group.
    pub(crate) fn put_roots(&mut self, group: u64, value: Vec<u8>) -> Result<(), Fault> {
        self.admit(Write::Index { bytes: value.len() })?;
        guarded(|| Ok(self.engine.roots.insert(group.to_be_bytes(), value)?))?;
        Ok(())
    }

    /// Puts chunks in the place of others, at once. Each of them is one value, but for the first
    /// part of a larger one whose other parts are deleted afterwards.
    pub(crate) fn replace_chunks(
        &mut self,
        new: Vec<(u64, Vec<u8>)>,
        gone: &[u64],
    ) -> Result<(), Fault> {
        self.admit(replacement(&new, gone))?;
        let mut batch = Batch::default();
        for first in gone {
            batch.remove(&log_key(*first, 0));
        }
        for (first, value) in new {
            batch.insert(&log_key(first, 0), value);
        }
        guarded(|| Ok(self.engine.log.apply_batch(batch)?))
    }

    /// Returns when everything that was written is durable.
    pub(crate) fn barrier(&mut self) -> Result<(), Fault> {
        self.write_lot()?;
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.engine.flush()?;
        self.budget.reset();
        self.engine.barrier_passed.notify_all();
        Ok(())
    }

    /// Makes room for a write, with a barrier if needed, and counts it.
    fn admit(&mut self, write: Write) -> Result<(), Fault> {
        self.make_room(write)?;
        self.budget.note(write);
        Ok(())
    }

    fn make_room(&mut self, write: Write) -> Result<(), Fault> {
        if self.budget.admits(write) {
            Ok(())
        } else {
            self.flush()
        }
    }
}

/// What the budget is asked for a replacement.
pub(crate) fn replacement(new: &[(u64, Vec<u8>)], gone: &[u64]) -> Write {
    let bytes = new.iter().map(|(_, value)| value.len()).sum();
    if gone.is_empty() {
        Write::Log { bytes }
    } else {
        Write::Deletions {
            keys: gone.len(),
            bytes,
        }
    }
}

impl Engine {
    fn flush(&self) -> Result<(), Fault> {
        let Timing {
            opened,
            started,
            count,
            total,
            last,
        } = &self.timing;
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let begin = micros(opened.elapsed()).max(1);
        started.store(begin, Relaxed);
        guarded(|| Ok(self.db.flush()?))?;
        if self.barrier == Barrier::OwnSync {
            self.sync()?;
        }
        started.store(0, Relaxed);
        let took = micros(opened.elapsed()).saturating_sub(begin);
        count.fetch_add(1, Relaxed);
        total.fetch_add(took, Relaxed);
        last.store(took, Relaxed);
        Ok(())
    }
}

/// Runs a call into sled, which panics where others return an error.
fn guarded<T>(call: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|_| Err(Fault("the database panicked".to_owned())))
}
