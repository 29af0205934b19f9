//! What happens between opening the database and serving it: runs are loaded or rebuilt, the log
//! behind them is read, what belongs to no whole append is cut, and the end is compared with what
//! was acknowledged.

mod indexing;

use self::indexing::{Handover, Whole, while_indexing};
use crate::OpenError;
use crate::chunk::{Chunk, Header};
use crate::engine::{Engine, Fault};
use crate::index::{Halt, Manifest, Run, SectionKey, run_of};
use crate::keys::parse_log_key;
use crate::log::read_chunk;
use crate::lot::Place;
use crate::record::Damage;
use crate::store::Store;
use crate::upkeep;
use icecore_core::Mark;
use sled::IVec;
use std::io;
use std::sync::Arc;

/// The id that the next run gets if no manifest says more.
pub(crate) fn next_run_id(engine: &Engine) -> Result<u64, Fault> {
    let last = engine.last_run_key()?.and_then(|key| run_of(&key));
    Ok(last.map_or(1, |run| run + 1))
}

/// Fills a store from its disk. `acknowledged` is what the watermark says.
pub(crate) fn recover(store: &Store, acknowledged: u64) -> Result<(), OpenError> {
    let next = load_runs(store)?;
    let mut replay = Replay::new(store, next, u64::MAX);
    replay.run()?;
    let Replay {
        marked: found,
        unmarked,
        waiting,
        ..
    } = replay;
    if found < acknowledged {
        let path = store.directory.path().to_owned();
        return Err(OpenError::LogTooShort {
            path,
            found,
            acknowledged,
        });
    }
    cut_unmarked(store, found, &unmarked)?;
    // Only the first of the chunks that wait can hold something whole as well.
    if let Some(mixed) = waiting.first().filter(|chunk| chunk.contains(found)) {
        trim_chunk(store, mixed, found)?;
    }
    // What was durable but not answered is shown from now on, so it counts as acknowledged.
    let path = store.directory.path();
    store
        .watermark
        .write(found)
        .map_err(OpenError::io("write the watermark in", path))?;
    Ok(())
}

/// Loads the runs that the manifest names and rebuilds those that are damaged, but for the last
/// ones, which the replay of the log's end covers. Returns the first position behind all runs.
fn load_runs(store: &Store) -> Result<u64, OpenError> {
    let fault = |fault: Fault| engine_error(store, &fault);
    let reader = store.run_reader();
    let manifest = match reader.payload(SectionKey::MANIFEST) {
        Ok(payload) => Manifest::decode(&payload),
        Err(_) => None,
    };
    let manifest = manifest.unwrap_or_else(|| {
        if store.engine.last_run_key().is_ok_and(|key| key.is_some()) {
            tracing::warn!(
                "the list of index runs is damaged or of another version; the index is rebuilt from \
                 the log"
            );
        }
        Manifest::default()
    });
    store.index.skip_run_ids(manifest.next_id);
    let listed: Vec<_> = manifest.runs.iter().map(|run| run.id).collect();
    let mut next = 1;
    for info in manifest.runs {
        let (id, first, last) = (info.id, info.first, info.last);
        let (run, chunks) = match reader.load(info) {
            Ok(loaded) => loaded,
            Err(error) => {
                tracing::warn!(run = id, %error, "an index run is damaged and is rebuilt");
                continue;
            }
        };
        if next < first {
            rebuild(store, next, first - 1)?;
        }
        store.log.publish(&chunks, None, last);
        store.log.count_stored(0, run.info.log_bytes);
        push_run(store, run);
        next = last + 1;
    }
    check_last_chunk(store, next - 1)?;
    let runs = store.index.runs();
    // Rebuilt runs may be as many as those that were damaged.
    if !runs.iter().map(|run| run.info.id).eq(listed) {
        upkeep::write_manifest(store, &runs).map_err(fault)?;
    }
    store.index.begin_at(next);
    Ok(next)
}

fn push_run(store: &Store, run: Run) {
    let mut runs = store.index.runs().to_vec();
    runs.push(Arc::new(run));
    store.index.install(runs);
}

/// The log must reach as far as the runs that were made of it.
fn check_last_chunk(store: &Store, last: u64) -> Result<(), OpenError> {
    let Some(mut first) = store.log.firsts_within(1, last).pop() else {
        return Ok(());
    };
    // It may have been merged after the list of chunks was written.
    let fault = |fault: Fault| engine_error(store, &fault);
    if store.engine.log_value(first, 0).map_err(fault)?.is_none() {
        store.log.find_chunk(&store.engine, last).map_err(fault)?;
        first = store.log.sealed_first(last).unwrap_or(first);
    }
    match read_chunk(&store.engine, store.id, first) {
        Ok((chunk, ..)) if chunk.last() == last => Ok(()),
        Ok(_) => Err(corrupted(
            store,
            first,
            "it ends before the index that was made of it",
        )),
        Err(error) => Err(corrupted(store, first, &error.to_string())),
    }
}

/// Makes runs of a range between sound ones.
fn rebuild(store: &Store, first: u64, last: u64) -> Result<(), OpenError> {
    store.index.begin_at(first);
    let mut replay = Replay::new(store, first, last);
    replay.run()?;
    if replay.marked != last {
        return Err(corrupted(
            store,
            replay.marked + 1,
            "the log ends within its index",
        ));
    }
    store.index.freeze();
    while store.index.frozen() > 0 {
        cut(store)?;
    }
    Ok(())
}

fn cut(store: &Store) -> Result<(), OpenError> {
    upkeep::cut(store).map_err(|halt| {
        let reason = match halt {
            Halt::Stopped => "it was stopped".to_owned(),
            Halt::Failed(fault) => fault.to_string(),
            Halt::Damaged(run, error) => format!("index run {run}: {error}"),
        };
        engine_error(store, &Fault(reason))
    })
}

/// Reads chunks in order and has indexed what belongs to whole appends.
struct Replay<'a> {
    store: &'a Store,
    /// The position that must come next.
    next: u64,
    /// Where to stop, inclusive.
    last: u64,
    /// The last position that ended an append.
    marked: u64,
    /// Chunks with events after `marked`.
    waiting: Vec<Arc<Chunk>>,
    /// Keys of all chunks and parts that begin after `marked`.
    unmarked: Vec<(u64, u16)>,
    /// Parts of the chunk that is being read.
    parts: Vec<IVec>,
    /// A chunk lacked parts; nothing may follow it.
    torn: bool,
}

/// Why a replay ends early.
enum Stop {
    Fault(Fault),
    Damage(u64, Damage),
    Open(OpenError),
}

impl Stop {
    fn thread(store: &Store, error: io::Error) -> Self {
        Self::Open(OpenError::io("start a thread for", store.directory.path())(
            error,
        ))
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl<'a> Replay<'a> {
    fn new(store: &'a Store, first: u64, last: u64) -> Self {
        Self {
            store,
            next: first,
            last,
            marked: first - 1,
            waiting: Vec::new(),
            unmarked: Vec::new(),
            parts: Vec::new(),
            torn: false,
        }
    }

    fn run(&mut self) -> Result<(), OpenError> {
        let store = self.store;
        let ended = while_indexing(store, |handover| self.read(handover));
        ended.map_err(|stop| match stop {
            Stop::Fault(fault) => engine_error(store, &fault),
            Stop::Damage(position, damage) => corrupted(store, position, damage.0),
            Stop::Open(error) => error,
        })
    }

    fn read(&mut self, handover: &mut Handover) -> Result<(), Stop> {
        let store = self.store;
        store.engine.scan_log(self.next, |key, value| {
            let (first, part) = parse_log_key(key).ok_or(Stop::Damage(
                self.next,
                Damage("a key of the log cannot be read"),
            ))?;
            if first > self.last {
                return Ok(false);
            }
            self.part(first, part, value, handover)?;
            Ok::<_, Stop>(true)
        })?;
        self.end_chunk(handover)
    }

    /// Takes the next value of the log.
    fn part(
        &mut self,
        first: u64,
        part: u16,
        value: IVec,
        handover: &mut Handover,
    ) -> Result<(), Stop> {
        if part == 0 || self.is_whole() {
            self.end_chunk(handover)?;
        }
        if part > 0 && first < self.next {
            // An erasure made it needless and did not come to delete it. Nothing reads it.
            return Ok(());
        }
        if value.is_empty() {
            // Its key was announced, and the process ended before the value was written.
            self.torn = true;
            self.unmarked.push((first, part));
            return Ok(());
        }
        if self.torn {
            return Err(Stop::Damage(self.next, Damage("a chunk lacks parts")));
        }
        if first != self.next {
            return Err(Stop::Damage(self.next, Damage("a chunk is missing")));
        }
        self.unmarked.push((first, part));
        self.parts.push(value);
        Ok(())
    }

    /// Whether all parts of the chunk that is being read are there.
    fn is_whole(&self) -> bool {
        let parts = self.parts.first();
        let parts = parts.map(|head| Header::parts_of(head, self.store.id));
        matches!(parts, Some(Ok(parts)) if self.parts.len() >= usize::from(parts))
    }

    /// Decodes the chunk whose parts have been read. An incomplete one is the end of an append that
    /// was being written.
    fn end_chunk(&mut self, handover: &mut Handover) -> Result<(), Stop> {
        let parts = std::mem::take(&mut self.parts);
        let Some(head) = parts.first() else {
            return Ok(());
        };
        let (first, store_id) = (self.next, self.store.id);
        let damaged = |damage| Stop::Damage(first, damage);
        let count = Header::parts_of(head, store_id).map_err(damaged)?;
        if parts.len() < usize::from(count) {
            self.torn = true;
            return Ok(());
        }
        let chunk = Chunk::decode(&parts, store_id, first).map_err(damaged)?;
        let stored: usize = parts.iter().map(|part| part.len()).sum();
        self.store.log.count_stored(0, stored as u64);
        self.next = chunk.last() + 1;
        let last_mark = last_mark(&chunk).map_err(damaged)?;
        self.waiting.push(Arc::new(chunk));
        if let Some(position) = last_mark {
            self.hand_over(position, handover);
        }
        Ok(())
    }

    /// Hands everything that waits up to the end of an append over to the index.
    fn hand_over(&mut self, last: u64, handover: &mut Handover) {
        let chunks = self.waiting.clone();
        let after = std::mem::replace(&mut self.marked, last);
        self.waiting.retain(|chunk| chunk.last() > last);
        self.unmarked.retain(|(first, _)| *first > last);
        handover.add(Whole {
            after,
            last,
            chunks,
            ends_chunk: self.waiting.is_empty(),
        });
    }
}

/// The last position of a chunk that ends an append.
fn last_mark(chunk: &Chunk) -> Result<Option<u64>, Damage> {
    for position in (chunk.first()..=chunk.last()).rev() {
        if chunk.mark(position)? == Mark::End {
            return Ok(Some(position));
        }
    }
    Ok(None)
}

/// Removes chunks, last one first, of an append that never became whole. Nobody has seen them.
fn cut_unmarked(store: &Store, last: u64, unmarked: &[(u64, u16)]) -> Result<(), OpenError> {
    if unmarked.is_empty() {
        return Ok(());
    }
    tracing::info!(
        last,
        parts = unmarked.len(),
        "cutting an append that was not finished"
    );
    let mut writing = store.engine.write();
    for key in unmarked.iter().rev() {
        writing
            .delete_log(*key)
            .map_err(|fault| engine_error(store, &fault))?;
    }
    writing
        .barrier()
        .map_err(|fault| engine_error(store, &fault))
}

/// Cuts the events after `last`, which belong to no whole append, out of the chunk that holds it.
fn trim_chunk(store: &Store, chunk: &Chunk, last: u64) -> Result<(), OpenError> {
    let damaged = |damage: Damage| corrupted(store, chunk.first(), damage.0);
    let mut builder = chunk.builder();
    let mut scratch = Vec::new();
    for position in chunk.first()..=last {
        let record = chunk.record(position).map_err(damaged)?;
        let mark = chunk.mark(position).map_err(damaged)?;
        builder.push_record(&record, mark, &mut scratch);
    }
    let mut values = builder.encode(store.id, store.value_bytes_max());
    let (Some(value), true) = (values.pop(), values.is_empty()) else {
        return Err(damaged(Damage(
            "a chunk of several events is too large for one value",
        )));
    };
    let mut writing = store.engine.write();
    writing
        .put_log((chunk.first(), 0), Place::Again, value, builder.raw_len())
        .and_then(|()| writing.barrier())
        .map_err(|fault| engine_error(store, &fault))
}

fn corrupted(store: &Store, position: u64, reason: &str) -> OpenError {
    OpenError::Corrupted {
        path: store.directory.path().to_owned(),
        position,
        reason: reason.to_owned(),
    }
}

fn engine_error(store: &Store, fault: &Fault) -> OpenError {
    OpenError::Engine {
        path: store.directory.sled(),
        reason: fault.to_string(),
    }
}

#[cfg(test)]
mod tests;
