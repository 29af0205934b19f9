//! What every writer sends: a pure function of the seed, the writer and the number of the append.

use anyhow::{Context, Result};
use bytes::Bytes;
use fastrand::Rng;
use icecore_client::{
    Append, AppendBuilder, Condition, ContentType, EventData, EventType, ExpectedRevision,
    Position, Query, QueryItem, Revision, StreamName, Tag,
};
use uuid::Uuid;

/// How many write.
pub(super) const WRITERS: u16 = 16;

/// Streams that several writers write to.
const SHARED: u16 = 4;

/// The types of the events, in turns.
const TYPES: [&str; 3] = ["Placed", "Paid", "Shipped"];

const KIB: usize = 1_024;

/// How a writer goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Expects exact revisions of two streams of its own.
    Exact,
    /// Expects nothing; one stream of its own, one that it shares with others.
    Any,
    /// Keeps many appends under way in a session; exact in its own stream, any in a shared one.
    Session,
    /// Expects by a condition that nobody else has written events with its tag.
    Condition,
    /// As `Any`, but tries once and leaves open what became of it.
    Impatient,
    /// Exact appends that take many syncs, now and then larger than a message.
    Large,
}

impl Kind {
    /// How this writer goes about it.
    pub(super) fn of(writer: u16) -> Self {
        match writer {
            0..5 => Self::Exact,
            5..9 => Self::Any,
            9..12 => Self::Session,
            12 => Self::Condition,
            13..15 => Self::Impatient,
            _ => Self::Large,
        }
    }
}

/// What all writers send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    seed: u64,
}

/// Which event it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) writer: u16,
    /// Number of the append among those of its writer, from 0.
    pub(super) number: u32,
    /// Number of the event in its append, from 0.
    pub(super) index: u16,
}

/// The contents of an append but for what it expects.
#[derive(Clone, Debug)]
pub(super) struct Contents {
    pub(super) streams: Vec<StreamName>,
    /// How many of them, the first ones, are written by this writer alone and in order.
    pub(super) own: usize,
    /// The stream of each event, as an index, and the event.
    pub(super) events: Vec<(usize, EventData)>,
}

impl Plan {
    /// What is sent under this seed.
    pub(super) const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The contents of an append.
    pub(super) fn contents(self, writer: u16, number: u32) -> Result<Contents> {
        let mut random =
            Rng::with_seed(self.salt() ^ (u64::from(writer) << 32) ^ u64::from(number));
        let shared = format!("shared-{}", random.u16(..SHARED));
        let (names, own) = match Kind::of(writer) {
            Kind::Exact => (
                vec![format!("exact-{writer}a"), format!("exact-{writer}b")],
                2,
            ),
            Kind::Any => (vec![format!("any-{writer}"), shared], 0),
            Kind::Session => (vec![format!("session-{writer}"), shared], 1),
            Kind::Condition => (vec![format!("condition-{}", random.u16(..8))], 0),
            Kind::Impatient => (vec![shared, format!("impatient-{writer}")], 0),
            Kind::Large => (vec![format!("large-{writer}")], 1),
        };
        let streams = names.into_iter().map(StreamName::new);
        let streams = streams.collect::<Result<Vec<_>, _>>()?;
        let count = match Kind::of(writer) {
            Kind::Large => random.usize(2..6),
            _ => streams.len() * random.usize(1..8),
        };
        // One event that makes the append larger than a message, so that it goes in parts.
        let huge = Kind::of(writer) == Kind::Large && random.u8(..32) == 0;
        let mut events = Vec::with_capacity(count);
        for n in 0..count {
            let index = u16::try_from(n)?;
            let place = Place {
                writer,
                number,
                index,
            };
            let bytes = match (Kind::of(writer), random.u8(..64)) {
                (Kind::Large, _) if huge => 15 * KIB * KIB / 2,
                (Kind::Large, _) => random.usize(..400 * KIB),
                (_, 0) => random.usize(..60 * KIB),
                _ => random.usize(..400),
            };
            events.push((n % streams.len(), self.event(place, bytes, &mut random)?));
        }
        Ok(Contents {
            streams,
            own,
            events,
        })
    }

    /// The append, `next` being the next revision of each of the writer's own streams and `after` the
    /// last position that it knows to be its own.
    pub(super) fn append(
        self,
        (writer, number): (u16, u32),
        next: impl Fn(&StreamName) -> u64,
        after: Position,
    ) -> Result<Append> {
        let contents = self.contents(writer, number)?;
        let mut append = AppendBuilder::default();
        let mut places = Vec::with_capacity(contents.streams.len());
        for (n, stream) in contents.streams.into_iter().enumerate() {
            let expected = match (n < contents.own).then(|| next(&stream)) {
                None => ExpectedRevision::Any,
                Some(0) => ExpectedRevision::NoStream,
                Some(next) => ExpectedRevision::Exact(Revision::new(next - 1)),
            };
            places.push(append.stream(stream, expected)?);
        }
        for (stream, event) in contents.events {
            append.event(places[stream], event, None)?;
        }
        if Kind::of(writer) == Kind::Condition {
            let tags = vec![tag(writer)?];
            let query = Query::new(vec![QueryItem {
                types: Vec::new(),
                tags,
            }])?;
            append.condition(Condition { query, after });
        }
        append.build().context("build an append")
    }

    fn event(self, place: Place, bytes: usize, random: &mut Rng) -> Result<EventData> {
        let mut data = vec![0; bytes];
        random.fill(&mut data);
        Ok(EventData {
            id: self.id(place),
            event_type: EventType::new(TYPES[usize::from(place.index) % TYPES.len()])?,
            content_type: ContentType::OCTET_STREAM,
            data: Bytes::from(data),
            metadata: Bytes::new(),
            tags: vec![tag(place.writer)?],
        })
    }

    /// The id of an event, which says which one it is.
    pub(super) fn id(self, place: Place) -> Uuid {
        let Place {
            writer,
            number,
            index,
        } = place;
        let low = u64::from(writer) << 48 | u64::from(number) << 16 | u64::from(index);
        Uuid::from_u64_pair(self.salt(), low)
    }

    /// Which event has this id; `None` when it is not one of the plan.
    pub(super) fn place(self, id: Uuid) -> Option<Place> {
        let (salt, low) = id.as_u64_pair();
        let part = |shift: u32| (low >> shift) & 0xffff;
        let place = Place {
            writer: u16::try_from(part(48)).ok()?,
            number: u32::try_from(part(32) << 16 | part(16)).ok()?,
            index: u16::try_from(part(0)).ok()?,
        };
        (salt == self.salt() && place.writer < WRITERS).then_some(place)
    }

    /// Spreads seeds that lie close together.
    fn salt(self) -> u64 {
        Rng::with_seed(self.seed).u64(..)
    }
}

/// The tag of a writer.
fn tag(writer: u16) -> Result<Tag> {
    Ok(Tag::new(format!("writer:{writer}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_say_which_event_they_are() {
        let plan = Plan::new(7);
        for (writer, number, index) in [(0, 0, 0), (15, u32::MAX, u16::MAX), (3, 0x1_0002, 9)] {
            let place = Place {
                writer,
                number,
                index,
            };
            assert_eq!(plan.place(plan.id(place)), Some(place));
            assert_eq!(Plan::new(8).place(plan.id(place)), None);
        }
    }

    #[test]
    fn contents_come_again() {
        let plan = Plan::new(7);
        for writer in 0..WRITERS {
            let one = plan.contents(writer, 5).unwrap();
            let again = plan.contents(writer, 5).unwrap();
            assert_eq!(one.events, again.events);
            assert_ne!(one.events, plan.contents(writer, 6).unwrap().events);
        }
    }
}
