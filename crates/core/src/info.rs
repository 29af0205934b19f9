//! What the store tells about its streams and about itself.

use crate::{Position, Revision, StoreId, StreamName, StreamState, Timestamp};
use bytes::Bytes;

/// A stream, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its name.
    pub stream: StreamName,
    /// Its state, with the last revision.
    pub state: StreamState,
    /// Its first visible event; `None` when there is none.
    pub first: Option<StreamPlace>,
    /// Its last visible event; `None` when there is none.
    pub last: Option<StreamPlace>,
    /// Revision of the last event of `$$stream`; `None` without metadata.
    pub metadata_revision: Option<Revision>,
    /// The stream's metadata, a JSON object with KurrentDB's keys; empty without metadata.
    pub metadata: Bytes,
}

/// Where and when an event of a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamPlace {
    /// Its revision.
    pub revision: Revision,
    /// Its position.
    pub position: Position,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

/// Which streams to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListStreams {
    /// Names that begin with this; empty for all.
    pub prefix: String,
    /// Names after this one (exclusive) in byte order.
    pub after: Option<StreamName>,
    /// Most names; 0 takes the store's own page size.
    pub limit: usize,
    /// Whether system streams are listed too. A prefix that begins with `$` asks for them anyway.
    pub system: crate::SystemStreams,
}

/// One stream of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamEntry {
    /// Its name.
    pub stream: StreamName,
    /// Its state, with the last revision.
    pub state: StreamState,
    /// Position of its last event, whether it is visible or not.
    pub last_position: Position,
}

/// Some streams, in byte order of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPage {
    /// The streams; soft-deleted and tombstoned ones are there too and say so.
    pub streams: Vec<StreamEntry>,
    /// Where the next page begins (exclusive), past what was left out; `None` at the end.
    pub next_after: Option<StreamName>,
}

/// What the store tells about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreStats {
    /// Identity of this history.
    pub store_id: StoreId,
    /// The last position that is visible.
    pub last_position: Position,
    /// Streams that ever had an event, system streams included.
    pub streams: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Open subscriptions.
    pub subscriptions: u64,
    /// Further figures of writer and engine, by name; the unit is the name's last word.
    pub details: Vec<(String, u64)>,
}

/// How a stream is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteKind {
    /// Its events are hidden; an append opens it again, and its revisions go on.
    Soft,
    /// It is closed for ever.
    Tombstone,
}

/// What an import batch did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Position of the last event of the batch.
    pub last_position: Position,
    /// Events whose time lay before the last recorded one and was clamped to it.
    pub clamped: u64,
}

/// What an erasure did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erased {
    /// Position of the event.
    pub position: Position,
    /// It had been erased before; nothing more was done.
    pub was_erased: bool,
}

/// Whether a scavenge removes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScavengeMode {
    /// It only says what it would remove.
    DryRun,
    /// It removes.
    Remove,
}

/// How far a scavenge is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScavengeProgress {
    /// What it does at the moment.
    pub phase: ScavengePhase,
    /// Position up to which this phase has come.
    pub position: Position,
    /// Position up to which it goes.
    pub up_to: Position,
    /// Events that can be removed, as far as they were found.
    pub removable_events: u64,
    /// What these carry, in bytes before compression.
    pub removable_bytes: u64,
    /// Events that were removed.
    pub removed_events: u64,
    /// Bytes of the log that this freed.
    pub removed_bytes: u64,
}

/// What a scavenge does at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScavengePhase {
    /// It looks for what is hidden.
    #[default]
    Looking,
    /// It removes.
    Removing,
    /// Indexes and files follow.
    Compacting,
    /// It is done.
    Done,
}
