//! Which of the versions of a position counts, and the log in order.
//!
//! The generation never decreases along positions: of several versions the one of the highest
//! generation counts, and a log of a lower one behind it was cut and is none any more. Within a
//! generation an event only ever loses something, so the version that has lost most counts. Where a
//! position is missing the log ends, at the last end of an append before it.

use super::RawStore;
use super::scan::Part;
use crate::chunk::Chunk;
use icecore_core::{EntryContent, LogEntry, Mark, Position};
use std::os::unix::fs::FileExt;

/// A chunk in memory that has not been passed yet.
struct Version {
    generation: u32,
    first: u64,
    entries: Vec<LogEntry>,
}

impl Version {
    fn last(&self) -> u64 {
        self.first + self.entries.len() as u64 - 1
    }

    fn at(&self, position: u64) -> Option<&LogEntry> {
        let at = usize::try_from(position.checked_sub(self.first)?).ok()?;
        self.entries.get(at)
    }
}

/// How the log ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// The last position that belongs to a whole append.
    pub(super) last: u64,
    /// The generation of the last append.
    pub(super) generation: u32,
}

/// Calls `visit` for the log, append by append, until it fails.
pub(super) fn replay<E>(
    store: &RawStore,
    mut visit: impl FnMut(Vec<LogEntry>) -> Result<(), E>,
) -> Result<End, E> {
    let mut rest = &store.scan.parts[..];
    let mut versions: Vec<Version> = Vec::new();
    let mut append = Vec::new();
    let mut end = End {
        last: 0,
        generation: 0,
    };
    let mut generation = 0;
    for position in 1.. {
        while let Some(part) = rest.first().filter(|part| part.first <= position) {
            let (chunk, others) = rest.split_at(same_chunk(rest));
            rest = others;
            if part.last() >= position {
                versions.extend(chunks(store, chunk));
            }
        }
        versions.retain(|version| version.last() >= position);
        let counting = versions
            .iter()
            .filter_map(|version| Some((version.generation, version.at(position)?)))
            .max_by_key(|(generation, entry)| (*generation, lost(entry)));
        let Some((found, entry)) = counting.filter(|(found, _)| *found >= generation) else {
            break;
        };
        generation = found;
        append.push(entry.clone());
        if entry.mark == Mark::End {
            visit(std::mem::take(&mut append))?;
            end = End {
                last: position,
                generation,
            };
        }
    }
    Ok(end)
}

/// Calls `visit` for every version of every event that is whole in the file.
pub(super) fn every_version(store: &RawStore, mut visit: impl FnMut(&LogEntry)) {
    let mut rest = &store.scan.parts[..];
    while !rest.is_empty() {
        let (chunk, others) = rest.split_at(same_chunk(rest));
        rest = others;
        for version in chunks(store, chunk) {
            version.entries.iter().for_each(&mut visit);
        }
    }
}

/// How much an event has lost.
fn lost(entry: &LogEntry) -> u8 {
    match entry.content {
        EntryContent::Whole { .. } => 0,
        EntryContent::Erased { .. } => 1,
        EntryContent::Removed { .. } => 2,
    }
}

/// How many of the parts in front belong to the same chunk, or are chunks of one part of the same
/// extent.
fn same_chunk(parts: &[Part]) -> usize {
    let key = |part: &Part| (part.first, part.generation, part.count, part.parts);
    let Some(first) = parts.first() else {
        return 0;
    };
    parts.partition_point(|part| key(part) <= key(first))
}

/// The chunks that can be put together from these parts.
fn chunks(store: &RawStore, parts: &[Part]) -> Vec<Version> {
    let Some(first) = parts.first() else {
        return Vec::new();
    };
    if first.parts == 1 {
        let each = parts.iter().map(std::slice::from_ref);
        return each.filter_map(|part| version(store, part)).collect();
    }
    // Of a part that is there several times, one is taken; parts of different chunks never agree.
    let mut one_of_each: Vec<Part> = Vec::new();
    for part in parts {
        if one_of_each
            .last()
            .is_none_or(|last| last.number != part.number)
        {
            one_of_each.push(*part);
        }
    }
    version(store, &one_of_each).into_iter().collect()
}

fn version(store: &RawStore, parts: &[Part]) -> Option<Version> {
    let first = parts.first()?;
    let mut values = Vec::with_capacity(parts.len());
    for part in parts {
        let mut value = vec![0; part.bytes as usize];
        store.file.read_exact_at(&mut value, part.at).ok()?;
        values.push(value);
    }
    let chunk = Chunk::decode(&values, store.scan.store_id?, first.first).ok()?;
    let entries = chunk.entries().ok()?;
    Some(Version {
        generation: first.generation,
        first: first.first,
        entries,
    })
}

/// Whether all positions of a range are in a log that ends at `last`.
pub(super) fn covers(last: u64, (_, range_last): (u64, u64)) -> bool {
    Position::new(range_last) <= Position::new(last)
}
