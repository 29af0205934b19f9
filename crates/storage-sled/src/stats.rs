//! Figures for operators.

use crate::store::Store;
use icecore_core::{Error, Position, Result};
use icecore_storage::{StatValue, Stats};
use std::sync::atomic::Ordering::Relaxed;

/// Everything at once. Blocks, since it asks for the size of files.
pub(crate) fn stats(store: &Store) -> Result<Stats> {
    let log = store.log.figures();
    let index = store.index.figures();
    let flushes = store.engine.flush_figures();
    let disk_bytes = store
        .engine
        .size_on_disk()
        .map_err(|fault| Error::internal_from("the size on disk cannot be found", fault))?;
    let (free_bytes, free_bytes_min) = store.room.figures();
    let value = |name, value| StatValue { name, value };
    Ok(Stats {
        last_position: Position::new(store.log.last()),
        streams: index.streams,
        disk_bytes,
        details: vec![
            value("chunks", log.chunks),
            value("log_bytes", log.stored_bytes),
            value("chunk_cache_bytes", log.cache_bytes),
            value("chunk_cache_hits", log.cache_hits),
            value("chunk_cache_misses", log.cache_misses),
            value("index_runs", index.runs),
            value("index_runs_damaged", index.damaged_runs),
            value("index_tail_events", index.tail_events),
            value("index_merges", index.merges),
            value("commits", store.commits.load(Relaxed)),
            value("commit_total_us", store.commit_micros.load(Relaxed)),
            value("flushes", flushes.count),
            value("flush_total_us", flushes.micros_total),
            value("flush_last_us", flushes.micros_last),
            value("disk_free_bytes", free_bytes),
            value("disk_free_bytes_min", free_bytes_min),
            value("ballast_bytes", store.ballast.held_bytes()),
        ],
    })
}
