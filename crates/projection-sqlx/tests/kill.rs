//! A worker in a process of its own is killed at random moments, and the server restarted; the read model
//! is the one that the events add up to. This program is both: with [`SERVER`] in its environment it is
//! the worker. Always on SQLite; on PostgreSQL too with the feature `postgres-tests`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "a test program tells what it did")]

mod common;

use common::on_sqlite::{OnSqlite, open};
use common::{Database, Ledger, deposit, expected, runner};
use icecore_client::{BatchLimits, Client, Position, ProjectionRunner, Sink};
use icecore_testing::TestServer;
use std::process::{Child, Command};
use std::time::Duration;
use tokio::time::sleep;

/// What a worker is told: the server, and the file or the name of its database.
const SERVER: &str = "ICECORE_KILL_SERVER";
const SQLITE: &str = "ICECORE_KILL_SQLITE";
#[cfg(feature = "postgres-tests")]
const POSTGRES: &str = "ICECORE_KILL_POSTGRES";

/// Workers that are killed on each database.
const ROUNDS: usize = 15;

/// Events that each of them finds; in batches of [`BATCH`], so that they do not come far at once.
const EVENTS: usize = 300;
const BATCH: usize = 7;

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        if let Ok(server) = std::env::var(SERVER) {
            return work(&server).await;
        }
        let database = OnSqlite::new().await;
        let file = database.file();
        trial(&database, ("SQLite", SQLITE, file.to_str().unwrap())).await;
        #[cfg(feature = "postgres-tests")]
        {
            let database = common::on_postgres::OnPostgres::new().await;
            let name = database.name.clone();
            trial(&database, ("PostgreSQL", POSTGRES, &name)).await;
        }
    });
}

/// Works until it is killed.
async fn work(server: &str) {
    // The server may be away while it is restarted.
    let client = Client::connect_lazy(server).unwrap();
    #[cfg(feature = "postgres-tests")]
    if let Ok(name) = std::env::var(POSTGRES) {
        let database = common::on_postgres::OnPostgres::open(name).await;
        return work_into(client, database.sink()).await;
    }
    let file = std::env::var(SQLITE).unwrap();
    work_into(client, open(file.as_ref()).await).await;
}

async fn work_into<S: Sink<Transaction: common::Tables>>(client: Client, sink: S) {
    let limits = BatchLimits {
        events_max: BATCH,
        ..BatchLimits::default()
    };
    let runner = ProjectionRunner::new(client, sink, Ledger).batch(limits);
    let ended = runner.retry(common::QUICK).run(std::future::pending());
    ended.await.unwrap();
}

async fn trial(database: &impl Database, (kind, variable, value): (&str, &str, &str)) {
    let mut server = TestServer::start().await;
    let client = server.client();
    let mut random = fastrand::Rng::new();
    let seed = random.get_seed();
    let (mut last, mut unfinished) = (Position::START, 0);
    for round in 0..ROUNDS {
        let cents: Vec<_> = (0..EVENTS).map(|_| random.i64(1..9)).collect();
        for cents in cents.chunks(60) {
            last = deposit(&client, random.u64(1..6), cents).await;
        }
        let goal = checkpoint(&client, database).await + random.u64(1..EVENTS as u64 / 2);
        let worker = Command::new(std::env::current_exe().unwrap())
            .env(SERVER, server.url())
            .env(variable, value)
            .spawn();
        let mut worker = Worker(worker.unwrap());
        if round % 4 == 3 {
            server.restart().await;
        }
        while checkpoint(&client, database).await < goal {
            let ended = worker.0.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "seed {seed}: the worker has ended: {ended:?}"
            );
            sleep(Duration::from_micros(random.u64(..2_000))).await;
        }
        drop(worker);
        unfinished += usize::from(checkpoint(&client, database).await < last.get());
    }
    let running = runner(&client, database).start();
    assert!(running.reached(last).await, "seed {seed}");
    assert_eq!(running.progress().borrow().parked, 0, "seed {seed}");
    running.stop().await.unwrap();
    assert_eq!(
        database.read().await,
        expected(&client).await,
        "seed {seed}"
    );
    assert!(
        unfinished > 0,
        "seed {seed}: every worker was done when it was killed"
    );
    server.stop().await;
    println!("{kind}: {ROUNDS} workers killed, {unfinished} of them before they were done: ok");
}

/// How far the read model is.
async fn checkpoint(client: &Client, database: &impl Database) -> u64 {
    let stored = runner(client, database).generations().await.unwrap();
    let position = |stored: &icecore_client::StoredGeneration| stored.checkpoint.position.get();
    stored.first().map_or(0, position)
}

/// A process that is killed with -9 when it goes.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}
