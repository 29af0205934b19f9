//! How reads are cut into pages.

use crate::limits::{PAGE_BYTES_MAX, PAGE_EVENTS_MAX};
use crate::{Position, RecordedEvent};

/// Which way a read goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From lower to higher numbers, as it happened.
    Forwards,
    /// From higher to lower numbers, newest first.
    Backwards,
}

/// How much a page may hold. A page holds at least one event if there is one, whatever its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    /// Most events; at least 1.
    pub events: usize,
    /// Most bytes of events.
    pub bytes: usize,
}

impl PageLimit {
    /// The largest page.
    pub const MAX: Self = Self {
        events: PAGE_EVENTS_MAX,
        bytes: PAGE_BYTES_MAX,
    };

    /// A page of at most `events` events and the largest number of bytes.
    pub fn events(events: usize) -> Self {
        Self {
            events: events.clamp(1, PAGE_EVENTS_MAX),
            bytes: PAGE_BYTES_MAX,
        }
    }
}

/// One page of a read. `At` is what the read counts in: [`Position`] or [`crate::Revision`].
#[derive(Clone, Debug)]
pub struct Page<At = Position> {
    /// The events, in the order of the read's direction.
    pub events: Vec<RecordedEvent>,
    /// Where the next page begins (inclusive), past everything that was looked at, also what was
    /// hidden. Forwards at the end: where the next event will stand.
    pub next: At,
    /// There is no more in this direction. An empty page alone does not say so.
    pub end: bool,
}
