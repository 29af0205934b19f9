//! Commands: load, decide, append, and again when another was faster.

use super::{Loaded, Repository, read_on};
use crate::aggregate::Aggregate;
use crate::client::Client;
use crate::context::Context;
use crate::retry::RetryPolicy;
use futures::future::BoxFuture;
use icecore_core::{
    Appended, Error, Refusal, Result, Revision, StreamName, Violation, ViolationKind,
};
use std::fmt::Display;
use tokio::time::sleep;

/// A command that is being put together. Awaiting it executes it.
#[derive(Debug)]
#[must_use = "a command is executed when it is awaited"]
pub struct ExecuteCall<'a, A: Aggregate> {
    repository: &'a Repository<A>,
    stream: Result<StreamName>,
    command: &'a A::Command,
    context: Context,
}

/// What a command has done.
#[derive(Debug)]
pub struct Executed<A: Aggregate> {
    /// The aggregate with what happened.
    pub state: A,
    /// The last event of its stream that is in the state; `None` when there is none.
    pub revision: Option<Revision>,
    /// What the command made happen.
    pub effect: Effect<A::Event>,
}

/// What became of a command that was not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect<E> {
    /// These events, which are durable.
    Appended(Vec<E>, Appended),
    /// It decided that nothing happens.
    Nothing,
    /// Its events are there from an earlier time: a command of this id was done before.
    DoneBefore,
}

/// Why a command has no effect.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ExecuteError<E> {
    /// The domain refuses it.
    #[error("{0}")]
    Domain(#[source] E),
    /// Others were faster each time. Nothing was written; it may be sent again.
    #[error("others were faster {attempts} times: {refusal}")]
    Conflict {
        /// How often it was decided.
        attempts: u32,
        /// The last refusal.
        refusal: Box<Refusal>,
    },
    /// The store could not, or an event could not be read.
    #[error(transparent)]
    Store(#[from] Error),
}

impl<A: Aggregate> Repository<A> {
    /// Executes a command on an aggregate: loads it, lets it decide, appends what it decided if nothing
    /// came in between, and decides anew if something did.
    ///
    /// # Errors
    ///
    /// Awaiting it gives `Domain`, at the first refusal of the domain; `Conflict`, when the attempts are
    /// used up; `Store`. With `Store(OutcomeUnknown)` it is not known whether the command took effect:
    /// send it again with the same [`Context::command_id`].
    pub fn execute<'a>(&'a self, id: impl Display, command: &'a A::Command) -> ExecuteCall<'a, A> {
        ExecuteCall {
            repository: self,
            stream: self.stream(id),
            command,
            context: Context::new(),
        }
    }
}

impl<A: Aggregate> ExecuteCall<'_, A> {
    /// Who sends the command, why, and under which id.
    pub fn context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    async fn run(self) -> Result<Executed<A>, ExecuteError<A::Error>> {
        let Self {
            repository,
            stream,
            command,
            context,
        } = self;
        let context = context.identified();
        let mut attempts = Attempts::new(repository.conflicts);
        let mut loaded = repository.load_stream(stream?).await?;
        loop {
            if context.command().is_some_and(|id| loaded.has_done(id)) {
                return Ok(executed(loaded, Effect::DoneBefore));
            }
            let events = loaded.state().handle(command);
            let events = events.map_err(ExecuteError::Domain)?;
            if events.is_empty() {
                return Ok(executed(loaded, Effect::Nothing));
            }
            let changes = loaded.changes_of(&events, &context)?;
            match repository.client.append_changes([changes]).await {
                Ok(appended) => return Ok(executed(loaded, Effect::Appended(events, appended))),
                Err(Error::Refused(refusal)) => {
                    attempts.failed(&refusal).await?;
                    take_missed(&repository.client, &mut loaded, &refusal).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn executed<A: Aggregate>(loaded: Loaded<A>, effect: Effect<A::Event>) -> Executed<A> {
    let (events, revision) = match &effect {
        Effect::Appended(events, appended) => {
            let written = appended
                .streams
                .iter()
                .find(|s| s.stream == *loaded.stream());
            (&events[..], written.and_then(|s| s.last_revision))
        }
        Effect::Nothing | Effect::DoneBefore => (&[][..], loaded.revision()),
    };
    let state = loaded.into_state(events);
    Executed {
        state,
        revision,
        effect,
    }
}

/// Takes over what a refused append has missed: what came with the refusal, and what did not.
async fn take_missed<A: Aggregate>(
    client: &Client,
    loaded: &mut Loaded<A>,
    refusal: &Refusal,
) -> Result<()> {
    let missed = refusal.missed.iter().find(|m| m.stream == *loaded.stream());
    if let Some(missed) = missed
        && missed.events.first().map(|event| event.revision) == Some(loaded.next_revision())
    {
        loaded.take_all(&missed.events)?;
        if missed.end {
            return Ok(());
        }
    }
    read_on(client, loaded).await
}

/// Attempts that others were faster than.
pub(crate) struct Attempts {
    policy: RetryPolicy,
    failed: u32,
}

impl Attempts {
    pub(crate) fn new(policy: RetryPolicy) -> Self {
        Self { policy, failed: 0 }
    }

    /// Pauses before the next attempt.
    ///
    /// # Errors
    ///
    /// `Conflict`, when that was the last one; `Store`, when the refusal is none that another attempt
    /// could change.
    pub(crate) async fn failed<E>(&mut self, refusal: &Refusal) -> Result<(), ExecuteError<E>> {
        let lost = |violation: &Violation| violation.kind == ViolationKind::WrongExpectedRevision;
        if !refusal.violations.iter().all(lost) {
            return Err(Error::Refused(Box::new(refusal.clone())).into());
        }
        self.failed += 1;
        let Some(pause) = self.policy.pause_after(self.failed) else {
            return Err(ExecuteError::Conflict {
                attempts: self.failed,
                refusal: Box::new(refusal.clone()),
            });
        };
        tracing::debug!(%refusal, failed = self.failed, ?pause, "others were faster, deciding anew");
        sleep(pause).await;
        Ok(())
    }
}

impl<'a, A: Aggregate> IntoFuture for ExecuteCall<'a, A> {
    type Output = Result<Executed<A>, ExecuteError<A::Error>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
