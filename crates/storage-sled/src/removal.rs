//! Takes payloads and events out of the log: the chunks that hold them are written anew. Which events
//! go is decided above; indexes follow in [`crate::compaction`].
//!
//! Numbers and leaf hashes stay. The old chunk stays in free space of sled's file until sled uses that
//! again.

use crate::budget::Write;
use crate::chunk::{Chunk, ChunkBuilder};
use crate::engine::{Fault, replacement};
use crate::log::{ReadError, corrupted, read_chunk};
use crate::record::{Record, Salting};
use crate::store::Store;
use icecore_core::{EntryContent, Error, LogEntry, Mark, Position, Result};
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
            removed.positions += change.positions;
            let new_bytes = rewrite(store, &chunk, parts, change).map_err(|fault| {
                store.fail(&fault.0);
                Error::unavailable(fault.0)
            })?;
            store.log.count_stored(bytes, new_bytes);
            removed.bytes += bytes.saturating_sub(new_bytes);
        } else {
            // An earlier removal may have been interrupted before it was done.
            let left = delete_parts(store, chunk.first(), parts);
            left.map_err(|fault| {
                store.fail(&fault.0);
                Error::unavailable(fault.0)
            })?;
        }
        for removal in &rest[..here.max(1)] {
            let position = removal.position.get();
            // Its chunk may have been merged since an erasure of it was interrupted.
            if removal.kind == RemovalKind::Payload && position != chunk.first() {
                delete_parts(store, position, 1).map_err(|fault| {
                    store.fail(&fault.0);
                    Error::unavailable(fault.0)
                })?;
            }
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

/// The records of a chunk after a removal.
struct Change {
    records: Vec<(Record, Mark)>,
    /// The same with a salt for each event, for what has lost its seed or is to be split.
    entries: Vec<LogEntry>,
    positions: u64,
}

impl Change {
    fn new(chunk: &Chunk, removals: &[Removal]) -> Result<Self> {
        let damaged = |damage| corrupted(chunk.first(), damage);
        let mut change = Self {
            records: chunk.records().map_err(damaged)?,
            entries: chunk.entries().map_err(damaged)?,
            positions: 0,
        };
        for removal in removals {
            let at = removal.position.get().checked_sub(chunk.first());
            let at = at.and_then(|at| usize::try_from(at).ok());
            let at = at.filter(|at| *at < change.entries.len());
            change.apply(
                at.ok_or_else(|| Error::internal("removals come in ascending order"))?,
                removal.kind,
            );
        }
        if removals
            .iter()
            .any(|removal| removal.kind == RemovalKind::Payload)
        {
            change.drop_seeds();
        }
        Ok(change)
    }

    fn apply(&mut self, at: usize, kind: RemovalKind) {
        let entry = &mut self.entries[at];
        match (kind, &entry.content) {
            (_, EntryContent::Removed { .. })
            | (RemovalKind::Payload, EntryContent::Erased { .. }) => return,
            (RemovalKind::Payload, whole) => entry.content = whole.clone().into_erased(),
            (RemovalKind::Event, _) => {
                let leaf = entry.leaf_hash();
                entry.content = EntryContent::Removed { leaf };
                let seed = match self.records[at].0 {
                    Record::Whole(_, Salting::Seed(seed)) => Some(seed),
                    _ => None,
                };
                self.records[at].0 = Record::Removed(leaf, seed);
            }
        }
        self.positions += 1;
    }

    /// Each event gets the salt that it has had, and nothing tells those of others any more.
    fn drop_seeds(&mut self) {
        let entries = self.entries.iter();
        self.records = entries
            .map(|entry| (Record::from(&entry.content), entry.mark))
            .collect();
    }
}

/// Writes a chunk anew, in the place of the old one, and returns the bytes that it takes.
fn rewrite(store: &Store, old: &Chunk, parts: u16, mut change: Change) -> Result<u64, Fault> {
    let mut builders = vec![old.builder()];
    let mut scratch = Vec::new();
    for (record, mark) in &change.records {
        builders[0].push_record(record, *mark, &mut scratch);
    }
    let mut values = builders[0].encode(store.id, store.value_bytes_max());
    if values.len() > 1 {
        change.drop_seeds();
        builders = split(old, &change.records, store.config.chunk_bytes);
        values.clear();
        for builder in &builders {
            values.extend(builder.encode(store.id, store.value_bytes_max()));
        }
    }
    if values.len() != builders.len() {
        let first = old.first();
        let reason = format!("the chunk of position {first} does not fit a value any more");
        return Err(Fault(reason));
    }
    put(store, old, parts, builders, values)
}

fn put(
    store: &Store,
    old: &Chunk,
    parts: u16,
    builders: Vec<ChunkBuilder>,
    values: Vec<Vec<u8>>,
) -> Result<u64, Fault> {
    let firsts = builders.iter().map(ChunkBuilder::first);
    let new: Vec<_> = firsts.zip(values).collect();
    let bytes = new.iter().map(|(_, value)| value.len() as u64).sum();
    let chunks = builders
        .into_iter()
        .map(|builder| Arc::new(builder.into_chunk()));
    let chunks = chunks.collect();
    let mut writing = store.engine.write_when_admitted(replacement(&new, &[]))?;
    store
        .log
        .replace(&[old.first()], chunks, || writing.replace_chunks(new, &[]))?;
    if parts > 1 {
        // What the first part no longer names is needless, but only once that is durable.
        writing.barrier()?;
        drop(writing);
        delete_parts(store, old.first(), 1)?;
    }
    Ok(bytes)
}

/// Deletes the parts of a chunk from this one on, the last one first.
fn delete_parts(store: &Store, first: u64, from: u16) -> Result<(), Fault> {
    let mut end = from;
    while store.engine.log_value(first, end)?.is_some() {
        end += 1;
    }
    for part in (from..end).rev() {
        let deletion = Write::Deletions {
            keys: 1,
            bytes: store.value_bytes_max(),
        };
        let mut writing = store.engine.write_when_admitted(deletion)?;
        writing.delete_log((first, part))?;
    }
    Ok(())
}

/// The records as more chunks, where one would be too large.
fn split(old: &Chunk, records: &[(Record, Mark)], chunk_bytes: usize) -> Vec<ChunkBuilder> {
    let mut builders = Vec::new();
    let mut builder = old.builder();
    let mut scratch = Vec::new();
    for (position, (record, mark)) in (old.first()..).zip(records) {
        if builder.raw_len() > 0 && builder.raw_len() + record.size_max() > chunk_bytes {
            let next = old.builder_at(Position::new(position));
            builders.push(std::mem::replace(&mut builder, next));
        }
        builder.push_record(record, *mark, &mut scratch);
    }
    builders.push(builder);
    builders
}
