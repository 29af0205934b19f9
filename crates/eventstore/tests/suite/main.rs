//! The rules of the store, shown on the in-memory engine: one file for each subject.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod concurrency;
mod conditions;
mod deletion;
mod erasure;
mod expectations;
mod failures;
mod full;
mod groups;
mod idempotency;
mod imports;
mod model;
mod reads;
mod scavenging;
mod simulation;
mod subscriptions;
mod support;
mod tree;
mod verify;
mod virtual_streams;
