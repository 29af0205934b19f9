//! A valid append and what it did. Whoever holds an [`Append`] need not check it again.

use crate::limits::{APPEND_BYTES_MAX, APPEND_EVENTS_MAX, APPEND_STREAMS_MAX, MISSED_EVENTS_MAX};
use crate::text;
use crate::{
    Condition, Error, EventData, ExpectedRevision, Position, Result, Revision, Role, StoreId,
    StreamName, Timestamp,
};
use bytes::BytesMut;
use std::collections::HashSet;
use uuid::Uuid;

/// A stream that an append writes to or looks at, and what it expects of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamExpectation {
    /// The stream.
    pub stream: StreamName,
    /// What it must be like before the append.
    pub expected: ExpectedRevision,
    /// Whether the append writes to it, and which rules hold for it.
    pub role: Role,
}

impl StreamExpectation {
    /// Whether it says where the events of the append stand if they have been written before.
    pub fn tells_place(&self) -> bool {
        let tells = matches!(
            self.expected,
            ExpectedRevision::Exact(_) | ExpectedRevision::NoStream
        );
        tells && self.role.writes()
    }
}

/// A valid append: all of its events are written, or none.
///
/// Events may go to several streams and keep the order in which they were given; that order is also
/// their global order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    streams: Vec<StreamExpectation>,
    events: Vec<AppendEvent>,
    condition: Option<Condition>,
    missed_limit: usize,
    size: usize,
}

/// An event of an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendEvent {
    /// Which of the append's streams it goes to, as an index into [`Append::streams`].
    pub stream: usize,
    /// The event.
    pub event: EventData,
    /// The times that an import brings; `None` takes the store's clock.
    pub times: Option<ImportTimes>,
}

/// The times of an event that was recorded elsewhere before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportTimes {
    /// The recorded time that it shall get. One that lies before the last recorded time of the store
    /// is clamped to that.
    pub recorded_at: Timestamp,
    /// The time that an earlier import gave, before it was clamped.
    pub created_at: Option<Timestamp>,
}

impl Append {
    /// An append of `events` to one stream.
    ///
    /// # Errors
    ///
    /// As [`AppendBuilder::build`].
    pub fn to_stream(
        stream: StreamName,
        expected: ExpectedRevision,
        events: Vec<EventData>,
    ) -> Result<Self> {
        let mut append = AppendBuilder::default();
        let stream = append.stream(stream, expected)?;
        for event in events {
            append.event(stream, event, None)?;
        }
        append.build()
    }

    /// Every stream that is written or checked, each once, in the order of first mention.
    pub fn streams(&self) -> &[StreamExpectation] {
        &self.streams
    }

    /// The events, in the order in which they are written.
    pub fn events(&self) -> &[AppendEvent] {
        &self.events
    }

    /// What must not have happened.
    pub fn condition(&self) -> Option<&Condition> {
        self.condition.as_ref()
    }

    /// How many missed events a refusal shall carry; 0 when the caller did not ask.
    pub fn missed_limit(&self) -> usize {
        self.missed_limit
    }

    /// Sum of the sizes of the events, in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The same append in memory of its own. What was received points into the buffers it came in;
    /// a small event that is kept for long would keep a much larger buffer alive.
    #[must_use]
    pub fn detached(mut self) -> Self {
        if self.size > DETACHED_BYTES_MAX {
            return self;
        }
        let names = self
            .streams
            .iter()
            .map(|s| s.stream.as_str().len())
            .sum::<usize>();
        let mut memory = BytesMut::with_capacity(self.size + names);
        for expectation in &mut self.streams {
            expectation.stream = expectation.stream.copied_into(&mut memory);
        }
        for AppendEvent { event, .. } in &mut self.events {
            event.event_type = event.event_type.copied_into(&mut memory);
            event.content_type = event.content_type.copied_into(&mut memory);
            for tag in &mut event.tags {
                *tag = tag.copied_into(&mut memory);
            }
            event.data = text::copied_into(&mut memory, &event.data);
            event.metadata = text::copied_into(&mut memory, &event.metadata);
        }
        self
    }
}

/// Up to this size an append may sit in a buffer many times as large.
const DETACHED_BYTES_MAX: usize = 16 * 1_024;

/// So many are compared one by one, which costs less than a table of them.
const FEW: usize = 16;

/// Puts an append together and checks it as it grows.
#[derive(Clone, Debug, Default)]
pub struct AppendBuilder {
    purpose: Purpose,
    streams: Vec<StreamExpectation>,
    /// All names, once there are more than a few.
    names: HashSet<StreamName>,
    /// All ids with their streams, once there are more than a few.
    ids: HashSet<(usize, Uuid)>,
    /// An id that a stream gets twice.
    repeated: Option<Uuid>,
    events: Vec<AppendEvent>,
    condition: Option<Condition>,
    missed_limit: usize,
    size: usize,
}

/// What an append is built for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Purpose {
    #[default]
    New,
    Import,
}

impl AppendBuilder {
    /// Builds a part of an earlier history. A stream may have an event id twice there; that is taken
    /// as long as a stream of the append expects a revision or no stream: its place tells whether the
    /// append is a retry, which the ids alone then cannot.
    pub fn for_import() -> Self {
        Self {
            purpose: Purpose::Import,
            ..Self::default()
        }
    }

    /// Adds a stream and what is expected of it; the result is what [`Self::event`] refers to. A
    /// stream to which no event goes is only checked.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, when the stream was added before or there are too many.
    pub fn stream(&mut self, stream: StreamName, expected: ExpectedRevision) -> Result<usize> {
        if self.streams.len() == APPEND_STREAMS_MAX {
            return Err(Error::invalid(
                "streams",
                format!("more than {APPEND_STREAMS_MAX} streams in one append"),
            ));
        }
        if self.has_name(&stream) {
            return Err(Error::invalid(
                "streams",
                format!("`{stream}` is given twice"),
            ));
        }
        self.streams.push(StreamExpectation {
            stream,
            expected,
            role: Role::Checked,
        });
        Ok(self.streams.len() - 1)
    }

    /// Adds an event to one of the streams.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`: too large, too many tags, an id that the stream got already in this append
    /// (but see [`Self::for_import`]), a stream index that [`Self::stream`] never gave.
    pub fn event(
        &mut self,
        stream: usize,
        event: EventData,
        times: Option<ImportTimes>,
    ) -> Result<()> {
        event.check()?;
        let Some(target) = self.streams.get_mut(stream) else {
            return Err(Error::invalid(
                "events.stream",
                format!("there is no stream {stream}"),
            ));
        };
        if !target.role.writes() {
            target.role = Role::Written;
        }
        if self.events.len() == APPEND_EVENTS_MAX {
            return Err(Error::invalid(
                "events",
                format!("more than {APPEND_EVENTS_MAX} events in one append"),
            ));
        }
        self.size += event.size();
        if self.size > APPEND_BYTES_MAX {
            return Err(Error::invalid(
                "events",
                format!("more than {APPEND_BYTES_MAX} bytes in one append"),
            ));
        }
        if self.has_id(stream, event.id) {
            if self.purpose == Purpose::New {
                return Err(given_twice(event.id));
            }
            self.repeated = Some(event.id);
        }
        self.events.push(AppendEvent {
            stream,
            event,
            times,
        });
        Ok(())
    }

    /// Makes room for so many events more.
    pub fn reserve(&mut self, events: usize) {
        self.events.reserve(events.min(APPEND_EVENTS_MAX));
    }

    /// Whether the stream was added before; from now on it counts as added.
    fn has_name(&mut self, stream: &StreamName) -> bool {
        if self.streams.len() < FEW {
            return self.streams.iter().any(|given| given.stream == *stream);
        }
        if self.names.is_empty() {
            let given = self.streams.iter().map(|given| given.stream.clone());
            self.names = given.collect();
        }
        !self.names.insert(stream.clone())
    }

    /// Whether the stream got this id before; from now on it counts as given.
    fn has_id(&mut self, stream: usize, id: Uuid) -> bool {
        let place = |given: &AppendEvent| (given.stream, given.event.id);
        if self.events.len() < FEW {
            return self.events.iter().any(|given| place(given) == (stream, id));
        }
        if self.ids.is_empty() {
            self.ids = HashSet::with_capacity(self.events.capacity());
            self.ids.extend(self.events.iter().map(place));
        }
        !self.ids.insert((stream, id))
    }

    /// Holds the stream to the rules of this role: of written streams although no event goes to it, as
    /// a deletion needs it, or to those of checks although events do.
    pub fn hold_as(&mut self, stream: usize, role: Role) -> &mut Self {
        if let Some(target) = self.streams.get_mut(stream) {
            target.role = role;
        }
        self
    }

    /// Adds the condition; a later one replaces it.
    pub fn condition(&mut self, condition: Condition) -> &mut Self {
        self.condition = Some(condition);
        self
    }

    /// Asks for up to `limit` missed events in a refusal, at most [`MISSED_EVENTS_MAX`].
    pub fn missed_limit(&mut self, limit: usize) -> &mut Self {
        self.missed_limit = limit.min(MISSED_EVENTS_MAX);
        self
    }

    /// The finished append. Without events it writes nothing and only tells whether what it expects
    /// holds.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`: neither streams nor a condition, or an expectation that its stream cannot
    /// have (`any` where nothing is written, `tombstoned` where something is). An id that is given
    /// twice in an import of which no stream has an expectation that tells a retry.
    pub fn build(self) -> Result<Append> {
        if self.streams.is_empty() && self.condition.is_none() {
            return Err(Error::invalid("streams", "the append names no stream"));
        }
        if let Some(id) = self.repeated
            && !self.streams.iter().any(StreamExpectation::tells_place)
        {
            return Err(given_twice(id));
        }
        let several = self.streams.len() > 1 || self.condition.is_some();
        for StreamExpectation {
            stream,
            expected,
            role,
        } in &self.streams
        {
            match (expected, role) {
                (ExpectedRevision::Any, Role::Checked) if several => {
                    return Err(Error::invalid(
                        "streams.expected",
                        format!("`{stream}` gets no event, so `any` checks nothing"),
                    ));
                }
                (ExpectedRevision::Tombstoned, Role::Written) => {
                    return Err(Error::invalid(
                        "streams.expected",
                        format!("`{stream}` gets events, so it cannot be expected tombstoned"),
                    ));
                }
                _ => {}
            }
        }
        let Self {
            streams,
            events,
            condition,
            missed_limit,
            size,
            ..
        } = self;
        Ok(Append {
            streams,
            events,
            condition,
            missed_limit,
            size,
        })
    }
}

fn given_twice(id: Uuid) -> Error {
    Error::invalid("events.id", format!("{id} is given twice"))
}

/// What an append did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The store that took it.
    pub store_id: StoreId,
    /// Position of the last event of this append; of the store when the append wrote nothing.
    pub last_position: Position,
    /// One entry for each stream of the append, in its order.
    pub streams: Vec<StreamAppended>,
}

/// What an append did to one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamAppended {
    /// The stream.
    pub stream: StreamName,
    /// Revision of its last event after the append; `None` when it has none.
    pub last_revision: Option<Revision>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(name: &str) -> StreamName {
        StreamName::new(name.to_owned()).unwrap()
    }

    fn event(id: u128, bytes: usize) -> EventData {
        EventData::json(Uuid::from_u128(id), "T", vec![b'1'; bytes]).unwrap()
    }

    #[test]
    fn a_stream_is_named_once() {
        let mut append = AppendBuilder::default();
        append.stream(stream("a"), ExpectedRevision::Any).unwrap();
        assert!(
            append
                .stream(stream("a"), ExpectedRevision::NoStream)
                .is_err()
        );
    }

    #[test]
    fn an_id_is_given_once_for_a_stream() {
        let mut append = AppendBuilder::default();
        let a = append.stream(stream("a"), ExpectedRevision::Any).unwrap();
        let b = append.stream(stream("b"), ExpectedRevision::Any).unwrap();
        append.event(a, event(1, 1), None).unwrap();
        append.event(b, event(1, 1), None).unwrap();
        assert!(append.event(a, event(1, 1), None).is_err());
    }

    #[test]
    fn what_is_given_twice_is_found_among_few_and_among_many() {
        let name = |n: usize| stream(&format!("s-{n}"));
        for again in [0, FEW - 1, FEW, 3 * FEW - 1] {
            for many in [again + 1, 3 * FEW] {
                let mut append = AppendBuilder::default();
                for n in 0..many {
                    let at = append.stream(name(n), ExpectedRevision::Any).unwrap();
                    append.event(at, event(n as u128, 1), None).unwrap();
                    append.event(0, event(1_000 + n as u128, 1), None).unwrap();
                }
                assert!(
                    append
                        .clone()
                        .stream(name(again), ExpectedRevision::Any)
                        .is_err()
                );
                assert!(
                    append
                        .clone()
                        .event(again, event(again as u128, 1), None)
                        .is_err()
                );
                let other = event(again as u128 + 1, 1);
                append.event(again, other, None).unwrap();
            }
        }
    }

    #[test]
    fn an_import_repeats_an_id_where_a_stream_tells_a_retry() {
        let built = |progress| {
            let mut append = AppendBuilder::for_import();
            let a = append.stream(stream("a"), ExpectedRevision::Any).unwrap();
            append.event(a, event(1, 1), None).unwrap();
            append.event(a, event(1, 1), None).unwrap();
            let b = append.stream(stream("b"), progress).unwrap();
            append.event(b, event(2, 1), None).unwrap();
            append.build()
        };
        assert!(built(ExpectedRevision::NoStream).is_ok());
        assert!(built(ExpectedRevision::Exact(Revision::FIRST)).is_ok());
        let error = built(ExpectedRevision::Any).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { ref field, .. } if field == "events.id"));
    }

    #[test]
    fn limits_name_the_field() {
        let too_large = EVENT_BYTES;
        let mut append = AppendBuilder::default();
        let a = append.stream(stream("a"), ExpectedRevision::Any).unwrap();
        let error = append.event(a, event(1, too_large), None).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { ref field, .. } if field == "data"));
        for id in 0..4 {
            append.event(a, event(id, too_large - 100), None).unwrap();
        }
        let error = append.event(a, event(9, 1_000), None).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { ref field, .. } if field == "events"));
    }

    #[test]
    fn a_detached_append_is_the_same_append() {
        let mut event = event(1, 100);
        event.tags = vec![
            crate::Tag::new("a:1").unwrap(),
            crate::Tag::new("b:2").unwrap(),
        ];
        event.metadata = "who".into();
        let append =
            Append::to_stream(stream("a"), ExpectedRevision::Any, vec![event.clone()]).unwrap();
        let detached = append.clone().detached();
        assert_eq!(detached, append);
        assert_ne!(
            detached.events()[0].event.data.as_ptr(),
            event.data.as_ptr()
        );
    }

    const EVENT_BYTES: usize = crate::limits::EVENT_BYTES_MAX;

    #[test]
    fn expectations_fit_the_role() {
        let mut append = AppendBuilder::default();
        let a = append.stream(stream("a"), ExpectedRevision::Any).unwrap();
        append.event(a, event(1, 1), None).unwrap();
        append.stream(stream("b"), ExpectedRevision::Any).unwrap();
        assert!(append.build().is_err());

        let one = Append::to_stream(stream("a"), ExpectedRevision::Tombstoned, vec![event(1, 1)]);
        assert!(one.is_err());
    }
}
