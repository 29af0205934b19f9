//! The sink: transactions on a pool, and the order in which the books are kept. Nothing here knows which
//! database it is.

use crate::books;
use crate::session::{Dialect, passes};
use crate::transaction::SqlTransaction;
use icecore_client::{
    Advance, GenerationState, OldGeneration, ParkedEvent, Position, ProjectionId, Sink, SinkError,
    StoredGeneration,
};
use sqlx::{Error, Pool, Transaction};
use std::fmt;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// Read models in a database that sqlx knows: [`SqliteSink`](crate::SqliteSink) and
/// [`PostgresSink`](crate::PostgresSink). Clones share the pool.
pub struct SqlSink<D: Dialect> {
    pool: Pool<D>,
    /// Set when the sink's own tables are there.
    ready: Arc<OnceCell<()>>,
}

impl<D: Dialect> SqlSink<D> {
    /// A sink in the database of this pool. Its own tables are made when they are needed first.
    pub fn new(pool: Pool<D>) -> Self {
        Self {
            pool,
            ready: Arc::default(),
        }
    }

    /// The pool, to read with.
    pub fn pool(&self) -> &Pool<D> {
        &self.pool
    }

    /// A transaction that is going to write, with the sink's own tables there.
    async fn write(&self) -> Result<Transaction<'static, D>, SinkError> {
        self.ready.get_or_try_init(|| self.create()).await?;
        self.pool.begin_with(D::BEGIN).await.map_err(failed)
    }

    async fn create(&self) -> Result<(), SinkError> {
        let mut transaction = self.pool.begin_with(D::BEGIN).await.map_err(failed)?;
        books::create::<D>(&mut transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }
}

impl<D: Dialect> Sink for SqlSink<D> {
    type Transaction = SqlTransaction<D>;

    async fn generations(&self, projection: &str) -> Result<Vec<StoredGeneration>, SinkError> {
        self.ready.get_or_try_init(|| self.create()).await?;
        let mut connection = self.pool.acquire().await.map_err(failed)?;
        let generations = books::generations::<D>(&mut connection, projection, "");
        generations.await.map_err(failed)
    }

    async fn begin(
        &self,
        projection: &ProjectionId,
        advance: &Advance,
    ) -> Result<SqlTransaction<D>, SinkError> {
        let mut transaction = self.write().await?;
        let advanced = books::advance::<D>(&mut transaction, projection, advance);
        if !advanced.await.map_err(failed)? {
            return Err(SinkError::Fenced);
        }
        Ok(SqlTransaction {
            transaction,
            projection: projection.clone(),
        })
    }

    async fn commit(&self, transaction: SqlTransaction<D>) -> Result<(), SinkError> {
        transaction.transaction.commit().await.map_err(failed)
    }

    async fn park(
        &self,
        transaction: &mut SqlTransaction<D>,
        event: &ParkedEvent,
    ) -> Result<(), SinkError> {
        let SqlTransaction {
            transaction,
            projection,
        } = transaction;
        let parked = books::park::<D>(transaction, projection, event);
        parked.await.map_err(failed)
    }

    async fn parked(
        &self,
        projection: &ProjectionId,
        after: Position,
        limit: u32,
    ) -> Result<Vec<ParkedEvent>, SinkError> {
        self.ready.get_or_try_init(|| self.create()).await?;
        let mut connection = self.pool.acquire().await.map_err(failed)?;
        let parked = books::parked::<D>(&mut connection, projection, after, limit);
        parked.await.map_err(failed)
    }

    async fn begin_unparked(
        &self,
        projection: &ProjectionId,
        position: Position,
    ) -> Result<Option<SqlTransaction<D>>, SinkError> {
        let mut transaction = self.write().await?;
        // The row of the checkpoint first, as the runner has it: the two wait for each other.
        let state = books::state_of::<D>(&mut transaction, projection);
        let state = state.await.map_err(failed)?;
        if state.is_none_or(|state| state == GenerationState::Retired) {
            return Ok(None);
        }
        let unparked = books::unpark::<D>(&mut transaction, projection, position);
        let unparked = unparked.await.map_err(failed)?;
        Ok(unparked.then(|| SqlTransaction {
            transaction,
            projection: projection.clone(),
        }))
    }

    async fn swap(&self, projection: &ProjectionId, old: OldGeneration) -> Result<bool, SinkError> {
        let mut transaction = self.write().await?;
        let stored = books::generations::<D>(&mut transaction, &projection.name, D::FOR_UPDATE);
        let stored = stored.await.map_err(failed)?;
        let mut stored_new = stored.iter();
        let new = stored_new.find(|stored| stored.generation == projection.generation);
        let live = stored
            .iter()
            .find(|stored| stored.state == GenerationState::Live);
        match (new.map(|new| (new, new.state)), live) {
            (None | Some((_, GenerationState::Retired)), _) => return Err(SinkError::Fenced),
            (Some((_, GenerationState::Live)), _) => return Ok(true),
            (Some((new, _)), Some(live)) if live.is_ahead_of(new) => return Ok(false),
            _ => {}
        }
        let live = live.map(|live| ProjectionId {
            generation: live.generation,
            ..projection.clone()
        });
        let swapped = take_place::<D>(&mut transaction, projection, live.as_ref(), old);
        swapped.await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(true)
    }

    async fn forget(&self, projection: &ProjectionId) -> Result<bool, SinkError> {
        let mut transaction = self.write().await?;
        let state = books::state_of::<D>(&mut transaction, projection);
        let state = state.await.map_err(failed)?;
        if state.is_none_or(|state| state == GenerationState::Live) {
            return Ok(false);
        }
        let removed = books::remove::<D>(&mut transaction, projection);
        removed.await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(true)
    }

    fn passes(&self, error: &(dyn std::error::Error + 'static)) -> bool {
        passes::<D>(error)
    }
}

/// Shows one generation in place of another.
async fn take_place<D: Dialect>(
    connection: &mut D::Connection,
    new: &ProjectionId,
    live: Option<&ProjectionId>,
    old: OldGeneration,
) -> Result<(), Error> {
    books::point_views::<D>(connection, new, live).await?;
    if let Some(live) = live {
        match old {
            OldGeneration::Drop => books::remove::<D>(connection, live).await?,
            OldGeneration::Keep => {
                books::set_state::<D>(connection, live, GenerationState::Retired).await?;
            }
        }
    }
    books::set_state::<D>(connection, new, GenerationState::Live).await
}

fn failed(error: Error) -> SinkError {
    SinkError::failed(error)
}

impl<D: Dialect> Clone for SqlSink<D> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            ready: Arc::clone(&self.ready),
        }
    }
}

impl<D: Dialect> fmt::Debug for SqlSink<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlSink").finish_non_exhaustive()
    }
}
