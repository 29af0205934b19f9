//! What a snapshot is worth: an aggregate of 10,000 events loaded whole and with its snapshot, a command
//! on it either way, and the start of the server that all tests begin with.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "criterion's macros make undocumented functions; a bench that cannot go on has failed"
)]

use criterion::{Criterion, criterion_group, criterion_main};
use icecore_client::{
    Aggregate, Client, Context, Event, ExpectedRevision, Repository, Snapshot, SnapshotPolicy,
    encode, new_event_id,
};
use icecore_testing::TestServer;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

const EVENTS: u64 = 10_000;
const APPEND_EVENTS: u64 = 1_000;
const POLICY: SnapshotPolicy = SnapshotPolicy::every(100);

#[derive(Default, Serialize, Deserialize)]
struct Account {
    balance: u64,
    last_note: String,
}

#[derive(Serialize, Deserialize)]
enum AccountEvent {
    Deposited { cents: u64, note: String },
}

impl Event for AccountEvent {}

impl Aggregate for Account {
    const CATEGORY: &'static str = "account";
    type Event = AccountEvent;
    type Command = u64;
    type Error = Infallible;

    fn apply(&mut self, AccountEvent::Deposited { cents, note }: &AccountEvent) {
        self.balance += cents;
        self.last_note.clone_from(note);
    }

    fn handle(&self, cents: &u64) -> Result<Vec<AccountEvent>, Infallible> {
        Ok(vec![deposited(*cents)])
    }
}

impl Snapshot for Account {}

fn deposited(cents: u64) -> AccountEvent {
    let note = format!("the money of transaction number {cents}");
    AccountEvent::Deposited { cents, note }
}

/// An account of so many events, half of what a snapshot waits for behind the last one.
async fn fill(client: &Client, id: &str) {
    let stream = Repository::<Account>::new(client.clone()).stream(id);
    let stream = stream.unwrap();
    let context = Context::new().by("anna").identified();
    let append = async |events: u64| {
        let event = |cents| encode(&deposited(cents), new_event_id(), &context).unwrap();
        let events = (0..events).map(event);
        let any = ExpectedRevision::Any;
        client.append(&stream, any, events).await.unwrap();
    };
    for _ in 1..EVENTS / APPEND_EVENTS {
        append(APPEND_EVENTS).await;
    }
    append(APPEND_EVENTS - 50).await;
    Repository::<Account>::new(client.clone())
        .snapshots(POLICY)
        .load(id)
        .await
        .unwrap();
    append(50).await;
}

fn aggregates(bench: &mut Criterion) {
    let runtime = runtime();
    let server = runtime.block_on(TestServer::start());
    let client = runtime.block_on(async { server.client() });
    runtime.block_on(fill(&client, "read"));
    let whole = Repository::<Account>::new(client.clone());
    let with_snapshot = whole.clone().snapshots(POLICY);
    for (name, accounts) in [("whole", &whole), ("with a snapshot", &with_snapshot)] {
        bench.bench_function(&format!("load of 10,000 events/{name}"), |bench| {
            bench.iter(|| {
                let loaded = runtime.block_on(accounts.load("read")).unwrap();
                assert_eq!(loaded.revision().unwrap().get(), EVENTS - 1);
            });
        });
    }
    for (name, id, accounts) in [
        ("whole", "changed-1", &whole),
        ("with a snapshot", "changed-2", &with_snapshot),
    ] {
        runtime.block_on(fill(&client, id));
        bench.bench_function(&format!("command after 10,000 events/{name}"), |bench| {
            bench.iter(|| runtime.block_on(async { accounts.execute(id, &1).await.unwrap() }));
        });
    }
    runtime.block_on(server.stop());
}

/// From nothing to the first answer, on a new directory.
fn start(bench: &mut Criterion) {
    let runtime = runtime();
    bench.bench_function("start of a test server", |bench| {
        bench.iter_custom(|rounds| {
            runtime.block_on(async {
                let mut took = Duration::ZERO;
                for _ in 0..rounds {
                    let begin = Instant::now();
                    let server = TestServer::start().await;
                    took += begin.elapsed();
                    server.stop().await;
                }
                took
            })
        });
    });
}

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

fn short() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
}

criterion_group! {
    name = benches;
    config = short();
    targets = aggregates, start
}
criterion_main!(benches);
