//! Memory stays bounded when readers stand still.

use crate::{icecore, sized, stream};
use futures::StreamExt;
use icecore_client::{ExpectedRevision, SubscriptionMessage};

const MIB: u64 = 1_024 * 1_024;

/// Subscribers that stand still, each on a connection of its own.
const STANDING: usize = 12;

/// Events that come meanwhile, of 1 MiB each. A queue for each subscriber would need twelve times that.
const EVENTS: usize = 160;

/// What the server may hold more than before: its ring and caches, and what is on its way to each
/// subscriber, with room for an allocator that does not give everything back.
const GROWTH_BYTES_MAX: u64 = 800 * MIB;

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_stand_still_do_not_fill_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let server = icecore().serve(directory.path()).await.unwrap();
    let client = server.client();
    let mut standing = Vec::new();
    for _ in 0..STANDING {
        let mut subscription = server.client().subscribe_all().start();
        while !matches!(
            subscription.next().await.unwrap().unwrap(),
            SubscriptionMessage::CaughtUp { .. }
        ) {}
        standing.push(subscription);
    }
    let before = server.memory_max();
    for _ in 0..EVENTS {
        let event = [sized(1_024 * 1_024)];
        let (to, any) = (stream("large-1"), ExpectedRevision::Any);
        client.append(&to, any, event).await.unwrap();
    }
    if let (Some(before), Some(after)) = (before, server.memory_max()) {
        let growth = after - before;
        assert!(growth < GROWTH_BYTES_MAX, "it grew by {} MiB", growth / MIB);
    }
    // One of them goes on and gets everything.
    let events = standing.pop().unwrap().events().take(EVENTS);
    let revisions: Vec<_> = events.map(|e| e.unwrap().revision.get()).collect().await;
    assert!(revisions.into_iter().eq(0..EVENTS as u64));
    server.stop().await.unwrap();
}
