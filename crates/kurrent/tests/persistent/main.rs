//! Persistent subscriptions and projections as KurrentDB's clients see them: groups (`groups.rs`), their
//! consumers (`consumers.rs`), what is parked (`parked.rs`), projections (`projections.rs`). The services
//! are called as a client does, over a store in memory and without a socket between them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod consumers;
mod groups;
mod parked;
mod projections;
mod support;
