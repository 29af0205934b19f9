//! What every broker has to show, whichever it is.

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use icecore_client::{
    Client, ExpectedRevision, RecordedEvent, Relay, RelayError, RelayProgress, SubscribeCall,
};
use icecore_relay_trials::{Message, RealBroker};
use icecore_testing::{History, TestServer};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// When a trial counts as stuck.
const STUCK: Duration = Duration::from_secs(120);

/// What duplicates are allowed to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duplicates {
    /// The broker removes them.
    None,
    /// The same id, and the same event.
    SameId,
}

/// A relay that runs.
pub(crate) struct Running {
    task: JoinHandle<Result<(), RelayError>>,
    progress: watch::Receiver<RelayProgress>,
    stop: oneshot::Sender<()>,
}

impl Running {
    pub(crate) fn start<B: icecore_client::Broker + 'static>(relay: Relay<B>) -> Self {
        let progress = relay.progress();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(relay.run(async {
            // A trial that drops it stops the relay too.
            let _ = stopped.await;
        }));
        Self {
            task,
            progress,
            stop,
        }
    }

    pub(crate) async fn until(
        &mut self,
        reached: impl FnMut(&RelayProgress) -> bool,
    ) -> Result<()> {
        let progress = timeout(STUCK, self.progress.wait_for(reached)).await;
        progress.context("the relay is stuck")??;
        Ok(())
    }

    pub(crate) async fn until_caught_up(&mut self, client: &Client) -> Result<()> {
        let last = client.read_all().backwards().limit(1).await?;
        let last = last.first().context("find the last event")?.position;
        self.until(|progress| progress.is_caught_up && progress.position >= last)
            .await
    }

    pub(crate) async fn stop(self) -> Result<()> {
        let _ = self.stop.send(());
        timeout(STUCK, self.task).await???;
        Ok(())
    }

    pub(crate) async fn error(self) -> Result<RelayError> {
        let ended = timeout(STUCK, self.task).await??;
        ended.err().context("it ended without an error")
    }

    async fn abort(self) {
        self.task.abort();
        // It was cancelled, or had ended.
        let _ = self.task.await;
    }
}

pub(crate) async fn append(client: &Client, history: &mut History, count: usize) -> Result<()> {
    for next in history.take(count) {
        let any = ExpectedRevision::Any;
        client.append(&next.stream, any, [next.event]).await?;
    }
    Ok(())
}

async fn relay<B: RealBroker, At>(
    broker: &B,
    source: SubscribeCall<At>,
) -> Result<Relay<B::Adapter>> {
    Ok(Relay::new("trial", source, broker.adapter().await?)?)
}

/// Every event has arrived, with its own id; of each stream in order, as far as each came for the first time.
pub(crate) fn check(
    arrived: &[Message],
    stored: &[RecordedEvent],
    duplicates: Duplicates,
) -> Result<()> {
    let mut seen = BTreeSet::new();
    let mut next = HashMap::<&str, u64>::new();
    let by_position: HashMap<_, _> = stored
        .iter()
        .map(|event| (event.position.to_string(), event))
        .collect();
    for message in arrived {
        let position = message.header("icecore-position");
        let event = by_position.get(position);
        let event = event.with_context(|| format!("nothing is stored at {position}"))?;
        check_message(message, event)?;
        if seen.insert(event.position) {
            let next = next.entry(event.stream.as_str()).or_default();
            let revision = event.revision.get();
            ensure!(
                *next == revision,
                "{}/{revision} came before {next}",
                event.stream
            );
            *next += 1;
        } else {
            ensure!(duplicates == Duplicates::SameId, "{position} came twice");
        }
    }
    ensure!(
        seen.len() == stored.len(),
        "{} of {}",
        seen.len(),
        stored.len()
    );
    Ok(())
}

fn check_message(message: &Message, event: &RecordedEvent) -> Result<()> {
    let id = event.id.to_string();
    ensure!(message.id == id, "{} is not {id}", message.id);
    ensure!(message.data == event.data, "{id} has other data");
    for (name, value) in icecore_client::message_headers(event) {
        let found = message.header(name);
        ensure!(found == value, "{name} of {id} is `{found}`, not `{value}`");
    }
    Ok(())
}

/// What is there and what comes, once and in order; after a filter nothing else.
pub(crate) async fn everything_arrives<B: RealBroker>() -> Result<()> {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let mut broker = B::start().await?;
    let mut history = History::new(1);
    append(&client, &mut history, 200).await?;
    let placed = client.subscribe_all().types(["OrderPlaced", "OrderPaid"]);
    let mut running = Running::start(relay(&broker, placed).await?);
    running.until_caught_up(&client).await?;
    append(&client, &mut history, 100).await?;
    running.until_caught_up(&client).await?;
    running.stop().await?;
    let mut stored = client.read_all().await?;
    stored.retain(|event| ["OrderPlaced", "OrderPaid"].contains(&event.event_type.as_str()));
    // Revisions of a filtered stream have gaps, so they are compared one by one.
    let arrived = broker.arrived().await?;
    ensure!(arrived.len() == stored.len(), "{} arrived", arrived.len());
    let streams = |event: &&RecordedEvent| event.stream.clone();
    let mut expected: Vec<_> = stored.iter().collect();
    expected.sort_by_key(streams);
    let mut arrived: Vec<_> = arrived.iter().collect();
    arrived.sort_by_key(|message| message.header("icecore-stream").to_owned());
    for (message, event) in arrived.into_iter().zip(expected) {
        check_message(message, event)?;
        let to = format!("order.{}", event.event_type);
        ensure!(message.to.ends_with(&to), "{} is not {to}", message.to);
    }
    Ok(())
}

/// Relays are killed at random moments, one after the other.
pub(crate) async fn killed_relays_skip_nothing<B: RealBroker>(
    duplicates: Duplicates,
) -> Result<()> {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let mut broker = B::start().await?;
    let mut random = Rng::with_seed(2);
    let mut history = History::new(2);
    for _ in 0..12 {
        append(&client, &mut history, 80).await?;
        let running = Running::start(relay(&broker, client.subscribe_all()).await?);
        sleep(Duration::from_micros(random.u64(..60_000))).await;
        running.abort().await;
    }
    let mut running = Running::start(relay(&broker, client.subscribe_all()).await?);
    running.until_caught_up(&client).await?;
    running.stop().await?;
    check(
        &broker.arrived().await?,
        &client.read_all().await?,
        duplicates,
    )
}

/// The broker is killed while events are under way, and comes back.
pub(crate) async fn a_killed_broker_is_waited_for<B: RealBroker>(
    duplicates: Duplicates,
) -> Result<()> {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let mut broker = B::start().await?;
    let mut history = History::new(3);
    append(&client, &mut history, 3_000).await?;
    let relay = relay(&broker, client.subscribe_all()).await?;
    let mut running = Running::start(relay.publish_timeout(Duration::from_secs(5)));
    for round in 1..=2 {
        running
            .until(|progress| progress.published >= round * 500)
            .await?;
        broker.kill_and_restart().await?;
    }
    running.until_caught_up(&client).await?;
    let failed = running.progress.borrow().failed;
    running.stop().await?;
    ensure!(
        failed > 0,
        "nothing was under way when the broker was killed"
    );
    check(
        &broker.arrived().await?,
        &client.read_all().await?,
        duplicates,
    )
}

/// The younger of two relays goes on, the other one says why it ends.
pub(crate) async fn the_elder_relay_is_fenced<B: RealBroker>() -> Result<()> {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let mut broker = B::start().await?;
    let mut history = History::new(4);
    append(&client, &mut history, 50).await?;
    let mut elder = Running::start(relay(&broker, client.subscribe_all()).await?);
    elder.until_caught_up(&client).await?;
    let mut younger = Running::start(relay(&broker, client.subscribe_all()).await?);
    younger.until_caught_up(&client).await?;
    append(&client, &mut history, 50).await?;
    younger.until_caught_up(&client).await?;
    let error = elder.error().await?;
    ensure!(matches!(error, RelayError::Fenced { .. }), "{error}");
    younger.stop().await?;
    check(
        &broker.arrived().await?,
        &client.read_all().await?,
        Duplicates::SameId,
    )
}
