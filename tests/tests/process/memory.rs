//! Memory stays bounded when readers stand still.

use crate::{icecore, sized, stream};
use futures::StreamExt;
use icecore_client::{ExpectedRevision, SubscriptionMessage};
use icecore_tests::ServerProcess;

const MIB: usize = 1_024 * 1_024;

/// Subscribers that stand still, each on a connection of its own.
const STANDING: usize = 12;

/// Events that come meanwhile, of 1 MiB each. A queue for each subscriber would need twelve times that.
const EVENTS: usize = 160;

/// What the server may hold more than before: its ring and caches, and what is on its way to each
/// subscriber, with room for an allocator that does not give everything back.
const GROWTH_BYTES_MAX: usize = 800 * MIB;

/// Bytes of memory that a process really uses, where the system tells.
fn resident_bytes(server: &ServerProcess) -> Option<usize> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

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
    let before = resident_bytes(&server);
    for _ in 0..EVENTS {
        let event = [sized(MIB)];
        let (to, any) = (stream("large-1"), ExpectedRevision::Any);
        client.append(&to, any, event).await.unwrap();
    }
    if let (Some(before), Some(after)) = (before, resident_bytes(&server)) {
        let growth = after - before;
        assert!(growth < GROWTH_BYTES_MAX, "it grew by {} MiB", growth / MIB);
    }
    // One of them goes on and gets everything.
    let events = standing.pop().unwrap().events().take(EVENTS);
    let revisions: Vec<_> = events.map(|e| e.unwrap().revision.get()).collect().await;
    assert!(revisions.into_iter().eq(0..EVENTS as u64));
    server.stop().await.unwrap();
}
