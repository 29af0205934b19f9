//! The ids of the newest events: how a retry is recognised that expects no certain revision.

use hashbrown::{DefaultHashBuilder, HashTable};
use icecore_core::{Position, RecordedEvent, Revision, StreamName};
use std::collections::VecDeque;
use std::hash::BuildHasher;
use uuid::Uuid;

/// What an entry takes in the queue.
const QUEUED_BYTES: usize = size_of::<Entry>();

/// What a slot of the table takes: a number and a byte of control.
const SLOT_BYTES: usize = size_of::<u32>() + 1;

/// The most memory that a window of so many events takes. The queue grows by doubling; so does the
/// table, and where entries come and go it keeps its size only as long as seven of sixteen slots are
/// enough.
const fn bytes_of(events: usize) -> usize {
    let slots = (16 * events).div_ceil(7).next_power_of_two();
    slots * SLOT_BYTES + events.next_power_of_two() * QUEUED_BYTES
}

/// The most events whose window takes at most so many bytes.
fn events_within(bytes: usize) -> usize {
    let (mut fits, mut too_many) = (0, bytes / QUEUED_BYTES + 1);
    while too_many - fits > 1 {
        let middle = usize::midpoint(fits, too_many);
        if bytes_of(middle) <= bytes {
            fits = middle;
        } else {
            too_many = middle;
        }
    }
    fits
}

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

#[derive(Clone, Copy, Debug)]
struct Entry {
    stream: StreamHash,
    id: Uuid,
    place: Place,
}

/// The ids of the last events of the store, by stream.
#[derive(Debug)]
pub(crate) struct IdWindow {
    /// In the order of the log. Each entry has a number, which counts on from one to the next.
    entries: VecDeque<Entry>,
    /// The number of the oldest entry.
    oldest: u32,
    /// The numbers of the entries, by stream and id; of those with the same, the newest.
    numbers: HashTable<u32>,
    events_max: usize,
    /// Seeded anew in each process: ids and names are others' to choose.
    hasher: DefaultHashBuilder,
    /// The ids of all events after this position are in here.
    complete_after: Position,
}

impl IdWindow {
    /// An empty window of at most `events_max` events and `bytes_max` bytes of memory, but at least
    /// of one event. The store goes on after `complete_after`; there is room for what it has already,
    /// since growing step by step costs more than filling.
    pub(crate) fn new(events_max: usize, bytes_max: usize, complete_after: Position) -> Self {
        let events_max = events_max.min(events_within(bytes_max));
        let events_max = events_max.clamp(1, u32::MAX as usize);
        let stored = usize::try_from(complete_after.get()).unwrap_or(usize::MAX);
        let expected = stored.min(events_max);
        Self {
            entries: VecDeque::with_capacity(expected.next_power_of_two()),
            oldest: 0,
            numbers: HashTable::with_capacity(expected),
            events_max,
            hasher: DefaultHashBuilder::default(),
            complete_after,
        }
    }

    /// Whether an older event could only come in for a newer one.
    pub(crate) fn is_full(&self) -> bool {
        self.room() == 0
    }

    /// How many events come in before one must go.
    pub(crate) fn room(&self) -> usize {
        self.events_max - self.entries.len()
    }

    pub(crate) fn hash(&self, stream: &StreamName) -> StreamHash {
        StreamHash(self.hasher.hash_one(stream))
    }

    /// Where the event with this id stands, if it is one of the newest.
    pub(crate) fn find(&self, stream: StreamHash, id: Uuid) -> Option<Place> {
        let is_it = |number: &u32| {
            let entry = &self.entries[number.wrapping_sub(self.oldest) as usize];
            (entry.stream, entry.id) == (stream, id)
        };
        let number = self.numbers.find(self.hasher.hash_one((stream, id)), is_it);
        number.map(|number| self.entries[number.wrapping_sub(self.oldest) as usize].place)
    }

    /// Whether an event at this position would be found.
    pub(crate) fn covers(&self, position: Position) -> bool {
        position > self.complete_after
    }

    /// Takes in the next event, whose stream has this hash.
    pub(crate) fn add(&mut self, stream: StreamHash, event: &RecordedEvent) {
        if self.is_full() {
            self.drop_oldest();
        }
        let entry = entry(stream, event);
        let count = u32::try_from(self.entries.len()).expect("a window has at most so many");
        let number = self.oldest.wrapping_add(count);
        self.entries.push_back(entry);
        self.enter(entry, number, Known::Replaced);
    }

    /// Takes in the event before the oldest one; only while the window is not full.
    pub(crate) fn add_before(&mut self, event: &RecordedEvent) {
        debug_assert!(!self.is_full());
        let entry = entry(self.hash(&event.stream), event);
        self.oldest = self.oldest.wrapping_sub(1);
        self.entries.push_front(entry);
        self.enter(entry, self.oldest, Known::Kept);
        self.complete_after = event.position.previous();
    }

    fn enter(&mut self, entry: Entry, number: u32, known: Known) {
        let (entries, hasher, oldest) = (&self.entries, &self.hasher, self.oldest);
        let at = |number: u32| &entries[number.wrapping_sub(oldest) as usize];
        let is_same = |known: &u32| {
            let known = at(*known);
            (known.stream, known.id) == (entry.stream, entry.id)
        };
        let hash = hasher.hash_one((entry.stream, entry.id));
        match self.numbers.find_mut(hash, is_same) {
            Some(newer) if known == Known::Replaced => *newer = number,
            Some(_) => {}
            None => {
                self.numbers.insert_unique(hash, number, |number| {
                    let entry = at(*number);
                    hasher.hash_one((entry.stream, entry.id))
                });
            }
        }
    }

    fn drop_oldest(&mut self) {
        let Some(entry) = self.entries.pop_front() else {
            return;
        };
        let hash = self.hasher.hash_one((entry.stream, entry.id));
        let number = self.oldest;
        // The same id may have been written to the stream again; then the newer place stays.
        if let Ok(found) = self.numbers.find_entry(hash, |known| *known == number) {
            found.remove();
        }
        self.oldest = number.wrapping_add(1);
        self.complete_after = entry.place.position;
    }
}

fn entry(stream: StreamHash, event: &RecordedEvent) -> Entry {
    Entry {
        stream,
        id: event.id,
        place: Place {
            revision: event.revision,
            position: event.position,
        },
    }
}

/// What becomes of the place of an id that the stream has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Kept,
    Replaced,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_events::event;

    fn add(window: &mut IdWindow, event: &RecordedEvent) {
        window.add(window.hash(&event.stream), event);
    }

    #[test]
    fn a_window_takes_no_more_memory_than_it_may() {
        for bytes in [5_000, 64 * 1_024, 1_024 * 1_024, 3 * 1_024 * 1_024] {
            for stored in [0, 150, 30_000, u64::MAX / 2] {
                let mut window = IdWindow::new(usize::MAX, bytes, Position::new(stored));
                for n in stored..stored + 50_000 {
                    add(&mut window, &event("s", n, n + 1));
                }
                // Seven of eight slots are the capacity of a map.
                let slots = window.numbers.capacity() / 7 * 8;
                let taken = slots * SLOT_BYTES + window.entries.capacity() * QUEUED_BYTES;
                assert!(taken <= bytes, "{taken} of {bytes}");
                assert!(taken >= bytes / 4, "{taken} of {bytes}");
                let oldest = stored + 50_000 - window.entries.len() as u64;
                assert!(!window.covers(Position::new(oldest)));
            }
        }
        assert_eq!(IdWindow::new(9, 0, Position::START).events_max, 1);
        assert!(bytes_of(524_288) <= 32 * 1_024 * 1_024);
    }

    #[test]
    fn a_window_that_is_filled_from_behind_keeps_the_newer_place() {
        let mut window = IdWindow::new(3, usize::MAX / 2, Position::new(9));
        let mut older = event("s", 6, 7);
        older.id = event("s", 8, 9).id;
        for event in [&event("s", 8, 9), &event("s", 7, 8), &older] {
            window.add_before(event);
        }
        assert!(window.is_full() && window.covers(Position::new(7)));
        assert!(!window.covers(Position::new(6)));
        let found = window.find(window.hash(&older.stream), older.id).unwrap();
        assert_eq!(found.position, Position::new(9));
        add(&mut window, &event("s", 9, 10));
        let found = window.find(window.hash(&older.stream), older.id).unwrap();
        assert_eq!(found.position, Position::new(9), "only the older one went");
    }
}
