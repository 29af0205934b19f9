//! The newest durable events in memory, shared by everybody who follows live. Bounded in bytes;
//! whoever is slower than that reads from the storage.
//!
//! The ring also says where the store ends for its readers. The storage knows that a moment earlier,
//! but whoever is woken then would not find the new events in here and would have to read them.

use icecore_core::{Position, RecordedEvent, SharedEvents};
use std::collections::VecDeque;
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};
use tokio::sync::watch;

/// The newest durable events.
#[derive(Debug)]
pub(crate) struct Ring {
    state: RwLock<State>,
    bytes_max: usize,
    /// The last position that readers see; everything after the ring's beginning is in the ring.
    last_position: watch::Sender<Position>,
}

#[derive(Debug)]
struct State {
    /// What each append wrote, ascending and without gaps.
    appends: VecDeque<SharedEvents>,
    bytes: usize,
    /// Where the ring ends, also when it is empty.
    last: Position,
}

impl Ring {
    /// An empty ring after `last`.
    pub(crate) fn new(bytes_max: usize, last: Position) -> Self {
        let state = State {
            appends: VecDeque::new(),
            bytes: 0,
            last,
        };
        Self {
            state: RwLock::new(state),
            bytes_max,
            last_position: watch::Sender::new(last),
        }
    }

    /// The last position that readers see, and its changes.
    pub(crate) fn last_position(&self) -> watch::Receiver<Position> {
        self.last_position.subscribe()
    }

    /// Takes in what has become durable, the next positions in order.
    pub(crate) fn push(&self, appends: impl IntoIterator<Item = SharedEvents>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for events in appends {
            let Some(last) = events.last() else { continue };
            state.last = last.position;
            state.bytes += size(&events);
            state.appends.push_back(events);
        }
        while state.bytes > self.bytes_max {
            let Some(oldest) = state.appends.pop_front() else {
                break;
            };
            state.bytes -= size(&oldest);
        }
        self.announce(state);
    }

    /// Empties the ring; it goes on after `last`.
    pub(crate) fn restart(&self, last: Position) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        *state = State {
            appends: VecDeque::new(),
            bytes: 0,
            last,
        };
        self.announce(state);
    }

    /// Forgets everything up to a position (inclusive), whose event is not what it was any more.
    pub(crate) fn forget(&self, up_to: Position) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let gone =
            |events: &[RecordedEvent]| events.first().is_none_or(|first| first.position <= up_to);
        while state.appends.front().is_some_and(|events| gone(events)) {
            let Some(oldest) = state.appends.pop_front() else {
                break;
            };
            state.bytes -= size(&oldest);
        }
    }

    fn announce(&self, state: RwLockWriteGuard<'_, State>) {
        let last = state.last;
        drop(state);
        self.last_position.send_replace(last);
    }

    /// The appends that hold the events from `from` (inclusive) to `to` (inclusive), about
    /// `bytes_max` bytes of them and at least one; `None` when the ring does not reach back to `from`
    /// or on to `to`.
    pub(crate) fn read(
        &self,
        from: Position,
        to: Position,
        bytes_max: usize,
    ) -> Option<Vec<SharedEvents>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let first = state.appends.front().and_then(|events| events.first())?;
        if from < first.position || to > state.last {
            return None;
        }
        let start = state
            .appends
            .partition_point(|events| events.last().is_some_and(|last| last.position < from));
        let mut bytes = 0;
        let mut found = Vec::new();
        for events in state.appends.range(start..) {
            let beyond = events.first().is_none_or(|first| first.position > to);
            if beyond || (bytes >= bytes_max && !found.is_empty()) {
                break;
            }
            bytes += size(events);
            found.push(events.clone());
        }
        Some(found)
    }
}

/// Bytes that these events take in memory, once they are encoded for those who follow.
pub(crate) fn size(events: &[RecordedEvent]) -> usize {
    events
        .iter()
        .map(|event| size_of::<RecordedEvent>() + 2 * event.size())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_events::event;

    fn append(first: u64, last: u64) -> SharedEvents {
        (first..=last)
            .map(|position| event("s-1", position - 1, position))
            .collect()
    }

    fn positions(found: Option<Vec<SharedEvents>>) -> Option<Vec<u64>> {
        let found = found?;
        Some(
            found
                .iter()
                .flat_map(|a| a.iter())
                .map(|event| event.position.get())
                .collect(),
        )
    }

    fn read(ring: &Ring, from: u64, to: u64, bytes: usize) -> Option<Vec<u64>> {
        positions(ring.read(Position::new(from), Position::new(to), bytes))
    }

    #[test]
    fn gives_whole_appends_from_where_it_is_asked() {
        let ring = Ring::new(1 << 20, Position::new(4));
        ring.push([append(5, 6), append(7, 9), append(10, 10)]);
        assert_eq!(read(&ring, 4, 10, usize::MAX), None);
        assert_eq!(read(&ring, 7, 9, usize::MAX), Some(vec![7, 8, 9]));
        assert_eq!(read(&ring, 8, 10, 1), Some(vec![7, 8, 9]));
        assert_eq!(read(&ring, 10, 11, usize::MAX), None);
    }

    #[test]
    fn forgets_whole_appends_up_to_a_position() {
        let ring = Ring::new(1 << 20, Position::START);
        ring.push([append(1, 2), append(3, 5), append(6, 6)]);
        ring.forget(Position::new(4));
        assert_eq!(read(&ring, 3, 6, usize::MAX), None);
        assert_eq!(read(&ring, 6, 6, usize::MAX), Some(vec![6]));
        ring.forget(Position::new(6));
        ring.push([append(7, 7)]);
        assert_eq!(read(&ring, 7, 7, usize::MAX), Some(vec![7]));
    }

    #[test]
    fn forgets_the_oldest_when_it_is_full() {
        let one = size(&append(1, 1));
        let ring = Ring::new(2 * one, Position::START);
        for position in 1..=5 {
            ring.push([append(position, position)]);
        }
        assert_eq!(read(&ring, 3, 5, usize::MAX), None);
        assert_eq!(read(&ring, 4, 5, usize::MAX), Some(vec![4, 5]));
    }
}
