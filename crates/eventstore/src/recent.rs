//! The newest decided events, durable or not: what conditions are re-checked against. Bounded in
//! number and bytes; older events were checked by the caller.

use crate::ring::size;
use icecore_core::{Position, RecordedEvent, SharedEvents};
use std::collections::VecDeque;

/// Newest events that conditions are compared with here; older ones were checked by the caller.
const RECENT_EVENTS_MAX: usize = 16_384;

/// Bytes of these events.
const RECENT_BYTES_MAX: usize = 16 * 1_024 * 1_024;

/// The newest decided events, durable or not, for conditions.
#[derive(Debug)]
pub(crate) struct Recent {
    appends: VecDeque<SharedEvents>,
    events: usize,
    bytes: usize,
    /// Every event after this position is in here.
    pub(crate) after: Position,
}

impl Recent {
    pub(crate) fn after(after: Position) -> Self {
        Self {
            appends: VecDeque::new(),
            events: 0,
            bytes: 0,
            after,
        }
    }

    pub(crate) fn push(&mut self, events: SharedEvents) {
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

    pub(crate) fn reaches_back_to(&self, position: Position) -> bool {
        position >= self.after
    }

    pub(crate) fn since(&self, position: Position) -> impl Iterator<Item = &RecordedEvent> {
        let start = self
            .appends
            .partition_point(|events| events.last().is_some_and(|last| last.position <= position));
        let events = self.appends.range(start..).flat_map(|events| events.iter());
        events.filter(move |event| event.position > position)
    }
}
