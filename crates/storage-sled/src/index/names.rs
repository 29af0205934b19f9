//! Lists names in byte order: the terms of one kind, from all parts of the index. Those of a tail are
//! sorted when somebody lists them, so that appends do not wait for it.

use super::Index;
use super::block::BlockReader;
use super::run::{Run, RunReader};
use super::term::{self, CATEGORY, STREAM};
use crate::log::ReadError;
use crate::read::Miss;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Up to one in so many is faster to add one by one; to add more is to merge two sorted lists.
const FEW: usize = 16;

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    Streams,
    Categories,
}

/// Names that begin with a prefix and come after another one, at most `take`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NameQuery<'a> {
    pub(crate) listed: Listed,
    pub(crate) prefix: &'a str,
    pub(crate) after: Option<&'a str>,
    pub(crate) take: usize,
}

/// The same in terms of keys.
struct KeyQuery {
    prefix: Vec<u8>,
    after: Option<Vec<u8>>,
    take: usize,
}

/// The names in a tail, each once.
#[derive(Debug, Default)]
pub(crate) struct Names {
    sorted: Mutex<BTreeSet<Arc<[u8]>>>,
    /// What came after they were sorted. Never held for long.
    new: Mutex<Vec<Arc<[u8]>>>,
}

impl Names {
    /// Adds a name that is not there yet.
    pub(crate) fn add(&self, name: Arc<[u8]>) {
        lock(&self.new).push(name);
    }

    /// Adds the first ones that are asked for; that is enough, since only `take` of all are wanted.
    fn list(&self, query: &KeyQuery, names: &mut BTreeSet<Vec<u8>>) {
        let mut sorted = lock(&self.sorted);
        let new = std::mem::take(&mut *lock(&self.new));
        if new.len() < sorted.len() / FEW {
            sorted.extend(new);
        } else {
            sorted.append(&mut BTreeSet::from_iter(new));
        }
        let matching = sorted
            .range::<[u8], _>((query.start(), Bound::Unbounded))
            .take_while(|key| key.starts_with(&query.prefix));
        names.extend(matching.take(query.take).map(|key| key.to_vec()));
    }
}

/// Neither of them is ever left half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Index {
    /// The names, in byte order. Blocks.
    pub(crate) fn names(
        &self,
        reader: RunReader<'_>,
        query: NameQuery<'_>,
    ) -> Result<Vec<Vec<u8>>, Miss> {
        let kind = match query.listed {
            Listed::Streams => STREAM,
            Listed::Categories => CATEGORY,
        };
        let keys = KeyQuery {
            prefix: term::key(kind, query.prefix),
            after: query.after.map(|after| term::key(kind, after)),
            take: query.take,
        };
        let mut names = BTreeSet::new();
        let (runs, tails) = {
            let state = self.state();
            let frozen = state.frozen.iter().map(|tail| tail.names().clone());
            let tails: Vec<_> = frozen.chain([state.live.names().clone()]).collect();
            (state.runs.clone(), tails)
        };
        for tail in &tails {
            tail.list(&keys, &mut names);
        }
        for run in runs.iter() {
            from_run(run, reader, &keys, &mut names)
                .map_err(|error| Miss::Failed(self.damage(run, &error)))?;
        }
        Ok(names
            .into_iter()
            .take(query.take)
            .map(|key| key[1..].to_vec())
            .collect())
    }
}

impl KeyQuery {
    /// Where a part of the index begins to look.
    fn start(&self) -> Bound<&[u8]> {
        match &self.after {
            Some(after) if *after >= self.prefix => Bound::Excluded(after),
            _ => Bound::Included(&self.prefix),
        }
    }

    fn is_before_start(&self, key: &[u8]) -> bool {
        match self.start() {
            Bound::Excluded(start) => key <= start,
            Bound::Included(start) => key < start,
            Bound::Unbounded => false,
        }
    }
}

fn from_run(
    run: &Run,
    reader: RunReader<'_>,
    query: &KeyQuery,
    names: &mut BTreeSet<Vec<u8>>,
) -> Result<(), ReadError> {
    let start = match query.start() {
        Bound::Excluded(start) | Bound::Included(start) => start,
        Bound::Unbounded => &[],
    };
    let mut last: Option<Vec<u8>> = None;
    let mut taken = 0;
    for block in run.block_of(start)..run.blocks() {
        let payload = run.block(reader, block)?;
        let mut block = BlockReader::new(&payload, run.info.first);
        while block.next()?.is_some() {
            let key = block.term();
            if query.is_before_start(key) || last.as_deref() == Some(key) {
                continue;
            }
            if !key.starts_with(&query.prefix) || taken == query.take {
                return Ok(());
            }
            names.insert(key.to_vec());
            last = Some(key.to_vec());
            taken += 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(names: &Names, after: Option<String>, take: usize) -> Vec<Vec<u8>> {
        let query = KeyQuery {
            prefix: term::key(STREAM, "1"),
            after: after.map(|after| term::key(STREAM, &after)),
            take,
        };
        let mut listed = BTreeSet::new();
        names.list(&query, &mut listed);
        listed.into_iter().collect()
    }

    proptest! {
        #[test]
        fn names_are_listed_in_order_however_they_came(
            rounds in prop::collection::vec((prop::collection::vec(0_u32..3_000, 0..90), 0_u32..3_000, 1_usize..9), 1..9),
        ) {
            let names = Names::default();
            let mut known = BTreeSet::new();
            for (added, after, take) in rounds {
                for name in added.iter().map(|name| term::key(STREAM, &name.to_string())) {
                    if known.insert(name.clone()) {
                        names.add(name.into());
                    }
                }
                for after in [None, Some(after.to_string())] {
                    let begin = term::key(STREAM, after.as_deref().unwrap_or(""));
                    let wanted = known.iter().filter(|name| **name > begin && name[1] == b'1');
                    let wanted: Vec<_> = wanted.take(take).cloned().collect();
                    prop_assert_eq!(list(&names, after, take), wanted);
                }
            }
        }
    }
}
