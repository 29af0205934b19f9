//! What a store of events has to do, said a second time and as simply as can be, for tests.
//!
//! [`Model`] keeps events in a list and looks everything up in it. It decides appends, reads and
//! deletions by the tables of the contract and shares no rule with the store. [`History`] is what the
//! clients of a store have sent and heard, and when; [`check`] holds a history to the log that the
//! store has in the end, and says what cannot be. [`Workload`] makes operations that get into each
//! other's way, and [`run_client`] and [`follow`] drive them against any [`System`] and record them.
//! //!
//! Nothing here knows how a store is built: the same checker judges one in the process of the test and
//! one behind a socket.

mod check;
mod decide;
mod filter;
mod history;
mod model;
mod retention;
mod run;
mod workload;
mod writing;

pub use check::{Kind, Violation, check};
pub use decide::{Answer, Decision, Expected};
pub use history::{Connection, History, Outcome, Read, Recorder, Request, Tick, Write};
pub use model::Model;
pub use run::{System, follow, run_client};
pub use workload::{Step, Workload};
