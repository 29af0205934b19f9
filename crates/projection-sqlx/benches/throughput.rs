//! Events a second of a projection that makes two inserts for each, by batch size: into SQLite,
//! and with the feature `postgres-tests` into the PostgreSQL of
//! `ICECORE_TEST_POSTGRES`. The server runs in the same process.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on ends")]
#![allow(clippy::print_stdout, reason = "it prints what it measures")]

#[path = "../tests/common/mod.rs"]
mod common;

use common::on_sqlite::OnSqlite;
use common::{Database, deposit, runner};
use icecore_client::{BatchLimits, Client, Position};
use icecore_testing::TestServer;
use std::time::Instant;

/// Events that are there for each batch size; fewer for small batches, which take longer.
const SIZES: [(usize, u64); 5] = [
    (1, 2_000),
    (10, 10_000),
    (100, 50_000),
    (1_000, 50_000),
    (10_000, 50_000),
];

fn main() {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let server = TestServer::start().await;
        let client = server.client();
        for account in 0..50 {
            deposit(&client, account, &[1; 1_000]).await;
        }
        for (events_max, events) in SIZES {
            let sqlite = OnSqlite::new().await;
            println!(
                "SQLite, batches of {events_max}: {:.0} events/s",
                rate(&client, &sqlite, events_max, events).await
            );
        }
        #[cfg(feature = "postgres-tests")]
        for (events_max, events) in SIZES {
            let postgres = common::on_postgres::OnPostgres::new().await;
            println!(
                "PostgreSQL, batches of {events_max}: {:.0} events/s",
                rate(&client, &postgres, events_max, events).await
            );
        }
    });
}

async fn rate(client: &Client, database: &impl Database, events_max: usize, events: u64) -> f64 {
    let limits = BatchLimits {
        events_max,
        ..BatchLimits::default()
    };
    let running = runner(client, database).batch(limits).start();
    running
        .until(|progress| progress.position > Position::START)
        .await;
    let begun = (Instant::now(), running.progress().borrow().handled);
    let enough = |handled: u64| handled - begun.1 >= events.min(49_000);
    running
        .until(|progress| enough(progress.handled) || progress.caught_up)
        .await;
    let handled = running.progress().borrow().handled - begun.1;
    let seconds = begun.0.elapsed().as_secs_f64();
    running.stop().await.unwrap();
    #[expect(clippy::cast_precision_loss, reason = "a rate is not exact")]
    let handled = handled as f64;
    handled / seconds
}
