//! The client of Icecore, the event store: append, read, follow, and the programming model on top.
//!
//! [from CRUD to events]: guide::from_crud_to_events
//! [when not to]: guide::when_not_to
//! [publishing]: Relay
// The samples are parts of one program, tests/readme.rs, which is compiled and run.
#![cfg_attr(not(doctest), doc = include_str!("../README.md"))]
//! # Append, read, follow
//!
//! ```no_run
//! use futures::StreamExt;
//! use icecore_client::{
//!     Client, ExpectedRevision, RecordedEventExt, StreamName, SubscriptionMessage, json_event,
//! };
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct OrderPlaced {
//!     total: u64,
//! }
//!
//! # async fn tour() -> icecore_client::Result<()> {
//! let client = Client::connect("http://127.0.0.1:2113").await?;
//!
//! // Append: the stream must not exist yet. The answer comes when the event is durable.
//! let order = StreamName::new("order-1")?;
//! let placed = json_event("OrderPlaced", &OrderPlaced { total: 12 })?;
//! client.append(&order, ExpectedRevision::NoStream, [placed]).await?;
//!
//! // Read: the ten newest events of a stream, or everything of some types.
//! let recent = client.read_stream(&order).backwards().limit(10).await?;
//! let mut placed = client.read_all().types(["OrderPlaced"]).prefix("order-").stream();
//! while let Some(event) = placed.next().await {
//!     println!("{} at {}", event?.json::<OrderPlaced>()?.total, recent[0].recorded_at);
//! }
//!
//! // Follow: what is there first, then what comes. It reconnects on its own and goes on where it was.
//! let mut subscription = client.subscribe_all().types(["OrderPlaced"]).start();
//! while let Some(message) = subscription.next().await {
//!     if let SubscriptionMessage::Events(events) = message? {
//!         for event in events {
//!             println!("{}: {}", event.position, event.json::<OrderPlaced>()?.total);
//!         }
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Appending safely
//!
//! An append says what it expects of its streams ([`ExpectedRevision`]). When that is not so, it is
//! [`Error::Refused`], nothing is written, and the refusal says what was found: read again, decide
//! again.
//!
//! When a connection breaks while an append is under way, nobody knows whether it was written. The
//! client sends it again with the same event ids, which the store recognises, a limited number of
//! times ([`RetryPolicy`]). What remains is [`Error::OutcomeUnknown`]; sending the same [`Append`] once
//! more is always right.
//!
//! # Following without gaps
//!
//! A [`Subscription`] keeps its place while it lives. Over restarts of your program the place is yours
//! to keep: store the position of the last event you have handled together with the store id of
//! [`SubscriptionMessage::Confirmed`], and start after it. If the store was restored from a backup in
//! between, the subscription ends with [`Error::WrongStore`] instead of skipping in silence what the
//! restore took away.
//!
//! # Names
//!
//! All values ([`StreamName`], [`EventData`], [`Append`], [`Filter`], [`Error`], ...) are those of
//! `icecore_core` and are exported here, so this is the only crate a program needs.

mod aggregate;
mod append;
mod builder;
mod call;
mod client;
mod clock;
mod context;
mod decision;
mod event;
mod filter;
mod given;
mod group;
mod id;
mod json;
mod log;
mod maintenance;
mod operations;
mod process;
mod projection;
mod read;
mod relay;
mod repository;
mod retry;
mod session;
mod snapshot;
mod streams;
mod subscribe;
mod upcast;

pub use aggregate::Aggregate;
pub use builder::ClientBuilder;
pub use client::Client;
pub use clock::{Clock, VirtualClock};
pub use context::Context;
pub use decision::{DecideCall, Decided, Decision};
pub use event::{Event, Substitute, decode, encode, event_types_of};
pub use given::{
    Given, GivenProcess, When, decode_sample, given, given_found, given_process, project,
};
pub use group::{ConsumeCall, GroupEvent, GroupEvents};
/// What a group has parked; [`ParkedEvent`] is what a projection has.
pub use icecore_core::ParkedEvent as GroupParkedEvent;
#[doc(no_inline)]
pub use icecore_core::*;
pub use icecore_wire::{CategoryPage, ListCategories};
pub use id::new_event_id;
pub use json::{EventDataExt, RecordedEventExt, json_event};
pub use process::{Dispatch, ProcessManager, ProcessRunner, Reaction};
pub use projection::{
    Advance, BatchLimits, BoxError, Checkpoint, Generation, GenerationState, Lag, MemorySink,
    MemoryTransaction, OldGeneration, PROJECTION_NAME_BYTES_MAX, ParkedEvent, PoisonPolicy,
    Progress, Projection, ProjectionError, ProjectionId, ProjectionRunner, Projections,
    RunningProjection, Sink, SinkError, StoredGeneration, SwapPolicy,
};
pub use read::{BatchStream, EventStream, ReadCall};
pub use relay::{Broker, BrokerError, Relay, RelayError, RelayProgress, message_headers};
pub use repository::{
    At, Changes, Effect, ExecuteCall, ExecuteError, Executed, Loaded, Repository, TypedEvent,
};
pub use retry::RetryPolicy;
pub use session::{AppendSession, PendingAppend};
pub use snapshot::{Snapshot, SnapshotPolicy};
pub use subscribe::{SubscribeCall, Subscription};
pub use upcast::{Upcast, UpcastFn};

#[cfg(test)]
mod tests;

/// Pages for those who begin.
#[cfg(doc)]
pub mod guide {
    #[doc = "[the seven steps]: crate\n[when not to]: crate::guide::when_not_to\n"]
    #[doc = include_str!("../docs/from-crud-to-events.md")]
    pub mod from_crud_to_events {}
    #[doc = "[from CRUD to events]: crate::guide::from_crud_to_events\n"]
    #[doc = include_str!("../docs/when-not-to.md")]
    pub mod when_not_to {}
}

/// The samples of the README compile against this crate.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The samples of the page about publishing too.
#[cfg(doctest)]
#[doc = include_str!("../docs/publishing.md")]
struct Publishing;
