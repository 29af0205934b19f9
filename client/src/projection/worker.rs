//! The life of a projection: find the checkpoint, subscribe after it, apply batch after batch, swap,
//! stop. What a transaction is and what becomes of one that fails: `apply.rs`.

use super::Projection;
use super::batch::{Batch, Intake};
use super::error::{BoxError, ProjectionError};
use super::progress::Meter;
use super::runner::{ProjectionRunner, SwapPolicy, store_error};
use super::sink::{Checkpoint, GenerationState, ProjectionId, Sink, SinkError, StoredGeneration};
use futures::future::{BoxFuture, Shared};
use icecore_core::{Error, Filter, Position, Start};
use std::convert::Infallible;
use tokio::time::{Instant, sleep, sleep_until};

/// Done when the projection shall stop; everybody who waits has a clone.
pub(super) type Stop<'a> = Shared<BoxFuture<'a, ()>>;

/// Why a projection is over.
pub(super) enum End {
    /// It was told to stop.
    Stopped,
    /// It cannot go on.
    Failed(Box<ProjectionError>),
}

impl End {
    fn is_fenced(&self) -> bool {
        let Self::Failed(error) = self else {
            return false;
        };
        matches!(**error, ProjectionError::Fenced { .. })
    }
}

impl From<ProjectionError> for End {
    fn from(error: ProjectionError) -> Self {
        Self::Failed(Box::new(error))
    }
}

/// A projection under way.
pub(super) struct Worker<'a, P, S> {
    pub(super) runner: &'a ProjectionRunner<P, S>,
    pub(super) of: &'a ProjectionId,
    filter: &'a Filter,
    pub(super) meter: &'a Meter,
    stop: Stop<'a>,
    /// Where the sink has it; `None` before the generation is set up.
    pub(super) checkpoint: Option<Checkpoint>,
    /// When the checkpoint was written last, or was found to be where it should be.
    pub(super) written: Instant,
    /// Whether readers see this generation.
    live: bool,
    caught_up: bool,
    /// Whether a transaction of this runner was committed.
    pub(super) committed: bool,
}

impl<'a, P: Projection<S::Transaction>, S: Sink> Worker<'a, P, S> {
    pub(super) fn new(
        runner: &'a ProjectionRunner<P, S>,
        of: &'a ProjectionId,
        filter: &'a Filter,
        meter: &'a Meter,
        stop: Stop<'a>,
    ) -> Self {
        Self {
            runner,
            of,
            filter,
            meter,
            stop,
            checkpoint: None,
            written: Instant::now(),
            live: false,
            caught_up: false,
            committed: false,
        }
    }

    /// Runs until it is told to stop or cannot go on.
    pub(super) async fn run(mut self) -> Result<(), ProjectionError> {
        let Err(mut end) = self.work().await;
        if !self.committed && end.is_fenced() {
            // The last commit of a worker that was killed may take effect after this one has looked.
            tracing::warn!(projection = %self.of, "somebody moved the checkpoint, starting over");
            Err(end) = self.work().await;
        }
        let checkpoint = self.checkpoint.map(|checkpoint| checkpoint.position);
        match end {
            End::Stopped => {
                tracing::info!(projection = %self.of, ?checkpoint, "projection stopped");
                Ok(())
            }
            End::Failed(error) => {
                tracing::error!(projection = %self.of, ?checkpoint, %error, "projection failed");
                Err(*error)
            }
        }
    }

    async fn work(&mut self) -> Result<Infallible, End> {
        self.find_checkpoint().await?;
        let mut intake = self.subscribe().await?;
        loop {
            if let Some(batch) = self.next_batch(&mut intake).await? {
                self.take(batch).await?;
            } else {
                self.save(intake.looked()).await?;
                self.check().await?;
            }
            self.swap_if_due(intake.looked()).await?;
        }
    }

    /// Where the read model stands, if there is one.
    async fn find_checkpoint(&mut self) -> Result<(), End> {
        let generations = self.generations().await?;
        if let Some(error) = superseded(self.of, &generations) {
            return Err(error.into());
        }
        let stored = find(self.of, &generations);
        self.checkpoint = stored.map(|stored| stored.checkpoint);
        if let Some(stored) = stored {
            self.live = stored.state == GenerationState::Live;
            let live = self.live;
            self.meter.update(|progress| progress.live = live);
            self.meter.reached(stored.checkpoint.position);
        }
        Ok(())
    }

    /// Opens the subscription, and sets the read model up if there is none.
    async fn subscribe(&mut self) -> Result<Intake, End> {
        let mut call = self.runner.client.subscribe_all();
        if let Some(checkpoint) = self.checkpoint {
            call = call
                .starting(Start::After(checkpoint.position))
                .store_id(checkpoint.store_id);
        }
        let after = self.checkpoint.map(|checkpoint| checkpoint.position);
        let mut intake = Intake::new(
            call.filter(self.filter.clone()).start(),
            after.unwrap_or_default(),
            self.runner.settings.limits,
        );
        let confirmed = tokio::select! {
            biased;
            () = self.stop.clone() => return Err(End::Stopped),
            confirmed = intake.store_id() => confirmed,
        };
        let store_id = confirmed.map_err(|error| self.of_store(error))?;
        tracing::info!(projection = %self.of, ?after, %store_id, "projection started");
        if self.checkpoint.is_none() {
            self.set_up(Checkpoint {
                store_id,
                position: Position::START,
            })
            .await?;
            self.check().await?;
        }
        Ok(intake)
    }

    /// The next batch; `None` when it is time to write the checkpoint without one.
    async fn next_batch(&mut self, intake: &mut Intake) -> Result<Option<Batch>, End> {
        let save_at = self.written + self.runner.settings.checkpoint_interval;
        tokio::select! {
            biased;
            () = self.stop.clone() => {
                self.save(intake.looked()).await?;
                Err(End::Stopped)
            }
            batch = intake.next() => match batch {
                Ok(batch) => Ok(Some(batch)),
                Err(error) => Err(self.of_store(error)),
            },
            () = sleep_until(save_at) => Ok(None),
        }
    }

    async fn take(&mut self, batch: Batch) -> Result<(), End> {
        let Batch {
            events,
            until,
            caught_up,
        } = batch;
        if !events.is_empty() {
            let (stop, grace) = (self.stop.clone(), self.runner.settings.grace);
            tokio::select! {
                biased;
                applied = self.apply(&events, until) => applied?,
                () = async { stop.await; sleep(grace).await } => return Err(End::Stopped),
            }
        }
        self.meter.reached(until);
        if caught_up && !self.caught_up {
            self.caught_up = true;
            self.meter.update(|progress| progress.caught_up = true);
            tracing::info!(projection = %self.of, position = %until, "projection caught up");
        }
        Ok(())
    }

    /// Moves the checkpoint over a stretch without events of this projection.
    async fn save(&mut self, looked: Position) -> Result<(), End> {
        let ahead = |checkpoint: Checkpoint| looked > checkpoint.position;
        if self.checkpoint.is_some_and(ahead) {
            self.apply(&[], looked).await?;
        }
        self.written = Instant::now();
        Ok(())
    }

    /// Looks whether the generation is still this runner's to write. With events of its own the next
    /// transaction would find that out; nobody says when they come.
    async fn check(&mut self) -> Result<(), End> {
        let left = self.checkpoint;
        self.find_checkpoint().await?;
        if self.checkpoint == left {
            Ok(())
        } else {
            self.checkpoint = left;
            Err(self.was_moved())
        }
    }

    async fn swap_if_due(&mut self, looked: Position) -> Result<(), End> {
        let SwapPolicy::WhenCaughtUp(old) = self.runner.settings.swap else {
            return Ok(());
        };
        if self.live || !self.caught_up {
            return Ok(());
        }
        self.save(looked).await?;
        let mut failed = 0;
        loop {
            match self.runner.sink.swap(self.of, old).await {
                Ok(true) => {
                    tracing::info!(projection = %self.of, ?old, "projection is what readers see now");
                    return self.check().await;
                }
                Ok(false) => return Ok(()),
                Err(SinkError::Fenced) => return Err(self.fenced().await),
                Err(SinkError::Failed(error)) => self.wait_out(error, &mut failed).await?,
            }
        }
    }

    pub(super) async fn generations(&self) -> Result<Vec<StoredGeneration>, End> {
        let mut failed = 0;
        loop {
            match self.runner.sink.generations(&self.of.name).await {
                Ok(generations) => return Ok(generations),
                Err(SinkError::Fenced) => return Err(self.was_moved()),
                Err(SinkError::Failed(error)) => self.wait_out(error, &mut failed).await?,
            }
        }
    }

    /// Waits until the sink may be tried again, if its error passes and attempts are left.
    pub(super) async fn wait_out(&self, error: BoxError, failed: &mut u32) -> Result<(), End> {
        *failed += 1;
        let passes = self.runner.sink.passes(&*error);
        let pause = passes.then(|| self.runner.settings.retry.pause_after(*failed));
        let Some(pause) = pause.flatten() else {
            return Err(self.of_sink(error));
        };
        tracing::warn!(projection = %self.of, %error, failed, ?pause, "sink failed, trying again");
        self.meter
            .update(|progress| progress.failing = Some(error.to_string()));
        self.pause(pause).await
    }

    /// Does nothing for so long.
    pub(super) async fn pause(&self, pause: std::time::Duration) -> Result<(), End> {
        tokio::select! {
            biased;
            () = self.stop.clone() => Err(End::Stopped),
            () = sleep(pause) => Ok(()),
        }
    }

    /// What it means that the checkpoint does not stand where it was left.
    pub(super) async fn fenced(&self) -> End {
        match self.generations().await {
            Ok(generations) => match superseded(self.of, &generations) {
                Some(error) => error.into(),
                None => self.was_moved(),
            },
            Err(end) => end,
        }
    }

    pub(super) fn was_moved(&self) -> End {
        let error = ProjectionError::Fenced {
            projection: self.of.clone(),
            left: self.checkpoint,
        };
        error.into()
    }

    pub(super) fn of_sink(&self, error: BoxError) -> End {
        let error = ProjectionError::Sink {
            projection: self.of.clone(),
            error,
        };
        error.into()
    }

    fn of_store(&self, error: Error) -> End {
        store_error(self.of, error).into()
    }
}

/// The generation itself, among those of its projection.
pub(super) fn find<'a>(
    of: &ProjectionId,
    generations: &'a [StoredGeneration],
) -> Option<&'a StoredGeneration> {
    let mut generations = generations.iter();
    generations.find(|stored| stored.generation == of.generation)
}

/// The error of a generation that is over.
fn superseded(of: &ProjectionId, generations: &[StoredGeneration]) -> Option<ProjectionError> {
    let mut generations = generations.iter();
    let live = generations.find(|stored| stored.state == GenerationState::Live)?;
    (live.generation > of.generation).then(|| ProjectionError::Superseded {
        projection: of.clone(),
        live: live.generation,
    })
}
