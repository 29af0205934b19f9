//! What KurrentDB's clients rely on, one file for each subject. The services are called as a client does,
//! over a store in memory and without a socket between them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod appends;
mod bad_bytes;
mod batches;
mod deletion;
mod links;
mod node;
mod protocol;
mod reads;
mod records;
mod sessions;
mod subscriptions;
mod support;
