//! Small chunks, which small commits leave behind, become larger ones when an index run is cut.
//!
//! Readers keep their footing: a chunk is replaced in sled and in the directory in one step, and who
//! looked up an old one looks again.

use crate::chunk::{Chunk, ChunkBuilder};
use crate::engine::replacement;
use crate::index::Halt;
use crate::log::read_chunk;
use crate::record::Damage;
use crate::store::Store;
use std::sync::{Arc, PoisonError};

/// Most chunks that become one at a time: half of the deletions that the budget admits.
const MERGE_CHUNKS_MAX: usize = 5;

/// Neighbouring chunks of one part each, which fit one chunk together.
#[derive(Default)]
struct Group {
    chunks: Vec<Chunk>,
    raw_bytes: usize,
    stored_bytes: u64,
}

/// Merges small neighbouring chunks of a range of positions, both ends inclusive; returns the bytes
/// that the range takes afterwards.
pub(crate) fn merge_chunks(
    store: &Store,
    first: u64,
    last: u64,
    stop: &dyn Fn() -> bool,
) -> Result<u64, Halt> {
    let _alone = store
        .rewriting
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let mut stored = 0;
    let mut group = Group::default();
    for at in store.log.firsts_within(first, last) {
        if stop() {
            return Err(Halt::Stopped);
        }
        let Ok((chunk, parts, bytes)) = read_chunk(&store.engine, store.id, at) else {
            // Whoever reads it is told; it stays as it is.
            stored += merge(store, std::mem::take(&mut group))?;
            continue;
        };
        let fits = group.raw_bytes + chunk.raw_len() <= store.config.chunk_bytes;
        let other = group
            .chunks
            .last()
            .is_some_and(|before| before.generation() != chunk.generation());
        if !fits || other || parts > 1 || group.chunks.len() == MERGE_CHUNKS_MAX {
            stored += merge(store, std::mem::take(&mut group))?;
        }
        if parts > 1 {
            stored += bytes;
        } else {
            group.raw_bytes += chunk.raw_len();
            group.stored_bytes += bytes;
            group.chunks.push(chunk);
        }
    }
    stored += merge(store, group)?;
    Ok(stored)
}

/// Makes one chunk of several, or leaves a single one alone; returns the bytes that it takes.
fn merge(store: &Store, group: Group) -> Result<u64, Halt> {
    let Group {
        chunks,
        stored_bytes,
        ..
    } = group;
    if chunks.len() < 2 {
        return Ok(stored_bytes);
    }
    // A record that cannot be read stays as it is, too.
    let Ok(builder) = rebuild(&chunks) else {
        return Ok(stored_bytes);
    };
    let mut values = builder.encode(store.id, store.value_bytes_max());
    let (Some(value), true) = (values.pop(), values.is_empty()) else {
        return Ok(stored_bytes);
    };
    let bytes = value.len() as u64;
    let firsts: Vec<_> = chunks.iter().map(Chunk::first).collect();
    let merged = Arc::new(builder.into_chunk());
    let new = vec![(firsts[0], value)];
    let mut writing = store
        .engine
        .write_when_admitted(replacement(&new, &firsts[1..]))?;
    store.log.replace(&firsts, vec![merged], || {
        writing.replace_chunks(new, &firsts[1..])
    })?;
    store.log.count_stored(stored_bytes, bytes);
    Ok(bytes)
}

/// The records of several chunks in one.
fn rebuild(chunks: &[Chunk]) -> Result<ChunkBuilder, Damage> {
    let first = &chunks[0];
    let mut builder = first.builder();
    let mut scratch = Vec::new();
    for chunk in chunks {
        for position in chunk.first()..=chunk.last() {
            let (record, mark) = (chunk.record(position)?, chunk.mark(position)?);
            builder.push_record(&record, mark, &mut scratch);
        }
    }
    Ok(builder)
}
