//! The model: a list of events and what follows from it. Nothing is kept that can be looked up.

use crate::filter::admits;
use crate::retention::Metadata;
use icecore_core::{
    RecordedEvent, Revision, Start, StreamName, StreamState, Subscribe, SubscribeFrom,
};
use std::collections::HashMap;

/// A store as a list of events.
#[derive(Clone, Debug, Default)]
pub struct Model {
    log: Vec<RecordedEvent>,
    /// The places in the log of each stream's events.
    streams: HashMap<StreamName, Vec<usize>>,
}

impl Model {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A store with these events.
    pub fn of(log: &[RecordedEvent]) -> Self {
        let mut model = Self::new();
        for event in log {
            model.apply(event);
        }
        model
    }

    /// All events, in order.
    pub fn log(&self) -> &[RecordedEvent] {
        &self.log
    }

    /// The position of the last event, 0 without one.
    pub fn end(&self) -> u64 {
        self.log.len() as u64
    }

    /// Takes in the next event.
    pub fn apply(&mut self, event: &RecordedEvent) {
        let place = self.log.len();
        let places = self.streams.entry(event.stream.clone()).or_default();
        places.push(place);
        self.log.push(event.clone());
    }

    /// The events of a stream, hidden ones too.
    pub fn events(&self, stream: &StreamName) -> impl DoubleEndedIterator<Item = &RecordedEvent> {
        let places = self.streams.get(stream).map_or(&[][..], Vec::as_slice);
        places.iter().map(|place| &self.log[*place])
    }

    /// How a stream stands.
    pub fn state(&self, stream: &StreamName) -> StreamState {
        let last = self.events(stream).next_back().map(|event| event.revision);
        if let Some(of) = stream.metadata_of() {
            return match last {
                _ if self.state(&of) == StreamState::Tombstoned => StreamState::Tombstoned,
                None => StreamState::Absent,
                Some(last) => StreamState::Living { last },
            };
        }
        match last {
            None if self.metadata_event(stream).is_none() => StreamState::Absent,
            None => StreamState::OnlyMetadata,
            Some(Revision::TOMBSTONE) => StreamState::Tombstoned,
            Some(last) if self.metadata(stream).is_deleted() => StreamState::SoftDeleted { last },
            Some(last) => StreamState::Living { last },
        }
    }

    /// What the last event of `$$stream` says.
    pub(crate) fn metadata(&self, stream: &StreamName) -> Metadata {
        let event = self.metadata_event(stream);
        event.map_or_else(Metadata::default, |event| Metadata::read(&event.data))
    }

    fn metadata_event(&self, stream: &StreamName) -> Option<&RecordedEvent> {
        self.events(&stream.metadata_stream()?).next_back()
    }

    /// The position of the last event that this subscription has to get from its start on, if it began
    /// before all of them; 0 without one. What is hidden by now need not come.
    pub fn last_delivered(&self, subscribe: &Subscribe) -> u64 {
        let one = match &subscribe.from {
            SubscribeFrom::All(Start::End) | SubscribeFrom::Stream(_, Start::End) => return 0,
            SubscribeFrom::All(_) => None,
            SubscribeFrom::Stream(stream, _) => Some(stream),
        };
        let is_seen = |event: &&RecordedEvent| {
            one.is_none()
                || event.is_tombstone()
                || event.revision >= self.first_visible(&event.stream)
        };
        let mut asked_for = self
            .log
            .iter()
            .rev()
            .filter(|e| admits(&subscribe.filter, one, e));
        let last = asked_for.find(is_seen);
        last.map_or(0, |event| event.position.get())
    }

    /// The first revision that readers of the stream see.
    pub fn first_visible(&self, stream: &StreamName) -> Revision {
        if stream.is_metadata() {
            return Revision::FIRST;
        }
        let last = self.events(stream).next_back().map(|event| event.revision);
        self.metadata(stream).first_visible(last)
    }
}
