//! Is this append a retry? Decided before expectations and conditions, by event ids alone, as
//! KurrentDB's table of idempotent appends says.

use crate::request::{Mode, Need, Submission};
use crate::state::StreamRecord;
use crate::window::{IdWindow, Place};
use icecore_core::{ExpectedRevision, Position, Revision, StreamExpectation, StreamState};
use uuid::Uuid;

/// What the ids of an append say about one of the streams that it writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// None of them is there: an append like any other.
    New,
    /// All of them are there: the answer is the original one, which ends with this event.
    Written(Place),
    /// Some are there and some are not.
    Partly,
}

/// Looks for the ids of an append in one stream.
pub(crate) struct RetryCheck<'a> {
    submission: &'a Submission,
    window: &'a IdWindow,
    /// Only streams whose expectation says where the events would stand are asked.
    by_place_only: bool,
    /// The last position that is decided, durable or not.
    last_position: Position,
}

impl<'a> RetryCheck<'a> {
    /// A part of an earlier history that says where one of its streams stands is decided by that
    /// stream alone: elsewhere the history may well have an id twice.
    pub(crate) fn new(
        submission: &'a Submission,
        window: &'a IdWindow,
        last_position: Position,
    ) -> Self {
        let mut streams = submission.append.streams().iter();
        Self {
            submission,
            window,
            by_place_only: submission.mode == Mode::Verbatim
                && streams.any(StreamExpectation::tells_place),
            last_position,
        }
    }

    /// What the ids for the append's stream number `index` say; `None` when it gets no event or is
    /// not asked. `record` is that stream's.
    pub(crate) fn stream(
        &self,
        index: usize,
        record: &StreamRecord,
    ) -> Result<Option<Retry>, Need> {
        let ids = &self.submission.ids[index];
        if ids.is_empty() {
            return Ok(None);
        }
        let expectation = &self.submission.append.streams()[index];
        if self.by_place_only && !expectation.tells_place() {
            return Ok(None);
        }
        let state = record.state_of(&expectation.stream);
        if state == StreamState::Tombstoned {
            return Ok(Some(Retry::New));
        }
        let found = match expectation.expected {
            ExpectedRevision::Exact(last) => {
                self.at_place(expectation, record, last.next(), ids)?
            }
            ExpectedRevision::NoStream => self.at_beginning(expectation, record, state, ids)?,
            ExpectedRevision::Any
            | ExpectedRevision::StreamExists
            | ExpectedRevision::SoftDeleted
            | ExpectedRevision::Tombstoned => self.in_window(expectation, record, ids)?,
        };
        Ok(Some(found))
    }

    /// The append expected no stream, so it went to the first revision, or to where a soft-deleted
    /// stream goes on: that is where its truncation ends now, or, when it has been deleted again,
    /// only the newest ids can tell.
    fn at_beginning(
        &self,
        expectation: &StreamExpectation,
        record: &StreamRecord,
        state: StreamState,
        ids: &[Uuid],
    ) -> Result<Retry, Need> {
        let first = self.at_place(expectation, record, Revision::FIRST, ids)?;
        if first != Retry::New || expectation.stream.is_metadata() {
            return Ok(first);
        }
        match (state, record.metadata.truncate_before) {
            (StreamState::SoftDeleted { .. }, _) => self.in_window(expectation, record, ids),
            (_, Some(reopened)) => self.at_place(expectation, record, reopened, ids),
            (_, None) => Ok(Retry::New),
        }
    }

    /// The expectation says where the events would stand: compare the ids there.
    fn at_place(
        &self,
        expectation: &StreamExpectation,
        record: &StreamRecord,
        first: Revision,
        ids: &[Uuid],
    ) -> Result<Retry, Need> {
        let stream = &expectation.stream;
        let Some(tail) = record
            .tail_of(stream)
            .filter(|tail| tail.last_revision >= first)
        else {
            return Ok(Retry::New);
        };
        if let Some(last) = self.all_in_window_from(expectation, first, ids) {
            return Ok(Retry::Written(last));
        }
        let written = self.submission.evidence.written.iter();
        let read = written
            .filter(|w| w.stream == *stream && w.from == first)
            .find(|w| w.events.len() >= ids.len() || w.reaches(tail.last_revision));
        if let Some(read) = read {
            return Ok(compare(&read.events, ids));
        }
        let only_one_behind = tail.last_revision == first;
        if only_one_behind && self.window.covers(tail.last_position) {
            return Ok(self.only_event_in_window(expectation, tail.last_position, ids));
        }
        let at = tail.last_position.min(self.last_position);
        Err(Need::WrittenIds {
            stream: stream.clone(),
            from: first,
            at,
        })
    }

    /// Whether the window has all ids one after the other from `first` on; then where they end.
    fn all_in_window_from(
        &self,
        expectation: &StreamExpectation,
        first: Revision,
        ids: &[Uuid],
    ) -> Option<Place> {
        let stream = self.window.hash(&expectation.stream);
        let mut revision = first;
        let mut last = None;
        for id in ids {
            last = self
                .window
                .find(stream, *id)
                .filter(|place| place.revision == revision);
            last?;
            revision = revision.next();
        }
        last
    }

    /// There is one event at the place, at `position`, and the window would have all of its ids.
    fn only_event_in_window(
        &self,
        expectation: &StreamExpectation,
        position: Position,
        ids: &[Uuid],
    ) -> Retry {
        let stream = self.window.hash(&expectation.stream);
        let first = self.window.find(stream, ids[0]);
        let is_there = first.is_some_and(|place| place.position == position);
        if is_there { Retry::Partly } else { Retry::New }
    }

    /// The expectation does not say where: ask the newest ids.
    fn in_window(
        &self,
        expectation: &StreamExpectation,
        record: &StreamRecord,
        ids: &[Uuid],
    ) -> Result<Retry, Need> {
        let stream = self.window.hash(&expectation.stream);
        let places = ids.iter().map(|id| self.window.find(stream, *id));
        let found: Vec<_> = places.flatten().collect();
        let Some(last) = found.iter().max_by_key(|place| place.revision).copied() else {
            return Ok(Retry::New);
        };
        if found.len() == ids.len() {
            return Ok(Retry::Written(last));
        }
        // The others may have just left the window; then they stand right before those in it.
        let before = u64::try_from(ids.len() - 1).expect("a number of ids fits");
        if let Some(first) = last.revision.get().checked_sub(before) {
            let there = self.at_place(expectation, record, Revision::new(first), ids)?;
            if matches!(there, Retry::Written(_)) {
                return Ok(there);
            }
        }
        Ok(Retry::Partly)
    }
}

/// Compares what stands at the place with what the append brings, in order.
fn compare(written: &[(Uuid, Place)], ids: &[Uuid]) -> Retry {
    let equal = written
        .iter()
        .zip(ids)
        .take_while(|((there, _), id)| there == *id)
        .count();
    match equal {
        0 => Retry::New,
        _ if equal == ids.len() => Retry::Written(written[equal - 1].1),
        _ => Retry::Partly,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(ids: &[u128]) -> Vec<(Uuid, Place)> {
        let place = |n: usize| Place {
            revision: Revision::new(n as u64),
            position: Position::new(n as u64 + 10),
        };
        ids.iter()
            .enumerate()
            .map(|(n, id)| (Uuid::from_u128(*id), place(n)))
            .collect()
    }

    #[test]
    fn ids_are_compared_in_order_at_their_place() {
        let check = |there: &[u128], sent: &[u128], expected: &str| {
            let sent: Vec<_> = sent.iter().map(|id| Uuid::from_u128(*id)).collect();
            let found = match compare(&written(there), &sent) {
                Retry::New => "new".to_owned(),
                Retry::Partly => "partly".to_owned(),
                Retry::Written(place) => format!("written at {}", place.position),
            };
            assert_eq!(found, expected, "{there:?} {sent:?}");
        };
        check(&[1, 2, 3], &[1, 2], "written at 11");
        check(&[1, 2, 3], &[1, 2, 3], "written at 12");
        check(&[1, 2, 3], &[2, 3], "new");
        check(&[1, 2, 3], &[1, 3], "partly");
        check(&[1, 2], &[1, 2, 3], "partly");
        check(&[], &[1], "new");
    }
}
