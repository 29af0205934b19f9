//! The client against a small server that fails on request. What the real server answers is tested
//! where that is.

mod appends;
mod commands;
mod connections;
mod fake;
mod reads;
mod sessions;
mod snapshots;
mod subscriptions;
