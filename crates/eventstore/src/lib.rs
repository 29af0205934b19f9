//! The event store over any [`Storage`](icecore_storage::Storage): one writer that owns the order,
//! readers, and subscriptions that catch up and then follow live.
//!
//! Owns the rules of appending (expectations, retries, conditions, deletion) and of visibility.
//! Knows neither the network nor how a storage keeps its bytes.
//!
//! An append: `append.rs` (the caller's task) -> `writer.rs` (the one task) -> `ledger.rs` (the
//! decision) -> the storage. A read: `reader.rs` -> `scan.rs` -> the storage. A subscription is that
//! walk and one loop, in `subscription.rs`. Groups of persistent subscriptions stand on both, in
//! `group.rs`. What is taken away: `erase.rs`, `scavenge.rs`. What shows that nothing else was:
//! `tree.rs`.

mod append;
mod clock;
mod condition;
mod config;
mod erase;
mod group;
mod keeper;
mod lead;
mod ledger;
mod links;
mod maintenance;
mod matcher;
mod metadata;
mod metrics;
mod numbering;
mod reader;
mod recent;
mod request;
mod retry;
mod ring;
mod room;
mod scan;
mod scavenge;
mod state;
mod store;
mod streams;
mod subscription;
#[cfg(test)]
mod test_events;
mod tree;
mod verify;
mod virtual_stream;
mod visibility;
mod window;
mod writer;

pub use append::PendingAppend;
pub use clock::{Clock, Ids, ManualClock};
pub use config::StoreConfig;
pub use group::{GroupConsumer, GroupDeliveries, GroupFigures};
pub use links::Resolved;
pub use metrics::Metrics;
pub use room::{Admitted, Room};
pub use store::EventStore;
pub use tree::TreeKey;
