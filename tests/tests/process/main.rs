//! What concerns the process of the server: how it starts, stops, is killed and comes back, what it
//! holds in memory, and an event log that goes through all that. The binary under test is the one
//! that this build made.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests panic as the tests themselves do"
)]

mod acceptance;
mod crashes;
mod exports;
mod groups;
mod identity;
mod memory;
mod overload;
mod scavenging;
mod shutdown;
mod starting;

use icecore_client::{EventData, StreamName, new_event_id};
use icecore_tests::Icecore;

/// The binary under test.
fn icecore() -> Icecore {
    Icecore::new(icecore_tests::icecore())
}

/// A stream name.
fn stream(name: &str) -> StreamName {
    StreamName::new(name.to_owned()).unwrap()
}

/// An event with a new id and this many bytes of data.
fn sized(bytes: usize) -> EventData {
    EventData::json(new_event_id(), "Noted", vec![b'1'; bytes]).unwrap()
}
