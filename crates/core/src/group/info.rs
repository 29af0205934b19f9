//! What a group tells about itself and about what it has parked.

use super::{ConsumerId, Group};
use crate::{RecordedEvent, Revision, StreamName, Timestamp};
use std::fmt;

/// What a group is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupStatus {
    /// It has no consumers.
    Idle,
    /// It reads what is stored.
    Behind,
    /// It follows what comes.
    Live,
}

impl fmt::Display for GroupStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "idle",
            Self::Behind => "behind",
            Self::Live => "live",
        })
    }
}

/// A group as an operator sees it. Places are revisions of its stream, or positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupInfo {
    /// The group.
    pub group: Group,
    /// What it is doing.
    pub status: GroupStatus,
    /// Its consumers.
    pub consumers: Vec<ConsumerInfo>,
    /// Everything up to here (inclusive) is done; `None` when nothing is. What is parked counts as
    /// done.
    pub last_checkpointed: Option<u64>,
    /// The last event that it has seen; `None` when it has seen none.
    pub last_known: Option<u64>,
    /// Events delivered since it woke up, per second.
    pub average_per_second: u64,
    /// Events delivered since it woke up.
    pub total_items: u64,
    /// Events delivered since it was asked last.
    pub count_since_last_measurement: u64,
    /// Events that wait to be delivered for the first time, while it is behind.
    pub read_buffer_count: u64,
    /// Events that wait to be delivered for the first time, while it is live.
    pub live_buffer_count: u64,
    /// Events that wait to be delivered again.
    pub retry_buffer_count: u64,
    /// Events that consumers have and have not answered.
    pub in_flight_count: u64,
    /// Events that were parked and are neither resolved nor on their way again.
    pub parked_count: u64,
    /// Streams that wait behind one of their events, with the strategy `Ordered`.
    pub waiting_streams: u64,
    /// Why what its consumers have done is not written, if so. It is tried again by itself.
    pub trouble: Option<String>,
}

/// A consumer as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerInfo {
    /// Which one.
    pub id: ConsumerId,
    /// Where it comes from.
    pub address: String,
    /// What it calls itself.
    pub name: String,
    /// Events delivered to it, per second.
    pub average_per_second: u64,
    /// Events delivered to it.
    pub total_items: u64,
    /// Events delivered to it since the group was asked last.
    pub count_since_last_measurement: u64,
    /// Events that it may get now.
    pub available_slots: u64,
    /// Events that it has and has not answered.
    pub in_flight_count: u64,
    /// Milliseconds between delivery and answer, with `extra_statistics`: names like `Mean` and `99%`.
    pub latencies: Vec<(String, u64)>,
}

/// Which of the parked events. Their revisions are those of the parked stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParkedRange {
    /// Every one.
    All,
    /// Those before this revision (exclusive).
    Before(Revision),
    /// This one.
    One(Revision),
}

impl ParkedRange {
    /// Whether the parked event with this revision is meant.
    pub fn contains(self, revision: Revision) -> bool {
        match self {
            Self::All => true,
            Self::Before(end) => revision < end,
            Self::One(one) => revision == one,
        }
    }
}

/// An event that was parked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedEvent {
    /// Its place in the parked stream, by which it is replayed or discarded.
    pub parked_revision: Revision,
    /// The stream of the event.
    pub stream: StreamName,
    /// Its place in that stream.
    pub revision: Revision,
    /// The event; `None` when it is not there any more.
    pub event: Option<RecordedEvent>,
    /// Why it was parked.
    pub reason: String,
    /// When it was parked.
    pub parked_at: Timestamp,
    /// It is on its way to a consumer again.
    pub replaying: bool,
    /// The stream that waits behind it, with the strategy `Ordered`.
    pub waiting_stream: Option<StreamName>,
}

/// Some of the parked events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedPage {
    /// In the order in which they were parked.
    pub events: Vec<ParkedEvent>,
    /// Where the next page begins (inclusive); `None` at the end.
    pub next: Option<Revision>,
}
