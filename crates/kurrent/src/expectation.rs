//! Expectations: the choices of the messages, and the numbers that stand for them in texts, trailers and
//! the second version of the calls.

use crate::proto::event_store::client::streams as proto;
use icecore_core::{ExpectedRevision, Revision, StreamState};

/// What stands for an expectation that is no revision.
const NO_STREAM: i64 = -1;
const ANY: i64 = -2;
const EXISTS: i64 = -4;
const SOFT_DELETED: i64 = -5;
const TOMBSTONED: i64 = -6;

/// The number that stands for an expectation.
pub(crate) fn number(expected: ExpectedRevision) -> i64 {
    match expected {
        ExpectedRevision::Exact(revision) => signed(revision),
        ExpectedRevision::NoStream => NO_STREAM,
        ExpectedRevision::Any => ANY,
        ExpectedRevision::StreamExists => EXISTS,
        ExpectedRevision::SoftDeleted => SOFT_DELETED,
        ExpectedRevision::Tombstoned => TOMBSTONED,
    }
}

/// The expectation that a number stands for.
pub(crate) fn from_number(number: i64) -> Option<ExpectedRevision> {
    match number {
        NO_STREAM => Some(ExpectedRevision::NoStream),
        ANY => Some(ExpectedRevision::Any),
        EXISTS => Some(ExpectedRevision::StreamExists),
        SOFT_DELETED => Some(ExpectedRevision::SoftDeleted),
        TOMBSTONED => Some(ExpectedRevision::Tombstoned),
        _ => u64::try_from(number)
            .ok()
            .map(|revision| ExpectedRevision::Exact(Revision::new(revision))),
    }
}

/// The number of a stream's last event, hidden or not; -1 where there is none.
pub(crate) fn last_number(state: StreamState) -> i64 {
    state.last_revision().map_or(NO_STREAM, signed)
}

/// The number of a state, where deletions have numbers of their own.
pub(crate) fn state_number(state: StreamState) -> i64 {
    match state {
        StreamState::SoftDeleted { .. } => SOFT_DELETED,
        StreamState::Tombstoned => TOMBSTONED,
        _ => last_number(state),
    }
}

/// A revision as the messages with signed numbers have it.
pub(crate) fn signed(revision: Revision) -> i64 {
    i64::try_from(revision.get()).unwrap_or(i64::MAX)
}

fn exact(revision: u64) -> ExpectedRevision {
    ExpectedRevision::Exact(Revision::new(revision))
}

impl From<proto::append_req::options::ExpectedStreamRevision> for ExpectedRevision {
    fn from(expected: proto::append_req::options::ExpectedStreamRevision) -> Self {
        use proto::append_req::options::ExpectedStreamRevision as Expected;
        match expected {
            Expected::Revision(revision) => exact(revision),
            Expected::NoStream(_) => Self::NoStream,
            Expected::Any(_) => Self::Any,
            Expected::StreamExists(_) => Self::StreamExists,
        }
    }
}

impl From<proto::batch_append_req::options::ExpectedStreamPosition> for ExpectedRevision {
    fn from(expected: proto::batch_append_req::options::ExpectedStreamPosition) -> Self {
        use proto::batch_append_req::options::ExpectedStreamPosition as Expected;
        match expected {
            Expected::StreamPosition(revision) => exact(revision),
            Expected::NoStream(()) => Self::NoStream,
            Expected::Any(()) => Self::Any,
            Expected::StreamExists(()) => Self::StreamExists,
        }
    }
}

impl From<proto::delete_req::options::ExpectedStreamRevision> for ExpectedRevision {
    fn from(expected: proto::delete_req::options::ExpectedStreamRevision) -> Self {
        use proto::delete_req::options::ExpectedStreamRevision as Expected;
        match expected {
            Expected::Revision(revision) => exact(revision),
            Expected::NoStream(_) => Self::NoStream,
            Expected::Any(_) => Self::Any,
            Expected::StreamExists(_) => Self::StreamExists,
        }
    }
}

impl From<proto::tombstone_req::options::ExpectedStreamRevision> for ExpectedRevision {
    fn from(expected: proto::tombstone_req::options::ExpectedStreamRevision) -> Self {
        use proto::tombstone_req::options::ExpectedStreamRevision as Expected;
        match expected {
            Expected::Revision(revision) => exact(revision),
            Expected::NoStream(_) => Self::NoStream,
            Expected::Any(_) => Self::Any,
            Expected::StreamExists(_) => Self::StreamExists,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_back() {
        for n in [0, 7, i64::MAX, -1, -2, -4, -5, -6] {
            assert_eq!(from_number(n).map(number), Some(n));
        }
        for bad in [-3, -7, i64::MIN] {
            assert_eq!(from_number(bad), None);
        }
    }
}
