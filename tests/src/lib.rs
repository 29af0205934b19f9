//! What the tests of the built binary share with the acceptance run on a real event log and
//! the torture.
//!
//! Everything here sees Icecore as its users do: a process, a socket, the command line, the client. It
//! names no crate of the server. The tests themselves stand in `tests/tests`: `process` for what
//! concerns the process, `live` for the rest, which runs against a server inside of the test.

#![allow(
    clippy::print_stdout,
    reason = "the acceptance run says how far it is and what it measured"
)]

mod acceptance;
mod binary;
mod log;
mod process;
mod torture;

pub use acceptance::accept;
pub use binary::{build, icecore};
pub use log::{LogEvent, write_log};
pub use process::{Icecore, ServerProcess};
pub use torture::{Kills, Overload, Survived, Withstood};
