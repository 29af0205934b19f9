//! Transactions: read model and checkpoint together, and what becomes of one that fails. A sink that
//! fails is waited out. An event that fails is found by taking the batch apart, and put aside or told.
//!
//! ```text
//! batch -- commits --> next
//!   | an event, or the commit of them, fails
//!   v
//! each alone -- commits --> next
//!   | fails attempts_max times
//!   v
//! parked --> next, or the projection ends
//! ```

use super::Projection;
use super::error::{BoxError, ProjectionError};
use super::progress::now;
use super::runner::PoisonPolicy;
use super::sink::{Advance, Checkpoint, ParkedEvent, Sink, SinkError};
use super::worker::{End, Worker, find};
use crate::event::decode;
use futures::FutureExt;
use icecore_core::{Position, RecordedEvent};
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::slice;
use tokio::time::Instant;

/// What a transaction does beside moving the checkpoint.
#[derive(Clone, Copy)]
enum Work<'a> {
    SetUp,
    Handle(&'a [RecordedEvent]),
    Park(&'a ParkedEvent),
}

/// Why a transaction was not committed, or may not have been.
enum Failure {
    /// The checkpoint stood elsewhere.
    Fenced,
    /// The sink failed before anything was tried.
    Sink(BoxError),
    /// What was to be done failed.
    Work(BoxError),
    /// The commit failed; it may have taken effect.
    Commit(BoxError),
}

impl From<SinkError> for Failure {
    fn from(error: SinkError) -> Self {
        match error {
            SinkError::Fenced => Self::Fenced,
            SinkError::Failed(error) => Self::Sink(error),
        }
    }
}

impl<P: Projection<S::Transaction>, S: Sink> Worker<'_, P, S> {
    /// Begins the generation.
    pub(super) async fn set_up(&mut self, to: Checkpoint) -> Result<(), End> {
        match self.transact(Work::SetUp, to).await? {
            Ok(()) => Ok(()),
            Err(error) => Err(self.of_sink(error)),
        }
    }

    /// Applies a batch, event by event if need be.
    pub(super) async fn apply(
        &mut self,
        events: &[RecordedEvent],
        until: Position,
    ) -> Result<(), End> {
        let error = match self.transact(Work::Handle(events), self.at(until)).await? {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let Some((last, others)) = events.split_last() else {
            return Err(self.of_sink(error));
        };
        tracing::warn!(
            projection = %self.of, %error, events = events.len(), "batch failed, taking it apart"
        );
        for event in others {
            self.apply_one(event, event.position).await?;
        }
        self.apply_one(last, until).await
    }

    /// Applies one event, or does with it what the policy says.
    async fn apply_one(&mut self, event: &RecordedEvent, until: Position) -> Result<(), End> {
        let (to, work) = (self.at(until), Work::Handle(slice::from_ref(event)));
        let attempts_max = self.runner.settings.poison.attempts_max();
        let mut attempts = 0;
        let error = loop {
            let Err(error) = self.transact(work, to).await? else {
                return Ok(());
            };
            attempts += 1;
            if attempts >= attempts_max {
                break error;
            }
            let pause = self.runner.settings.retry.pause_after(attempts);
            self.pause(pause.unwrap_or_default()).await?;
        };
        let parked = ParkedEvent::new(event, attempts, error.to_string(), now());
        match self.runner.settings.poison {
            PoisonPolicy::Park { .. } => self.park(&parked, to).await,
            PoisonPolicy::Stop { .. } => Err(self.poisoned(parked).into()),
        }
    }

    async fn park(&mut self, parked: &ParkedEvent, to: Checkpoint) -> Result<(), End> {
        match self.transact(Work::Park(parked), to).await? {
            Ok(()) => {
                let ParkedEvent {
                    position,
                    stream,
                    attempts,
                    reason,
                    ..
                } = parked;
                tracing::error!(
                    projection = %self.of, %position, %stream, attempts, reason, "event parked"
                );
                Ok(())
            }
            Err(error) => Err(self.of_sink(error)),
        }
    }

    fn poisoned(&self, event: ParkedEvent) -> ProjectionError {
        ProjectionError::Poison {
            projection: self.of.clone(),
            position: event.position,
            stream: event.stream,
            attempts: event.attempts,
            reason: event.reason,
        }
    }

    /// Tries a transaction until it is committed, waiting out what passes. The inner error is that of
    /// the work itself.
    async fn transact(
        &mut self,
        work: Work<'_>,
        to: Checkpoint,
    ) -> Result<Result<(), BoxError>, End> {
        let mut failed = 0;
        loop {
            let Err(failure) = self.try_once(work, to).await else {
                break;
            };
            let passes = |error: &BoxError| self.runner.sink.passes(&**error);
            let error = match failure {
                Failure::Fenced => return Err(self.fenced().await),
                Failure::Commit(_) if self.is_at(to).await? => break,
                Failure::Work(error) | Failure::Commit(error) if !passes(&error) => {
                    return Ok(Err(error));
                }
                Failure::Sink(error) | Failure::Work(error) | Failure::Commit(error) => error,
            };
            self.wait_out(error, &mut failed).await?;
        }
        self.committed(work, to);
        Ok(Ok(()))
    }

    /// One transaction. A failure rolls it back.
    async fn try_once(&self, work: Work<'_>, to: Checkpoint) -> Result<(), Failure> {
        let sink = &self.runner.sink;
        let from = self.checkpoint;
        let mut transaction = sink.begin(self.of, &Advance { from, to }).await?;
        match work {
            Work::SetUp => {
                let set_up = self.runner.projection.set_up(&mut transaction);
                set_up.await.map_err(Failure::Work)?;
            }
            Work::Handle(events) => {
                for event in events {
                    let handled = handle(&*self.runner.projection, &mut transaction, event);
                    handled.await.map_err(Failure::Work)?;
                }
            }
            Work::Park(event) => sink.park(&mut transaction, event).await?,
        }
        let committed = sink.commit(transaction).await;
        committed.map_err(|error| match error {
            SinkError::Fenced => Failure::Fenced,
            SinkError::Failed(error) => Failure::Commit(error),
        })
    }

    /// Whether a commit that failed has taken effect after all.
    async fn is_at(&self, to: Checkpoint) -> Result<bool, End> {
        let generations = self.generations().await?;
        let stored = find(self.of, &generations).map(|stored| stored.checkpoint);
        if stored == Some(to) {
            Ok(true)
        } else if stored == self.checkpoint {
            Ok(false)
        } else {
            Err(self.fenced().await)
        }
    }

    fn committed(&mut self, work: Work<'_>, to: Checkpoint) {
        self.committed = true;
        self.checkpoint = Some(to);
        self.written = Instant::now();
        self.meter.update(|progress| {
            progress.failing = None;
            match work {
                Work::SetUp => {}
                Work::Handle(events) => progress.handled += events.len() as u64,
                Work::Park(_) => progress.parked += 1,
            }
        });
        self.meter.reached(to.position);
    }

    /// The checkpoint at this position, in the store of the one before.
    fn at(&self, position: Position) -> Checkpoint {
        let before = self
            .checkpoint
            .expect("a generation is set up before it is written");
        Checkpoint { position, ..before }
    }
}

impl PoisonPolicy {
    fn attempts_max(self) -> u32 {
        match self {
            Self::Park { attempts_max } | Self::Stop { attempts_max } => attempts_max,
        }
    }
}

/// Hands an event to its projection. A panic there is an error of the event.
pub(super) async fn handle<T, P: Projection<T>>(
    projection: &P,
    transaction: &mut T,
    recorded: &RecordedEvent,
) -> Result<(), BoxError> {
    let handled = async {
        match decode::<P::Event>(recorded)? {
            Some(event) => projection.handle(transaction, event, recorded).await,
            None => Ok(()),
        }
    };
    match AssertUnwindSafe(handled).catch_unwind().await {
        Ok(handled) => handled,
        Err(panic) => Err(format!("the handler panicked: {}", text_of(&*panic)).into()),
    }
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a text")
}
