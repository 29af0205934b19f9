//! The workers of a process manager: consumers of one group, and somebody who looks at the clock.

use super::step::Stepper;
use super::timeouts;
use super::{Dispatch, ProcessManager};
use crate::client::Client;
use crate::clock::Clock;
use crate::event::event_types_of;
use crate::retry::RetryPolicy;
use futures::{FutureExt, TryStreamExt};
use icecore_core::{
    Error, Filter, Group, GroupId, GroupName, GroupProblem, GroupSettings, GroupStart, NameMatch,
    Result, SystemStreams,
};
use std::marker::PhantomData;
use std::panic::resume_unwind;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Events that a worker has at hand. It takes one after the other; the others wait on its side.
const BUFFER: u32 = 4;

/// Runs a process manager.
///
/// ```no_run
/// # use icecore_client::*;
/// # async fn run<P: ProcessManager>(dispatch: impl Dispatch<P::Command>, ctrl_c: impl Future<Output = ()>)
/// # -> Result<()> {
/// let client = Client::connect("http://127.0.0.1:2113").await?;
/// ProcessRunner::<P, _>::new(client, dispatch).workers(4).run(ctrl_c).await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a process manager runs with `run`"]
pub struct ProcessRunner<P, D> {
    client: Client,
    dispatch: Arc<D>,
    workers: usize,
    settings: GroupSettings,
    clock: Clock,
    conflicts: RetryPolicy,
    manager: PhantomData<fn() -> P>,
}

impl<P: ProcessManager, D: Dispatch<P::Command>> ProcessRunner<P, D> {
    /// One worker, which begins with the first event of the store.
    pub fn new(client: Client, dispatch: D) -> Self {
        Self {
            client,
            dispatch: Arc::new(dispatch),
            workers: 1,
            settings: GroupSettings::default(),
            clock: Clock::system(),
            conflicts: RetryPolicy::CONFLICTS,
            manager: PhantomData,
        }
    }

    /// How many events are worked on at a time; at least 1.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// A manager that never ran begins with what is appended from now on.
    pub fn from_end(mut self) -> Self {
        self.settings.start = GroupStart::End;
        self
    }

    /// The settings of its group: how long a worker may take, how often an event is tried. They are those
    /// of a group that is made; one that is there keeps its own.
    pub fn settings(mut self, settings: GroupSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Where the time comes from by which timeouts elapse; the system unless set.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// How often a reaction is decided anew when others are faster; [`RetryPolicy::CONFLICTS`] unless
    /// set. After that its event is tried again like one that failed.
    pub fn conflicts(mut self, policy: RetryPolicy) -> Self {
        self.conflicts = policy;
        self
    }

    /// Runs until `shutdown` completes; each worker ends what it is at. Broken connections are made again.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for field `category`, when there is a `-` in the manager's name; for `event`, when
    /// the input is no enum ([`crate::event_types_of`]); for `filter`, when the manager's group was made for other types: it would not see all of its events.
    /// Errors of the store that do not pass by themselves.
    ///
    /// # Panics
    ///
    /// When the manager or its dispatch does.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<()> {
        let group = self.group()?;
        let id = group.id.clone();
        let stepper = Stepper::<P, D>::new(self.client.clone(), self.dispatch, self.conflicts)?;
        let stepper = Arc::new(stepper);
        make(&self.client, group).await?;
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for _ in 0..self.workers {
            let (client, stepper) = (self.client.clone(), Arc::clone(&stepper));
            tasks.spawn(work(client, id.clone(), stepper, stopped.clone()));
        }
        let (client, clock, mut stopped) = (self.client, self.clock, stopped);
        tasks.spawn(async move {
            tokio::select! {
                outcome = timeouts::watch::<P>(&client, &clock) => outcome,
                _ = stopped.wait_for(|stopped| *stopped) => Ok(()),
            }
        });
        let mut shutdown = std::pin::pin!(shutdown.fuse());
        loop {
            tokio::select! {
                () = &mut shutdown => drop(stop.send(true)),
                ended = tasks.join_next() => match ended {
                    None => return Ok(()),
                    Some(Ok(Ok(()))) => {}
                    Some(Ok(Err(error))) => return Err(error),
                    Some(Err(error)) => match error.try_into_panic() {
                        Ok(panic) => resume_unwind(panic),
                        Err(_) => return Err(Error::unavailable("a worker was cancelled")),
                    },
                },
            }
        }
    }

    /// All events of the types that it listens to, and its timeouts.
    fn group(&self) -> Result<Group> {
        let mut types = event_types_of::<P::Input>()?;
        types.push(timeouts::elapsed_type::<P>()?);
        let types = types.iter().map(|each| each.as_str().to_owned().into());
        Ok(Group {
            id: GroupId::of_all(GroupName::new(P::NAME)?),
            filter: Filter {
                event_type: Some(NameMatch::AnyOf(types.collect())),
                system: SystemStreams::Include,
                ..Filter::default()
            },
            settings: self.settings.clone(),
        })
    }
}

/// Makes the group, if it is not there.
async fn make(client: &Client, group: Group) -> Result<()> {
    match client.create_group(group.clone()).await {
        // Whether it was made shows when it is looked at.
        Err(
            Error::OutcomeUnknown { .. }
            | Error::Group {
                problem: GroupProblem::Exists,
                ..
            },
        ) => {}
        other => return other,
    }
    let there = client.get_group(&group.id).await?.group;
    if there.filter != group.filter {
        return Err(Error::invalid(
            "filter",
            format!(
                "group `{}` was made for other events ({:?}) than the manager listens to now ({:?}): \
                 give the manager a new name, or delete the group and let it begin anew",
                group.id, there.filter.event_type, group.filter.event_type
            ),
        ));
    }
    Ok(())
}

/// One worker: takes events until it is told to stop.
async fn work<P: ProcessManager, D: Dispatch<P::Command>>(
    client: Client,
    group: GroupId,
    stepper: Arc<Stepper<P, D>>,
    mut stopped: watch::Receiver<bool>,
) -> Result<()> {
    let mut events = client
        .consume(&group)
        .buffer_size(BUFFER)
        .name(P::NAME)
        .start();
    loop {
        let next = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => break,
            next = events.try_next() => next?,
        };
        match next {
            Some(event) => stepper.step(event).await,
            None => return Ok(()),
        }
    }
    if let Err(error) = events.leave().await {
        // What comes again is known as done.
        tracing::warn!(%group, %error, "a worker has left without the server's word");
    }
    Ok(())
}
