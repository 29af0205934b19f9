//! What the writer knows, and how it decides: retries, expectations, conditions, then numbers and
//! times. Nothing here waits, reads or writes; what is missing becomes a [`Need`].

use crate::clock::{Clock, Ids};
use crate::numbering::{LogEnd, Numbering};
use crate::recent::Recent;
use crate::request::{Answer, Evidence, Mode, Need, Submission, Written};
use crate::retry::{Retry, RetryCheck};
use crate::state::{StateCache, StreamRecord, base};
use crate::window::IdWindow;
use icecore_core::{
    Append, Appended, Error, Position, Refusal, SharedEvents, StoreId, StreamAppended, StreamName,
    StreamState, Timestamp, Verdict, Violation, ViolationKind,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Everything the next decision depends on.
#[derive(Debug)]
pub(crate) struct Ledger {
    store_id: StoreId,
    clock: Clock,
    ids: Ids,
    states: Arc<Mutex<StateCache>>,
    window: IdWindow,
    recent: Recent,
    last: Position,
    last_recorded_at: Timestamp,
}

/// What becomes of an append.
#[derive(Debug)]
pub(crate) enum Decision {
    /// These events are to be written; then the caller gets the answer.
    Write(SharedEvents, Written),
    /// Nothing is written. The answer is true once everything decided so far is durable.
    Settled(Answer),
    /// It cannot be said without this.
    Undecided(Need),
}

/// The append at hand.
pub(crate) struct Candidate<'a> {
    pub(crate) submission: &'a Submission,
    pub(crate) append: &'a Append,
    /// Of each of the append's streams.
    pub(crate) records: Vec<StreamRecord>,
}

impl Ledger {
    /// Begins after the last event of the store.
    pub(crate) fn new(
        store_id: StoreId,
        clock: Clock,
        ids: Ids,
        states: Arc<Mutex<StateCache>>,
        window: IdWindow,
        last: (Position, Timestamp),
    ) -> Self {
        let recent = Recent::after(last.0);
        Self {
            store_id,
            clock,
            ids,
            states,
            window,
            recent,
            last: last.0,
            last_recorded_at: last.1,
        }
    }

    /// The last position that is decided, durable or not.
    pub(crate) fn last(&self) -> Position {
        self.last
    }

    /// Decides an append. What is to be written counts as written from here on; `room` says whether
    /// there is room for it, which concerns neither a retry nor a refusal.
    pub(crate) fn decide(
        &mut self,
        submission: &Submission,
        room: impl FnOnce() -> Result<(), Error>,
    ) -> Decision {
        self.try_decide(submission, room)
            .unwrap_or_else(Decision::Undecided)
    }

    fn try_decide(
        &mut self,
        submission: &Submission,
        room: impl FnOnce() -> Result<(), Error>,
    ) -> Result<Decision, Need> {
        let candidate = Candidate {
            submission,
            append: &submission.append,
            records: self.records(&submission.append, &submission.evidence)?,
        };
        if let Some(answer) = self.retry(&candidate)? {
            return Ok(Decision::Settled(answer));
        }
        if let Some(answer) = self.refusal(&candidate)? {
            return Ok(Decision::Settled(answer));
        }
        let numbered = match Numbering::of(&candidate, self.end(), &self.ids) {
            Ok(numbered) => numbered,
            Err(answer) => return Ok(Decision::Settled(answer)),
        };
        let written = Written {
            appended: numbered.appended(self.store_id),
            clamped: numbered.clamped,
        };
        if numbered.events.is_empty() {
            return Ok(Decision::Settled(Answer::Appended(written)));
        }
        if submission.mode != Mode::Act
            && let Err(error) = room()
        {
            return Ok(Decision::Settled(Answer::Failed(error)));
        }
        let events: SharedEvents = numbered.events.into();
        self.take_in(candidate, &events);
        Ok(Decision::Write(events, written))
    }

    /// The record of each stream of the append.
    fn records(&self, append: &Append, evidence: &Evidence) -> Result<Vec<StreamRecord>, Need> {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = evidence.records_at >= states.forgotten_up_to();
        let find = |stream: &StreamName| {
            let base = base(stream);
            let read = || evidence.records.get(&base).filter(|_| is_recent);
            states.get(&base).or_else(read).cloned()
        };
        let records = append
            .streams()
            .iter()
            .map(|expectation| find(&expectation.stream));
        records.collect::<Option<_>>().ok_or_else(|| Need::Records {
            at: states.forgotten_up_to(),
        })
    }

    /// The answer, if the append or a part of it has been written before.
    fn retry(&self, candidate: &Candidate<'_>) -> Result<Option<Answer>, Need> {
        let check = RetryCheck::new(candidate.submission, &self.window, self.last);
        let mut found = Vec::with_capacity(candidate.records.len());
        for (index, record) in candidate.records.iter().enumerate() {
            found.push(check.stream(index, record)?);
        }
        let mut written = found.iter().flatten();
        if written.clone().all(|retry| *retry == Retry::New) {
            return Ok(None);
        }
        let is_whole = written.all(|retry| matches!(retry, Retry::Written(_)));
        Ok(Some(if is_whole {
            self.original_answer(candidate, &found)
        } else {
            partly_written(candidate, &found)
        }))
    }

    fn original_answer(&self, candidate: &Candidate<'_>, found: &[Option<Retry>]) -> Answer {
        let places = found.iter().map(|retry| match retry {
            Some(Retry::Written(place)) => Some(*place),
            Some(Retry::New | Retry::Partly) | None => None,
        });
        let streams = candidate
            .streams()
            .zip(places.clone())
            .map(|((stream, state), place)| {
                let last_revision =
                    place.map_or(state.last_revision(), |place| Some(place.revision));
                StreamAppended {
                    stream: stream.clone(),
                    last_revision,
                }
            });
        let last = places.flatten().map(|place| place.position).max();
        let last = last.map(|last| last.plus(candidate.unasked_at_end(found)));
        let appended = Appended {
            store_id: self.store_id,
            last_position: last.unwrap_or(self.last),
            streams: streams.collect(),
        };
        Answer::Appended(Written {
            appended,
            clamped: 0,
        })
    }

    /// Why the append must not be written, if so.
    fn refusal(&self, candidate: &Candidate<'_>) -> Result<Option<Answer>, Need> {
        let expectations = candidate.append.streams().iter();
        let violations: Vec<_> = expectations
            .zip(candidate.streams())
            .filter_map(|(expectation, (_, state))| {
                let kind = match expectation.expected.admits(state, expectation.role) {
                    Verdict::Admitted => return None,
                    Verdict::WrongExpectedRevision => ViolationKind::WrongExpectedRevision,
                    Verdict::StreamDeleted => ViolationKind::StreamDeleted,
                };
                let (stream, expected) = (expectation.stream.clone(), expectation.expected);
                Some(Violation {
                    stream,
                    expected,
                    state,
                    kind,
                })
            })
            .collect();
        let condition = match self.excluded_by_condition(candidate)? {
            Ok(condition) => condition,
            Err(error) if violations.is_empty() => return Ok(Some(Answer::Failed(error))),
            Err(_) => None,
        };
        let is_refused = !violations.is_empty() || condition.is_some();
        Ok(is_refused.then(|| Answer::Refused(Refusal::new(violations, condition))))
    }

    /// The first event that the condition excludes: in what the caller checked, then in what came
    /// after that. The inner error is the caller's, who could not check it.
    fn excluded_by_condition(
        &self,
        candidate: &Candidate<'_>,
    ) -> Result<Result<Option<Position>, Error>, Need> {
        let Some(condition) = candidate.append.condition() else {
            return Ok(Ok(None));
        };
        let checked = candidate.submission.evidence.condition.as_ref();
        let Some(checked) = checked.filter(|checked| self.recent.reaches_back_to(checked.up_to))
        else {
            return Err(Need::Condition {
                at: self.recent.after,
            });
        };
        let excluded = || {
            let mut since = self.recent.since(checked.up_to);
            since.find(|event| condition.excludes(event))
        };
        let found = checked.excluded.clone();
        Ok(found.map(|found| found.or_else(|| excluded().map(|event| event.position))))
    }

    /// Where the next event goes.
    fn end(&self) -> LogEnd {
        LogEnd {
            position: self.last,
            recorded_at: self.last_recorded_at,
            now: self.clock.now(),
        }
    }

    /// From here on the events count as written.
    fn take_in(&mut self, candidate: Candidate<'_>, events: &SharedEvents) {
        let streams = candidate.append.streams().iter();
        let mut records: HashMap<_, _> = streams
            .map(|expectation| base(&expectation.stream))
            .zip(candidate.records)
            .collect();
        for of_one in events.chunk_by(|a, b| a.stream == b.stream) {
            let stream = &of_one[0].stream;
            let record = records
                .get_mut(&base(stream))
                .expect("an append writes to its streams and their metadata only");
            let hash = self.window.hash(stream);
            for event in of_one {
                record.add(event);
                self.window.add(hash, event);
                self.last = event.position;
                self.last_recorded_at = event.recorded_at;
            }
        }
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        for (base, record) in records {
            states.put(&base, record);
        }
        self.recent.push(events.clone());
    }
}

impl Candidate<'_> {
    /// Each stream of the append with its state.
    pub(crate) fn streams(&self) -> impl Iterator<Item = (&StreamName, StreamState)> {
        let streams = self.append.streams().iter().zip(&self.records);
        streams.map(|(expectation, record)| {
            (&expectation.stream, record.state_of(&expectation.stream))
        })
    }

    /// How many events the append ends with whose streams were not asked whether it is a retry. Only
    /// an import has such, and its events stand one behind the other.
    fn unasked_at_end(&self, found: &[Option<Retry>]) -> u64 {
        let streams = self.append.events().iter().rev().map(|event| event.stream);
        streams
            .take_while(|stream| found[*stream].is_none())
            .count() as u64
    }

    /// Each stream that gets events, with its record.
    pub(crate) fn written(&self) -> impl Iterator<Item = (&StreamName, &StreamRecord)> {
        let streams = self.append.streams().iter().zip(&self.records);
        streams
            .zip(&self.submission.ids)
            .filter(|(_, ids)| !ids.is_empty())
            .map(|((expectation, record), _)| (&expectation.stream, record))
    }
}

fn partly_written(candidate: &Candidate<'_>, found: &[Option<Retry>]) -> Answer {
    let streams = candidate
        .append
        .streams()
        .iter()
        .zip(candidate.streams())
        .zip(found);
    let violations = streams
        .filter(|(_, retry)| retry.is_some_and(|retry| retry != Retry::New))
        .map(|((expectation, (stream, state)), _)| Violation {
            stream: stream.clone(),
            expected: expectation.expected,
            state,
            kind: ViolationKind::PartlyWritten,
        })
        .collect();
    Answer::Refused(Refusal::new(violations, None))
}
