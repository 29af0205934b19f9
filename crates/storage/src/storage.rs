//! The trait that an engine implements, and the few types that only pass this border.

use async_trait::async_trait;
use icecore_core::{
    Category, Direction, EventType, Page, PageLimit, Position, RecordedEvent, Result, Revision,
    StoreId, StreamName, Tag,
};
use std::sync::Arc;
use tokio::sync::watch;

/// Where events live. One implementation per engine; each passes the `contract` suite.
///
/// Reads come in pages, so that no engine view outlives a call; they may be called from any task and
/// never hold one up for longer than an engine needs in memory (slow work goes to blocking threads).
/// Readers see only what is durable.
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
    pub events: Arc<[RecordedEvent]>,
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
    /// It takes no writes any more; a restart is needed.
    Failed(String),
}

/// What an engine tells about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// The last position that may be shown.
    pub last_position: Position,
    /// Streams that have had an event, system streams included.
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
