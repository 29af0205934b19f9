//! The built binary as its users meet it: a server on a port of its own and a directory of its own,
//! and commands whose exit codes, output and messages are looked at.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod backup;
mod bench;
mod commands;
mod demo;
mod exits;
mod follow;
mod groups;
mod maintenance;
mod offline;
mod serve;
mod support;
mod transfer;
