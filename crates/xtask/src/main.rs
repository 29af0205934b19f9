//! Chores of Icecore's developers, written in Rust so that they run wherever Icecore builds:
//! `cargo run -p icecore-xtask -- <verb>`.
//!
//! Owns what the repository promises about itself and no compiler checks. Knows nothing of how events
//! are stored.

#![allow(
    clippy::print_stdout,
    reason = "the commands of a tool print their result"
)]

#[cfg(test)]
mod deployment;
mod tidy;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Chores of Icecore's developers.
#[derive(Parser)]
#[command(name = "xtask")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

/// What can be done.
#[derive(Subcommand)]
enum Verb {
    /// Check what the repository promises about its sources: comments, sizes, words, and arrows
    /// between crates
    Tidy,
}

fn main() -> Result<ExitCode> {
    match Arguments::parse().verb {
        Verb::Tidy => tidy::run(),
    }
}
