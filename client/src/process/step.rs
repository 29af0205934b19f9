//! One event through a process manager: load the process, let it react, carry out its commands, and append
//! all of it together with what the group remembers.

use super::state::State;
use super::timeouts::{self, TimeoutData};
use super::{Dispatch, ProcessManager, Reaction};
use crate::client::Client;
use crate::context::Context;
use crate::event::decode;
use crate::group::GroupEvent;
use crate::json::RecordedEventExt;
use crate::projection::BoxError;
use crate::repository::{Attempts, Changes, ExecuteError, Loaded, Repository, event_id};
use crate::retry::RetryPolicy;
use icecore_core::{
    Append, Category, Error, EventType, ExpectedRevision, GroupProblem, NackAction, RecordedEvent,
    Refusal, Result,
};
use std::convert::Infallible;
use std::sync::Arc;
use uuid::Uuid;

/// What a worker needs for each event.
pub(super) struct Stepper<P: ProcessManager, D> {
    client: Client,
    dispatch: Arc<D>,
    processes: Repository<State<P>>,
    elapsed: EventType,
    /// The category of the manager's own streams.
    category: Category,
    conflicts: RetryPolicy,
}

/// What an event means to a process manager.
enum Input<P: ProcessManager> {
    Event(P::Input),
    /// The time is up that was set.
    Timeout(TimeoutData),
}

/// What became of an event.
enum Outcome {
    /// It is done, with the append that it led to.
    Finished,
    /// Nothing follows from it, or nothing any more.
    Nothing,
    /// Another try may help.
    Failed(String),
    /// No other try will help.
    Poison(String),
    /// It was taken from this worker; another has it now.
    Lost,
}

impl<P: ProcessManager, D: Dispatch<P::Command>> Stepper<P, D> {
    pub(super) fn new(client: Client, dispatch: Arc<D>, conflicts: RetryPolicy) -> Result<Self> {
        Ok(Self {
            processes: Repository::new(client.clone()),
            client,
            dispatch,
            elapsed: timeouts::elapsed_type::<P>()?,
            category: Category::new(P::NAME)?,
            conflicts,
        })
    }

    /// Takes an event through the process and answers it. An answer that does not arrive makes the event
    /// come again.
    pub(super) async fn step(&self, delivery: GroupEvent) {
        let outcome = match delivery.event() {
            Some(event) => self.outcome(&delivery, event).await,
            None => Outcome::Nothing,
        };
        let failed = |action: &str, reason: &str| {
            let event = delivery
                .event()
                .map(|event| (&event.stream, event.position));
            tracing::warn!(manager = P::NAME, ?event, action, reason, "an event failed");
        };
        let answered = match outcome {
            Outcome::Finished | Outcome::Lost => return,
            Outcome::Nothing => delivery.ack().await,
            Outcome::Failed(reason) => {
                failed("retry", &reason);
                delivery.nack(NackAction::Retry, reason).await
            }
            Outcome::Poison(reason) => {
                failed("park", &reason);
                delivery.nack(NackAction::Park, reason).await
            }
        };
        if let Err(error) = answered {
            tracing::debug!(manager = P::NAME, %error, "an answer did not arrive");
        }
    }

    async fn outcome(&self, delivery: &GroupEvent, event: &RecordedEvent) -> Outcome {
        let (process, input) = match self.input(event) {
            Ok(Some(input)) => input,
            Ok(None) => return Outcome::Nothing,
            Err(error) => return Outcome::Poison(error.to_string()),
        };
        let mut attempts = Attempts::new(self.conflicts);
        loop {
            let refusal = match self.attempt(delivery, event, &process, &input).await {
                Ok(outcome) => return outcome,
                Err(StepError::Refused(refusal)) => refusal,
                Err(StepError::Dispatch(error)) => return Outcome::Failed(error.to_string()),
                Err(StepError::Store(error)) => return of_error(&error),
            };
            // A timeout that is not the last word on itself any more was cancelled or set again.
            if matches!(input, Input::Timeout(_))
                && refusal
                    .violations
                    .iter()
                    .any(|violation| violation.stream == event.stream)
            {
                return Outcome::Nothing;
            }
            match attempts.failed::<Infallible>(&refusal).await {
                Ok(()) => {}
                Err(error @ ExecuteError::Conflict { .. }) => {
                    return Outcome::Failed(error.to_string());
                }
                Err(error) => return Outcome::Poison(error.to_string()),
            }
        }
    }

    /// The process that an event belongs to, and what it means there.
    fn input(&self, event: &RecordedEvent) -> Result<Option<(String, Input<P>)>> {
        if event.event_type == self.elapsed {
            let due: TimeoutData = event.json()?;
            return Ok(Some((due.process.clone(), Input::Timeout(due))));
        }
        if event.stream.category().as_ref() == Some(&self.category) {
            return Ok(None);
        }
        let Some(input) = decode::<P::Input>(event)? else {
            return Ok(None);
        };
        let process = P::process_of(&input, event);
        Ok(process.map(|process| (process, Input::Event(input))))
    }

    async fn attempt(
        &self,
        delivery: &GroupEvent,
        event: &RecordedEvent,
        process: &str,
        input: &Input<P>,
    ) -> Result<Outcome, StepError> {
        let loaded = self.processes.load(process).await?;
        // Only a group that was made anew gives an event again that is done.
        if loaded.has_done(step_of(event)) {
            return Ok(Outcome::Nothing);
        }
        let State(state) = loaded.state();
        let reaction = match input {
            Input::Event(input) => state.react(process, input),
            Input::Timeout(due) => state.timed_out(process, &due.name),
        };
        if reaction.is_empty() {
            return Ok(Outcome::Nothing);
        }
        let changes = self
            .changes(event, process, input, &loaded, reaction)
            .await?;
        let append = Changes::append(changes)?;
        if append.events().is_empty() {
            return Ok(Outcome::Nothing);
        }
        self.finish(&append, delivery).await
    }

    async fn finish(&self, append: &Append, delivery: &GroupEvent) -> Result<Outcome, StepError> {
        match self
            .client
            .append_finishing(append, delivery.finish())
            .await
        {
            Ok(_) => Ok(Outcome::Finished),
            Err(Error::Refused(refusal)) => Err(StepError::Refused(refusal)),
            Err(Error::Group {
                problem: GroupProblem::DeliveryLost,
                ..
            }) => Ok(Outcome::Lost),
            Err(error) => Err(error.into()),
        }
    }

    /// Everything that a reaction changes. The ids follow from the event, so that the same work done twice
    /// is there once.
    async fn changes(
        &self,
        event: &RecordedEvent,
        process: &str,
        input: &Input<P>,
        loaded: &Loaded<State<P>>,
        reaction: Reaction<P>,
    ) -> Result<Vec<Changes>, StepError> {
        let step = step_of(event);
        let context = Context::caused_by(event);
        let own = context.clone().command_id(step);
        let mut all = vec![loaded.changes_of(&reaction.events, &own)?];
        // What follows from a timeout counts from when it was due, not from when somebody looked.
        let at = match input {
            Input::Event(_) => event.recorded_at,
            Input::Timeout(due) => due.time()?,
        };
        for (number, (name, timeout)) in reaction.timeouts.iter().enumerate() {
            let id = event_id(step, "timeout", number);
            let change = (process, name.as_str(), *timeout);
            all.push(timeouts::changes::<P>((event, at), change, (id, &own))?);
        }
        let is_there = |changes: &Changes| *changes.stream() == event.stream;
        if matches!(input, Input::Timeout(_)) && !all.iter().any(is_there) {
            all.push(unchanged(event));
        }
        for (number, command) in reaction.commands.iter().enumerate() {
            let context = context
                .clone()
                .command_id(event_id(step, "command", number));
            let dispatched = self.dispatch.dispatch(command, &context).await;
            all.extend(dispatched.map_err(StepError::Dispatch)?);
        }
        Ok(all)
    }
}

/// The id of what a manager does about an event.
fn step_of(event: &RecordedEvent) -> Uuid {
    Uuid::new_v5(&event.id, &event.position.get().to_be_bytes())
}

/// Why an attempt came to nothing.
enum StepError {
    /// Somebody was faster: decide anew.
    Refused(Box<Refusal>),
    /// A command could not be carried out.
    Dispatch(BoxError),
    /// The store could not, or an event could not be read.
    Store(Error),
}

impl From<Error> for StepError {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

fn of_error(error: &Error) -> Outcome {
    match error {
        Error::Group { .. } => Outcome::Lost,
        Error::InvalidArgument { .. } => Outcome::Poison(error.to_string()),
        _ => Outcome::Failed(error.to_string()),
    }
}

/// Nothing but that the stream still ends with this event.
fn unchanged(event: &RecordedEvent) -> Changes {
    let expected = ExpectedRevision::Exact(event.revision);
    Changes::new(event.stream.clone(), expected, Vec::new())
}
