//! Relays: what the store has, published to a message broker. How a relay is set up and what it promises.
//!
//! ```text
//!   store --subscription--> window --one event of each stream at a time--> broker
//!     ^                       | up to here everything is confirmed
//!     +------ checkpoint -----+
//! ```
//!
//! `window.rs` decides what may be sent, `run.rs` is the loop, `checkpoint.rs` the place in the store. The
//! brokers themselves have a crate each (`icecore-relay-nats`, `icecore-relay-rabbitmq`).

mod broker;
mod checkpoint;
mod headers;
mod progress;
mod run;
mod window;

pub use broker::{Broker, BrokerError};
pub use headers::message_headers;
pub use progress::{RelayError, RelayProgress};

use crate::client::Client;
use crate::retry::RetryPolicy;
use crate::subscribe::SubscribeCall;
use bytestring::ByteString;
use checkpoint::AfterRestore;
use icecore_core::{Result, Subscribe};
use std::fmt;
use std::time::Duration;
use tokio::sync::watch;

/// Most events that are under way to the broker at a time.
const IN_FLIGHT_MAX: usize = 256;

/// Most events that are read from the store and not confirmed.
const WINDOW_EVENTS_MAX: usize = 4_096;

/// How long the broker may take over one event.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(30);

/// A checkpoint is written after so many events, or after so long.
const CHECKPOINT_EVENTS: u64 = 1_000;
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// Publishes what a subscription sees to a message broker.
///
/// ```no_run
/// use icecore_client::{Broker, Client, Relay};
/// # use icecore_client::Category;
///
/// # async fn publish(nats: impl Broker) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let client = Client::connect("http://127.0.0.1:2113").await?;
/// let orders = client.subscribe_all().category(Category::new("order")?);
/// let relay = Relay::new("orders", orders, nats)?;
/// relay.run(async { /* until Ctrl-C, say */ }).await?;
/// # Ok(())
/// # }
/// ```
///
/// - **No outbox.** The relay reads the store itself, and keeps its checkpoint there: the last event of the
///   stream `$relay-<name>`. When that stream is deleted, the relay begins afresh.
/// - **At least once.** Nothing is skipped. What was confirmed since the last checkpoint is published again
///   when the relay is killed, with the same ids.
/// - **In order.** An event is sent when the broker has confirmed all earlier ones of its stream. Streams do
///   not wait for each other.
/// - **One at a time.** The younger of two relays with the same name goes on, the other one ends with
///   [`RelayError::Fenced`] when it writes its next checkpoint.
/// - **Patient.** What the broker does not take is sent again, for ever unless [`Self::retry`] says otherwise.
///   An event that is never taken stops its stream, and all others when the window is full.
///
/// `client/docs/publishing.md` shows what to put behind [`Broker`].
#[must_use = "a relay begins with `run`"]
pub struct Relay<B> {
    name: ByteString,
    client: Client,
    source: Subscribe,
    broker: B,
    retry: RetryPolicy,
    in_flight_max: usize,
    publish_timeout: Duration,
    checkpoint_events: u64,
    checkpoint_interval: Duration,
    after_restore: AfterRestore,
    progress: watch::Sender<RelayProgress>,
}

impl<B: Broker> Relay<B> {
    /// A relay of what this subscription sees. Where the subscription starts is where a relay without a
    /// checkpoint begins; the name says whose checkpoint it is.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for field `name` or `stream`: empty, or too long for the name of a stream.
    pub fn new<At>(
        name: impl Into<ByteString>,
        source: SubscribeCall<At>,
        broker: B,
    ) -> Result<Self> {
        let name = name.into();
        checkpoint::stream_of(&name)?;
        let (client, source) = source.into_parts();
        Ok(Self {
            name,
            client,
            source,
            broker,
            retry: RetryPolicy::FOR_EVER,
            in_flight_max: IN_FLIGHT_MAX,
            publish_timeout: PUBLISH_TIMEOUT,
            checkpoint_events: CHECKPOINT_EVENTS,
            checkpoint_interval: CHECKPOINT_INTERVAL,
            after_restore: AfterRestore::Stop,
            progress: watch::Sender::default(),
        })
    }

    /// How often an event is sent that the broker does not take, and the pauses, in which nothing else is sent
    /// either; [`RetryPolicy::FOR_EVER`] unless set.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Most events that are under way at a time, each of another stream; 256 unless set, at least 1.
    pub fn in_flight_max(mut self, events: usize) -> Self {
        self.in_flight_max = events.max(1);
        self
    }

    /// How long the broker may take over one event before it is sent again; 30 s unless set.
    pub fn publish_timeout(mut self, timeout: Duration) -> Self {
        self.publish_timeout = timeout;
        self
    }

    /// A checkpoint is written after so many events (1,000 unless set) or so long (1 s unless set, at least
    /// 1 ms), whatever comes first. What came after the last one is published again after a kill.
    pub fn checkpoint_every(mut self, events: u64, interval: Duration) -> Self {
        self.checkpoint_events = events.max(1);
        self.checkpoint_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// Goes on in a store that was restored from a backup, after the checkpoint that was restored with it.
    /// Otherwise the relay ends with `WrongStore` then, since the broker may have events that the store does
    /// not have any more, and somebody has to decide what that means.
    pub fn accept_restored(mut self) -> Self {
        self.after_restore = AfterRestore::GoOn;
        self
    }

    /// How far it is, from now on. To be asked for before [`Self::run`].
    pub fn progress(&self) -> watch::Receiver<RelayProgress> {
        self.progress.subscribe()
    }

    /// Publishes until `stop` is there. Then what is under way is waited for, for a while, and the last
    /// checkpoint is written.
    ///
    /// A store that cannot be reached is waited for.
    ///
    /// # Errors
    ///
    /// See [`RelayError`].
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), RelayError> {
        run::run(self, stop).await
    }
}

impl<B> fmt::Debug for Relay<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("name", &self.name)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}
