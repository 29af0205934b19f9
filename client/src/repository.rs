//! Repositories: aggregates that are loaded from their streams. What is done with them stands in
//! `repository/`: `loaded.rs` decides, `changes.rs` appends, `execute.rs` does both and again,
//! `history.rs` looks back. Snapshots: `snapshot.rs`.

mod changes;
mod execute;
mod history;
mod loaded;

pub use changes::Changes;
pub use execute::{Effect, ExecuteCall, ExecuteError, Executed};
pub use history::{At, TypedEvent};
pub use loaded::Loaded;

pub(crate) use changes::event_id;
pub(crate) use execute::Attempts;

use crate::aggregate::Aggregate;
use crate::client::Client;
use crate::read::ReadCall;
use crate::retry::RetryPolicy;
use crate::snapshot::{self, Snapshot, SnapshotPolicy, Snapshots};
use futures::TryStreamExt;
use icecore_core::{
    Category, DeleteKind, Error, ExpectedRevision, RecordedEvent, Result, Revision, StreamName,
};
use std::fmt::{self, Display};

/// The aggregates of one kind. Cheap to clone.
pub struct Repository<A: Aggregate> {
    client: Client,
    conflicts: RetryPolicy,
    snapshots: Option<Snapshots<A>>,
}

impl<A: Aggregate> Repository<A> {
    /// The aggregates of a store, without snapshots.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            conflicts: RetryPolicy::CONFLICTS,
            snapshots: None,
        }
    }

    /// How often a command is decided anew, when others are faster; [`RetryPolicy::CONFLICTS`] unless
    /// set.
    #[must_use]
    pub fn conflicts(mut self, policy: RetryPolicy) -> Self {
        self.conflicts = policy;
        self
    }

    /// Takes snapshots, and loads from them.
    #[must_use]
    pub fn snapshots(mut self, policy: SnapshotPolicy) -> Self
    where
        A: Snapshot,
    {
        self.snapshots = Some(Snapshots::new(policy));
        self
    }

    /// The stream of an aggregate.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, when category and id make no name of a stream, or the id is empty.
    pub fn stream(&self, id: impl Display) -> Result<StreamName> {
        let category = Category::new(A::CATEGORY)?;
        let id = id.to_string();
        if id.is_empty() {
            return Err(Error::invalid("id", "is empty"));
        }
        StreamName::new(format!("{category}-{id}"))
    }

    /// The aggregate as it is now. One that has no events yet is what `Default` says.
    ///
    /// # Errors
    ///
    /// Those of a read; `StreamDeleted`; `InvalidArgument` for an event that cannot be read (see
    /// [`crate::decode`]).
    pub async fn load(&self, id: impl Display) -> Result<Loaded<A>> {
        self.load_stream(self.stream(id)?).await
    }

    /// Deletes an aggregate and its snapshots. Snapshots are not deleted with a stream that is deleted in
    /// another way.
    ///
    /// # Errors
    ///
    /// As [`Client::delete`].
    pub async fn delete(
        &self,
        id: impl Display,
        expected: ExpectedRevision,
        kind: DeleteKind,
    ) -> Result<()> {
        let stream = self.stream(id)?;
        // Before, so that none stays when this breaks off, and behind, for one that is just being taken.
        snapshot::delete_of(&self.client, &stream).await?;
        self.client.delete(&stream, expected, kind).await?;
        snapshot::delete_of(&self.client, &stream).await
    }

    /// Makes its snapshot void, because an event was erased that the state still knows. The next load reads
    /// the events; what the old snapshot held is hidden, and removed by the next scavenge.
    ///
    /// # Errors
    ///
    /// As [`Client::append`].
    pub async fn clear_snapshot(&self, id: impl Display) -> Result<()> {
        crate::snapshot::clear(&self.client, &self.stream(id)?).await
    }

    pub(crate) async fn load_stream(&self, stream: StreamName) -> Result<Loaded<A>> {
        if let Some(snapshots) = &self.snapshots {
            return snapshots.load(&self.client, stream).await;
        }
        let mut loaded = Loaded::new(stream);
        read_on(&self.client, &mut loaded).await?;
        Ok(loaded)
    }
}

/// Takes over what the stream has after what is loaded; a stream that is gone has nothing. When what can be
/// seen begins behind what is loaded, it is all there is.
pub(crate) async fn read_on<A: Aggregate>(client: &Client, loaded: &mut Loaded<A>) -> Result<()> {
    let from = loaded.next_revision();
    let read = client.read_stream(loaded.stream()).from(from);
    let exists = each_batch(read, |events| {
        let first = events.first().map(|event| event.revision);
        if loaded.revision().is_some() && first > Some(loaded.next_revision()) {
            *loaded = Loaded::new(loaded.stream().clone());
        }
        loaded.take_all(&events)
    })
    .await?;
    if !exists {
        *loaded = Loaded::new(loaded.stream().clone());
    } else if loaded.revision().is_none() {
        // All of its events are hidden, by age or truncation. The next one comes behind them.
        let info = client.get_stream(loaded.stream()).await?;
        loaded.stand_behind(info.state.last_revision());
    }
    Ok(())
}

/// Reads a stream batch by batch, and says whether there is one.
pub(crate) async fn each_batch(
    read: ReadCall<Revision>,
    mut take: impl FnMut(Vec<RecordedEvent>) -> Result<()>,
) -> Result<bool> {
    let mut batches = read.batches();
    loop {
        match batches.try_next().await {
            Ok(Some(batch)) => take(batch.events)?,
            Ok(None) => return Ok(true),
            Err(Error::StreamNotFound { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

impl<A: Aggregate> Clone for Repository<A> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            conflicts: self.conflicts,
            snapshots: self.snapshots.clone(),
        }
    }
}

impl<A: Aggregate> fmt::Debug for Repository<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repository")
            .field("category", &A::CATEGORY)
            .field("snapshots", &self.snapshots)
            .finish_non_exhaustive()
    }
}
