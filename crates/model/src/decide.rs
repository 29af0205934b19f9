//! What becomes of a write in a given state: the tables of the contract, read row by row.

use crate::history::Request;
use crate::model::Model;
use crate::retention::Metadata;
use crate::writing::Writing;
use icecore_core::{
    Append, DeleteKind, EventData, EventType, ExpectedRevision, Position, RecordedEvent, Revision,
    StreamExpectation, StreamName, StreamState, Violation, ViolationKind, event_types,
};
use icecore_core::{ContentType, Role};
use uuid::Uuid;

/// What becomes of a write.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// These events are written, and this is answered.
    Writes(Vec<Expected>, Answer),
    /// Nothing is written, because nothing is to be or because it has been.
    Answers(Answer),
    /// Nothing is written; these expectations do not hold, and this is the first event that the
    /// condition excludes.
    Refuses(Vec<Violation>, Option<Position>),
    /// Nothing is written, and how that is said depends on what the store looked at first.
    Forbids,
}

/// The last position, and the last revision of each stream of the append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Of the last event of the append.
    pub last_position: Position,
    /// In the order of the append's streams.
    pub last_revisions: Vec<Option<Revision>>,
}

/// An event that is to be in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// Where it belongs.
    pub stream: StreamName,
    /// Its place there.
    pub revision: Revision,
    pub(crate) content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    /// As the caller gave it.
    Given(EventData),
    /// Of the store's own making, with an id that nobody knows.
    Metadata(Metadata),
    Tombstone,
}

impl Expected {
    /// Whether this is the event.
    pub fn is(&self, event: &RecordedEvent) -> bool {
        let event_type = event.event_type.as_str();
        let is_right = match &self.content {
            Content::Given(data) => *data == offered(event),
            Content::Metadata(metadata) => {
                event_type == event_types::METADATA && Metadata::read(&event.data) == *metadata
            }
            Content::Tombstone => event_type == event_types::STREAM_DELETED,
        };
        is_right && self.stream == event.stream && self.revision == event.revision
    }
}

/// The event as it was offered.
fn offered(event: &RecordedEvent) -> EventData {
    EventData {
        id: event.id,
        event_type: event.event_type.clone(),
        content_type: event.content_type.clone(),
        data: event.data.clone(),
        metadata: event.metadata.clone(),
        tags: event.tags.clone(),
    }
}

/// What the ids of an append say about one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    None,
    Some,
    /// All of them, up to this place.
    All(Revision, Position),
}

impl Model {
    /// What becomes of this write now.
    pub fn decide(&self, request: &Request) -> Decision {
        match request {
            Request::Append(append) => self.decide_append(append),
            Request::SetMetadata(stream, expected, json) => {
                self.decide_metadata(stream, *expected, json)
            }
            Request::Truncate(stream, before) => self.decide_truncation(stream, *before),
            Request::Delete(stream, expected, DeleteKind::Soft) => {
                self.decide_deletion(stream, *expected)
            }
            Request::Delete(stream, expected, DeleteKind::Tombstone) => {
                self.decide_tombstone(stream, *expected)
            }
        }
    }

    fn decide_append(&self, append: &Append) -> Decision {
        let found: Vec<_> = (0..append.streams().len())
            .map(|index| self.find(append, index))
            .collect();
        if found.iter().flatten().any(|found| *found != Found::None) {
            return self.repeated(append, &found);
        }
        let expectations = append.streams().iter();
        let violations: Vec<_> = expectations.filter_map(|e| self.violation(e)).collect();
        let condition = append.condition();
        let excluded = condition.and_then(|condition| {
            let after = usize::try_from(condition.after.get()).unwrap_or(usize::MAX);
            let mut later = self.log().iter().skip(after);
            later.find(|event| condition.query.matches(&event.event_type, &event.tags))
        });
        if !violations.is_empty() || excluded.is_some() {
            return Decision::Refuses(violations, excluded.map(|event| event.position));
        }
        self.writes(append)
    }

    /// Whether the ids for a stream of the append are there; `None` when it gets no events.
    fn find(&self, append: &Append, index: usize) -> Option<Found> {
        let of_stream = append.events().iter().filter(|event| event.stream == index);
        let ids: Vec<_> = of_stream.map(|event| event.event.id).collect();
        let StreamExpectation {
            stream, expected, ..
        } = &append.streams()[index];
        let state = self.state(stream);
        if ids.is_empty() {
            return None;
        }
        Some(match expected {
            _ if state == StreamState::Tombstoned => Found::None,
            ExpectedRevision::Exact(last) => self.find_at(stream, last.next(), &ids),
            ExpectedRevision::NoStream => {
                // It went to the beginning, or to where a deleted stream went on.
                let first = self.find_at(stream, Revision::FIRST, &ids);
                let went_on = self.metadata(stream).truncate_before();
                match (first, state, went_on) {
                    (Found::None, StreamState::SoftDeleted { .. }, _) => {
                        self.find_anywhere(stream, &ids)
                    }
                    (Found::None, _, Some(went_on)) => self.find_at(stream, went_on, &ids),
                    (first, ..) => first,
                }
            }
            _ => self.find_anywhere(stream, &ids),
        })
    }

    fn find_at(&self, stream: &StreamName, first: Revision, ids: &[Uuid]) -> Found {
        let from = self.events(stream).skip_while(|e| e.revision < first);
        let equal = from.zip(ids).take_while(|(event, id)| event.id == **id);
        match equal.collect::<Vec<_>>()[..] {
            [] => Found::None,
            [.., (last, _)] if last.id == ids[ids.len() - 1] => {
                Found::All(last.revision, last.position)
            }
            _ => Found::Some,
        }
    }

    fn find_anywhere(&self, stream: &StreamName, ids: &[Uuid]) -> Found {
        let found = self.events(stream).filter(|e| ids.contains(&e.id));
        match found.collect::<Vec<_>>()[..] {
            [] => Found::None,
            [.., last]
                if ids
                    .iter()
                    .all(|id| self.events(stream).any(|e| e.id == *id)) =>
            {
                Found::All(last.revision, last.position)
            }
            _ => Found::Some,
        }
    }

    /// The original answer, or that only a part of the append is there.
    fn repeated(&self, append: &Append, found: &[Option<Found>]) -> Decision {
        let streams = || append.streams().iter().zip(found);
        let is_whole = found.iter().flatten().all(|f| matches!(f, Found::All(..)));
        if is_whole {
            let last_revisions = streams().map(|(expectation, found)| match found {
                Some(Found::All(revision, _)) => Some(*revision),
                _ => self.state(&expectation.stream).last_revision(),
            });
            let positions = found.iter().flatten().filter_map(|found| match found {
                Found::All(_, position) => Some(*position),
                _ => None,
            });
            return Decision::Answers(Answer {
                last_position: positions.max().unwrap_or_default(),
                last_revisions: last_revisions.collect(),
            });
        }
        let there = streams().filter(|(_, found)| found.is_some_and(|f| f != Found::None));
        let violations = there.map(|(expectation, _)| Violation {
            stream: expectation.stream.clone(),
            expected: expectation.expected,
            state: self.state(&expectation.stream),
            kind: ViolationKind::PartlyWritten,
        });
        Decision::Refuses(violations.collect(), None)
    }

    fn violation(&self, expectation: &StreamExpectation) -> Option<Violation> {
        let StreamExpectation {
            stream,
            expected,
            role,
        } = expectation;
        let state = self.state(stream);
        let kind = match role {
            Role::Written => violated_by_writing(*expected, state)?,
            Role::Checked => violated_by_looking(*expected, state)?,
            Role::WrittenAndChecked => violated_by_both(*expected, state)?,
        };
        Some(Violation {
            stream: stream.clone(),
            expected: *expected,
            state,
            kind,
        })
    }

    fn writes(&self, append: &Append) -> Decision {
        let mut writing = Writing::new(self, append);
        writing.reopen_streams();
        for event in append.events() {
            let content = Content::Given(event.event.clone());
            writing.add(append.streams()[event.stream].stream.clone(), content);
            writing.last_position = Position::new(self.end() + writing.events.len() as u64);
        }
        let answer = Answer {
            last_position: writing.last_position,
            last_revisions: writing.last_revisions(),
        };
        writing.keep_deleted_events_hidden();
        match writing.events {
            events if events.is_empty() => Decision::Answers(answer),
            events => Decision::Writes(events, answer),
        }
    }

    fn decide_metadata(
        &self,
        stream: &StreamName,
        expected: ExpectedRevision,
        json: &[u8],
    ) -> Decision {
        let Some(target) = stream.metadata_stream() else {
            return Decision::Forbids;
        };
        // The id is new, so nobody has written it before.
        let event = EventData {
            id: Uuid::max(),
            event_type: EventType::new(event_types::METADATA).expect("it is a valid type"),
            content_type: ContentType::JSON,
            data: json.to_vec().into(),
            metadata: bytes::Bytes::new(),
            tags: Vec::new(),
        };
        let append = Append::to_stream(target, expected, vec![event]);
        let Ok(append) = append else {
            return Decision::Forbids;
        };
        let mut decision = self.decide_append(&append);
        if let Decision::Writes(events, _) = &mut decision {
            for event in events {
                if let Content::Given(data) = &event.content {
                    event.content = Content::Metadata(Metadata::read(&data.data));
                }
            }
        }
        decision
    }

    fn decide_truncation(&self, stream: &StreamName, before: Revision) -> Decision {
        match self.state(stream) {
            StreamState::Living { last } if before <= last.next() && !stream.is_metadata() => {
                let metadata = self.metadata(stream);
                let so_far = metadata.truncate_before().unwrap_or(Revision::FIRST);
                self.writes_metadata(stream, metadata.truncated_before(so_far.max(before)))
            }
            _ => Decision::Forbids,
        }
    }

    fn decide_deletion(&self, stream: &StreamName, expected: ExpectedRevision) -> Decision {
        let state = self.state(stream);
        let is_there = !matches!(state, StreamState::Absent | StreamState::OnlyMetadata);
        if stream.is_metadata() || !is_there || violated_by_writing(expected, state).is_some() {
            return Decision::Forbids;
        }
        let metadata = self.metadata(stream).truncated_before(Revision::TOMBSTONE);
        self.writes_metadata(stream, metadata)
    }

    fn writes_metadata(&self, stream: &StreamName, metadata: Metadata) -> Decision {
        let mut writing = Writing::over(self, Vec::new());
        let Some(target) = stream.metadata_stream() else {
            return Decision::Forbids;
        };
        let revision = writing.add(target, Content::Metadata(metadata));
        let last_position = Position::new(self.end() + 1);
        let checked = self.state(stream).last_revision();
        Decision::Writes(
            writing.events,
            Answer {
                last_position,
                last_revisions: vec![Some(revision), checked],
            },
        )
    }

    fn decide_tombstone(&self, stream: &StreamName, expected: ExpectedRevision) -> Decision {
        let violated = violated_by_writing(expected, self.state(stream));
        if stream.is_metadata() || violated.is_some() {
            return Decision::Forbids;
        }
        let event = Expected {
            stream: stream.clone(),
            revision: Revision::TOMBSTONE,
            content: Content::Tombstone,
        };
        let answer = Answer {
            last_position: Position::new(self.end() + 1),
            last_revisions: vec![Some(Revision::TOMBSTONE)],
        };
        Decision::Writes(vec![event], answer)
    }
}

/// The table of appends.
fn violated_by_writing(expected: ExpectedRevision, state: StreamState) -> Option<ViolationKind> {
    use ExpectedRevision::{Any, Exact, NoStream, SoftDeleted, StreamExists, Tombstoned};
    let admitted = match state {
        StreamState::Tombstoned => return Some(ViolationKind::StreamDeleted),
        StreamState::SoftDeleted { .. } if expected == StreamExists => {
            return Some(ViolationKind::StreamDeleted);
        }
        StreamState::Absent => matches!(expected, Any | NoStream),
        StreamState::OnlyMetadata => matches!(expected, Any | NoStream | StreamExists),
        StreamState::Living { last } => match expected {
            Any | StreamExists => true,
            Exact(revision) => revision == last,
            NoStream | SoftDeleted | Tombstoned => false,
        },
        StreamState::SoftDeleted { last } => match expected {
            Any | NoStream | SoftDeleted => true,
            Exact(revision) => revision == last,
            StreamExists | Tombstoned => false,
        },
    };
    (!admitted).then_some(ViolationKind::WrongExpectedRevision)
}

/// The table of checks.
fn violated_by_looking(expected: ExpectedRevision, state: StreamState) -> Option<ViolationKind> {
    use ExpectedRevision::{Any, Exact, NoStream, SoftDeleted, StreamExists, Tombstoned};
    let admitted = match expected {
        Any => true,
        Exact(revision) => state == StreamState::Living { last: revision },
        NoStream => !matches!(state, StreamState::Living { .. }),
        StreamExists => matches!(state, StreamState::Living { .. }),
        SoftDeleted => matches!(state, StreamState::SoftDeleted { .. }),
        Tombstoned => state == StreamState::Tombstoned,
    };
    (!admitted).then_some(ViolationKind::WrongExpectedRevision)
}

/// The table of checks of streams that the append writes to.
fn violated_by_both(expected: ExpectedRevision, state: StreamState) -> Option<ViolationKind> {
    if state == StreamState::Tombstoned {
        return Some(ViolationKind::StreamDeleted);
    }
    violated_by_looking(expected, state)
}
