//! Takes payloads and events out of the log: the chunks that hold them are written anew. Which events
//! go is decided above; indexes follow in [`crate::compaction`].
//!
//! Numbers and leaf hashes stay. The old chunk stays in free space of sled's file until sled uses that
//! again.

use crate::budget::Write;
use crate::chunk::{Chunk, ChunkBuilder};
use crate::engine::{Fault, replacement};
use crate::log::{ReadError, corrupted, read_chunk};
use crate::record::{REMOVED_BYTES, size_max};
use crate::store::Store;
use icecore_core::{EntryContent, Error, LogEntry, Result};
use icecore_storage::{Removal, RemovalKind, Removed};
use std::sync::{Arc, PoisonError};

/// Removes in a sealed part of the log; durable when it returns. Blocks. A fault stops all writing.
pub(crate) fn remove(store: &Store, removals: &[Removal]) -> Result<Removed> {
    let _alone = store
        .rewriting
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let mut removed = Removed::default();
    let mut rest = removals;
    while let Some(next) = rest.first() {
        store.check_writable()?;
        let position = next.position.get();
        let (chunk, parts, bytes) = sealed_chunk(store, position)?;
        let here = rest.partition_point(|removal| removal.position.get() <= chunk.last());
        let change = Change::new(&chunk, &rest[..here.max(1)])?;
        if change.positions > 0 {
            let new_bytes = rewrite(store, &chunk, parts, &change.entries).map_err(|fault| {
                store.fail(&fault.0);
                Error::unavailable(fault.0)
            })?;
            store.log.count_stored(bytes, new_bytes);
            removed.positions += change.positions;
            removed.bytes += bytes.saturating_sub(new_bytes);
        }
        rest = &rest[here.max(1)..];
    }
    let durable = store.engine.write().barrier();
    durable.map_err(|fault| {
        store.fail(&fault.0);
        Error::unavailable(fault.0)
    })?;
    Ok(removed)
}

/// The chunk of a position from where it is durable, with its parts and bytes.
pub(crate) fn sealed_chunk(store: &Store, position: u64) -> Result<(Chunk, u16, u64)> {
    let damaged = |error: ReadError| match error {
        ReadError::Damage(damage) => corrupted(position, damage),
        ReadError::Fault(fault) => {
            Error::corrupted(format!("chunk of position {position}: {fault}"))
        }
    };
    let missing = || Error::internal(format!("position {position} is in no sealed chunk"));
    let first = store.log.sealed_first(position).ok_or_else(missing)?;
    match read_chunk(&store.engine, store.id, first) {
        Ok(found) if found.0.contains(position) => Ok(found),
        _ => {
            store
                .log
                .find_chunk(&store.engine, position)
                .map_err(|fault| damaged(fault.into()))?;
            let first = store.log.sealed_first(position).ok_or_else(missing)?;
            read_chunk(&store.engine, store.id, first).map_err(damaged)
        }
    }
}

/// The entries of a chunk after a removal.
struct Change {
    entries: Vec<LogEntry>,
    positions: u64,
}

impl Change {
    fn new(chunk: &Chunk, removals: &[Removal]) -> Result<Self> {
        let damaged = |damage| corrupted(chunk.first(), damage);
        let mut entries = chunk.entries().map_err(damaged)?;
        let mut positions = 0;
        for removal in removals {
            let at = removal.position.get().checked_sub(chunk.first());
            let at = at.and_then(|at| usize::try_from(at).ok());
            let entry = at
                .and_then(|at| entries.get_mut(at))
                .ok_or_else(|| Error::internal("removals come in ascending order"))?;
            let content = match (removal.kind, &entry.content) {
                (_, EntryContent::Removed { .. })
                | (RemovalKind::Payload, EntryContent::Erased { .. }) => continue,
                (RemovalKind::Payload, whole) => whole.clone().into_erased(),
                (RemovalKind::Event, _) => EntryContent::Removed {
                    leaf: entry.leaf_hash(),
                },
            };
            entry.content = content;
            positions += 1;
        }
        Ok(Self { entries, positions })
    }
}

/// Writes a chunk anew, in the place of the old one, and returns the bytes that it takes.
fn rewrite(store: &Store, old: &Chunk, parts: u16, entries: &[LogEntry]) -> Result<u64, Fault> {
    let builders = split(old, entries, store.config.chunk_bytes);
    let mut new = Vec::new();
    for builder in &builders {
        let mut values = builder.encode(store.id, store.value_bytes_max());
        let (Some(value), true) = (values.pop(), values.is_empty()) else {
            return Err(Fault(format!(
                "the chunk of position {} does not fit one value without its payload",
                builder.first()
            )));
        };
        new.push((builder.first(), value));
    }
    let bytes = new.iter().map(|(_, value)| value.len() as u64).sum();
    let chunks = builders
        .into_iter()
        .map(|builder| Arc::new(builder.into_chunk()))
        .collect();
    let mut writing = store.engine.write_when_admitted(replacement(&new, &[]))?;
    store
        .log
        .replace(&[old.first()], chunks, || writing.replace_chunks(new, &[]))?;
    if parts > 1 {
        // What the first part no longer names is needless, but only once that is durable.
        writing.barrier()?;
        drop(writing);
        for part in (1..parts).rev() {
            let deletion = Write::Deletions {
                keys: 1,
                bytes: store.value_bytes_max(),
            };
            let mut writing = store.engine.write_when_admitted(deletion)?;
            writing.delete_log((old.first(), part))?;
        }
    }
    Ok(bytes)
}

/// The entries as one chunk, or as more where their own salts would make it too large.
fn split(old: &Chunk, entries: &[LogEntry], chunk_bytes: usize) -> Vec<ChunkBuilder> {
    let mut builders = Vec::new();
    let mut builder = old.builder();
    let mut scratch = Vec::new();
    for entry in entries {
        let size = entry.event().map_or(REMOVED_BYTES, size_max);
        if builder.raw_len() > 0 && builder.raw_len() + size > chunk_bytes {
            let next = old.builder_at(entry.position);
            builders.push(std::mem::replace(&mut builder, next));
        }
        builder.push_entry(entry, &mut scratch);
    }
    builders.push(builder);
    builders
}
