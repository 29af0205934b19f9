//! Nothing is skipped and no stream gets out of order, wherever a relay ends and whatever fails.

use crate::fake::Fake;
use crate::{append, relay, start, stored};
use fastrand::Rng;
use icecore_client::RelayProgress;
use icecore_testing::{History, TestServer};

const SEEDS: u64 = 12;
const KILLS: usize = 6;

/// Appends go on while relays of one name are killed one after the other, at a broker that fails.
async fn check_kills(seed: u64) {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let mut random = Rng::with_seed(seed);
    let fake = Fake::failing(random.u8(..20), seed);
    let mut history = History::new(seed);
    for _ in 0..KILLS {
        append(&client, &mut history, 20).await;
        let relay = relay("all", client.subscribe_all(), &fake);
        let mut running = start(relay.in_flight_max(random.usize(1..40)));
        let kill_after = random.u64(..60);
        append(&client, &mut history, 20).await;
        let is_far =
            |progress: &RelayProgress| progress.is_caught_up || progress.published >= kill_after;
        running.until(is_far).await;
        running.abort().await;
    }
    let mut running = start(relay("all", client.subscribe_all(), &fake));
    running.until_caught_up(&client).await;
    running.stop().await;
    fake.check(&stored(&client).await);
    server.stop().await;
}

#[tokio::test]
async fn nothing_is_skipped_over_kills_and_failures() {
    for seed in 0..SEEDS {
        println!("seed {seed}");
        check_kills(seed).await;
    }
}

#[tokio::test]
async fn a_store_that_restarts_is_waited_for() {
    let mut server = TestServer::start().await;
    let client = server.client();
    let mut history = History::new(7);
    let fake = Fake::failing(5, 7);
    let mut running = start(relay("all", client.subscribe_all(), &fake));
    for _ in 0..3 {
        append(&client, &mut history, 60).await;
        server.halt().await;
        server.resume().await;
    }
    running.until_caught_up(&client).await;
    running.stop().await;
    fake.check(&stored(&client).await);
    server.stop().await;
}
