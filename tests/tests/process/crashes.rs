//! kill -9 while appends are under way: every acknowledged event is there afterwards, once and in
//! order, every other append is there whole or not at all, and subscribers go on where they were.

use crate::{icecore, sized, stream};
use icecore_client::{ExpectedRevision, Revision};
use icecore_tests::Kills;
use tokio::sync::watch;

/// Sixteen writers and four subscribers, twenty kills. `just torture` goes on longer.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_survives_kills() {
    let seed = fastrand::u64(..1_000_000);
    println!("seed {seed}");
    let kills = Kills { kills: 20, seed };
    let survived = kills.run(&icecore(), |_| {}).await;
    let survived = survived.unwrap_or_else(|error| panic!("{error:#}"));
    println!("{survived}");
    assert_eq!(survived.kills, 20);
    assert!(survived.reconnections > 0 && survived.delivered > survived.events);
}

/// A client that retries does not notice: it gets one answer, and its events are there once.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_over_a_kill_is_written_once() {
    const APPENDS: u64 = 300;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("store");
    let server = icecore().serve(&data).await.unwrap();
    let address = server.address().to_owned();
    let client = server.client();
    let (sent, mut acknowledged) = watch::channel(0);
    let writing = tokio::spawn(async move {
        let order = stream("order-1");
        for n in 0..APPENDS {
            let expected = n.checked_sub(1).map_or(ExpectedRevision::NoStream, |last| {
                ExpectedRevision::Exact(Revision::new(last))
            });
            let appended = client.append(&order, expected, [sized(10)]).await.unwrap();
            assert_eq!(appended.streams[0].last_revision, Some(Revision::new(n)));
            sent.send_replace(n);
        }
        client
    });
    let mut server = server;
    for part in 1..=2 {
        let enough = APPENDS * part / 3;
        acknowledged.wait_for(|n| *n >= enough).await.unwrap();
        server.kill().await.unwrap();
        server = icecore().serve_with(&data, &address, &[]).await.unwrap();
    }
    let client = writing.await.unwrap();
    let events = client.read_stream(&stream("order-1")).await.unwrap();
    assert_eq!(events.len() as u64, APPENDS);
    server.stop().await.unwrap();
}
