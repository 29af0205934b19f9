//! Lists names in byte order: the terms of one kind, from all parts of the index.

use super::block::BlockReader;
use super::run::{Run, RunReader};
use super::term::{self, CATEGORY, STREAM};
use super::{Index, Tail};
use crate::log::ReadError;
use crate::read::Miss;
use std::collections::BTreeSet;
use std::ops::Bound;

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
        let (runs, frozen) = {
            let state = self.state();
            from_tail(&state.live, &keys, &mut names);
            (state.runs.clone(), state.frozen.clone())
        };
        for tail in &frozen {
            from_tail(tail, &keys, &mut names);
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

/// Adds the first names of a tail; that is enough, since only `take` of all are wanted.
fn from_tail(tail: &Tail, query: &KeyQuery, names: &mut BTreeSet<Vec<u8>>) {
    let matching = tail
        .names_after(query.start())
        .take_while(|key| key.starts_with(&query.prefix));
    names.extend(matching.take(query.take).map(|key| key.to_vec()));
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
