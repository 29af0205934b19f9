//! The newest part of the index, in memory. When it is full it is frozen, written as a run in the
//! background, and dropped.

use super::names::Names;
use super::posting::{Axis, Posting, Query, revision_of};
use super::term::{self, CATEGORY, STREAM};
use icecore_core::{Direction, RecordedEvent, Revision};
use std::collections::HashMap;
use std::sync::Arc;

/// What a term takes besides its name, about.
const TERM_BYTES: usize = 160;

/// Index of the events from `first` to before `next`.
#[derive(Debug)]
pub(crate) struct Tail {
    first: u64,
    next: u64,
    terms: HashMap<Arc<[u8]>, Postings>,
    /// The terms that can be listed.
    names: Arc<Names>,
    bytes: usize,
    streams: u64,
    scratch: Vec<u8>,
}

/// Events of one term, ascending.
#[derive(Debug, Default)]
pub(crate) struct Postings {
    /// Distances from the tail's first position.
    offsets: Vec<u32>,
    first_revision: u64,
    /// Whether the last one closes its stream.
    tombstone: bool,
}

impl Tail {
    /// A tail for the events from `first` on.
    pub(crate) fn new(first: u64) -> Self {
        Self {
            first,
            next: first,
            terms: HashMap::new(),
            names: Arc::default(),
            bytes: 0,
            streams: 0,
            scratch: Vec::new(),
        }
    }

    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// The last position; before `first` when the tail is empty.
    pub(crate) fn last(&self) -> u64 {
        self.next - 1
    }

    pub(crate) fn events(&self) -> u64 {
        self.next - self.first
    }

    /// Memory that it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Streams that begin here.
    pub(crate) fn streams(&self) -> u64 {
        self.streams
    }

    /// Adds the next event. `opens_stream` says that a tombstone is the first event of its stream.
    pub(crate) fn add(&mut self, event: &RecordedEvent, opens_stream: bool) {
        debug_assert!(event.position.get() >= self.next, "events come in order");
        let offset = u32::try_from(event.position.get() - self.first)
            .expect("a tail is cut far below 2^32 events");
        let mut key = std::mem::take(&mut self.scratch);
        term::for_each(event, &mut key, |term| {
            let postings = match self.terms.get_mut(term) {
                Some(postings) => postings,
                None => self.insert(term, event.revision.get()),
            };
            if postings.offsets.last() == Some(&offset) {
                return;
            }
            postings.offsets.push(offset);
            postings.tombstone = event.is_tombstone();
            self.bytes += size_of::<u32>();
        });
        self.scratch = key;
        self.streams += u64::from(opens_stream || event.revision == Revision::FIRST);
        self.next = event.position.get() + 1;
    }

    /// Covers everything up to `last`: what was not added has been removed.
    pub(crate) fn reach(&mut self, last: u64) {
        self.next = self.next.max(last + 1);
    }

    fn insert(&mut self, term: &[u8], first_revision: u64) -> &mut Postings {
        let name: Arc<[u8]> = term.into();
        if matches!(term[0], STREAM | CATEGORY) {
            self.names.add(name.clone());
        }
        self.bytes += TERM_BYTES + term.len();
        self.terms.entry(name).or_insert(Postings {
            first_revision,
            ..Postings::default()
        })
    }

    /// Adds what a query wants; `true` when there is enough.
    pub(crate) fn find(&self, query: &Query<'_>, found: &mut Vec<Posting>) -> bool {
        let Some(postings) = self.terms.get(query.term) else {
            return false;
        };
        let count = postings.offsets.len();
        let at = |index: usize| postings.at(self.first, index);
        let boundary = match query.direction {
            Direction::Forwards => partition(count, |i| query.place(&at(i)) < query.from),
            Direction::Backwards => partition(count, |i| query.place(&at(i)) <= query.from),
        };
        match query.direction {
            Direction::Forwards => query.collect((boundary..count).map(at), found),
            Direction::Backwards => query.collect((0..boundary).map(at), found),
        }
    }

    /// Whether everything that a query wants stands here or later: no older part has to be asked.
    pub(crate) fn covers(&self, query: &Query<'_>) -> bool {
        match (query.axis, query.direction) {
            (Axis::Position, Direction::Forwards) => self.first <= query.from,
            (Axis::Revision, Direction::Forwards) => {
                let postings = self.terms.get(query.term);
                postings.is_some_and(|p| p.at(self.first, 0).revision <= query.from)
            }
            (_, Direction::Backwards) => false,
        }
    }

    /// The terms that can be listed, also those that are still to come.
    pub(crate) fn names(&self) -> &Arc<Names> {
        &self.names
    }

    /// All terms in byte order, each with its postings.
    pub(crate) fn sorted(&self) -> Vec<(&[u8], &Postings)> {
        let mut terms: Vec<_> = self.terms.iter().map(|(term, p)| (&**term, p)).collect();
        terms.sort_unstable_by_key(|(term, _)| *term);
        terms
    }
}

impl Postings {
    fn at(&self, base: u64, index: usize) -> Posting {
        let (index_u64, count) = (index as u64, self.offsets.len() as u64);
        Posting {
            position: base + u64::from(self.offsets[index]),
            revision: revision_of(self.first_revision, index_u64, count, self.tombstone),
        }
    }

    pub(crate) fn first_revision(&self) -> u64 {
        self.first_revision
    }

    pub(crate) fn tombstone(&self) -> bool {
        self.tombstone
    }

    /// Positions, given the tail's first one.
    pub(crate) fn positions(&self, base: u64) -> impl Iterator<Item = u64> {
        self.offsets
            .iter()
            .map(move |offset| base + u64::from(*offset))
    }
}

/// How many of `0..count` come before the first that fails a test which no later one passes.
fn partition(count: usize, test: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low.midpoint(high);
        if test(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
