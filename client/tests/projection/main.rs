//! Projections into memory, against a server in this process: each event once in effect, whatever
//! fails. What a database adds is shown in `crates/projection-sqlx`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod faults;
mod generations;
mod ledger;
mod poison;
mod running;
