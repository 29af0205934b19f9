//! Aggregates, snapshots, decisions and process managers against a real server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "model/account.rs"]
mod account;
#[path = "model/aggregates.rs"]
mod aggregates;
#[path = "model/decisions.rs"]
mod decisions;
#[path = "model/listeners.rs"]
mod listeners;
#[path = "model/processes.rs"]
mod processes;
#[path = "model/races.rs"]
mod races;
#[path = "model/snapshots.rs"]
mod snapshots;
