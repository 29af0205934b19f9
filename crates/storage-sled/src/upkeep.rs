//! Work in the background: frozen tails become runs, runs are merged, what nobody needs is deleted.
//! Small steps, each within the budget, so that a commit never waits for more than one.
//!
//! Order on disk: chunks are merged; blocks, lists and bloom filter, barrier; manifest, barrier; then
//! the old runs are deleted.

use crate::budget::Write;
use crate::chunk_merge::merge_chunks;
use crate::engine::Fault;
use crate::index::{
    Halt, Run, RunPlan, RunWriter, SectionKey, delete_run, encode, run_of, run_start,
};
use crate::store::Store;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How many neighbouring runs of a tier become one of the next.
const MERGE_RUNS: usize = 4;

/// How often a thread looks whether readers have let go of a merged run.
const READER_WAIT: Duration = Duration::from_millis(5);

/// Does one piece of work; `false` when there is none.
pub(crate) fn step(store: &Store) -> Result<bool, Halt> {
    let _alone = store.upkeep.lock().unwrap_or_else(PoisonError::into_inner);
    leave_out_damaged(store)?;
    if store.index.oldest_frozen().is_some() {
        cut(store)?;
        return Ok(true);
    }
    merge(store)
}

/// Where one run is found damaged, others may be: checks them all, and leaves those that are out of
/// the manifest, so that the next start rebuilds them.
pub(crate) fn leave_out_damaged(store: &Store) -> Result<(), Fault> {
    if !store.index.has_new_damage() {
        return Ok(());
    }
    let runs = store.index.runs();
    for run in runs.iter() {
        if run.verify(store.run_reader()).is_err() {
            store.index.mark_damaged(run.info.id);
        }
    }
    write_manifest(store, &runs)
}

/// Makes a run of the oldest frozen tail.
pub(crate) fn cut(store: &Store) -> Result<(), Halt> {
    let Some(tail) = store.index.oldest_frozen() else {
        return Ok(());
    };
    let stop = || store.closing.load(Relaxed);
    let log_bytes = merge_chunks(store, tail.first(), tail.last(), &stop)?;
    let plan = RunPlan {
        id: store.index.new_run_id(),
        tier: 0,
        first: tail.first(),
        last: tail.last(),
        chunks: &store.log.firsts_within(tail.first(), tail.last()),
        streams: tail.streams(),
        log_bytes,
    };
    let run = RunWriter::new(store.run_reader(), &stop, plan).write_tail(&tail)?;
    let mut runs = store.index.runs().to_vec();
    runs.push(Arc::new(run));
    install(store, runs)
}

/// Merges the first neighbours that are many enough; `false` when there are none.
fn merge(store: &Store) -> Result<bool, Halt> {
    let runs = store.index.runs();
    let damaged = store.index.damaged();
    let Some(at) = mergeable(&runs, &damaged) else {
        return Ok(false);
    };
    let log_bytes = runs[at..at + MERGE_RUNS]
        .iter()
        .map(|run| run.info.log_bytes)
        .sum();
    let change = RunChange {
        runs: at..at + MERGE_RUNS,
        tier: runs[at].info.tier + 1,
        log_bytes,
    };
    drop(runs);
    replace_runs(store, change, |_, _| false)?;
    store.index.note_merge();
    Ok(true)
}

/// Neighbouring runs that become one.
pub(crate) struct RunChange {
    /// Their places in the list of runs.
    pub(crate) runs: std::ops::Range<usize>,
    /// The tier of the new one.
    pub(crate) tier: u8,
    /// Bytes that the log takes in their range.
    pub(crate) log_bytes: u64,
}

/// Writes neighbouring runs as one, without what `gone` says of a term and a position. Only one may
/// do that at a time.
pub(crate) fn replace_runs(
    store: &Store,
    change: RunChange,
    gone: impl Fn(&[u8], u64) -> bool,
) -> Result<(), Halt> {
    let runs = store.index.runs();
    let old = &runs[change.runs.clone()];
    let (first, last) = (old[0].info.first, old[old.len() - 1].info.last);
    let stop = || store.closing.load(Relaxed);
    let plan = RunPlan {
        id: store.index.new_run_id(),
        tier: change.tier,
        first,
        last,
        chunks: &store.log.firsts_within(first, last),
        streams: old.iter().map(|run| run.info.streams).sum(),
        log_bytes: change.log_bytes,
    };
    let merged = match RunWriter::new(store.run_reader(), &stop, plan).merge(old, gone) {
        Err(Halt::Damaged(run, error)) => {
            tracing::error!(run, %error, "an index run is damaged; a restart rebuilds it");
            store.index.mark_damaged(run);
            return Ok(());
        }
        other => other?,
    };
    let mut new = runs.to_vec();
    let old: Vec<_> = new.splice(change.runs, [Arc::new(merged)]).collect();
    drop(runs);
    install(store, new)?;
    for run in old {
        while Arc::strong_count(&run) > 1 && !stop() {
            std::thread::sleep(READER_WAIT);
        }
        delete_run(&store.engine, run.info.id, &stop)?;
    }
    Ok(())
}

/// Where enough neighbours of one tier begin.
fn mergeable(runs: &[Arc<Run>], damaged: &BTreeSet<u64>) -> Option<usize> {
    runs.windows(MERGE_RUNS).position(|window| {
        let tier = window[0].info.tier;
        tier < u8::MAX
            && window
                .iter()
                .all(|run| run.info.tier == tier && !damaged.contains(&run.info.id))
            && window
                .windows(2)
                .all(|pair| pair[0].info.last + 1 == pair[1].info.first)
    })
}

/// Makes `runs` count, on disk and then for readers.
fn install(store: &Store, runs: Vec<Arc<Run>>) -> Result<(), Halt> {
    write_manifest(store, &runs)?;
    store.index.install(runs);
    Ok(())
}

pub(crate) fn write_manifest(store: &Store, runs: &[Arc<Run>]) -> Result<(), Fault> {
    let payload = store.index.manifest(runs).encode();
    let value = encode(store.id, SectionKey::MANIFEST, &payload);
    let write = Write::Index { bytes: value.len() };
    let mut writing = store.engine.write_when_admitted(write)?;
    writing.put_run(&SectionKey::MANIFEST.to_bytes(), value)?;
    writing.barrier()
}

/// Deletes what runs left behind that no manifest names: of an interrupted or damaged run.
pub(crate) fn delete_orphans(store: &Store) -> Result<(), Fault> {
    // Else a compaction could write a run meanwhile, which would be taken for an orphan.
    let _alone = store.upkeep.lock().unwrap_or_else(PoisonError::into_inner);
    let known: BTreeSet<_> = store.index.runs().iter().map(|run| run.info.id).collect();
    let stop = || store.closing.load(Relaxed);
    let mut next = store.engine.run_key_from(&run_start(1))?;
    while let Some((key, _)) = next.take().filter(|_| !stop()) {
        let Some(run) = run_of(&key) else {
            break;
        };
        if !known.contains(&run) {
            delete_run(&store.engine, run, &stop)?;
        }
        next = store.engine.run_key_from(&run_start(run + 1))?;
    }
    Ok(())
}
