//! What a read model lives in, seen from the runner: checkpoints, transactions, parked events,
//! generations. It knows nothing of how a sink stores them; `memory.rs` is one that stores nothing.

use super::error::BoxError;
use bytestring::ByteString;
use icecore_core::{EventType, Position, RecordedEvent, Revision, StoreId, StreamName, Timestamp};
use std::fmt;
use uuid::Uuid;

/// Which build of a read model is meant: a number that the program raises when the read model is to be
/// built from the start once more.
///
/// The highest generation that has been swapped in is the living one. A lower one is over: its runner
/// ends with [`ProjectionError::Superseded`](crate::ProjectionError::Superseded).
///
/// ```
/// use icecore_client::Generation;
///
/// assert!(Generation::new(2) > Generation::FIRST);
/// assert_eq!(Generation::new(2).to_string(), "2");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(u32);

impl Generation {
    /// Generation 1, with which a read model begins.
    pub const FIRST: Self = Self(1);

    /// Any number.
    pub const fn new(generation: u32) -> Self {
        Self(generation)
    }

    /// The number itself.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A generation of a projection: what a checkpoint belongs to.
///
/// ```
/// use icecore_client::{Generation, ProjectionId};
///
/// let balances = ProjectionId::new("balances", Generation::new(2));
/// assert_eq!(balances.to_string(), "balances, generation 2");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProjectionId {
    /// The name of the projection.
    pub name: ByteString,
    /// The build of its read model.
    pub generation: Generation,
}

impl ProjectionId {
    /// This generation of the projection of this name.
    pub fn new(name: impl Into<ByteString>, generation: Generation) -> Self {
        Self {
            name: name.into(),
            generation,
        }
    }
}

impl fmt::Display for ProjectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, generation {}", self.name, self.generation)
    }
}

/// How far a read model is, and of which store. Without the store, a position says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The store that the position belongs to.
    pub store_id: StoreId,
    /// Everything up to here (inclusive) is in the read model.
    pub position: Position,
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "position {} of store {}", self.position, self.store_id)
    }
}

/// What a transaction does to the checkpoint of a projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advance {
    /// Where the checkpoint must stand; `None`: there must not be one yet.
    pub from: Option<Checkpoint>,
    /// Where it stands when the transaction is committed.
    pub to: Checkpoint,
}

/// What a generation is to its readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GenerationState {
    /// It is built beside the living one; nobody reads it yet.
    Building,
    /// Readers see it. At most one generation of a projection is.
    Live,
    /// Another one has taken its place, and it was kept. Nobody writes it any more.
    Retired,
}

/// A generation as its sink knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredGeneration {
    /// Which one.
    pub generation: Generation,
    /// What it is to its readers.
    pub state: GenerationState,
    /// How far it is.
    pub checkpoint: Checkpoint,
}

impl StoredGeneration {
    /// Whether readers would go back in time if `other` took the place of this one. Positions of
    /// different stores cannot be compared; the store that is there now counts.
    pub fn is_ahead_of(&self, other: &Self) -> bool {
        let (this, other) = (self.checkpoint, other.checkpoint);
        this.store_id == other.store_id && this.position > other.position
    }
}

/// What becomes of a generation when another takes its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OldGeneration {
    /// It goes in the same transaction, with its parked events.
    #[default]
    Drop,
    /// It stays as it is, to compare with, until [`Sink::forget`].
    Keep,
}

/// An event that could not be handled and was put aside, so that those after it go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedEvent {
    /// Its place in the store.
    pub position: Position,
    /// The stream it belongs to.
    pub stream: StreamName,
    /// Its place in the stream.
    pub revision: Revision,
    /// Its id.
    pub id: Uuid,
    /// Its type.
    pub event_type: EventType,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it failed the last time.
    pub reason: String,
    /// When it was parked, by the clock of the runner.
    pub parked_at: Timestamp,
}

impl ParkedEvent {
    /// An event with the reason for which it is put aside.
    pub fn new(event: &RecordedEvent, attempts: u32, reason: String, parked_at: Timestamp) -> Self {
        Self {
            position: event.position,
            stream: event.stream.clone(),
            revision: event.revision,
            id: event.id,
            event_type: event.event_type.clone(),
            attempts,
            reason,
            parked_at,
        }
    }
}

/// Why a sink did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The checkpoint does not stand where it should: somebody else has moved it, or the generation
    /// is not to be written any more. Nothing was changed.
    #[error("the checkpoint does not stand where this runner has left it")]
    Fenced,
    /// The database failed. Whether that passes is for [`Sink::passes`] to say.
    #[error("{0}")]
    Failed(#[source] BoxError),
}

impl SinkError {
    /// The database failed like this.
    ///
    /// ```
    /// use icecore_client::SinkError;
    ///
    /// let error = SinkError::failed(std::io::Error::other("disk full"));
    /// assert_eq!(error.to_string(), "disk full");
    /// ```
    pub fn failed(error: impl Into<BoxError>) -> Self {
        Self::Failed(error.into())
    }
}

/// What read models are kept in: a database with transactions. A handle: clones mean the same one.
///
/// What it must hold to:
///
/// - The read model, the checkpoint and the parked events of one transaction become visible together
///   or not at all.
/// - Of two transactions that advance the same checkpoint from the same place, one at most is
///   committed; the other gets [`SinkError::Fenced`] from `begin` or `commit`. The same is true of
///   two that take the same event out of the parked ones.
/// - Dropping a transaction rolls it back.
///
/// [`MemorySink`](crate::MemorySink) is the shortest one to read. Sinks for SQLite and PostgreSQL are
/// in the crate `icecore-projection-sqlx`.
pub trait Sink: Clone + Send + Sync + 'static {
    /// What projections write with.
    type Transaction: Send + 'static;

    /// The generations of a projection, in their order.
    fn generations(
        &self,
        projection: &str,
    ) -> impl Future<Output = Result<Vec<StoredGeneration>, SinkError>> + Send;

    /// Begins a transaction that moves the checkpoint. With `from: None` the generation begins to
    /// exist with it: as the living one if the projection has none, else as one that is built.
    fn begin(
        &self,
        projection: &ProjectionId,
        advance: &Advance,
    ) -> impl Future<Output = Result<Self::Transaction, SinkError>> + Send;

    /// Makes everything that was done in it durable. When this fails, it may have been or not.
    fn commit(
        &self,
        transaction: Self::Transaction,
    ) -> impl Future<Output = Result<(), SinkError>> + Send;

    /// Puts an event aside, as part of the transaction.
    fn park(
        &self,
        transaction: &mut Self::Transaction,
        event: &ParkedEvent,
    ) -> impl Future<Output = Result<(), SinkError>> + Send;

    /// The parked events after a position (exclusive), in their order, at most `limit` of them.
    fn parked(
        &self,
        projection: &ProjectionId,
        after: Position,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<ParkedEvent>, SinkError>> + Send;

    /// Begins a transaction in which the event at this position is not parked any more; the
    /// checkpoint stays where it is. `None` when it is not parked, or the generation is retired.
    fn begin_unparked(
        &self,
        projection: &ProjectionId,
        position: Position,
    ) -> impl Future<Output = Result<Option<Self::Transaction>, SinkError>> + Send;

    /// Shows readers this generation in place of the living one, all of its tables in one step, if it
    /// is not behind the living one; tells whether it did. A living generation of another store is
    /// never ahead.
    fn swap(
        &self,
        projection: &ProjectionId,
        old: OldGeneration,
    ) -> impl Future<Output = Result<bool, SinkError>> + Send;

    /// Removes a generation with everything it has: one that is retired, or one whose build was given
    /// up. The living one is not removed, and the answer is `false`; so it is for one that is not
    /// there.
    fn forget(
        &self,
        projection: &ProjectionId,
    ) -> impl Future<Output = Result<bool, SinkError>> + Send;

    /// Whether an error of this database, or one of a handler that comes from it, may go away by
    /// itself: the same is tried again then, and no event is blamed for it.
    fn passes(&self, error: &(dyn std::error::Error + 'static)) -> bool;
}
