//! Gives the events of one append their places and times, and adds the events that they imply. The
//! ledger has decided that they may be written.

use crate::clock::Ids;
use crate::ledger::Candidate;
use crate::metadata::StreamMetadata;
use crate::request::{Answer, Mode};
use crate::state::StreamRecord;
use icecore_core::{
    AppendEvent, Appended, ContentType, Error, EventData, EventType, ImportTimes, Position,
    RecordedEvent, Refusal, Revision, StoreId, StreamAppended, StreamName, StreamState, Timestamp,
    Violation, ViolationKind, event_types,
};

/// How far an imported time may lie in the future.
const FUTURE_NANOS_MAX: i64 = 60 * 1_000_000_000;

/// Where the log ends and what time it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogEnd {
    /// The last position that is decided, durable or not.
    pub(crate) position: Position,
    /// When the event there was recorded.
    pub(crate) recorded_at: Timestamp,
    pub(crate) now: Timestamp,
}

/// Gives places and times to the events of one append.
pub(crate) struct Numbering<'a> {
    ids: &'a Ids,
    candidate: &'a Candidate<'a>,
    /// Where the next event of each of the append's streams stands; `None` when it is closed.
    next: Vec<Option<Revision>>,
    /// Where each of the append's streams ends for the caller.
    last: Vec<Option<Revision>>,
    last_position: Position,
    /// What is to be written.
    pub(crate) events: Vec<RecordedEvent>,
    end: LogEnd,
    /// The recorded time of the event before.
    last_recorded_at: Timestamp,
    /// Events whose time lay before that.
    pub(crate) clamped: u64,
}

impl<'a> Numbering<'a> {
    /// Numbers the events of an append that was let through.
    ///
    /// # Errors
    ///
    /// The answer for an append that closes a stream and goes on writing to it, or whose time lies in
    /// the future.
    pub(crate) fn of(
        candidate: &'a Candidate<'a>,
        end: LogEnd,
        ids: &'a Ids,
    ) -> Result<Self, Answer> {
        let mut numbering = Self::new(candidate, end, ids);
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

    fn new(candidate: &'a Candidate<'a>, end: LogEnd, ids: &'a Ids) -> Self {
        Self {
            ids,
            candidate,
            next: candidate
                .streams()
                .map(|(_, state)| state.next_revision())
                .collect(),
            last: candidate
                .streams()
                .map(|(_, state)| state.last_revision())
                .collect(),
            last_position: end.position,
            events: Vec::with_capacity(candidate.append.events().len()),
            last_recorded_at: end.recorded_at,
            end,
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
            id: self.ids.next(),
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
        let recorded_at = self.end.now.max(self.last_recorded_at);
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
        self.last_position = self.end.position.plus(self.events.len() as u64);
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
    pub(crate) fn appended(&self, store_id: StoreId) -> Appended {
        let streams = self.candidate.append.streams().iter().zip(&self.last);
        Appended {
            store_id,
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
            let now = self.end.now.max(self.last_recorded_at);
            return match self.candidate.submission.mode {
                Mode::Verbatim | Mode::Act => Ok((before.unwrap_or(now), None)),
                Mode::Ordinary => Ok((now, None)),
            };
        };
        if given > self.end.now.plus_nanos(FUTURE_NANOS_MAX) {
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
            position: self.end.position.plus(self.events.len() as u64 + 1),
            id: event.id,
            event_type: event.event_type,
            content_type: event.content_type,
            data: event.data,
            metadata: event.metadata,
            tags: event.tags,
            recorded_at,
            created_at,
            erased: false,
        });
    }
}
