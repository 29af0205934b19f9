//! One answer of the index, and what a lookup asks for.

use icecore_core::{Direction, Revision};

/// An event that carries a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Posting {
    pub(crate) position: u64,
    /// Its place in the stream; 0 for terms that are no stream.
    pub(crate) revision: u64,
}

/// What a lookup counts in. Postings ascend in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Axis {
    Position,
    Revision,
}

/// A lookup: up to `take` postings of a term, from `from` (inclusive) on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<'a> {
    pub(crate) term: &'a [u8],
    pub(crate) axis: Axis,
    pub(crate) from: u64,
    pub(crate) direction: Direction,
    pub(crate) take: usize,
    /// Nothing after this position may be shown.
    pub(crate) last: u64,
}

impl Query<'_> {
    /// Where a posting stands on the axis of this query.
    pub(crate) fn place(&self, posting: &Posting) -> u64 {
        match self.axis {
            Axis::Position => posting.position,
            Axis::Revision => posting.revision,
        }
    }

    pub(crate) fn wants(&self, posting: &Posting) -> bool {
        posting.position <= self.last
            && match self.direction {
                Direction::Forwards => self.place(posting) >= self.from,
                Direction::Backwards => self.place(posting) <= self.from,
            }
    }

    /// Adds what is wanted of a list of postings in ascending order; `true` when there is enough.
    pub(crate) fn collect(
        &self,
        postings: impl DoubleEndedIterator<Item = Posting>,
        found: &mut Vec<Posting>,
    ) -> bool {
        let wanted = |posting: &Posting| self.wants(posting);
        let room = self.take - found.len();
        match self.direction {
            Direction::Forwards => found.extend(postings.filter(wanted).take(room)),
            Direction::Backwards => found.extend(postings.rev().filter(wanted).take(room)),
        }
        found.len() == self.take
    }
}

/// The revision of the posting `index` of `count` whose first revision is `first`.
pub(crate) fn revision_of(first: u64, index: u64, count: u64, tombstone: bool) -> u64 {
    if tombstone && index + 1 == count {
        Revision::TOMBSTONE.get()
    } else {
        first.saturating_add(index)
    }
}
