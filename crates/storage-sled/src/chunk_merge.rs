//! Small chunks, which small commits leave behind, become larger ones when an index run is cut.
//!
//! Readers keep their footing: a chunk is replaced in sled and in the directory in one step, and who
//! looked up an old one looks again.

use crate::budget::Write;
use crate::chunk::{Chunk, ChunkBuilder};
use crate::index::Halt;
use crate::log::read_chunk;
use crate::record::Damage;
use crate::store::Store;
use std::sync::Arc;

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
        if !fits || parts > 1 || group.chunks.len() == MERGE_CHUNKS_MAX {
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
    let deletions = Write::Deletions {
        keys: firsts.len() - 1,
        bytes: value.len(),
    };
    let mut writing = store.engine.write_when_admitted(deletions)?;
    store
        .log
        .replace(&firsts, merged, || writing.replace_chunks(value, &firsts))?;
    store.log.count_stored(stored_bytes, bytes);
    Ok(bytes)
}

/// The events of several chunks in one.
fn rebuild(chunks: &[Chunk]) -> Result<ChunkBuilder, Damage> {
    let start = chunks[0].event(chunks[0].first())?;
    let mut builder = ChunkBuilder::new(start.position, start.recorded_at);
    let mut scratch = Vec::new();
    for chunk in chunks {
        for position in chunk.first()..=chunk.last() {
            builder.push(&chunk.event(position)?, chunk.mark(position)?, &mut scratch);
        }
    }
    Ok(builder)
}
