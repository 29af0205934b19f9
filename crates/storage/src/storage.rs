//! The trait that an engine implements, and the few types that only pass this border.

use crate::correlation_id;
use async_trait::async_trait;
use icecore_core::{
    Category, CorrelationId, Direction, EventType, Hash, LogEntry, Page, PageLimit, Position,
    RecordedEvent, Result, Revision, SharedEvents, StoreId, StreamName, Tag,
};
use tokio::sync::watch;

/// Where events live. One implementation per engine; each passes the `contract` suite.
///
/// Reads come in pages, so that no engine view outlives a call; they may be called from any task and
/// never hold one up for longer than an engine needs in memory (slow work goes to blocking threads).
/// Readers see only what is durable, and nothing of a position whose event was removed.
#[async_trait]
pub trait Storage: Send + Sync + 'static {
    /// Which history of events this is.
    fn store_id(&self) -> StoreId;

    /// Becomes the one writer; whoever led before is fenced from now on.
    ///
    /// # Errors
    ///
    /// `Unavailable` while the engine cannot take writes; after a failed sync for ever.
    async fn lead(&self) -> Result<Lease>;

    /// Whether the engine has room for new events. The writer asks before it takes an append that
    /// would write, so the answer comes from memory. It is no promise about a commit, and a commit
    /// does not depend on it: what was taken before is written.
    ///
    /// # Errors
    ///
    /// `Unavailable` with what the operator can do about it. Nothing was written.
    fn admits_writes(&self) -> Result<()> {
        Ok(())
    }

    /// Makes the appends durable and then visible, in order, each whole or absent.
    ///
    /// `after` is the last position that the caller knows; the first event stands right after it.
    /// Numbers are the caller's: positions dense, revisions dense per stream but for a tombstone.
    /// The engine may need several syncs for a large group; it answers when all of it is durable.
    async fn commit(
        &self,
        lease: &Lease,
        after: Position,
        appends: Vec<NumberedAppend>,
    ) -> Committed;

    /// Events of the whole store. `from` is inclusive. Backwards from beyond the end starts at the
    /// last event. See [`Page`] for `next` and `end`.
    async fn read_all(
        &self,
        from: Position,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<Page>;

    /// Events of one stream. `from` is inclusive. Forwards, a tombstone follows the last ordinary
    /// event; backwards from [`Revision::TOMBSTONE`] or beyond the end starts at the last event. A
    /// stream that does not exist is an empty page with `end`.
    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Revision,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<Page<Revision>>;

    /// Events that carry an index term, in global order. `from` is inclusive.
    async fn read_term(
        &self,
        term: &IndexTerm,
        from: Position,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<Page>;

    /// Where each of these streams ends, in the same order; `None` for one that has no event. The
    /// answers hold at least everything up to the last position that was visible at the call.
    async fn stream_tails(&self, streams: &[StreamName]) -> Result<Vec<Option<StreamTail>>>;

    /// Names of streams that begin with `prefix` and come after `after` (exclusive) in byte order.
    async fn stream_names(
        &self,
        prefix: &str,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<StreamNamePage>;

    /// Categories after `after` (exclusive) in byte order.
    async fn categories(&self, after: Option<&Category>, limit: usize) -> Result<CategoryPage>;

    /// The log as it is stored, removed positions included, for those who verify, copy or hash it. It
    /// is read from where it is durable, past all caches. `from` is inclusive. Damage is an answer
    /// here: what cannot be read is named, and the next page begins behind it.
    async fn read_log(&self, from: Position, limit: PageLimit) -> Result<LogPage>;

    /// Compares the indexes with the log, a bounded step at a time, from a position (inclusive) on.
    async fn check_index(&self, from: Position) -> Result<IndexCheck>;

    /// Takes payloads or whole events out of the log, caches included; durable when it returns.
    /// Positions ascend and are visible ones. What is gone already stays so. Of a stream only the
    /// beginning is removed, never its last event, so that its revisions go on. Indexes may still
    /// name what was removed until [`Self::compact`]; readers do not see it.
    ///
    /// # Errors
    ///
    /// `Unavailable` when another leads or writing has stopped; `Corrupted` when an event's chunk
    /// cannot be read. Some of the removals may have happened then.
    async fn remove(&self, lease: &Lease, removals: Vec<Removal>) -> Result<Removed>;

    /// Lets indexes and files follow what was removed between two positions (both inclusive), in
    /// steps that hold up nobody. When it returns, no index names the tags of an erased event in the
    /// range or a removed event, but the first event of a stream may be named on.
    async fn compact(&self, lease: &Lease, first: Position, last: Position) -> Result<()>;

    /// Takes in the log of another store, as [`Self::read_log`] gave it, from `after` on. Like
    /// [`Self::commit`] else.
    async fn restore(&self, lease: &Lease, after: Position, entries: Vec<LogEntry>) -> Committed;

    /// The roots of whole subtrees of [`SUBTREE_LEAVES`] events that were kept, from subtree `from`
    /// (inclusive) on, at most [`ROOTS_PER_GROUP`] and only those that follow each other.
    async fn subtree_roots(&self, from: u64) -> Result<Vec<Hash>>;

    /// Keeps the roots of [`ROOTS_PER_GROUP`] subtrees; `group` counts such groups from 0. They can
    /// be computed from the log at any time, so they need not be durable when it returns.
    async fn keep_roots(&self, lease: &Lease, group: u64, roots: Vec<Hash>) -> Result<()>;

    /// The last position that may be shown. It changes after each commit, of this writer or, in an
    /// engine that is shared, of another.
    fn last_position(&self) -> watch::Receiver<Position>;

    /// Whether the engine can serve and take writes.
    fn health(&self) -> Health;

    /// What the engine tells about itself, for operators.
    async fn stats(&self) -> Result<Stats>;

    /// Makes what is acknowledged safe against a restart that needs repair, and lets go of files.
    /// Commits after it fail.
    async fn close(&self) -> Result<()>;
}

/// Events under one kept root of the tree over all events.
pub const SUBTREE_LEAVES: u64 = 256;

/// Roots that are kept together.
pub const ROOTS_PER_GROUP: usize = 128;

/// A stretch of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    /// The entries, in order; those before `damage`.
    pub entries: Vec<LogEntry>,
    /// What could not be read behind them.
    pub damage: Option<Damage>,
    /// Where the next page begins (inclusive).
    pub next: Position,
    /// There is no more.
    pub end: bool,
}

/// Stored data that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The first position that is concerned.
    pub first: Position,
    /// The last position that is concerned, inclusive.
    pub last: Position,
    /// What is wrong.
    pub reason: String,
}

/// What a step of checking the indexes found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexCheck {
    /// Where indexes and log do not agree.
    pub damage: Vec<Damage>,
    /// Where the next step begins (inclusive).
    pub next: Position,
    /// There is no more.
    pub end: bool,
}

/// What is taken out of the log at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removal {
    /// Where.
    pub position: Position,
    /// How much of it.
    pub kind: RemovalKind,
}

/// How much of an event goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovalKind {
    /// Data, metadata and tags.
    Payload,
    /// All of it but the leaf hash.
    Event,
}

/// What removals did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Positions that were changed.
    pub positions: u64,
    /// Stored bytes of the log that this freed, before compaction.
    pub bytes: u64,
}

/// The right to write, fenced by an epoch: a later one makes this one worthless.
#[derive(Debug, PartialEq, Eq)]
pub struct Lease {
    /// Grows with each leader.
    pub epoch: u64,
}

/// Events that are written together or not at all. Never empty; position, revision and recorded
/// time are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberedAppend {
    /// The events, in the order of their positions; shared with those who deliver them live.
    pub events: SharedEvents,
}

/// How a commit ended.
#[derive(Clone, Debug)]
pub enum Committed {
    /// Everything is durable and visible.
    Done,
    /// Somebody else leads; nothing was written.
    Fenced,
    /// It cannot be said what was written: drop what you believe and lead again.
    Unknown(icecore_core::Error),
}

/// What an index can be asked for, beside a stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IndexTerm {
    /// Streams of this category.
    Category(Category),
    /// Events of this type.
    EventType(EventType),
    /// Events with this tag.
    Tag(Tag),
    /// The first event of each stream.
    FirstEvent,
    /// Events whose metadata has this correlation id, see [`crate::correlation_id`].
    Correlation(CorrelationId),
}

impl IndexTerm {
    /// Whether it finds this event.
    pub fn holds(&self, event: &RecordedEvent) -> bool {
        match self {
            Self::Category(category) => event.stream.category().as_ref() == Some(category),
            Self::EventType(event_type) => event.event_type == *event_type,
            Self::Tag(tag) => event.tags.contains(tag),
            Self::FirstEvent => event.revision == Revision::FIRST,
            Self::Correlation(id) => correlation_id(&event.metadata).as_ref() == Some(id),
        }
    }

    /// Whether an event that is erased is no longer found by it.
    pub fn goes_with_payload(&self) -> bool {
        matches!(self, Self::Tag(_) | Self::Correlation(_))
    }
}

/// Where a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamTail {
    /// Revision of its last event; [`Revision::TOMBSTONE`] when it is closed.
    pub last_revision: Revision,
    /// Position of its last event.
    pub last_position: Position,
}

/// Some stream names, in byte order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamNamePage {
    /// The names.
    pub names: Vec<StreamName>,
    /// There are no more.
    pub end: bool,
}

/// Some categories, in byte order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CategoryPage {
    /// The categories.
    pub categories: Vec<Category>,
    /// There are no more.
    pub end: bool,
}

/// Whether an engine can do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It reads and writes.
    Healthy,
    /// It reads and writes, but an operator should know this.
    Degraded(String),
    /// What it was asked to write does not end; it may yet do so.
    Stalled(String),
    /// It takes no writes any more; a restart is needed.
    Failed(String),
}

/// What an engine tells about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// The last position that may be shown.
    pub last_position: Position,
    /// Streams that have had an event, system streams included; about, once events were removed.
    pub streams: u64,
    /// Bytes on disk; 0 for an engine without one.
    pub disk_bytes: u64,
    /// What only this engine has, by name.
    pub details: Vec<StatValue>,
}

/// One figure of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatValue {
    /// Lower case with underscores and the unit last, like `index_tail_events`.
    pub name: &'static str,
    /// The figure.
    pub value: u64,
}
