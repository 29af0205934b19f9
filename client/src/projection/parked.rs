//! What operators do about a projection: look at parked events, replay or discard them, swap and drop
//! generations by hand. All of it works beside a runner of the same projection.

use super::Projection;
use super::apply::handle;
use super::error::{BoxError, ProjectionError};
use super::runner::{ProjectionRunner, store_error};
use super::sink::{
    Generation, OldGeneration, ParkedEvent, ProjectionId, Sink, SinkError, StoredGeneration,
};
use icecore_core::{Error, Filter, Position, Read, ReadFrom, RecordedEvent};

impl<P: Projection<S::Transaction>, S: Sink> ProjectionRunner<P, S> {
    /// The parked events of this generation after a position (exclusive), in their order, at most
    /// `limit` of them.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Sink`].
    pub async fn parked(
        &self,
        after: Position,
        limit: u32,
    ) -> Result<Vec<ParkedEvent>, ProjectionError> {
        let parked = self.sink.parked(&self.id(), after, limit).await;
        parked.map_err(|error| self.of_sink(error))
    }

    /// Hands a parked event over once more, on the read model of today; if that works it is not
    /// parked any more. `false` when there is no such parked event.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Poison`] when it fails again: it stays parked.
    pub async fn replay(&self, position: Position) -> Result<bool, ProjectionError> {
        let of = self.id();
        let begun = self.sink.begin_unparked(&of, position).await;
        let Some(mut transaction) = begun.map_err(|error| self.of_sink(error))? else {
            return Ok(false);
        };
        let event = self.event_at(position).await?;
        let handled = handle(&*self.projection, &mut transaction, &event).await;
        handled.map_err(|error| poisoned(of, &event, &error))?;
        let committed = self.sink.commit(transaction).await;
        committed.map_err(|error| self.of_sink(error))?;
        Ok(true)
    }

    /// Gives a parked event up: it is not parked any more, and the read model goes without it. `false`
    /// when there is no such parked event.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Sink`].
    pub async fn discard(&self, position: Position) -> Result<bool, ProjectionError> {
        let begun = self.sink.begin_unparked(&self.id(), position).await;
        let Some(transaction) = begun.map_err(|error| self.of_sink(error))? else {
            return Ok(false);
        };
        let committed = self.sink.commit(transaction).await;
        committed.map_err(|error| self.of_sink(error))?;
        Ok(true)
    }

    /// The generations of this projection that the sink knows.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Sink`].
    pub async fn generations(&self) -> Result<Vec<StoredGeneration>, ProjectionError> {
        let generations = self.sink.generations(self.projection.name()).await;
        generations.map_err(|error| self.of_sink(error))
    }

    /// Shows readers this generation in place of the living one. `false` when it is behind that one:
    /// nothing was changed, try again.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Fenced`] when there is no such generation, or it is retired.
    pub async fn swap(&self, old: OldGeneration) -> Result<bool, ProjectionError> {
        let swapped = self.sink.swap(&self.id(), old).await;
        swapped.map_err(|error| self.of_sink(error))
    }

    /// Removes a generation that was kept, or whose build was given up. `false` when readers see it, or
    /// it is not there.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Sink`].
    pub async fn forget(&self, generation: Generation) -> Result<bool, ProjectionError> {
        let of = ProjectionId {
            generation,
            ..self.id()
        };
        let forgotten = self.sink.forget(&of).await;
        forgotten.map_err(|error| self.of_sink(error))
    }

    async fn event_at(&self, position: Position) -> Result<RecordedEvent, ProjectionError> {
        let read = Read {
            from: ReadFrom::All(Some(position)),
            filter: Filter::everything(),
            limit: Some(1),
            ..Read::all()
        };
        let events = self.client.read(read).await;
        let first = events.map(|events| events.into_iter().next());
        match first {
            Ok(Some(event)) if event.position == position => Ok(event),
            Ok(_) => {
                let gone = format!("the event at position {position} was removed; discard it");
                Err(store_error(&self.id(), Error::invalid("position", gone)))
            }
            Err(error) => Err(store_error(&self.id(), error)),
        }
    }

    fn of_sink(&self, error: SinkError) -> ProjectionError {
        let projection = self.id();
        match error {
            SinkError::Fenced => ProjectionError::Fenced {
                projection,
                left: None,
            },
            SinkError::Failed(error) => ProjectionError::Sink { projection, error },
        }
    }
}

fn poisoned(projection: ProjectionId, event: &RecordedEvent, error: &BoxError) -> ProjectionError {
    ProjectionError::Poison {
        projection,
        position: event.position,
        stream: event.stream.clone(),
        attempts: 1,
        reason: error.to_string(),
    }
}
