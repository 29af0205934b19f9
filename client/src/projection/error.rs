//! What ends a projection.

use super::sink::{Checkpoint, Generation, ProjectionId};
use icecore_core::{Error, Position, StoreId, StreamName};

/// An error of any kind: what handlers fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why a projection ended, or did not begin. What it had committed stays; nothing is half done.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    /// The store has another history than the checkpoint: it was restored or cut. Events that the read
    /// model shows may not exist any more, so it must be built from the start: raise the generation.
    #[error(
        "projection {projection}: its checkpoint is of store {expected}, this is store {actual}; \
         build it from the start with a higher generation"
    )]
    WrongStore {
        /// Whose checkpoint it is.
        projection: ProjectionId,
        /// The store of the checkpoint.
        expected: StoreId,
        /// The store that answers.
        actual: StoreId,
    },

    /// Another runner of the same projection has moved the checkpoint. Run one at a time; the other
    /// goes on.
    #[error(
        "projection {projection}: another runner has moved its checkpoint, this one left it at {}",
        left.map_or_else(|| "the beginning".to_owned(), |left| left.to_string())
    )]
    Fenced {
        /// Whose checkpoint it is.
        projection: ProjectionId,
        /// Where this runner had left it; `None` when it was about to make it.
        left: Option<Checkpoint>,
    },

    /// A higher generation has taken the place of this one: this program is out of date, or its work is
    /// done.
    #[error("projection {projection}: generation {live} has taken its place")]
    Superseded {
        /// What is out of date.
        projection: ProjectionId,
        /// What readers see now.
        live: Generation,
    },

    /// An event could not be handled, and the runner was told to stop at such an event.
    #[error(
        "projection {projection}: the event at position {position} of stream `{stream}` failed \
         {attempts} times: {reason}"
    )]
    Poison {
        /// The projection that stopped before the event.
        projection: ProjectionId,
        /// Where the event stands.
        position: Position,
        /// Its stream.
        stream: StreamName,
        /// How often it was tried.
        attempts: u32,
        /// Why it failed the last time.
        reason: String,
    },

    /// The sink failed in a way that does not pass, or the attempts were used up.
    #[error("projection {projection}: {error}")]
    Sink {
        /// The projection that stopped.
        projection: ProjectionId,
        /// What the database said.
        #[source]
        error: BoxError,
    },

    /// The store failed in a way that does not pass, or a value given to the runner is wrong.
    #[error("projection {projection}: {error}")]
    Store {
        /// The projection that stopped.
        projection: ProjectionId,
        /// What the store said.
        #[source]
        error: Error,
    },
}
