//! The server is killed in the midst of scavenging and erasing: nothing that is visible is lost, what
//! was begun is finished, and hashes stay.

use crate::{icecore, stream};
use futures::StreamExt;
use icecore_client::{
    Client, EventData, ExpectedRevision, Hash, RecordedEvent, Revision, ScavengeMode,
    ScavengePhase, Tag, new_event_id,
};
use std::time::Duration;

/// Streams that are filled.
const STREAMS: usize = 12;

/// Events of each.
const EVENTS: usize = 1_500;

/// How often the server is killed.
const KILLS: u64 = 8;

/// The index is cut and merged meanwhile.
const FLAGS: [&str; 2] = ["--index-run-events", "2000"];

fn event(n: usize) -> EventData {
    let noise: String = (0..12)
        .map(|_| new_event_id().simple().to_string())
        .collect();
    let data = format!(r#"{{"n":{n},"noise":"{noise}"}}"#);
    EventData {
        tags: vec![Tag::new(format!("n:{}", n % 50)).unwrap()],
        ..EventData::json(new_event_id(), "Noted", data).unwrap()
    }
}

fn names() -> Vec<String> {
    (0..STREAMS).map(|n| format!("s-{n}")).collect()
}

async fn fill(client: &Client) {
    for name in names() {
        for first in (0..EVENTS).step_by(500) {
            let events: Vec<_> = (first..first + 500).map(event).collect();
            let to = stream(&name);
            client
                .append(&to, ExpectedRevision::Any, events)
                .await
                .unwrap();
        }
    }
}

async fn visible(client: &Client) -> Vec<Vec<RecordedEvent>> {
    let mut streams = Vec::new();
    for name in names() {
        streams.push(client.read_stream(&stream(&name)).await.unwrap());
    }
    streams
}

async fn root(client: &Client, size: u64) -> Hash {
    client.tree_head(Some(size)).await.unwrap().root
}

/// Scavenges until the progress says enough, or to the end; the number of events removed.
async fn scavenge(client: &Client, enough: u64) -> Option<u64> {
    let progress = client.scavenge(ScavengeMode::Remove).await.unwrap();
    let mut progress = std::pin::pin!(progress);
    while let Some(Ok(now)) = progress.next().await {
        if now.phase == ScavengePhase::Done {
            return Some(now.removed_events);
        }
        if now.removed_events > enough {
            return None;
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_midst_of_removing_it_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let server = icecore()
        .serve_with(directory.path(), "127.0.0.1:0", &FLAGS)
        .await
        .unwrap();
    let client = server.client();
    fill(&client).await;
    let size = (STREAMS * EVENTS) as u64;
    let before = visible(&client).await;
    let tree = root(&client, size).await;
    for name in names() {
        let last = Revision::new(EVENTS as u64 - 10);
        client.truncate(&stream(&name), last).await.unwrap();
    }
    let erased = Revision::new(EVENTS as u64 - 5);
    server.kill().await.unwrap();

    let mut removed = 0;
    for kill in 0..KILLS {
        let server = icecore()
            .serve_with(directory.path(), "127.0.0.1:0", &FLAGS)
            .await
            .unwrap();
        let client = server.client();
        let name = stream(&format!("s-{kill}"));
        let erasing = tokio::spawn({
            let client = client.clone();
            async move { client.erase(&name, erased, "the test wants it").await }
        });
        // From a kill at once to one when almost everything is gone.
        let enough = kill * size / KILLS / 4;
        let scavenged = tokio::time::timeout(Duration::from_secs(20), scavenge(&client, enough));
        removed += scavenged.await.ok().flatten().unwrap_or(0);
        server.kill().await.unwrap();
        erasing.abort();
    }

    let server = icecore()
        .serve_with(directory.path(), "127.0.0.1:0", &FLAGS)
        .await
        .unwrap();
    let client = server.client();
    for kill in 0..KILLS {
        let name = stream(&format!("s-{kill}"));
        client
            .erase(&name, erased, "the test wants it")
            .await
            .unwrap();
    }
    while scavenge(&client, u64::MAX).await != Some(0) {}
    assert!(removed <= size);
    assert_eq!(root(&client, size).await, tree, "hashes stay");
    let after = visible(&client).await;
    for (n, (before, after)) in before.iter().zip(&after).enumerate() {
        let mut expected = before[EVENTS - 10..].to_vec();
        if (n as u64) < KILLS {
            expected[5] = expected[5].clone().into_erased();
        }
        assert_eq!(*after, expected, "stream {n}");
    }
    let everything = client.read_all().await.unwrap();
    assert_eq!(everything.len(), 10 * STREAMS);
    let tag = Tag::new("n:45").unwrap();
    let tagged = client.read_all().tag(tag).await.unwrap();
    // Of the last ten events of each stream the erased one alone had it.
    assert_eq!(tagged.len() as u64, STREAMS as u64 - KILLS);
    server.stop().await.unwrap();
}
