//! Why an append was refused: everything the caller needs to decide again.

use crate::{ExpectedRevision, Position, RecordedEvent, StreamName, StreamState};
use std::fmt;

/// An append that was refused. Nothing of it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Every expectation that did not hold, in the order of the append's streams. What came in a
    /// status holds as many as fit there.
    pub violations: Vec<Violation>,
    /// How many expectations did not hold.
    pub violations_total: usize,
    /// Position of the first event that the condition excludes, where the condition failed.
    pub condition: Option<Position>,
    /// What the caller had not seen of the streams in `violations`, when it asked for that.
    pub missed: Vec<MissedEvents>,
}

/// An expectation that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The stream.
    pub stream: StreamName,
    /// What the append expected of it.
    pub expected: ExpectedRevision,
    /// What it is.
    pub state: StreamState,
    /// What is wrong about that.
    pub kind: ViolationKind,
}

/// What is wrong about a stream's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViolationKind {
    /// Somebody else appended, or the stream is not (or no longer) there.
    WrongExpectedRevision,
    /// The stream is deleted.
    StreamDeleted,
    /// Some of the event ids are already in the stream and some are not, so this is neither a retry
    /// nor a new append.
    PartlyWritten,
}

/// Events of one stream that the refused caller had not seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissedEvents {
    /// The stream.
    pub stream: StreamName,
    /// Its visible events after the expected revision, in order.
    pub events: Vec<RecordedEvent>,
    /// Whether these are all; otherwise the caller reads on after the last one.
    pub end: bool,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            stream,
            expected,
            state,
            kind,
        } = self;
        match kind {
            ViolationKind::WrongExpectedRevision => {
                write!(f, "stream `{stream}`: expected {expected}, current {state}")
            }
            ViolationKind::StreamDeleted => {
                write!(
                    f,
                    "stream `{stream}` is deleted: expected {expected}, current {state}"
                )
            }
            ViolationKind::PartlyWritten => write!(
                f,
                "stream `{stream}`: some of these event ids are already written and some are not \
                 (expected {expected}, current {state})"
            ),
        }
    }
}

impl Refusal {
    /// A refusal with all of its violations and no missed events.
    pub fn new(violations: Vec<Violation>, condition: Option<Position>) -> Self {
        Self {
            violations_total: violations.len(),
            violations,
            condition,
            missed: Vec::new(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("append refused, nothing was written: ")?;
        for (n, violation) in self.violations.iter().enumerate() {
            write!(f, "{}{violation}", if n > 0 { "; " } else { "" })?;
        }
        if self.violations_total > self.violations.len() {
            let more = self.violations_total - self.violations.len();
            write!(f, "; and {more} more streams")?;
        }
        if let Some(position) = self.condition {
            let separator = if self.violations.is_empty() { "" } else { "; " };
            write!(
                f,
                "{separator}the condition failed: the event at position {position} matches"
            )?;
        }
        Ok(())
    }
}
