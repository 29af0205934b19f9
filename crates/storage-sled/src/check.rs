//! Reads what is stored past all caches and says what is wrong with it: the log for those who verify or
//! copy it, and the index runs against the log.
//!
//! Run and log are compared by sums over hashes of all their postings, which takes neither memory nor
//! lookups. What was removed from the log may still stand in a run until that is written anew.

use crate::index::{Posting, Run, RunReader, for_each_term, goes_with_payload, stream_key};
use crate::log::{ReadError, corrupted};
use crate::removal::sealed_chunk;
use crate::store::Store;
use icecore_core::{Error, LogEntry, PageLimit, Position, RecordedEvent, Result};
use icecore_storage::{Damage, IndexCheck, LogPage};
use std::collections::BTreeSet;
use xxhash_rust::xxh3::xxh3_64;

/// See [`icecore_storage::Storage::read_log`]. Blocks.
pub(crate) fn read_log(store: &Store, from: Position, limit: PageLimit) -> LogPage {
    let last = store.log.last();
    let mut next = from.get().max(1);
    let mut page = LogPage {
        entries: Vec::new(),
        damage: None,
        next: Position::new(next),
        end: next > last,
    };
    let mut bytes = 0;
    while !page.end && page.damage.is_none() {
        let entries = match chunk_entries(store, next) {
            Ok(entries) => entries,
            Err(error) => {
                page.damage = Some(damaged_chunk(store, next, &error));
                next = page
                    .damage
                    .as_ref()
                    .map_or(next, |damage| damage.last.get())
                    + 1;
                Vec::new()
            }
        };
        for entry in entries {
            if entry.position.get() < next || entry.position.get() > last {
                continue;
            }
            bytes += entry.event().map_or(0, RecordedEvent::size);
            let full = page.entries.len() >= limit.events.max(1) || bytes > limit.bytes;
            if full && !page.entries.is_empty() {
                page.next = Position::new(next);
                return page;
            }
            next = entry.position.get() + 1;
            page.entries.push(entry);
        }
        page.end = next > last;
    }
    page.next = Position::new(next);
    page
}

/// The entries of the chunk that holds a position. What is still open is only in memory as it counts.
fn chunk_entries(store: &Store, position: u64) -> Result<Vec<LogEntry>> {
    if let Some(open) = store
        .log
        .open_chunk()
        .filter(|open| open.contains(position))
    {
        return open.entries().map_err(|damage| corrupted(position, damage));
    }
    let (chunk, ..) = sealed_chunk(store, position)?;
    chunk
        .entries()
        .map_err(|damage| corrupted(position, damage))
}

fn damaged_chunk(store: &Store, position: u64, error: &Error) -> Damage {
    let first = store.log.sealed_first(position).unwrap_or(position);
    let last = store.log.last_of(first).max(position);
    Damage {
        first: Position::new(first),
        last: Position::new(last),
        reason: error.to_string(),
    }
}

/// See [`icecore_storage::Storage::check_index`]: one run at a time. Blocks.
pub(crate) fn check_index(store: &Store, from: Position) -> IndexCheck {
    let runs = store.index.runs();
    let Some(run) = runs.iter().find(|run| run.info.last >= from.get()) else {
        return IndexCheck {
            damage: Vec::new(),
            next: Position::new(store.log.last()).next(),
            end: true,
        };
    };
    let (first, last) = (Position::new(run.info.first), Position::new(run.info.last));
    let damage = match compare(store, run) {
        // Whoever reads the log is told what is wrong with it.
        Ok(()) | Err(Difference::LogUnreadable) => None,
        Err(Difference::Index(reason)) => {
            store.index.mark_damaged(run.info.id);
            Some(Damage {
                first,
                last,
                reason: format!("index run {}: {reason}; a restart rebuilds it", run.info.id),
            })
        }
    };
    IndexCheck {
        damage: damage.into_iter().collect(),
        next: last.next(),
        end: false,
    }
}

/// Why a run and the log cannot be said to agree.
enum Difference {
    LogUnreadable,
    Index(String),
}

/// Where events of a range have lost something.
pub(crate) struct Gone {
    first: u64,
    removed: Vec<bool>,
    erased: Vec<bool>,
}

impl Gone {
    /// Looks through a range of positions, both inclusive. Blocks.
    pub(crate) fn within(
        store: &Store,
        first: u64,
        last: u64,
        mut visit: impl FnMut(&RecordedEvent),
    ) -> Result<Self> {
        let mut gone = Self {
            first,
            removed: Vec::new(),
            erased: Vec::new(),
        };
        let mut next = first;
        while next <= last {
            for entry in chunk_entries(store, next)? {
                let position = entry.position.get();
                if position < next || position > last {
                    continue;
                }
                next = position + 1;
                let event = entry.event();
                gone.removed.push(event.is_none());
                gone.erased.push(event.is_some_and(|event| event.erased));
                event.into_iter().for_each(&mut visit);
            }
        }
        Ok(gone)
    }

    /// Whether anything has.
    pub(crate) fn is_any(&self) -> bool {
        self.removed.contains(&true) || self.erased.contains(&true)
    }

    pub(crate) fn is_removed(&self, position: u64) -> bool {
        self.at(&self.removed, position)
    }

    /// Whether the index must not name a position under a term any more.
    pub(crate) fn is_gone(&self, term: &[u8], position: u64) -> bool {
        self.is_removed(position) || (goes_with_payload(term) && self.at(&self.erased, position))
    }

    fn at(&self, which: &[bool], position: u64) -> bool {
        let at = position
            .checked_sub(self.first)
            .and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| which.get(at)).copied().unwrap_or(false)
    }
}

fn compare(store: &Store, run: &Run) -> Result<(), Difference> {
    let mut log_sum = Sum::default();
    let gone = Gone::within(store, run.info.first, run.info.last, |event| {
        add_event(&mut log_sum, event);
    })
    .map_err(|_| Difference::LogUnreadable)?;
    let run_sum = sum_of_run(store.run_reader(), run, &gone)
        .map_err(|error| Difference::Index(error.to_string()))?;
    if log_sum == run_sum {
        Ok(())
    } else {
        let (log, index) = (log_sum.count, run_sum.count);
        Err(Difference::Index(format!(
            "it does not hold what the log holds ({index} postings, the log has {log})"
        )))
    }
}

/// A sum over postings that does not depend on their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    hashes: u64,
}

impl Sum {
    fn add(&mut self, term: &[u8], posting: Posting, scratch: &mut Vec<u8>) {
        scratch.clear();
        scratch.extend_from_slice(&posting.position.to_be_bytes());
        scratch.extend_from_slice(&posting.revision.to_be_bytes());
        scratch.extend_from_slice(term);
        self.count += 1;
        self.hashes = self.hashes.wrapping_add(xxh3_64(scratch));
    }
}

fn add_event(sum: &mut Sum, event: &RecordedEvent) {
    let mut terms = BTreeSet::new();
    for_each_term(event, &mut Vec::new(), |term| {
        terms.insert(term.to_vec());
    });
    let stream = stream_key(&event.stream);
    let mut scratch = Vec::new();
    for term in &terms {
        let revision = if *term == stream {
            event.revision.get()
        } else {
            0
        };
        let posting = Posting {
            position: event.position.get(),
            revision,
        };
        sum.add(term, posting, &mut scratch);
    }
}

fn sum_of_run(reader: RunReader<'_>, run: &Run, gone: &Gone) -> Result<Sum, ReadError> {
    let mut sum = Sum::default();
    let mut scratch = Vec::new();
    run.for_each(reader, |entry| {
        for posting in entry.postings() {
            if !gone.is_gone(&entry.term, posting.position) {
                sum.add(&entry.term, posting, &mut scratch);
            }
        }
    })?;
    Ok(sum)
}
