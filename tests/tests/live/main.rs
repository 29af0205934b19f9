//! Icecore from outside: what a server answers over its socket. The server runs in the process of the
//! test; what concerns its own process stands in `tests/process`.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests panic as the tests themselves do"
)]

mod bad_appends;
mod bad_reads;
mod bench;
mod contract;
mod cuts;
mod groups;
mod limits;
mod plain_http;
mod raw;
mod services;
mod streams;
mod subscriptions;
mod vanishing;
mod writers;

use icecore_client::{Client, EventData, ExpectedRevision, Revision, StreamName, new_event_id};

/// A stream name.
fn stream(name: &str) -> StreamName {
    StreamName::new(name.to_owned()).expect("a test names streams well")
}

/// An event with a new id.
fn event(event_type: &'static str) -> EventData {
    sized(event_type, 2)
}

/// An event with a new id and this many bytes of data.
fn sized(event_type: &'static str, bytes: usize) -> EventData {
    EventData::json(new_event_id(), event_type, vec![b'1'; bytes]).expect("a test names types well")
}

/// The expectation of a last revision.
fn exact(revision: u64) -> ExpectedRevision {
    ExpectedRevision::Exact(Revision::new(revision))
}

/// Appends so many events, one by one, whatever is there.
async fn fill(client: &Client, name: &str, count: usize) {
    for _ in 0..count {
        let one = [event("Noted")];
        let appended = client
            .append(&stream(name), ExpectedRevision::Any, one)
            .await;
        appended.expect("an append that expects nothing");
    }
}
