//! What an operator may set of the store, with the values it has otherwise.

use crate::tree::TreeKey;
use icecore_core::limits::{APPEND_BYTES_MAX, MESSAGE_BYTES_MAX};
use std::time::Duration;

/// Sizes of queues, windows and caches. All of them bound memory.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Bytes of appends that are being received, checked or written at a time. One append of the
    /// largest size always fits.
    pub in_flight_bytes: usize,
    /// Appends that wait for the writer.
    pub queue_appends: usize,
    /// Bytes of large appends that stand before the writer at a time; the others wait beside the
    /// queue, so that small appends need not wait for all of them.
    pub queue_bytes: usize,
    /// Bytes of events that one commit gathers; a larger append is a commit of its own.
    pub group_bytes: usize,
    /// Appends that one commit gathers.
    pub group_appends: usize,
    /// Newest events kept for subscribers that follow live, in bytes.
    pub ring_bytes: usize,
    /// Newest events whose ids are remembered for retries of appends that expect no revision.
    pub id_window_events: usize,
    /// Memory that these ids may take, in bytes; it holds fewer of them if it is smaller.
    pub id_window_bytes: usize,
    /// Bytes of events that a start reads to remember their ids. A store of large events remembers
    /// fewer of them after a start.
    pub id_window_read_bytes: usize,
    /// Streams whose state the writer remembers.
    pub stream_states: usize,
    /// Events that the check of one condition may look at.
    pub condition_events: usize,
    /// Subscriptions that may be open at a time.
    pub subscriptions_max: usize,
    /// Events that a filtered subscription looks at between two checkpoints.
    pub checkpoint_events: u64,
    /// How long after a scavenge the store looks whether another one is worth it; `None` for never.
    pub scavenge_interval: Option<Duration>,
    /// Signs the heads of the tree over all events.
    pub tree_key: Option<TreeKey>,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            in_flight_bytes: APPEND_BYTES_MAX + MESSAGE_BYTES_MAX,
            queue_appends: 4_096,
            queue_bytes: 8 * 1_024 * 1_024,
            group_bytes: 4 * 1_024 * 1_024,
            group_appends: 4_096,
            ring_bytes: 32 * 1_024 * 1_024,
            id_window_events: 524_288,
            id_window_bytes: 32 * 1_024 * 1_024,
            id_window_read_bytes: 256 * 1_024 * 1_024,
            stream_states: 262_144,
            condition_events: 100_000,
            subscriptions_max: 4_096,
            checkpoint_events: 1_000,
            scavenge_interval: Some(Duration::from_secs(24 * 60 * 60)),
            tree_key: None,
        }
    }
}

impl StoreConfig {
    /// Bytes that may be in flight: never less than one append of the largest size with what its
    /// encoding adds.
    pub fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes
            .max(APPEND_BYTES_MAX + MESSAGE_BYTES_MAX)
    }
}
