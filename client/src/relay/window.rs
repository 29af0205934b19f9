//! The events between store and broker: which may be sent now, and up to where everything is confirmed. Pure.
//!
//! ```text
//!   position   11  12  13  14  15
//!   stream      a   b   a   c   b
//!               ok  .   ok  .   -       . under way   - behind an earlier one of its stream
//!
//!   reached: 11, since 12 is not confirmed
//! ```

use icecore_core::{Position, RecordedEvent, Revision, StreamName};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// Most that a window holds, in bytes; a larger event fits when it is alone.
const BYTES_MAX: usize = 16 * 1_024 * 1_024;

/// A place up to which everything is confirmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) position: Position,
    /// The revision of the last event, for a relay of one stream.
    pub(super) revision: Option<Revision>,
}

/// Events in the order of the store, from the first one that is not confirmed on.
#[derive(Debug)]
pub(super) struct Window {
    entries: VecDeque<Entry>,
    /// Number of the first entry. Numbers count what was added, from 0.
    first: u64,
    /// Of each stream the entries that are not confirmed. Only the first of a lane is ever sent.
    lanes: HashMap<StreamName, VecDeque<u64>>,
    /// Firsts of lanes that are not under way.
    ready: BTreeSet<u64>,
    pending: usize,
    bytes: usize,
    events_max: usize,
    reached: Place,
}

#[derive(Debug)]
struct Entry {
    place: Place,
    /// `None`: confirmed, or nothing to send.
    event: Option<Arc<RecordedEvent>>,
    failed: u32,
}

impl Window {
    /// Nothing yet, after this place.
    pub(super) fn new(reached: Place, events_max: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            first: 0,
            lanes: HashMap::new(),
            ready: BTreeSet::new(),
            pending: 0,
            bytes: 0,
            events_max,
            reached,
        }
    }

    /// Whether more may be added.
    pub(super) fn has_room(&self) -> bool {
        self.entries.len() < self.events_max && self.bytes < BYTES_MAX
    }

    /// How many events are not confirmed.
    pub(super) fn pending(&self) -> usize {
        self.pending
    }

    /// Up to where everything is confirmed.
    pub(super) fn reached(&self) -> Place {
        self.reached
    }

    /// Adds the next event.
    pub(super) fn add(&mut self, event: RecordedEvent) {
        let number = self.first + self.entries.len() as u64;
        let lane = self.lanes.entry(event.stream.clone()).or_default();
        if lane.is_empty() {
            self.ready.insert(number);
        }
        lane.push_back(number);
        self.pending += 1;
        self.bytes += event.size();
        self.entries.push_back(Entry {
            place: Place {
                position: event.position,
                revision: Some(event.revision),
            },
            event: Some(Arc::new(event)),
            failed: 0,
        });
    }

    /// Everything up to here was looked at, and there is nothing more to send. The revision stays, unless
    /// there is a later one.
    pub(super) fn look_past(&mut self, position: Position, revision: Option<Revision>) {
        let last = self.entries.back().map_or(self.reached, |last| last.place);
        if position <= last.position {
            return;
        }
        let place = Place {
            position,
            revision: revision.or(last.revision),
        };
        match self.entries.back_mut() {
            Some(last) if last.event.is_none() => last.place = place,
            _ => self.entries.push_back(Entry {
                place,
                event: None,
                failed: 0,
            }),
        }
        self.advance();
    }

    /// The oldest event that may be sent now; it is under way from here on.
    pub(super) fn take(&mut self) -> Option<(u64, Arc<RecordedEvent>)> {
        let number = self.ready.pop_first()?;
        let event = self.entry(number).event.clone();
        Some((number, event.expect("what is ready is not confirmed")))
    }

    /// An event that was under way is confirmed.
    pub(super) fn confirm(&mut self, number: u64) {
        let event = self.entry(number).event.take();
        let event = event.expect("an event is confirmed once");
        self.pending -= 1;
        self.bytes -= event.size();
        let lane = self.lanes.get_mut(&event.stream);
        let lane = lane.expect("a stream with events has a lane");
        let first = lane.pop_front();
        debug_assert_eq!(first, Some(number), "only the first of a lane is sent");
        match lane.front() {
            Some(next) => {
                self.ready.insert(*next);
            }
            None => {
                self.lanes.remove(&event.stream);
            }
        }
        self.advance();
    }

    /// An event that was under way is not confirmed and has to be sent again. Says how often it has failed.
    pub(super) fn fail(&mut self, number: u64) -> u32 {
        self.ready.insert(number);
        let entry = self.entry(number);
        entry.failed += 1;
        entry.failed
    }

    fn entry(&mut self, number: u64) -> &mut Entry {
        let place = number.checked_sub(self.first);
        let place = place.and_then(|place| usize::try_from(place).ok());
        let entry = place.and_then(|place| self.entries.get_mut(place));
        entry.expect("an entry stays until it is confirmed")
    }

    fn advance(&mut self) {
        while let Some(first) = self.entries.front()
            && first.event.is_none()
        {
            self.reached = first.place;
            self.entries.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use icecore_core::{ContentType, EventType, Timestamp};
    use uuid::Uuid;

    fn recorded(stream: &str, position: u64) -> RecordedEvent {
        RecordedEvent {
            stream: StreamName::new(stream.to_owned()).unwrap(),
            revision: Revision::new(position),
            position: Position::new(position),
            id: Uuid::from_u128(position.into()),
            event_type: EventType::new("Happened").unwrap(),
            content_type: ContentType::JSON,
            data: "{}".into(),
            metadata: "".into(),
            tags: Vec::new(),
            recorded_at: Timestamp::from_nanos(0),
            created_at: None,
            erased: false,
        }
    }

    #[test]
    fn of_each_stream_one_event_is_under_way() {
        let mut window = Window::new(Place::default(), 10);
        for (position, stream) in [(1, "a"), (2, "b"), (3, "a"), (5, "c")] {
            window.add(recorded(stream, position));
        }
        let taken: Vec<_> = std::iter::from_fn(|| window.take()).collect();
        let positions = taken.iter().map(|(_, event)| event.position.get());
        assert_eq!(positions.collect::<Vec<_>>(), [1, 2, 5]);
        window.confirm(taken[0].0);
        let (number, event) = window.take().unwrap();
        assert_eq!(event.position.get(), 3);
        assert_eq!(window.fail(number), 1);
        let (number, _) = window.take().unwrap();
        assert_eq!(window.fail(number), 2);
    }

    #[test]
    fn what_is_reached_has_no_gap() {
        let mut window = Window::new(Place::default(), 10);
        for position in 1..=3 {
            window.add(recorded(&format!("s-{position}"), position));
        }
        window.look_past(Position::new(9), None);
        let taken: Vec<_> = std::iter::from_fn(|| window.take()).collect();
        let mut reached = |place: usize| {
            window.confirm(taken[place].0);
            (window.reached().position.get(), window.pending())
        };
        assert_eq!(reached(1), (0, 2));
        assert_eq!(reached(0), (2, 1));
        assert_eq!(reached(2), (9, 0));
        assert_eq!(window.reached().revision, Some(Revision::new(3)));
    }

    #[test]
    fn a_window_is_bounded() {
        let mut window = Window::new(Place::default(), 2);
        window.add(recorded("a", 1));
        assert!(window.has_room());
        window.add(recorded("a", 2));
        assert!(!window.has_room());
        let (number, _) = window.take().unwrap();
        window.confirm(number);
        assert!(window.has_room());

        let mut window = Window::new(Place::default(), 10);
        let mut large = recorded("a", 1);
        large.data = vec![0; BYTES_MAX].into();
        window.add(large);
        assert!(!window.has_room());
        let (number, _) = window.take().unwrap();
        window.confirm(number);
        assert!(window.has_room());
    }
}
