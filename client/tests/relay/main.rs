//! Relays against a real server and a broker that fails as a seed says. What they do with real brokers is
//! shown by `crates/relay-trials`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod ends;
mod fake;
mod kills;
mod sources;

use fake::Fake;
use icecore_client::{
    Client, ExpectedRevision, RecordedEvent, Relay, RelayError, RelayProgress, RetryPolicy,
    SubscribeCall, json_event,
};
use icecore_testing::{History, TestServer};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// When a test counts as stuck.
const STUCK: Duration = Duration::from_secs(60);

/// A retry that a test has time for.
const QUICK: RetryPolicy = RetryPolicy {
    attempts_max: u32::MAX,
    pause_first: Duration::from_millis(1),
    pause_max: Duration::from_millis(4),
};

/// A relay that runs.
struct Running {
    task: JoinHandle<Result<(), RelayError>>,
    progress: watch::Receiver<RelayProgress>,
    stop: oneshot::Sender<()>,
}

fn relay<At>(name: &str, source: SubscribeCall<At>, fake: &Fake) -> Relay<Fake> {
    let relay = Relay::new(name.to_owned(), source, fake.clone()).unwrap();
    relay
        .retry(QUICK)
        .publish_timeout(Duration::from_millis(50))
        .checkpoint_every(20, Duration::from_millis(20))
}

fn start(relay: Relay<Fake>) -> Running {
    let progress = relay.progress();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(relay.run(async {
        // A test that drops it stops the relay too.
        let _ = stopped.await;
    }));
    Running {
        task,
        progress,
        stop,
    }
}

impl Running {
    async fn until(&mut self, reached: impl FnMut(&RelayProgress) -> bool) -> RelayProgress {
        let progress = timeout(STUCK, self.progress.wait_for(reached)).await;
        progress.expect("the relay is stuck").unwrap().clone()
    }

    async fn until_caught_up(&mut self, client: &Client) -> RelayProgress {
        let last = stored(client).await.last().map(|event| event.position);
        let last = last.unwrap_or_default();
        self.until(|progress| progress.is_caught_up && progress.position >= last)
            .await
    }

    async fn stop(self) {
        let _ = self.stop.send(());
        timeout(STUCK, self.task).await.unwrap().unwrap().unwrap();
    }

    async fn error(self) -> RelayError {
        let ended = timeout(STUCK, self.task).await.expect("it does not end");
        ended.unwrap().unwrap_err()
    }

    /// As a kill ends it: wherever it is just now.
    async fn abort(self) {
        self.task.abort();
        assert!(self.task.await.is_err_and(|error| error.is_cancelled()));
    }
}

/// What the store has.
async fn stored(client: &Client) -> Vec<RecordedEvent> {
    client.read_all().await.unwrap()
}

/// Appends the next events of a history.
async fn append(client: &Client, history: &mut History, count: usize) {
    for next in history.take(count) {
        let any = ExpectedRevision::Any;
        let appended = client.append(&next.stream, any, [next.event]).await;
        appended.unwrap();
    }
}

async fn append_to(client: &Client, stream: &str, count: usize) {
    let stream = icecore_client::StreamName::new(stream.to_owned()).unwrap();
    for number in 0..count {
        let event = json_event("Counted", &number).unwrap();
        let any = ExpectedRevision::Any;
        client.append(&stream, any, [event]).await.unwrap();
    }
}

#[tokio::test]
async fn a_relay_publishes_what_is_there_and_what_comes() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let mut history = History::new(1);
    append(&client, &mut history, 100).await;
    let fake = Fake::new();
    let mut running = start(relay("all", client.subscribe_all(), &fake));
    running.until_caught_up(&client).await;
    append(&client, &mut history, 100).await;
    let progress = running.until_caught_up(&client).await;
    fake.check(&stored(&client).await);
    assert_eq!((progress.published, progress.failed), (200, 0));
    assert_eq!((progress.pending, progress.lag()), (0, 0));
    running.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn after_a_stop_nothing_comes_twice() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let mut history = History::new(2);
    let fake = Fake::new();
    for round in 1..=3 {
        append(&client, &mut history, 50).await;
        let mut running = start(relay("all", client.subscribe_all(), &fake));
        running.until_caught_up(&client).await;
        running.stop().await;
        assert_eq!(fake.taken().len(), round * 50);
    }
    fake.check(&stored(&client).await);

    let checkpoints = icecore_client::StreamName::new("$relay-all").unwrap();
    let kept = client.read_stream(&checkpoints).await.unwrap();
    assert_eq!(kept.len(), 1, "only the last checkpoint is kept");
    server.stop().await;
}

#[tokio::test]
async fn a_broker_that_takes_nothing_is_waited_for_and_the_lag_tells() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    append_to(&client, "count-1", 30).await;
    let fake = Fake::new();
    fake.close();
    let mut running = start(relay("all", client.subscribe_all(), &fake));
    let stuck = |progress: &RelayProgress| progress.failed > 3 && progress.lag() >= 30;
    let progress = running.until(stuck).await;
    assert_eq!(progress.trouble.as_deref(), Some("is closed"));
    assert_eq!((progress.published, progress.is_caught_up), (0, false));
    fake.open();
    let progress = running.until_caught_up(&client).await;
    assert_eq!((progress.trouble, progress.published), (None, 30));
    fake.check(&stored(&client).await);
    running.stop().await;
    server.stop().await;
}
