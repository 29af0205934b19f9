//! Histories to try an engine with: numbered as the writer numbers them, and the same for the same
//! seed. Nothing here asks a clock or the system for randomness.

use crate::NumberedAppend;
use bytes::Bytes;
use icecore_core::{
    ContentType, EventType, Position, RecordedEvent, Revision, StreamName, Tag, Timestamp,
    event_types,
};
use std::collections::HashMap;
use uuid::Uuid;

/// One millisecond, the usual distance between two events.
const TICK_NANOS: i64 = 1_000_000;

/// 2012-01-31T00:00:00Z, when these histories begin.
const BEGIN: Timestamp = Timestamp::from_nanos(1_327_968_000_000_000_000);

/// Gives positions, revisions and times to events, as the writer does: positions dense, revisions
/// dense in their stream but for a tombstone, times that never decrease.
///
/// It is `Clone`, so that a test can go back when a commit did not take place.
#[derive(Clone, Debug, Default)]
pub struct Numbering {
    last_position: Position,
    next_revisions: HashMap<StreamName, Revision>,
}

impl Numbering {
    /// The position of the event that was numbered last; [`Position::START`] before the first.
    pub fn last_position(&self) -> Position {
        self.last_position
    }

    /// Whether the stream has got its tombstone; such a stream takes no event any more.
    pub fn is_closed(&self, stream: &str) -> bool {
        let next = self.next_revisions.get(stream);
        next.is_some_and(|next| *next > Revision::TOMBSTONE)
    }

    /// The next event, of type `Noted`, with a few bytes of JSON. Its other fields may be changed
    /// before it is written, its numbers may not.
    pub fn event(&mut self, stream: &str) -> RecordedEvent {
        assert!(!self.is_closed(stream), "`{stream}` has its tombstone");
        let stream = stream_name(stream);
        let revision = self.next_revisions.get(&stream).copied();
        self.number(stream, revision.unwrap_or(Revision::FIRST))
    }

    /// The next event, which closes the stream for ever.
    pub fn tombstone(&mut self, stream: &str) -> RecordedEvent {
        assert!(!self.is_closed(stream), "`{stream}` has its tombstone");
        RecordedEvent {
            event_type: event_type(event_types::STREAM_DELETED),
            ..self.number(stream_name(stream), Revision::TOMBSTONE)
        }
    }

    /// An append of `count` events to one stream.
    pub fn append(&mut self, stream: &str, count: usize) -> NumberedAppend {
        NumberedAppend {
            events: (0..count).map(|_| self.event(stream)).collect(),
        }
    }

    fn number(&mut self, stream: StreamName, revision: Revision) -> RecordedEvent {
        self.last_position = self.last_position.next();
        self.next_revisions.insert(stream.clone(), revision.next());
        let position = self.last_position.get();
        let ticks = i64::try_from(position).expect("a test writes fewer events");
        RecordedEvent {
            stream,
            revision,
            position: self.last_position,
            id: Uuid::from_u128(u128::from(position)),
            event_type: event_type("Noted"),
            content_type: ContentType::JSON,
            data: Bytes::from(format!(r#"{{"n":{position}}}"#)),
            metadata: Bytes::new(),
            tags: Vec::new(),
            recorded_at: BEGIN.plus_nanos(ticks * TICK_NANOS),
            created_at: None,
            erased: false,
        }
    }
}

/// How a generated history looks. The default is small enough to be compared whole, and has what
/// breaks engines: contents larger than a block, empty ones, tombstones, names that share prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Streams that are open at a time, at least 1.
    pub streams: usize,
    /// Most events of an append, at least 1.
    pub append_events_max: usize,
    /// Most appends of a group, at least 1.
    pub group_appends_max: usize,
    /// Most bytes of data of one event; few events have as many.
    pub data_bytes_max: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            streams: 24,
            append_events_max: 12,
            group_appends_max: 4,
            data_bytes_max: 40_000,
        }
    }
}

/// Makes appends from a seed, for ever.
#[derive(Clone, Debug)]
pub struct Generator {
    shape: Shape,
    random: Random,
    numbering: Numbering,
    /// How often the stream of each place was closed and a new one begun.
    lives: Vec<u32>,
}

impl Generator {
    /// The history of this seed, in the default shape.
    pub fn new(seed: u64) -> Self {
        Self::with_shape(seed, Shape::default())
    }

    /// The history of this seed and shape.
    pub fn with_shape(seed: u64, shape: Shape) -> Self {
        Self {
            shape,
            random: Random::new(seed),
            numbering: Numbering::default(),
            lives: vec![0; shape.streams],
        }
    }

    /// The position of the last event that was made.
    pub fn last_position(&self) -> Position {
        self.numbering.last_position()
    }

    /// The next appends, as one group.
    pub fn group(&mut self) -> Vec<NumberedAppend> {
        let appends = 1 + self.random.below(self.shape.group_appends_max);
        (0..appends).map(|_| self.append()).collect()
    }

    /// The next append: often to one stream, sometimes across several.
    pub fn append(&mut self) -> NumberedAppend {
        let count = 1 + self.random.below(self.shape.append_events_max);
        let spread = self.random.below(3) == 0;
        let mut place = self.random.below(self.shape.streams);
        let event = |_| {
            if spread {
                place = self.random.below(self.shape.streams);
            }
            self.event(place)
        };
        NumberedAppend {
            events: (0..count).map(event).collect(),
        }
    }

    fn event(&mut self, place: usize) -> RecordedEvent {
        let stream = name_of(place, self.lives[place]);
        if self.random.below(60) == 0 {
            self.lives[place] += 1;
            return self.numbering.tombstone(&stream);
        }
        let event = self.numbering.event(&stream);
        let imported = self.random.below(10) == 0;
        RecordedEvent {
            id: Uuid::from_u64_pair(self.random.number(), self.random.number()),
            event_type: event_type(self.random.pick(&["Placed", "Place", "Versandt-é", "$x"])),
            content_type: self.random.pick(&[
                ContentType::JSON,
                ContentType::OCTET_STREAM,
                ContentType::new("text/plain").expect("a short text"),
            ]),
            data: self.data(),
            metadata: Bytes::from(self.random.pick(&["", r#"{"by":"me"}"#])),
            tags: self.tags(),
            created_at: imported.then(|| event.recorded_at.plus_nanos(-TICK_NANOS / 3)),
            ..event
        }
    }

    /// Mostly a few hundred bytes, sometimes none, sometimes many; half of it does not compress.
    fn data(&mut self) -> Bytes {
        let most = match self.random.below(20) {
            0 => 0,
            1 => self.shape.data_bytes_max,
            _ => self.shape.data_bytes_max.min(400),
        };
        let bytes = self.random.below(most + 1);
        if self.random.below(2) == 0 {
            return Bytes::from(vec![b'a'; bytes]);
        }
        self.random.bytes(bytes)
    }

    fn tags(&mut self) -> Vec<Tag> {
        let count = self.random.below(4);
        let value = |random: &mut Random| tag(&format!("order:{}", random.below(12)));
        (0..count).map(|_| value(&mut self.random)).collect()
    }
}

/// Names of all sorts: with and without a category, of the store itself, beyond ASCII.
fn name_of(place: usize, life: u32) -> String {
    let number = place / 6;
    let base = match place % 6 {
        0 => format!("order-{number}"),
        1 => format!("order{number}"),
        2 => format!("$$order-{number}"),
        3 => format!("käse-{number}"),
        4 => format!("-{number}"),
        _ => format!("order-{number}-日本"),
    };
    match life {
        0 => base,
        _ => format!("{base}-{life}"),
    }
}

/// Numbers that look random and are the same for the same seed (`SplitMix64`, by Steele, Lea and
/// Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        let number = self.number() % end as u64;
        usize::try_from(number).expect("it is below a usize")
    }

    /// Bytes that do not compress.
    pub fn bytes(&mut self, count: usize) -> Bytes {
        let numbers = std::iter::repeat_with(|| self.number().to_le_bytes());
        numbers.flatten().take(count).collect()
    }

    fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}

/// A stream name, also one that only the store may derive.
pub fn stream_name(name: &str) -> StreamName {
    StreamName::derived(name).expect("a test names streams well")
}

/// An event type.
pub fn event_type(name: &str) -> EventType {
    EventType::new(name).expect("a test names types well")
}

/// A tag.
pub fn tag(text: &str) -> Tag {
    Tag::new(text).expect("a test writes tags well")
}
