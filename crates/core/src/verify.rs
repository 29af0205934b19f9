//! What is said while a stored log is looked through: what is wrong with it, how far one has come,
//! what there was; and the log itself as it is handed out for that.

use crate::{Hash, LogEntry, Position, StoreId};
use std::fmt;

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The first and the last position that are concerned (both inclusive); `None` for what concerns
    /// no event or all of them.
    pub positions: Option<(Position, Position)>,
    /// What is wrong.
    pub reason: String,
}

impl Finding {
    /// Something about the store as a whole.
    pub fn general(reason: impl Into<String>) -> Self {
        Self {
            positions: None,
            reason: reason.into(),
        }
    }

    /// Something about some positions, both inclusive.
    pub fn at(first: Position, last: Position, reason: impl Into<String>) -> Self {
        Self {
            positions: Some((first, last)),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.positions {
            Some((first, last)) => write!(f, "positions {first} to {last}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// One message of a verification; the last one is [`Self::Verified`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifyMessage {
    /// How far it has come.
    Progress(VerifyProgress),
    /// Something is wrong.
    Finding(Finding),
    /// Everything was looked at.
    Verified(Verified),
}

/// How far a verification has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyProgress {
    /// What is looked at.
    pub step: VerifyStep,
    /// How much of it is done, in positions or bytes.
    pub done: u64,
    /// How much there is.
    pub total: u64,
}

/// What a verification looks at, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyStep {
    /// The file of the engine, in bytes.
    File,
    /// The log, in positions.
    Log,
    /// The indexes against the log, in positions.
    Indexes,
}

/// What a verification has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The store.
    pub store_id: StoreId,
    /// Where the log ends.
    pub last_position: Position,
    /// Events that are whole.
    pub whole: u64,
    /// Events whose payload was erased.
    pub erased: u64,
    /// Events that were scavenged.
    pub removed: u64,
    /// The root of the tree over all events; `None` when some could not be read.
    pub tree: Option<Hash>,
}

/// A stretch of the log as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogBatch {
    /// The store.
    pub store_id: StoreId,
    /// Where the log ended when the reading began; an append ends there.
    pub last_position: Position,
    /// The next entries.
    pub entries: Vec<LogEntry>,
    /// What could not be read behind them.
    pub damage: Option<Finding>,
}
