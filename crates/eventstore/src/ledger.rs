//! What the writer knows, and how it decides: retries, expectations, conditions, then numbers and
//! times. Nothing here waits, reads or writes; what is missing becomes a [`Need`].

use crate::clock::{Clock, Ids};
use crate::metadata::StreamMetadata;
use crate::request::{Answer, Evidence, Mode, Need, Submission, Written};
use crate::retry::{Retry, RetryCheck};
use crate::ring::size;
use crate::state::{StateCache, StreamRecord, base};
use crate::window::IdWindow;
use icecore_core::{
    Append, AppendEvent, Appended, ContentType, Error, EventData, EventType, ImportTimes, Position,
    RecordedEvent, Refusal, Revision, StoreId, StreamAppended, StreamName, StreamState, Timestamp,
    Verdict, Violation, ViolationKind, event_types,
};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// How far an imported time may lie in the future.
const FUTURE_NANOS_MAX: i64 = 60 * 1_000_000_000;

/// Newest events that conditions are compared with here; older ones were checked by the caller.
const RECENT_EVENTS_MAX: usize = 16_384;

/// Bytes of these events.
const RECENT_BYTES_MAX: usize = 16 * 1_024 * 1_024;

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
    Write(Arc<[RecordedEvent]>, Written),
    /// Nothing is written. The answer is true once everything decided so far is durable.
    Settled(Answer),
    /// It cannot be said without this.
    Undecided(Need),
}

/// The append at hand.
struct Candidate<'a> {
    submission: &'a Submission,
    append: &'a Append,
    /// Of each of the append's streams.
    records: Vec<StreamRecord>,
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

    /// Decides an append. What is to be written counts as written from here on.
    pub(crate) fn decide(&mut self, submission: &Submission) -> Decision {
        self.try_decide(submission)
            .unwrap_or_else(Decision::Undecided)
    }

    fn try_decide(&mut self, submission: &Submission) -> Result<Decision, Need> {
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
        let numbered = match self.number(&candidate) {
            Ok(numbered) => numbered,
            Err(answer) => return Ok(Decision::Settled(answer)),
        };
        let written = Written {
            appended: numbered.appended(),
            clamped: numbered.clamped,
        };
        if numbered.events.is_empty() {
            return Ok(Decision::Settled(Answer::Appended(written)));
        }
        let events: Arc<[RecordedEvent]> = numbered.events.into();
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
        let check = RetryCheck {
            submission: candidate.submission,
            window: &self.window,
            last_position: self.last,
        };
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

    /// Gives the events their places and times, and adds what they imply.
    fn number<'a>(&'a self, candidate: &'a Candidate<'a>) -> Result<Numbering<'a>, Answer> {
        let mut numbering = Numbering::new(self, candidate);
        let is_ordinary = candidate.submission.mode == Mode::Ordinary;
        if is_ordinary {
            for (stream, record) in candidate.written() {
                numbering.reopen(stream, record);
            }
        }
        for event in candidate.append.events() {
            numbering.add(event)?;
        }
        if is_ordinary {
            for (stream, record) in candidate.written() {
                numbering.keep_hidden(stream, record);
            }
        }
        Ok(numbering)
    }

    /// From here on the events count as written.
    fn take_in(&mut self, candidate: Candidate<'_>, events: &Arc<[RecordedEvent]>) {
        let streams = candidate.append.streams().iter();
        let mut records: HashMap<_, _> = streams
            .map(|expectation| base(&expectation.stream))
            .zip(candidate.records)
            .collect();
        for event in events.iter() {
            let record = records.get_mut(&base(&event.stream));
            record
                .expect("an append writes to its streams and their metadata only")
                .add(event);
            self.window.add(event);
            self.last = event.position;
            self.last_recorded_at = event.recorded_at;
        }
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        for (base, record) in records {
            states.put(base, record);
        }
        self.recent.push(Arc::clone(events));
    }
}

impl Candidate<'_> {
    /// Each stream of the append with its state.
    fn streams(&self) -> impl Iterator<Item = (&StreamName, StreamState)> {
        let streams = self.append.streams().iter().zip(&self.records);
        streams.map(|(expectation, record)| {
            (&expectation.stream, record.state_of(&expectation.stream))
        })
    }

    /// Each stream that gets events, with its record.
    fn written(&self) -> impl Iterator<Item = (&StreamName, &StreamRecord)> {
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

/// Gives places and times to the events of one append.
struct Numbering<'a> {
    ledger: &'a Ledger,
    candidate: &'a Candidate<'a>,
    /// Where the next event of each of the append's streams stands; `None` when it is closed.
    next: Vec<Option<Revision>>,
    /// Where each of the append's streams ends for the caller.
    last: Vec<Option<Revision>>,
    last_position: Position,
    events: Vec<RecordedEvent>,
    now: Timestamp,
    last_recorded_at: Timestamp,
    clamped: u64,
}

impl<'a> Numbering<'a> {
    fn new(ledger: &'a Ledger, candidate: &'a Candidate<'a>) -> Self {
        Self {
            ledger,
            candidate,
            next: candidate
                .streams()
                .map(|(_, state)| state.next_revision())
                .collect(),
            last: candidate
                .streams()
                .map(|(_, state)| state.last_revision())
                .collect(),
            last_position: ledger.last,
            events: Vec::with_capacity(candidate.append.events().len()),
            now: ledger.clock.now(),
            last_recorded_at: ledger.last_recorded_at,
            clamped: 0,
        }
    }

    /// An append to a soft-deleted stream reopens it; what was there before stays hidden. When the
    /// append brings metadata itself, that does it: see [`Self::keep_hidden`].
    fn reopen(&mut self, stream: &StreamName, record: &StreamRecord) {
        let StreamState::SoftDeleted { last } = record.state_of(stream) else {
            return;
        };
        let metadata_stream = stream.metadata_stream();
        let mut written = self.candidate.written();
        if written.any(|(written, _)| Some(written) == metadata_stream.as_ref()) {
            return;
        }
        self.add_metadata(
            stream,
            record,
            &record.metadata.truncated_before(last.next()),
        );
    }

    /// New metadata for a soft-deleted stream reopens it too, and must not bring old events back.
    fn keep_hidden(&mut self, stream: &StreamName, record: &StreamRecord) {
        let StreamState::SoftDeleted { last } = record.state() else {
            return;
        };
        let Some(of) = stream.metadata_of() else {
            return;
        };
        let written = self
            .events
            .iter()
            .rev()
            .find(|event| event.stream == *stream);
        let Some(metadata) = written.map(|event| StreamMetadata::read(&event.data)) else {
            return;
        };
        if metadata.truncate_before.is_none_or(|before| before <= last) {
            self.add_metadata(&of, record, &metadata.truncated_before(last.next()));
        }
    }

    /// Adds a `$metadata` event of the store's own for `stream`.
    fn add_metadata(
        &mut self,
        stream: &StreamName,
        record: &StreamRecord,
        metadata: &StreamMetadata,
    ) {
        let Some(metadata_stream) = stream.metadata_stream() else {
            return;
        };
        let event = EventData {
            id: self.ledger.ids.next(),
            event_type: EventType::new(event_types::METADATA).expect("it is a valid type"),
            content_type: ContentType::JSON,
            data: metadata.to_bytes(),
            metadata: bytes::Bytes::new(),
            tags: Vec::new(),
        };
        let in_append = self
            .candidate
            .append
            .streams()
            .iter()
            .position(|s| s.stream == metadata_stream);
        let own = record
            .metadata_tail
            .map_or(Revision::FIRST, |tail| tail.last_revision.next());
        let revision = in_append.and_then(|index| self.next[index]).unwrap_or(own);
        if let Some(index) = in_append {
            self.next[index] = Some(revision.next());
        }
        let recorded_at = self.now.max(self.last_recorded_at);
        self.push(metadata_stream, revision, &event, recorded_at, None);
    }

    fn add(&mut self, event: &AppendEvent) -> Result<(), Answer> {
        let expectation = &self.candidate.append.streams()[event.stream];
        let Some(next) = self.next[event.stream] else {
            return Err(Answer::Refused(Refusal::new(
                vec![Violation {
                    stream: expectation.stream.clone(),
                    expected: expectation.expected,
                    state: StreamState::Tombstoned,
                    kind: ViolationKind::StreamDeleted,
                }],
                None,
            )));
        };
        let closes = event.event.event_type.as_str() == event_types::STREAM_DELETED;
        self.next[event.stream] = (!closes).then(|| next.next());
        if closes {
            self.close_metadata(&expectation.stream);
        }
        let revision = if closes { Revision::TOMBSTONE } else { next };
        let (recorded_at, created_at) = self.times(event).map_err(Answer::Failed)?;
        self.push(
            expectation.stream.clone(),
            revision,
            &event.event,
            recorded_at,
            created_at,
        );
        self.last[event.stream] = Some(revision);
        self.last_position = self.ledger.last.plus(self.events.len() as u64);
        Ok(())
    }

    /// A metadata stream ends with its stream.
    fn close_metadata(&mut self, stream: &StreamName) {
        let metadata_stream = stream.metadata_stream();
        let mut streams = self.candidate.append.streams().iter();
        if let Some(index) = streams.position(|s| Some(&s.stream) == metadata_stream.as_ref()) {
            self.next[index] = None;
        }
    }

    /// What the caller is told: of its own events, not of those that the store adds.
    fn appended(&self) -> Appended {
        let streams = self.candidate.append.streams().iter().zip(&self.last);
        Appended {
            store_id: self.ledger.store_id,
            last_position: self.last_position,
            streams: streams
                .map(|(expectation, last)| StreamAppended {
                    stream: expectation.stream.clone(),
                    last_revision: *last,
                })
                .collect(),
        }
    }

    /// The recorded time never decreases; an older one that an import brings is kept beside it. An
    /// imported event without a time goes with the one before it, so that a batch of old history can
    /// end with an event of the importer's own.
    fn times(&mut self, event: &AppendEvent) -> Result<(Timestamp, Option<Timestamp>), Error> {
        let Some(ImportTimes {
            recorded_at: given,
            created_at,
        }) = event.times
        else {
            let before = self.events.last().map(|event| event.recorded_at);
            let now = self.now.max(self.last_recorded_at);
            return match self.candidate.submission.mode {
                Mode::Verbatim => Ok((before.unwrap_or(now), None)),
                Mode::Ordinary => Ok((now, None)),
            };
        };
        if given > self.now.plus_nanos(FUTURE_NANOS_MAX) {
            return Err(Error::invalid(
                "recorded_at",
                format!(
                    "{given} of event {} is more than a minute ahead",
                    event.event.id
                ),
            ));
        }
        if given < self.last_recorded_at {
            self.clamped += 1;
            return Ok((self.last_recorded_at, created_at.or(Some(given))));
        }
        Ok((given, created_at))
    }

    fn push(
        &mut self,
        stream: StreamName,
        revision: Revision,
        event: &EventData,
        recorded_at: Timestamp,
        created_at: Option<Timestamp>,
    ) {
        self.last_recorded_at = recorded_at;
        let event = event.clone();
        self.events.push(RecordedEvent {
            stream,
            revision,
            position: self.ledger.last.plus(self.events.len() as u64 + 1),
            id: event.id,
            event_type: event.event_type,
            content_type: event.content_type,
            data: event.data,
            metadata: event.metadata,
            tags: event.tags,
            recorded_at,
            created_at,
        });
    }
}

/// The newest decided events, durable or not, for conditions.
#[derive(Debug)]
struct Recent {
    appends: VecDeque<Arc<[RecordedEvent]>>,
    events: usize,
    bytes: usize,
    /// Every event after this position is in here.
    after: Position,
}

impl Recent {
    fn after(after: Position) -> Self {
        Self {
            appends: VecDeque::new(),
            events: 0,
            bytes: 0,
            after,
        }
    }

    fn push(&mut self, events: Arc<[RecordedEvent]>) {
        self.events += events.len();
        self.bytes += size(&events);
        self.appends.push_back(events);
        while (self.events > RECENT_EVENTS_MAX || self.bytes > RECENT_BYTES_MAX)
            && self.appends.len() > 1
        {
            let Some(oldest) = self.appends.pop_front() else {
                break;
            };
            self.events -= oldest.len();
            self.bytes -= size(&oldest);
            self.after = oldest.last().map_or(self.after, |event| event.position);
        }
    }

    fn reaches_back_to(&self, position: Position) -> bool {
        position >= self.after
    }

    fn since(&self, position: Position) -> impl Iterator<Item = &RecordedEvent> {
        let start = self
            .appends
            .partition_point(|events| events.last().is_some_and(|last| last.position <= position));
        let events = self.appends.range(start..).flat_map(|events| events.iter());
        events.filter(move |event| event.position > position)
    }
}
