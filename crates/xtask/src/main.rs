//! Chores of Icecore's developers, written in Rust so that they run wherever Icecore builds:
//! `cargo run -p icecore-xtask -- <verb>`.
//!
//! Owns what the repository promises about itself and no compiler checks. Knows nothing of how events
//! are stored.

#![allow(
    clippy::print_stdout,
    reason = "the commands of a tool print their result"
)]

mod bench;
#[cfg(test)]
mod deployment;
mod readme;
mod suite;
mod tidy;
mod torture;
mod workspace;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use icecore_tests::Icecore;
use std::path::{Path, PathBuf};
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
    /// Put an event log through the release binary, stop and kill it meanwhile, and compare every event
    RealLog {
        /// A file of one JSON object a line, gzipped or not
        file: PathBuf,
        #[command(flatten)]
        binary: Binary,
    },
    /// Kill the release binary under load, again and again, and compare every event; then put it
    /// under more load than it takes
    Torture {
        #[command(flatten)]
        torture: torture::TortureArgs,
        #[command(flatten)]
        binary: Binary,
    },
    /// Measure the release binary, from outside; beside peers, if they are there
    Bench {
        #[command(flatten)]
        bench: bench::BenchArgs,
        #[command(flatten)]
        binary: Binary,
    },
    /// Run the tests that need a server of somebody else's
    Suite {
        #[arg(value_enum)]
        suite: suite::Suite,
    },
    /// Run the README's commands with the release binary
    Readme {
        #[command(flatten)]
        binary: Binary,
    },
}

/// Which binary is tried out.
#[derive(Args)]
struct Binary {
    /// The binary; without it the release binary of these sources is built
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    match Arguments::parse().verb {
        Verb::Tidy => tidy::run(),
        Verb::RealLog { file, binary } => {
            binary.try_out(async |binary| icecore_tests::accept(&Icecore::new(binary), &file).await)
        }
        Verb::Torture { torture, binary } => {
            binary.try_out(async |binary| torture.run(&Icecore::new(binary)).await)
        }
        Verb::Bench { bench, binary } => binary.try_out(async |binary| bench.run(binary).await),
        Verb::Suite { suite } => suite.run(),
        Verb::Readme { binary } => binary.try_out(readme::run),
    }
}

impl Binary {
    fn try_out(self, run: impl AsyncFnOnce(&Path) -> Result<()>) -> Result<ExitCode> {
        let binary = match self.binary {
            Some(binary) => binary.canonicalize().context("find the binary")?,
            None => icecore_tests::build(&["--release"])?,
        };
        let runtime = tokio::runtime::Runtime::new().context("start a runtime")?;
        runtime.block_on(run(&binary))?;
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
