//! What passes between a caller's task and the writer: the append, what the caller has read for it
//! so that the writer need not, and the writer's decision.

use crate::room::Room;
use crate::state::StreamRecord;
use crate::window::Place;
use icecore_core::{Append, Appended, Error, Position, Refusal, Result, Revision, StreamName};
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
    /// What the store says about its own work: as it is, and also where there is no room for others,
    /// since that work gives room back.
    Act,
}

/// An append on its way to the writer.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) submission: Box<Submission>,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// An append and what has been read for it. It goes back and forth until it is decided.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) append: Append,
    /// The ids of the events that go to each of the append's streams, in order.
    pub(crate) ids: Vec<Vec<Uuid>>,
    pub(crate) mode: Mode,
    pub(crate) evidence: Evidence,
    /// Given back when the append is answered.
    pub(crate) room: Room,
}

impl Submission {
    /// An append for which nothing has been read yet.
    pub(crate) fn new(append: Append, mode: Mode, room: Room) -> Self {
        let mut ids = vec![Vec::new(); append.streams().len()];
        for event in append.events() {
            ids[event.stream].push(event.event.id);
        }
        Self {
            append,
            ids,
            mode,
            evidence: Evidence::default(),
            room,
        }
    }
}

/// What the caller has read from the storage for its append.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// Records of streams that the writer did not know.
    pub(crate) records: HashMap<StreamName, StreamRecord>,
    /// The last durable position before `records` were read.
    pub(crate) records_at: Position,
    /// Ids at the places where a late retry would have written. Events never change, so this does
    /// not grow old, though there may be more of them meanwhile.
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

impl WrittenIds {
    /// Whether these are all up to this revision (inclusive).
    pub(crate) fn reaches(&self, revision: Revision) -> bool {
        self.events
            .last()
            .is_some_and(|(_, place)| place.revision >= revision)
    }
}

/// The condition was checked against everything up to `up_to` (inclusive).
#[derive(Clone, Debug)]
pub(crate) struct CheckedCondition {
    pub(crate) up_to: Position,
    /// The first event that the condition excludes; or why it cannot be checked, which does not
    /// concern a retry.
    pub(crate) excluded: Result<Option<Position>>,
}

/// What the writer answers.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It was written, or had been before.
    Appended(Written),
    /// It was refused.
    Refused(Refusal),
    /// The writer cannot tell without slow reads: read this and ask again.
    Needs(Need, Box<Submission>),
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
