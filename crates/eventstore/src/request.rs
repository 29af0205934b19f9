//! What passes between a caller's task and the writer: the append, what the caller has read for it
//! so that the writer need not, and the writer's decision.

use crate::state::StreamRecord;
use crate::window::Place;
use icecore_core::{Append, Appended, Error, Position, Refusal, Revision, StreamName};
use std::collections::HashMap;
use tokio::sync::oneshot;
use uuid::Uuid;

/// Whether the writer adds what a user's append implies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// An append reopens a soft-deleted stream, and the clock gives the time.
    Ordinary,
    /// Events are taken as they are, with the times that they bring.
    Verbatim,
}

/// An append on its way to the writer.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) append: Append,
    pub(crate) mode: Mode,
    pub(crate) evidence: Evidence,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// What the caller has read from the storage for its append.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// Records of streams that the writer did not know.
    pub(crate) records: HashMap<StreamName, StreamRecord>,
    /// The last durable position before `records` were read.
    pub(crate) records_at: Position,
    /// Ids at the places where a late retry would have written. Events never change, so this does
    /// not grow old.
    pub(crate) written: Vec<WrittenIds>,
    /// How far the condition has been checked.
    pub(crate) condition: Option<CheckedCondition>,
}

/// The events of `stream` from `from` (inclusive) on, as many as the append writes to it or as are
/// there.
#[derive(Debug)]
pub(crate) struct WrittenIds {
    pub(crate) stream: StreamName,
    pub(crate) from: Revision,
    pub(crate) events: Vec<(Uuid, Place)>,
}

/// The condition was checked against everything up to `up_to` (inclusive).
#[derive(Clone, Copy, Debug)]
pub(crate) struct CheckedCondition {
    pub(crate) up_to: Position,
    /// The first event that the condition excludes.
    pub(crate) excluded: Option<Position>,
}

/// What the writer answers.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It was written, or had been before.
    Appended(Written),
    /// It was refused.
    Refused(Refusal),
    /// The writer cannot tell without slow reads: read this and ask again.
    Needs(Need),
    /// It failed.
    Failed(Error),
}

/// What an append did, with what only an import asks about.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) appended: Appended,
    pub(crate) clamped: u64,
}

/// What the writer lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Records of this append's streams, read when everything up to `at` (inclusive) is durable.
    Records { at: Position },
    /// The ids that stand in `stream` from `from` on, read when everything up to `at` is durable.
    WrittenIds {
        stream: StreamName,
        from: Revision,
        at: Position,
    },
    /// The condition checked up to `at` (inclusive) at least.
    Condition { at: Position },
}
