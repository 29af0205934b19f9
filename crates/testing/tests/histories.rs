//! Random clients and subscribers against a real server on a real directory, over real sockets, with
//! restarts. What they hear is recorded and held to the log in the end, by the model.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use fastrand::Rng;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use icecore_client::{
    Appended, Client, Error, Filter, Position, Read, RecordedEvent, Result, RetryPolicy, Subscribe,
    SubscriptionMessage,
};
use icecore_model::{Model, Recorder, Request, System, Workload, check, follow, run_client};
use icecore_testing::TestServer;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::sleep;

const CLIENTS: u64 = 4;
const FOLLOWERS: u64 = 4;
const STEPS: usize = 60;
const STREAMS: usize = 5;

/// How often the server is stopped and started again meanwhile.
const RESTARTS: u32 = 3;

/// The server as a client sees it that sends nothing by itself a second time.
#[derive(Clone)]
struct Remote(Client);

impl Remote {
    /// Whoever finds the server away comes back a moment later.
    async fn unless_away<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(Error::Unavailable { .. } | Error::Unreachable { .. }) = result {
            sleep(Duration::from_millis(30)).await;
        }
        result
    }
}

impl System for Remote {
    async fn write(&self, request: Request) -> Result<Appended> {
        let client = &self.0;
        let result = match request {
            Request::Append(append) => client.append_request(&append).await,
            Request::SetMetadata(stream, expected, json) => {
                let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
                client.set_metadata(&stream, expected, &json).await
            }
            Request::Truncate(stream, before) => client.truncate(&stream, before).await,
            Request::Delete(stream, expected, kind) => client.delete(&stream, expected, kind).await,
        };
        self.unless_away(result).await
    }

    async fn read(&self, read: Read) -> Result<(Vec<RecordedEvent>, Position)> {
        let batches = self.0.read(read).batches();
        let so_far = (Vec::new(), Position::START);
        let all = batches.try_fold(so_far, |(mut events, _), batch| async move {
            events.extend(batch.events);
            Ok((events, batch.last_position))
        });
        self.unless_away(all.await).await
    }

    fn subscribe(&self, subscribe: Subscribe) -> BoxStream<'static, Result<SubscriptionMessage>> {
        // The client makes a new connection by itself; here each of them is one of its own.
        let one_connection = |confirmed: &mut u32, message: Result<SubscriptionMessage>| {
            let is_new = matches!(message, Ok(SubscriptionMessage::Confirmed { .. }));
            *confirmed += u32::from(is_new);
            ready((*confirmed < 2).then_some(message))
        };
        self.0.subscribe(subscribe).scan(0, one_connection).boxed()
    }

    async fn pause(&self) {
        sleep(Duration::from_millis(3)).await;
    }
}

fn remote(server: &TestServer) -> Remote {
    Remote(server.client_with(|builder| builder.retry(RetryPolicy::NEVER)))
}

async fn everything(server: &TestServer) -> Vec<RecordedEvent> {
    let mut all = Read::all();
    all.filter = Filter::everything();
    server.client().read(all).await.unwrap()
}

async fn run(seed: u64) {
    let mut server = TestServer::start().await;
    let recorder = Recorder::default();
    let followers: Vec<_> = (0..FOLLOWERS)
        .map(|number| {
            let request = Workload::new(seed, 1_000 + number, STREAMS).subscribe();
            let (system, recorder) = (remote(&server), recorder.clone());
            let (random, place) = (Rng::with_seed(seed + number), Arc::new(AtomicU64::new(0)));
            let reached = Arc::clone(&place);
            let subscribe = request.clone();
            let task = tokio::spawn(async move {
                follow(system, subscribe, random, recorder, &reached).await;
            });
            (request, place, task)
        })
        .collect();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let workload = Workload::new(seed, client, STREAMS);
            let client = run_client(remote(&server), workload, STEPS, recorder.clone());
            tokio::spawn(client)
        })
        .collect();
    for _ in 0..RESTARTS {
        sleep(Duration::from_millis(60)).await;
        server.restart().await;
    }
    for client in clients {
        client.await.unwrap();
    }
    let log = everything(&server).await;
    let model = Model::of(&log);
    for (request, place, task) in followers {
        let last = model.last_delivered(&request);
        while place.load(Ordering::SeqCst) < last && !task.is_finished() {
            sleep(Duration::from_millis(5)).await;
        }
        task.abort();
        assert!(
            task.await
                .map_or_else(|error| error.is_cancelled(), |()| true)
        );
    }
    server.stop().await;
    let violations = check(&recorder.history(), &log);
    let lines: Vec<_> = violations.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "seed {seed}:\n{}", lines.join("\n"));
    assert!(log.len() > 50, "seed {seed}: hardly anything was written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn histories_over_sockets_are_as_promised() {
    for seed in 0..4 {
        // Whoever waits for ever shall fail, not hang.
        let run = tokio::time::timeout(Duration::from_secs(120), run(seed));
        run.await
            .unwrap_or_else(|_| panic!("seed {seed}: somebody waits for ever"));
    }
}
