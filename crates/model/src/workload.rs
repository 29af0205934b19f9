//! Operations of one client, chosen at random so that they get into each other's way: few streams, every
//! expectation, old ids again, conditions over few types and tags. A seed gives the same operations as
//! long as it hears the same answers.

use crate::history::{Outcome, Request};
use bytes::Bytes;
use fastrand::Rng;
use icecore_core::{
    Append, AppendBuilder, Category, Condition, DeleteKind, Direction, EventData, EventType,
    ExpectedRevision, Filter, NameMatch, Position, Query, QueryItem, Read, ReadFrom, Revision,
    Role, Start, StreamName, StreamState, Subscribe, SubscribeFrom, SystemStreams, Tag,
    event_types,
};
use std::collections::HashMap;
use uuid::Uuid;

const TYPES: [&str; 3] = ["Placed", "Paid", "Shipped"];

/// Requests that are kept to be sent again.
const KEPT_MAX: usize = 32;

/// What a client does next.
#[derive(Clone, Debug)]
pub enum Step {
    /// Sends this and waits for the answer.
    Write(Request),
    /// Sends this twice at once.
    Twice(Request),
    /// Sends this and does not wait for the answer.
    Abandon(Request),
    /// Reads.
    Read(Read),
    /// Waits a moment.
    Pause,
}

/// The operations of one client.
#[derive(Clone, Debug)]
pub struct Workload {
    random: Rng,
    client: u64,
    streams: usize,
    next_id: u64,
    /// The last revisions as far as this client has heard.
    last: HashMap<StreamName, Revision>,
    last_position: Position,
    /// What was sent, and may be sent again.
    sent: Vec<Append>,
    /// What must be sent again, since nobody knows what became of it.
    unknown: Option<Request>,
    /// Whether streams are also written under a check, which our own protocol has no words for.
    checks_what_it_writes: bool,
}

impl Workload {
    /// The operations of this client on so many streams.
    pub fn new(seed: u64, client: u64, streams: usize) -> Self {
        Self {
            random: Rng::with_seed(seed.wrapping_mul(1_000_003).wrapping_add(client)),
            client,
            streams: streams.max(1),
            next_id: 0,
            last: HashMap::new(),
            last_position: Position::START,
            sent: Vec::new(),
            unknown: None,
            checks_what_it_writes: false,
        }
    }

    /// Some of the streams that are written are held to the table of checks, too.
    #[must_use]
    pub fn with_checks_of_what_it_writes(mut self) -> Self {
        self.checks_what_it_writes = true;
        self
    }

    /// What the client does next.
    pub fn next_step(&mut self) -> Step {
        if let Some(request) = self.unknown.take()
            && self.one_in(4)
        {
            return Step::Write(request);
        }
        match self.random.u32(0..100) {
            0..45 => Step::Write(self.append()),
            45..52 => Step::Twice(self.append()),
            52..56 => Step::Abandon(self.append()),
            56..64 => self.again(),
            64..72 => Step::Write(self.upkeep()),
            72..92 => Step::Read(self.read()),
            _ => Step::Pause,
        }
    }

    /// Learns how a request ended.
    pub fn heard(&mut self, request: &Request, outcome: &Outcome) {
        match outcome {
            Outcome::Appended(appended) => {
                self.last_position = self.last_position.max(appended.last_position);
                for stream in &appended.streams {
                    self.learn(&stream.stream, stream.last_revision);
                }
            }
            Outcome::Refused(refusal) => {
                for violation in &refusal.violations {
                    let last = match violation.state {
                        StreamState::Tombstoned => None,
                        state => state.last_revision(),
                    };
                    self.learn(&violation.stream, last);
                }
            }
            Outcome::Unknown | Outcome::NotWritten => self.unknown = Some(request.clone()),
            Outcome::Forbidden => {}
        }
    }

    /// Learns where the store ended when it was read.
    pub fn read_up_to(&mut self, position: Position) {
        self.last_position = self.last_position.max(position);
    }

    fn learn(&mut self, stream: &StreamName, last: Option<Revision>) {
        match last {
            Some(last) => self.last.insert(stream.clone(), last),
            None => self.last.remove(stream),
        };
    }

    fn one_in(&mut self, count: u32) -> bool {
        self.random.u32(0..count) == 0
    }

    fn stream(&mut self) -> StreamName {
        let number = self.random.usize(0..self.streams);
        let name = match number % 4 {
            0 => format!("order-{number}"),
            1 => format!("stock-{number}"),
            2 => format!("ledger{number}"),
            _ => format!("order-{number}-more"),
        };
        StreamName::new(name).expect("it is a valid name")
    }

    fn expected(&mut self, stream: &StreamName) -> ExpectedRevision {
        let last = self.last.get(stream).copied();
        match (self.random.u32(0..20), last) {
            (0..8, Some(last)) => ExpectedRevision::Exact(last),
            (8, Some(last)) => ExpectedRevision::Exact(last.next()),
            (9, Some(last)) => ExpectedRevision::Exact(Revision::new(last.get() / 2)),
            (0..12, _) => ExpectedRevision::NoStream,
            (12..14, _) => ExpectedRevision::StreamExists,
            (14, _) => ExpectedRevision::SoftDeleted,
            (_, _) => ExpectedRevision::Any,
        }
    }

    fn tag(&mut self) -> Tag {
        let tag = format!("customer:{}", self.random.u32(0..4));
        Tag::new(tag).expect("it is a valid tag")
    }

    fn event_type(&mut self) -> EventType {
        let event_type = TYPES[self.random.usize(0..TYPES.len())];
        EventType::new(event_type).expect("it is a valid type")
    }

    fn id(&mut self) -> Uuid {
        self.next_id += 1;
        Uuid::from_u64_pair(self.client + 1, self.next_id)
    }

    fn event(&mut self) -> EventData {
        let tags = (0..self.random.usize(0..3)).map(|_| self.tag()).collect();
        let note = "x".repeat(self.random.usize(0..200));
        let data = format!(r#"{{"n":{},"note":"{note}"}}"#, self.next_id);
        let mut event = EventData::json(self.id(), TYPES[0], data).expect("it is a valid type");
        (event.event_type, event.tags) = (self.event_type(), tags);
        event
    }

    fn metadata(&mut self, json: Bytes) -> EventData {
        EventData::json(self.id(), event_types::METADATA, json).expect("it is a valid type")
    }

    /// New events for a stream, or for several, with all that may be said about them.
    fn append(&mut self) -> Request {
        let mut append = AppendBuilder::default();
        let count = [1, 1, 1, 1, 2, 2, 3][self.random.usize(0..7)];
        for n in 0..count {
            let stream = self.stream();
            let is_checked = n > 0 && self.one_in(3);
            let expected = match self.expected(&stream) {
                ExpectedRevision::Any if is_checked => ExpectedRevision::StreamExists,
                expected => expected,
            };
            // A stream that is drawn twice is there once.
            let Ok(place) = append.stream(stream.clone(), expected) else {
                continue;
            };
            for _ in 0..if is_checked {
                0
            } else {
                self.random.usize(1..4)
            } {
                let event = self.event();
                append.event(place, event, None).expect("the ids are new");
            }
            if self.checks_what_it_writes && !is_checked && self.one_in(3) {
                append.hold_as(place, Role::WrittenAndChecked);
            }
            if n == 0 && self.one_in(20) {
                self.add_metadata(&mut append, &stream);
            }
        }
        if self.one_in(5) {
            append.condition(self.condition());
        }
        if self.one_in(4) {
            append.missed_limit(self.random.usize(1..6));
        }
        let append = append.build().expect("it is a valid append");
        self.keep(append.clone());
        Request::Append(append)
    }

    /// Metadata goes with the events.
    fn add_metadata(&mut self, append: &mut AppendBuilder, stream: &StreamName) {
        let Some(target) = stream.metadata_stream() else {
            return;
        };
        let place = append.stream(target, ExpectedRevision::Any);
        let json = self.json();
        let event = self.metadata(json);
        let place = place.expect("it is a stream of its own");
        append.event(place, event, None).expect("the id is new");
    }

    fn keep(&mut self, append: Append) {
        if self.sent.len() == KEPT_MAX {
            let oldest = self.random.usize(0..KEPT_MAX);
            self.sent.swap_remove(oldest);
        }
        self.sent.push(append);
    }

    fn condition(&mut self) -> Condition {
        let types = (0..self.random.usize(0..2))
            .map(|_| self.event_type())
            .collect();
        let tags = (0..self.random.usize(0..2)).map(|_| self.tag()).collect();
        let item = QueryItem { types, tags };
        let before = self.random.u64(0..5);
        Condition {
            query: Query::new(vec![item]).expect("it is a small query"),
            after: Position::new(self.last_position.get().saturating_sub(before)),
        }
    }

    /// An earlier append once more; or one that has some of its ids; or its ids for another stream.
    fn again(&mut self) -> Step {
        if self.sent.is_empty() {
            return Step::Pause;
        }
        let append = self.sent[self.random.usize(0..self.sent.len())].clone();
        let request = match self.random.u32(0..6) {
            0 => self.extended(&append),
            1 => self.elsewhere(&append),
            _ => Some(append),
        };
        request.map_or(Step::Pause, |append| Step::Write(Request::Append(append)))
    }

    fn extended(&mut self, append: &Append) -> Option<Append> {
        let expectation = append.streams().first()?;
        let mut events: Vec<_> = events_of(append, 0);
        events.push(self.event());
        Append::to_stream(expectation.stream.clone(), expectation.expected, events).ok()
    }

    fn elsewhere(&mut self, append: &Append) -> Option<Append> {
        let stream = self.stream();
        let expected = self.expected(&stream);
        Append::to_stream(stream, expected, events_of(append, 0)).ok()
    }

    /// What changes a stream as a whole.
    fn upkeep(&mut self) -> Request {
        let stream = self.stream();
        match self.random.u32(0..20) {
            0..6 => Request::Delete(stream, ExpectedRevision::Any, DeleteKind::Soft),
            6..8 => {
                let expected = self.expected(&stream);
                Request::Delete(stream, expected, DeleteKind::Soft)
            }
            8 => {
                let expected = self.expected(&stream);
                Request::Delete(stream, expected, DeleteKind::Tombstone)
            }
            9..15 => {
                let last = self.last.get(&stream).map_or(0, |last| last.get());
                let before = self.random.u64(0..=last.saturating_add(1).min(1 << 40));
                Request::Truncate(stream, Revision::new(before))
            }
            _ => Request::SetMetadata(stream, ExpectedRevision::Any, self.json()),
        }
    }

    fn json(&mut self) -> Bytes {
        let note = self.random.u32(0..3);
        match self.random.u32(0..3) {
            0 => format!(r#"{{"note":{note}}}"#),
            1 => format!(r#"{{"$maxCount":{},"note":{note}}}"#, note + 1),
            _ => format!(r#"{{"$tb":{note}}}"#),
        }
        .into()
    }

    fn read(&mut self) -> Read {
        let is_one = self.one_in(2);
        let mut read = if is_one {
            Read::stream(self.stream())
        } else {
            Read::all()
        };
        let from = self.random.u64(0..=self.last_position.get());
        if self.one_in(3) {
            match &mut read.from {
                ReadFrom::All(begin) => *begin = Some(Position::new(from)),
                ReadFrom::Stream(_, begin) => *begin = Some(Revision::new(from / 4)),
            }
        }
        if self.one_in(3) {
            read.direction = Direction::Backwards;
        }
        if self.one_in(4) {
            read.limit = Some(self.random.u64(1..10));
        }
        read.filter = self.filter(is_one);
        read
    }

    /// A subscription to all streams or to one, from anywhere.
    pub fn subscribe(&mut self) -> Subscribe {
        let from = match self.random.u32(0..8) {
            0 => SubscribeFrom::All(Start::End),
            1..4 => SubscribeFrom::Stream(self.stream(), Start::Beginning),
            4 => SubscribeFrom::Stream(self.stream(), Start::End),
            _ => SubscribeFrom::All(Start::Beginning),
        };
        let is_one = matches!(from, SubscribeFrom::Stream(..));
        Subscribe {
            from,
            filter: self.filter(is_one),
            store_id: None,
        }
    }

    fn filter(&mut self, is_one: bool) -> Filter {
        let mut filter = Filter::default();
        if self.one_in(2) {
            filter.system = SystemStreams::Include;
        }
        match self.random.u32(0..10) {
            0 => filter.event_type = Some(NameMatch::AnyOf(vec![TYPES[0].into(), TYPES[1].into()])),
            1 => filter.event_type = Some(NameMatch::Prefixes(vec!["P".into()])),
            2 => filter.tags = vec![self.tag()],
            3 if !is_one => filter.category = Category::new("order").ok(),
            4 if !is_one => filter.stream = Some(NameMatch::Prefixes(vec!["stock".into()])),
            5 if !is_one => filter.stream = Some(NameMatch::AnyOf(vec!["ledger2".into()])),
            _ => {}
        }
        filter
    }
}

/// The events that go to the stream of this number.
fn events_of(append: &Append, index: usize) -> Vec<EventData> {
    let events = append.events().iter().filter(|event| event.stream == index);
    events.map(|event| event.event.clone()).collect()
}
