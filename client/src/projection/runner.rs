//! Runners: how a projection is set up, started and watched. What it does then is `worker.rs`.

use super::Projection;
use super::batch::BatchLimits;
use super::error::ProjectionError;
use super::progress::{Meter, Observer, Progress};
use super::sink::{Generation, OldGeneration, ProjectionId, Sink};
use super::worker::{Stop, Worker};
use crate::client::Client;
use crate::event::event_types_of;
use crate::retry::RetryPolicy;
use futures::FutureExt;
use icecore_core::{Error, Filter, NameMatch, Position};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// Longest name of a projection, in bytes.
pub const PROJECTION_NAME_BYTES_MAX: usize = 64;

/// What happens to an event that cannot be handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoisonPolicy {
    /// After so many attempts (at least 1) it is parked with its reason, and the next one is handled.
    Park {
        /// Attempts, each in a transaction of its own.
        attempts_max: u32,
    },
    /// After so many attempts (at least 1) the projection ends with
    /// [`ProjectionError::Poison`](crate::ProjectionError::Poison).
    Stop {
        /// Attempts, each in a transaction of its own.
        attempts_max: u32,
    },
}

/// When a generation that was built beside the living one takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwapPolicy {
    /// As soon as it has caught up with the store and with the living one.
    WhenCaughtUp(OldGeneration),
    /// When somebody calls [`ProjectionRunner::swap`].
    ByHand,
}

/// Runs a projection: subscribes after its checkpoint, hands events over in batches, and commits the
/// read model with the checkpoint.
///
/// ```no_run
/// # use icecore_client::{BoxError, Event, MemorySink, MemoryTransaction, Projection, RecordedEvent};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # enum Ordered { OrderPlaced { total: u64 } }
/// # impl Event for Ordered {}
/// # struct Turnover;
/// # impl Projection<MemoryTransaction<u64>> for Turnover {
/// #     type Event = Ordered;
/// #     fn name(&self) -> &str { "turnover" }
/// #     async fn handle(&self, sum: &mut MemoryTransaction<u64>, event: Ordered, _: &RecordedEvent)
/// #         -> Result<(), BoxError> { let Ordered::OrderPlaced { total } = event; **sum += total; Ok(()) }
/// # }
/// use icecore_client::{BatchLimits, Client, PoisonPolicy, ProjectionRunner};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::connect("http://127.0.0.1:2113").await?;
/// let sink = MemorySink::new();
/// let turnover = ProjectionRunner::new(client, sink.clone(), Turnover)
///     .batch(BatchLimits { events_max: 500, ..BatchLimits::default() })
///     .on_poison(PoisonPolicy::Stop { attempts_max: 5 })
///     .start();
/// turnover.caught_up().await;
/// println!("{:?}", sink.model("turnover"));
/// turnover.stop().await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a projection begins with `start` or `run`"]
pub struct ProjectionRunner<P, S> {
    pub(super) client: Client,
    pub(super) sink: S,
    pub(super) projection: Arc<P>,
    pub(super) settings: Settings,
}

/// How a projection is run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) generation: Generation,
    pub(super) limits: BatchLimits,
    pub(super) retry: RetryPolicy,
    pub(super) poison: PoisonPolicy,
    pub(super) swap: SwapPolicy,
    pub(super) checkpoint_interval: Duration,
    pub(super) observation_interval: Duration,
    pub(super) grace: Duration,
}

/// Each look is a read.
const OBSERVATION_INTERVAL_MIN: Duration = Duration::from_millis(10);

impl<P: Projection<S::Transaction>, S: Sink> ProjectionRunner<P, S> {
    /// A runner of this projection into this sink, as generation 1.
    pub fn new(client: Client, sink: S, projection: P) -> Self {
        Self {
            client,
            sink,
            projection: Arc::new(projection),
            settings: Settings {
                generation: Generation::FIRST,
                limits: BatchLimits::default(),
                retry: RetryPolicy::FOR_EVER,
                poison: PoisonPolicy::Park { attempts_max: 3 },
                swap: SwapPolicy::WhenCaughtUp(OldGeneration::Drop),
                checkpoint_interval: Duration::from_secs(10),
                observation_interval: Duration::from_secs(1),
                grace: Duration::from_secs(10),
            },
        }
    }

    /// The build of the read model. A number that the sink does not know yet is built from the start,
    /// beside the living one; raise it when the projection has changed or its read model is damaged.
    pub fn generation(mut self, generation: Generation) -> Self {
        self.settings.generation = generation;
        self
    }

    /// How much goes into one transaction.
    pub fn batch(mut self, limits: BatchLimits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// How often and after which pauses a transaction is tried again when the sink fails in a way
    /// that passes; [`RetryPolicy::FOR_EVER`] unless set. The pauses are also those between attempts
    /// at an event that fails by itself.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.settings.retry = policy;
        self
    }

    /// What happens to an event that cannot be handled; it is parked after three attempts unless set.
    pub fn on_poison(mut self, policy: PoisonPolicy) -> Self {
        self.settings.poison = policy;
        self
    }

    /// When this generation takes the place of the living one, if it is not that itself; as soon as it
    /// has caught up unless set, and the old one is dropped.
    pub fn on_caught_up(mut self, policy: SwapPolicy) -> Self {
        self.settings.swap = policy;
        self
    }

    /// How often the checkpoint is written when only events of others come; every 10 s unless set.
    /// With events of its own it moves in their transaction. As often a runner without events looks
    /// whether another generation has taken its place.
    pub fn checkpoint_interval(mut self, interval: Duration) -> Self {
        self.settings.checkpoint_interval = interval;
        self
    }

    /// How often lag and rate are looked up; every second unless set, not more often than each 10 ms.
    pub fn observation_interval(mut self, interval: Duration) -> Self {
        self.settings.observation_interval = interval.max(OBSERVATION_INTERVAL_MIN);
        self
    }

    /// How long a batch that is under way may take when the projection is told to stop (10 s unless
    /// set), before it is rolled back.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace;
        self
    }

    /// The projection that it runs.
    pub fn projection(&self) -> &P {
        &self.projection
    }

    /// Begins, in a task of its own. Must be called inside of a Tokio runtime.
    pub fn start(self) -> RunningProjection {
        let meter = Meter::new(self.settings.generation);
        let of = self.id();
        let progress = meter.watch();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            // A handle that was dropped stops it as well.
            let _ = stopped.await;
        };
        let ended = tokio::spawn(async move { self.run_metered(&meter, shutdown).await });
        RunningProjection {
            of,
            progress,
            stop: Some(stop),
            ended,
        }
    }

    /// Runs until the signal comes, or until an error ends it. The batch that is under way is finished
    /// then, or rolled back after [`Self::grace`].
    ///
    /// # Errors
    ///
    /// Everything that [`ProjectionError`] can be.
    pub async fn run(
        self,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), ProjectionError> {
        let meter = Meter::new(self.settings.generation);
        self.run_metered(&meter, shutdown).await
    }

    async fn run_metered(
        self,
        meter: &Meter,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), ProjectionError> {
        let of = self.id();
        let filter = self.filter().map_err(|error| store_error(&of, error))?;
        let observer = Observer {
            client: &self.client,
            of: &of,
            filter: &filter,
            interval: self.settings.observation_interval,
            meter,
        };
        let stop: Stop<'_> = shutdown.boxed().shared();
        let worker = Worker::new(&self, &of, &filter, meter, stop);
        tokio::select! {
            ended = worker.run() => ended,
            never = observer.observe() => match never {},
        }
    }

    /// What the checkpoint belongs to.
    pub(super) fn id(&self) -> ProjectionId {
        ProjectionId::new(self.projection.name(), self.settings.generation)
    }

    /// What is asked of the server: the projection's own filter, and the types of its events.
    fn filter(&self) -> Result<Filter, Error> {
        let name = self.projection.name();
        if name.is_empty() || name.len() > PROJECTION_NAME_BYTES_MAX {
            return Err(Error::invalid(
                "projection",
                format!("`{name}` is empty or longer than {PROJECTION_NAME_BYTES_MAX} bytes"),
            ));
        }
        let mut filter = self.projection.filter();
        if filter.event_type.is_none() {
            let types = event_types_of::<P::Event>()?;
            let names = types.iter().map(|name| name.as_str().into());
            filter.event_type = Some(NameMatch::AnyOf(names.collect()));
        }
        filter.check()?;
        Ok(filter)
    }
}

pub(super) fn store_error(of: &ProjectionId, error: Error) -> ProjectionError {
    let projection = of.clone();
    match error {
        Error::WrongStore { expected, actual } => ProjectionError::WrongStore {
            projection,
            expected,
            actual,
        },
        error => ProjectionError::Store { projection, error },
    }
}

impl<P, S: Clone> Clone for ProjectionRunner<P, S> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            sink: self.sink.clone(),
            projection: Arc::clone(&self.projection),
            settings: self.settings,
        }
    }
}

impl<P, S> fmt::Debug for ProjectionRunner<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProjectionRunner")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// A projection that runs in a task of its own. Dropping it stops it, as [`Self::stop`] does, but
/// nobody hears how it ended.
#[derive(Debug)]
pub struct RunningProjection {
    of: ProjectionId,
    progress: watch::Receiver<Progress>,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<Result<(), ProjectionError>>,
}

impl RunningProjection {
    /// Which projection and generation it is.
    pub fn id(&self) -> &ProjectionId {
        &self.of
    }

    /// How far it is, to look at and to wait for changes.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Waits until it has reached the end of the store once; `false` when it ended before.
    pub async fn caught_up(&self) -> bool {
        self.until(|progress| progress.caught_up).await
    }

    /// Waits until everything up to this position (inclusive) that is for this projection is in the
    /// read model: whoever appends can wait until readers see it. `false` when the projection ended
    /// before. A position at which there is an event of others is reached at the next observation.
    pub async fn reached(&self, position: Position) -> bool {
        self.until(|progress| progress.position >= position).await
    }

    /// Waits until the progress is of this kind; `false` when the projection ended before.
    pub async fn until(&self, is_so: impl FnMut(&Progress) -> bool) -> bool {
        self.progress.clone().wait_for(is_so).await.is_ok()
    }

    /// Waits until it has ended, by itself or because it was told to. Why: [`Self::ended`].
    pub async fn has_ended(&self) {
        // The task drops the sending side when it ends.
        let mut progress = self.progress.clone();
        while progress.changed().await.is_ok() {}
    }

    /// Whether it has ended, by itself or because it was told to.
    pub fn is_over(&self) -> bool {
        self.ended.is_finished()
    }

    /// Stops it: the batch that is under way is finished or rolled back.
    ///
    /// # Errors
    ///
    /// What had ended it before.
    pub async fn stop(mut self) -> Result<(), ProjectionError> {
        // Whoever has ended does not listen any more.
        let _ = self.stop.take().map(|stop| stop.send(()));
        self.ended().await
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    ///
    /// What has ended it.
    ///
    /// # Panics
    ///
    /// When the runner itself panicked; a handler that panics does not do that.
    pub async fn ended(mut self) -> Result<(), ProjectionError> {
        match (&mut self.ended).await {
            Ok(ended) => ended,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Ok(()),
            },
        }
    }
}
