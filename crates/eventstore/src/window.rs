//! The ids of the newest events: how a retry is recognised that expects no certain revision.

use icecore_core::{Position, RecordedEvent, Revision, StreamName};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use uuid::Uuid;

/// Where an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) revision: Revision,
    pub(crate) position: Position,
}

/// Stands for a stream in the window. Two streams with the same hash and the same id of an event
/// would have to meet for a mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StreamHash(u64);

/// The ids of the last events of the store, by stream.
#[derive(Debug)]
pub(crate) struct IdWindow {
    places: HashMap<(StreamHash, Uuid), Place>,
    order: VecDeque<(StreamHash, Uuid, Position)>,
    events_max: usize,
    hasher: RandomState,
    /// The ids of all events after this position are in here.
    complete_after: Position,
}

impl IdWindow {
    /// An empty window of `events_max` events (at least 1), after which the store goes on at `complete_after`.
    pub(crate) fn new(events_max: usize, complete_after: Position) -> Self {
        Self {
            places: HashMap::new(),
            order: VecDeque::new(),
            events_max,
            hasher: RandomState::new(),
            complete_after,
        }
    }

    pub(crate) fn hash(&self, stream: &StreamName) -> StreamHash {
        StreamHash(self.hasher.hash_one(stream))
    }

    /// Where the event with this id stands, if it is one of the newest.
    pub(crate) fn find(&self, stream: StreamHash, id: Uuid) -> Option<Place> {
        self.places.get(&(stream, id)).copied()
    }

    /// Whether an event at this position would be found.
    pub(crate) fn covers(&self, position: Position) -> bool {
        position > self.complete_after
    }

    /// Takes in the next event.
    pub(crate) fn add(&mut self, event: &RecordedEvent) {
        if self.order.len() == self.events_max {
            self.drop_oldest();
        }
        let stream = self.hash(&event.stream);
        let place = Place {
            revision: event.revision,
            position: event.position,
        };
        self.places.insert((stream, event.id), place);
        self.order.push_back((stream, event.id, event.position));
    }

    fn drop_oldest(&mut self) {
        let Some((stream, id, position)) = self.order.pop_front() else {
            return;
        };
        self.complete_after = position;
        // The same id may have been written to the stream again; then the newer place stays.
        if self
            .places
            .get(&(stream, id))
            .is_some_and(|place| place.position == position)
        {
            self.places.remove(&(stream, id));
        }
    }
}
