//! The trials and their command line.
//!
//! ```text
//! power_cut, faults, flips
//!                      what is tried, and what must hold afterwards
//! process, work        the process that opens the real engine; check and history: what it must hold
//! recorder             what that process does to its files (recording), seen by a tracer (calls, tracer)
//! image                what a power cut leaves of a recording
//! ```

mod calls;
mod check;
mod faults;
mod flips;
mod history;
mod image;
mod parallel;
mod power_cut;
mod process;
mod recorder;
mod recording;
mod tracer;
mod work;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Tries the engine on disks that lose power, fail and rot.
#[derive(Parser)]
#[command(name = "icecore-disk-trials")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

/// What can be done.
#[derive(Subcommand)]
enum Verb {
    /// Cut power at random moments, and check what the engine makes of each disk that is legal then
    PowerCut(power_cut::PowerCut),
    /// Let system calls fail, one after the other, and check that what was acknowledged is there
    Faults(faults::Faults),
    /// Flip single bits in the files of a closed store, and check that no damage is served as data
    Flips(flips::Flips),
    /// The process that is tried out
    #[command(hide = true)]
    Work(work::Work),
}

/// Does what the command line says.
pub(crate) fn run() -> Result<ExitCode> {
    match Arguments::parse().verb {
        Verb::PowerCut(power_cut) => power_cut.run(),
        Verb::Faults(faults) => faults.run(),
        Verb::Flips(flips) => flips.run(),
        Verb::Work(work) => work.run(),
    }
}
