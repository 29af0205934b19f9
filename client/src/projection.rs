//! Projections: read models that are built from events, each event once in effect.
//!
//! A [`Projection`] says which events it wants and what they change; a [`ProjectionRunner`] subscribes,
//! hands them over in batches, and commits what they changed together with the checkpoint. Where to
//! read on: `sink.rs` for what a read model lives in, `worker.rs` for the life of a projection,
//! `apply.rs` for its transactions, `progress.rs` for the lag, `parked.rs` for events that failed.

mod apply;
mod batch;
mod error;
mod group;
mod memory;
mod parked;
mod progress;
mod runner;
mod sink;
mod worker;

pub use batch::BatchLimits;
pub use error::{BoxError, ProjectionError};
pub use group::Projections;
pub use memory::{MemorySink, MemoryTransaction};
pub use progress::{Lag, Progress};
pub use runner::{
    PROJECTION_NAME_BYTES_MAX, PoisonPolicy, ProjectionRunner, RunningProjection, SwapPolicy,
};
pub use sink::{
    Advance, Checkpoint, Generation, GenerationState, OldGeneration, ParkedEvent, ProjectionId,
    Sink, SinkError, StoredGeneration,
};

use crate::event::Event;
use icecore_core::{Filter, RecordedEvent};

/// A read model that is built from events. `T` is the transaction of the sink that it is written to.
///
/// What it is told of:
///
/// - Events of the types that [`Self::Event`] names, an enum of its own with the variants and fields that
///   it needs, out of the streams that [`Self::filter`] lets through. Events that the server hides from
///   reads of all streams do not come.
/// - In the order of the store, one after the other. Parked events are the exception: they are left
///   out, and come at the time at which they are replayed.
/// - Each event once **in effect**: what [`Self::handle`] changes through the transaction becomes visible
///   together with the checkpoint, or not at all. When a worker dies, or a batch fails, the same
///   events are handed over again, on a read model that knows nothing of the first time. What a
///   handler does elsewhere (a mail, a call) happens at least once; that is the work of a process
///   manager, not of a projection.
///
/// One runner of a projection at a time: a second one that moves the same checkpoint is found out by the
/// next transaction of the other, which ends with
/// [`ProjectionError::Fenced`](crate::ProjectionError::Fenced). A runner that has not committed anything
/// yet looks for the checkpoint once more first, since the last commit of a worker that was killed may
/// come late.
///
/// ```
/// use icecore_client::{BoxError, Event, MemoryTransaction, Projection, RecordedEvent};
/// use serde::{Deserialize, Serialize};
/// use std::collections::BTreeMap;
///
/// #[derive(Serialize, Deserialize)]
/// enum BalanceEvent {
///     Deposited { cents: i64 },
///     Withdrawn { cents: i64 },
/// }
///
/// impl Event for BalanceEvent {}
///
/// struct Balances;
///
/// type Model = MemoryTransaction<BTreeMap<String, i64>>;
///
/// impl Projection<Model> for Balances {
///     type Event = BalanceEvent;
///
///     fn name(&self) -> &str {
///         "balances"
///     }
///
///     async fn handle(
///         &self,
///         balances: &mut Model,
///         event: BalanceEvent,
///         recorded: &RecordedEvent,
///     ) -> Result<(), BoxError> {
///         let change = match event {
///             BalanceEvent::Deposited { cents } => cents,
///             BalanceEvent::Withdrawn { cents } => -cents,
///         };
///         *balances.entry(recorded.stream.to_string()).or_default() += change;
///         Ok(())
///     }
/// }
/// ```
pub trait Projection<T>: Send + Sync + 'static {
    /// The events that it wants to see.
    type Event: Event;

    /// The name under which its checkpoint is kept, at most [`PROJECTION_NAME_BYTES_MAX`] bytes. Another
    /// name is another read model.
    fn name(&self) -> &str;

    /// Which streams and events it sees, beside their types: a category, a prefix, tags. Everything
    /// unless said otherwise. Types that are said here take the place of those of [`Self::Event`].
    fn filter(&self) -> Filter {
        Filter::default()
    }

    /// Makes what the handler writes to, once for each generation: tables, indexes. Part of the
    /// transaction that makes the checkpoint. Does nothing unless said otherwise.
    fn set_up(&self, transaction: &mut T) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = transaction;
        async { Ok(()) }
    }

    /// Changes the read model as the event says, through the transaction only.
    ///
    /// # Errors
    ///
    /// Whatever goes wrong. An error of the database that passes ([`Sink::passes`]) is waited out; with
    /// any other the event is tried again by itself, and then the
    /// [`PoisonPolicy`](crate::PoisonPolicy) decides. A panic counts as an error.
    fn handle(
        &self,
        transaction: &mut T,
        event: Self::Event,
        recorded: &RecordedEvent,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;
}
