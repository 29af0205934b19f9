//! What an open store consists of, shared by its threads and its readers, and whether it is well.

use crate::ballast::Ballast;
use crate::barrier::Barrier;
use crate::brief::BriefReads;
use crate::config::{SledConfig, value_bytes_max};
use crate::directory::DataDirectory;
use crate::engine::Engine;
use crate::index::{Index, RunReader};
use crate::log::Log;
use crate::space::Room;
use crate::watermark::Watermark;
use icecore_core::{Error, StoreId};
use icecore_storage::Health;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock};
use tokio::sync::Semaphore;

/// An open store. The order of the fields is the order in which they are dropped: the lock last.
pub(crate) struct Store {
    pub(crate) engine: Engine,
    pub(crate) log: Log,
    pub(crate) index: Index,
    pub(crate) watermark: Watermark,
    pub(crate) config: SledConfig,
    pub(crate) id: StoreId,
    /// Which opening of the store this is.
    pub(crate) generation: u32,
    /// Held by whoever reads chunks to write them anew.
    pub(crate) rewriting: Mutex<()>,
    /// Held by whoever changes the list of index runs.
    pub(crate) upkeep: Mutex<()>,
    /// Why nothing is written any more.
    failed: OnceLock<String>,
    /// Threads shall end.
    pub(crate) closing: AtomicBool,
    /// Something was committed since the watermark was last synced.
    pub(crate) dirty: AtomicBool,
    pub(crate) commits: AtomicU64,
    pub(crate) commit_micros: AtomicU64,
    /// Long scans on blocking threads.
    pub(crate) scans: Arc<Semaphore>,
    /// Other reads, which may block the threads of the runtime for a moment.
    pub(crate) brief_reads: BriefReads,
    /// Other reads on blocking threads.
    pub(crate) lookups: Arc<Semaphore>,
    /// Removal and compaction, which must not keep readers waiting.
    pub(crate) removals: Arc<Semaphore>,
    pub(crate) room: Arc<Room>,
    pub(crate) ballast: Ballast,
    pub(crate) directory: DataDirectory,
}

/// What [`Store::new`] gets.
pub(crate) struct Parts {
    pub(crate) engine: Engine,
    pub(crate) index: Index,
    pub(crate) watermark: Watermark,
    pub(crate) config: SledConfig,
    pub(crate) directory: DataDirectory,
    pub(crate) room: Arc<Room>,
    pub(crate) ballast: Ballast,
}

impl Store {
    /// A store that recovery has still to fill.
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            engine,
            index,
            watermark,
            config,
            directory,
            room,
            ballast,
        } = parts;
        let id = directory.identity().store_id;
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            engine,
            log: Log::new(id, config.chunk_cache_bytes),
            index,
            generation: watermark.generation(),
            rewriting: Mutex::default(),
            upkeep: Mutex::default(),
            watermark,
            config,
            id,
            failed: OnceLock::new(),
            closing: AtomicBool::new(false),
            dirty: AtomicBool::new(true),
            commits: AtomicU64::new(0),
            commit_micros: AtomicU64::new(0),
            scans: Arc::new(Semaphore::new((cores / 2).max(1))),
            brief_reads: BriefReads::default(),
            lookups: Arc::new(Semaphore::new(4 * cores)),
            removals: Arc::new(Semaphore::new(1)),
            room,
            ballast,
            directory,
        }
    }

    /// Where the values of index runs are.
    pub(crate) fn run_reader(&self) -> RunReader<'_> {
        RunReader {
            engine: &self.engine,
            store_id: self.id,
        }
    }

    /// Largest value of the log.
    pub(crate) fn value_bytes_max(&self) -> usize {
        value_bytes_max(self.config.segment_bytes)
    }

    /// Stops all writing for good: after an error it cannot be said what is on disk.
    pub(crate) fn fail(&self, reason: &str) {
        if self.failed.set(reason.to_owned()).is_ok() {
            tracing::error!(reason, "writing has stopped; restart the server");
        }
    }

    /// `Unavailable` once writing has stopped.
    pub(crate) fn check_writable(&self) -> Result<(), Error> {
        match self.failed.get() {
            Some(reason) => Err(Error::unavailable(format!(
                "writing has stopped after an error, restart the server: {reason}"
            ))),
            None => Ok(()),
        }
    }

    pub(crate) fn health(&self) -> Health {
        if let Some(reason) = self.failed.get() {
            return Health::Failed(format!("writing has stopped, restart the server: {reason}"));
        }
        self.stall().unwrap_or_else(|| self.notes())
    }

    /// What a barrier that does not end means.
    fn stall(&self) -> Option<Health> {
        let age = self.engine.barrier_age()?;
        let reason = || {
            let seconds = age.as_secs();
            format!("the disk has not finished a sync for {seconds} s")
        };
        if age > self.config.stall_timeout {
            Some(Health::Failed(reason()))
        } else if age > self.config.barrier_age_max {
            Some(Health::Stalled(reason()))
        } else {
            None
        }
    }

    /// What an operator should know of a store that reads and writes.
    fn notes(&self) -> Health {
        let mut notes = Vec::from_iter(self.room.shortage());
        if self.engine.barrier() == Barrier::OwnSync {
            notes.push("the database's own sync is not durable, each one is done twice".to_owned());
        }
        let damaged = self.index.figures().damaged_runs;
        if damaged > 0 {
            notes.push(format!(
                "{damaged} index runs are damaged, a restart rebuilds them"
            ));
        }
        if notes.is_empty() {
            Health::Healthy
        } else {
            Health::Degraded(notes.join("; "))
        }
    }
}
