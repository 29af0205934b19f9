//! The log as readers see it: which chunk holds a position, the open chunk, the cache of decoded
//! chunks. What it shows is durable; [`crate::commit`] publishes after the barrier.

use crate::chunk::{Chunk, Header};
use crate::engine::{Engine, Fault};
use crate::record::Damage;
use icecore_core::{Error, Position, StoreId};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::watch;

/// How often a reader looks again for a chunk that was merged away under its hands.
const LOOKUP_TRIES: u32 = 8;

/// The log, as far as it is durable.
pub(crate) struct Log {
    store_id: StoreId,
    state: RwLock<LogState>,
    announced: watch::Sender<Position>,
    cache: Cache<u64, Arc<Chunk>, ByWeight>,
    cache_hits: AtomicU64,
    cache_misses: AtomicU64,
    stored_bytes: AtomicU64,
}

struct LogState {
    /// First positions of all sealed chunks, ascending.
    firsts: Vec<u64>,
    /// The chunk that the next commit may rewrite. It is never read from sled.
    open: Option<Arc<Chunk>>,
    last: u64,
}

/// Whether a chunk that was read stays in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// It is likely to be read again.
    Cached,
    /// Part of a long scan, which would only push others out.
    Passing,
}

/// Figures of the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogFigures {
    pub(crate) chunks: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) cache_hits: u64,
    pub(crate) cache_misses: u64,
    pub(crate) cache_bytes: u64,
}

#[derive(Clone)]
struct ByWeight;

impl Weighter<u64, Arc<Chunk>> for ByWeight {
    fn weight(&self, _: &u64, chunk: &Arc<Chunk>) -> u64 {
        chunk.weight()
    }
}

impl Log {
    /// An empty log; recovery publishes what is there.
    pub(crate) fn new(store_id: StoreId, cache_bytes: usize) -> Self {
        let cache_bytes = cache_bytes as u64;
        let estimated = usize::try_from(cache_bytes / 8_192)
            .unwrap_or(usize::MAX)
            .max(16);
        Self {
            store_id,
            state: RwLock::new(LogState {
                firsts: Vec::new(),
                open: None,
                last: 0,
            }),
            announced: watch::Sender::new(Position::START),
            cache: Cache::with_weighter(estimated, cache_bytes, ByWeight),
            cache_hits: AtomicU64::new(0),
            cache_misses: AtomicU64::new(0),
            stored_bytes: AtomicU64::new(0),
        }
    }

    fn state(&self) -> RwLockReadGuard<'_, LogState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, LogState> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last position that may be shown.
    pub(crate) fn last(&self) -> u64 {
        self.state().last
    }

    /// The last position that may be shown, as it changes.
    pub(crate) fn announced(&self) -> watch::Receiver<Position> {
        self.announced.subscribe()
    }

    /// Shows what a commit wrote: chunks that are sealed now, and the open one.
    pub(crate) fn publish(&self, sealed: &[u64], open: Option<Arc<Chunk>>, last: u64) {
        let mut state = self.state_mut();
        debug_assert!(state.firsts.last() < sealed.first() || sealed.is_empty());
        state.firsts.extend_from_slice(sealed);
        state.open = open;
        state.last = last;
        // Under the lock, so that nothing is shown before it is announced.
        self.announced.send_replace(Position::new(last));
    }

    /// Keeps a chunk at hand that is about to be published or to be read again.
    pub(crate) fn remember(&self, chunk: Arc<Chunk>) {
        self.cache.insert(chunk.first(), chunk);
    }

    /// Counts bytes of the log in sled: `new` that came, some perhaps in the place of `old`.
    pub(crate) fn count_stored(&self, old: u64, new: u64) {
        self.stored_bytes.fetch_add(new, Relaxed);
        self.stored_bytes.fetch_sub(old, Relaxed);
    }

    /// First positions of the sealed chunks that begin within a range, both ends inclusive.
    pub(crate) fn firsts_within(&self, first: u64, last: u64) -> Vec<u64> {
        let state = self.state();
        let start = state.firsts.partition_point(|at| *at < first);
        let end = state.firsts.partition_point(|at| *at <= last);
        state.firsts[start..end].to_vec()
    }

    /// The chunk of a position, if it is in memory.
    pub(crate) fn resident(&self, position: u64) -> Option<Arc<Chunk>> {
        match self.locate(position)? {
            Located::Open(chunk) => Some(chunk),
            Located::Sealed(first) => self.cached(first, position),
        }
    }

    /// The chunk of a position. Blocks.
    pub(crate) fn load(
        &self,
        engine: &Engine,
        position: u64,
        keep: Keep,
    ) -> Result<Arc<Chunk>, Error> {
        let mut damage = Damage("no chunk holds this position");
        for _ in 0..LOOKUP_TRIES {
            let first = match self.locate(position) {
                Some(Located::Open(chunk)) => return Ok(chunk),
                Some(Located::Sealed(first)) => first,
                None => break,
            };
            if let Some(chunk) = self.cached(first, position) {
                return Ok(chunk);
            }
            self.cache_misses.fetch_add(1, Relaxed);
            match read_chunk(engine, self.store_id, first) {
                Ok((chunk, ..)) if chunk.contains(position) => {
                    let chunk = Arc::new(chunk);
                    if keep == Keep::Cached {
                        self.cache.insert(first, chunk.clone());
                    }
                    return Ok(chunk);
                }
                // It was merged with its neighbours: meanwhile, then the directory knows it, or after
                // the directory was stored.
                Ok(_) => damage = Damage("a chunk does not hold its position"),
                Err(ReadError::Damage(found)) => damage = found,
                Err(ReadError::Fault(fault)) => {
                    return Err(unreadable(position, &fault));
                }
            }
            self.find_chunk(engine, position)
                .map_err(|fault| unreadable(position, &fault))?;
        }
        Err(corrupted(position, damage))
    }

    /// Corrects the directory around a position whose chunk is not where it says: what was merged
    /// before a crash is not known to the directory that was stored before that.
    pub(crate) fn find_chunk(&self, engine: &Engine, position: u64) -> Result<(), Fault> {
        let Some(first) = engine.chunk_at(position)? else {
            return Ok(());
        };
        let Ok((chunk, ..)) = read_chunk(engine, self.store_id, first) else {
            return Ok(());
        };
        if chunk.contains(position) {
            let mut state = self.state_mut();
            let start = state.firsts.partition_point(|at| *at < first);
            let end = state.firsts.partition_point(|at| *at <= chunk.last());
            state.firsts.splice(start..end, [first]);
        }
        Ok(())
    }

    /// Puts chunks in the place of others in a single step for readers: `write` does it in sled, while
    /// nobody can look up a chunk.
    pub(crate) fn replace(
        &self,
        old: &[u64],
        new: Vec<Arc<Chunk>>,
        write: impl FnOnce() -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut state = self.state_mut();
        write()?;
        let start = state.firsts.partition_point(|at| *at < old[0]);
        debug_assert_eq!(&state.firsts[start..start + old.len()], old);
        let firsts = new.iter().map(|chunk| chunk.first());
        state.firsts.splice(start..start + old.len(), firsts);
        let mut cached = false;
        for first in old {
            cached |= self.cache.remove(first).is_some();
        }
        // Only what was in use stays at hand.
        for chunk in new.into_iter().filter(|_| cached) {
            self.cache.insert(chunk.first(), chunk);
        }
        Ok(())
    }

    /// The chunk that the next commit may rewrite.
    pub(crate) fn open_chunk(&self) -> Option<Arc<Chunk>> {
        self.state().open.clone()
    }

    /// First position of the sealed chunk of a position; `None` when it is in the open one.
    pub(crate) fn sealed_first(&self, position: u64) -> Option<u64> {
        match self.locate(position)? {
            Located::Open(_) => None,
            Located::Sealed(first) => Some(first),
        }
    }

    /// The last position of the chunk that begins at `first`, as the directory has it.
    pub(crate) fn last_of(&self, first: u64) -> u64 {
        let state = self.state();
        let next = state.firsts.partition_point(|at| *at <= first);
        let open = state.open.as_ref().map(|open| open.first());
        let next = state.firsts.get(next).copied().or(open);
        next.map_or(state.last, |next| next - 1)
    }

    pub(crate) fn figures(&self) -> LogFigures {
        let state = self.state();
        LogFigures {
            chunks: (state.firsts.len() + usize::from(state.open.is_some())) as u64,
            stored_bytes: self.stored_bytes.load(Relaxed),
            cache_hits: self.cache_hits.load(Relaxed),
            cache_misses: self.cache_misses.load(Relaxed),
            cache_bytes: self.cache.weight(),
        }
    }

    fn locate(&self, position: u64) -> Option<Located> {
        let state = self.state();
        if let Some(open) = state.open.as_ref().filter(|open| position >= open.first()) {
            return Some(Located::Open(open.clone()));
        }
        let index = state
            .firsts
            .partition_point(|at| *at <= position)
            .checked_sub(1)?;
        Some(Located::Sealed(state.firsts[index]))
    }

    fn cached(&self, first: u64, position: u64) -> Option<Arc<Chunk>> {
        let chunk = self
            .cache
            .get(&first)
            .filter(|chunk| chunk.contains(position))?;
        self.cache_hits.fetch_add(1, Relaxed);
        Some(chunk)
    }
}

enum Located {
    Open(Arc<Chunk>),
    Sealed(u64),
}

/// Why something could not be read from sled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("{0}")]
    Damage(Damage),
    #[error("{0}")]
    Fault(Fault),
}

impl From<Fault> for ReadError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Damage> for ReadError {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

/// Reads a sealed chunk with all of its parts; returns also how many these are and the bytes that
/// they take.
pub(crate) fn read_chunk(
    engine: &Engine,
    store_id: StoreId,
    first: u64,
) -> Result<(Chunk, u16, u64), ReadError> {
    const MISSING: Damage = Damage("a chunk is missing");
    let head = engine.log_value(first, 0)?.ok_or(MISSING)?;
    let parts = Header::parts_of(&head, store_id)?;
    let mut values = vec![head];
    for part in 1..parts {
        values.push(engine.log_value(first, part)?.ok_or(MISSING)?);
    }
    let bytes = values.iter().map(|value| value.len() as u64).sum();
    Ok((Chunk::decode(&values, store_id, first)?, parts, bytes))
}

/// What a reader is told about a damaged chunk.
pub(crate) fn corrupted(position: u64, damage: Damage) -> Error {
    Error::corrupted(format!(
        "chunk of position {}: {damage}",
        Position::new(position)
    ))
}

fn unreadable(position: u64, fault: &Fault) -> Error {
    Error::corrupted(format!("chunk of position {position}: {fault}"))
}
