//! Lets indexes and files follow what was removed from the log: chunks that became small are merged,
//! and index runs are written anew without the postings of what is gone.

use crate::check::Gone;
use crate::chunk_merge::merge_chunks;
use crate::index::Halt;
use crate::store::Store;
use crate::upkeep::{RunChange, replace_runs, step};
use icecore_core::{Error, Result};
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

/// See [`icecore_storage::Storage::compact`]; everything in the range is sealed and frozen. Blocks.
pub(crate) fn compact(store: &Store, first: u64, last: u64) -> Result<()> {
    compact_runs(store, first, last).map_err(|halt| match halt {
        Halt::Stopped => Error::unavailable("the store is being closed"),
        Halt::Damaged(run, error) => {
            store.index.mark_damaged(run);
            Error::corrupted(format!("index run {run}: {error}; a restart rebuilds it"))
        }
        Halt::Failed(fault) => {
            store.fail(&fault.0);
            Error::unavailable(fault.0)
        }
    })
}

/// Whether a run names anything that is gone; an earlier compaction may have seen to that.
fn names_gone(store: &Store, at: usize, gone: &Gone) -> Result<bool, Halt> {
    let runs = store.index.runs();
    let mut found = false;
    runs[at]
        .for_each(store.run_reader(), |entry| {
            let mut positions = entry.positions.iter();
            found = found || positions.any(|position| gone.is_gone(&entry.term, *position));
        })
        .map_err(|error| Halt::Damaged(runs[at].info.id, error))?;
    Ok(found)
}

fn compact_runs(store: &Store, first: u64, last: u64) -> Result<(), Halt> {
    while store.index.frozen() > 0 {
        step(store)?;
    }
    let mut next = first;
    loop {
        let _alone = store.upkeep.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = store.index.runs();
        let at = runs.partition_point(|run| run.info.last < next);
        let Some(run) = runs.get(at).filter(|run| run.info.first <= last) else {
            return Ok(());
        };
        let (run_first, run_last, tier) = (run.info.first, run.info.last, run.info.tier);
        drop(runs);
        next = run_last + 1;
        // Damage of the log is told to whoever reads it; the run stays as it is.
        let Ok(gone) = Gone::within(store, run_first, run_last, |_| {}) else {
            continue;
        };
        if !gone.is_any() || !names_gone(store, at, &gone)? {
            continue;
        }
        let stop = || store.closing.load(Relaxed);
        let log_bytes = merge_chunks(store, run_first, run_last, &stop)?;
        let change = RunChange {
            runs: at..at + 1,
            tier,
            log_bytes,
        };
        replace_runs(store, change, |term, position| gone.is_gone(term, position))?;
    }
}
