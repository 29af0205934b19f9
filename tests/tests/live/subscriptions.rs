//! Subscriptions over the wire: the seam between what was and what comes, restarts, filters, ends.

use crate::{event, exact, fill, stream};
use futures::{Stream, StreamExt};
use icecore_client::{
    Client, DeleteKind, Error, ExpectedRevision, Position, RecordedEvent, Result, RetryPolicy,
    Revision, StoreId, SubscriptionMessage,
};
use icecore_testing::TestServer;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use uuid::Uuid;

/// The next so many events.
async fn take(
    events: &mut (impl Stream<Item = Result<RecordedEvent>> + Unpin),
    count: usize,
) -> Vec<RecordedEvent> {
    events.take(count).map(Result::unwrap).collect().await
}

/// Subscribers that come while others write see every event once and in order: what was before, what
/// came in between, and what came after.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_at_the_seam() {
    const EVENTS: usize = 600;
    let server = TestServer::start().await;
    let client = server.client();
    let writing = {
        let client = client.clone();
        tokio::spawn(async move {
            for n in 0..EVENTS {
                fill(&client, ["order-1", "order-2", "note-1"][n % 3], 1).await;
            }
        })
    };
    let mut following = Vec::new();
    for part in 0..8 {
        let begun = EVENTS / 8 * part;
        let mut all = client.subscribe_all().start().events();
        // Begins when so much is written, each at another place.
        let before = take(&mut client.subscribe_all().start().events(), begun).await;
        following.push(tokio::spawn(async move {
            let events = take(&mut all, EVENTS).await;
            assert!(events.starts_with(&before));
            let positions = events.iter().map(|event| event.position.get());
            assert!(positions.eq(1..=EVENTS as u64));
        }));
        let one = client.subscribe_stream(&stream("order-2")).start();
        following.push(tokio::spawn(async move {
            let events = take(&mut one.events(), EVENTS / 3).await;
            let revisions = events.iter().map(|event| event.revision.get());
            assert!(revisions.eq(0..EVENTS as u64 / 3));
        }));
        let mut notes = client.subscribe_all().prefix("note-").start().events();
        following.push(tokio::spawn(async move {
            let events = take(&mut notes, EVENTS / 3).await;
            let revisions = events.iter().map(|event| event.revision.get());
            assert!(revisions.eq(0..EVENTS as u64 / 3));
        }));
    }
    writing.await.unwrap();
    for follower in following {
        follower.await.unwrap();
    }
    server.stop().await;
}

/// A subscription that lives over restarts goes on where it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_resumes_over_restarts() {
    let mut server = TestServer::start().await;
    let client = server.client();
    let mut all = client.subscribe_all().start().events();
    let mut paid = client.subscribe_all().types(["Paid"]).start().events();
    let mut one = client.subscribe_stream(&stream("order-2")).start().events();
    let mut new = client.subscribe_all().from_end().start();
    // It begins at the end that is there when it is asked for.
    assert!(matches!(
        new.next().await,
        Some(Ok(SubscriptionMessage::Confirmed { .. }))
    ));
    let mut new = new.events();
    for round in 0..4_u64 {
        let (first, second) = (stream("order-1"), stream("order-2"));
        let any = ExpectedRevision::Any;
        client.append(&first, any, [event("Placed")]).await.unwrap();
        client.append(&second, any, [event("Paid")]).await.unwrap();
        let positions = |events: Vec<RecordedEvent>| {
            let positions = events.iter().map(|event| event.position.get());
            positions.collect::<Vec<_>>()
        };
        let (odd, even) = (2 * round + 1, 2 * round + 2);
        assert_eq!(positions(take(&mut all, 2).await), [odd, even]);
        assert_eq!(positions(take(&mut new, 2).await), [odd, even]);
        assert_eq!(positions(take(&mut paid, 1).await), [even]);
        assert_eq!(positions(take(&mut one, 1).await), [even]);
        server.restart().await;
    }
    server.stop().await;
}

/// A subscription that does not reconnect is told that the server stops.
#[tokio::test]
async fn a_shutdown_ends_subscriptions_with_unavailable() {
    let server = TestServer::start().await;
    let client = server.client();
    let all = client.subscribe_all().reconnection(RetryPolicy::NEVER);
    let mut subscription = all.start();
    while !matches!(
        subscription.next().await,
        Some(Ok(SubscriptionMessage::CaughtUp { .. }))
    ) {}
    let (end, ()) = tokio::join!(subscription.next(), server.stop());
    assert!(
        matches!(end, Some(Err(Error::Unavailable { .. }))),
        "{end:?}"
    );
}

#[tokio::test]
async fn the_wrong_store_and_a_place_beyond_the_end_are_errors() {
    let server = TestServer::start().await;
    let client = server.client();
    fill(&client, "order-1", 2).await;
    let end = async |subscription: icecore_client::Subscription| {
        let mut subscription = subscription;
        subscription.next().await.unwrap().unwrap_err()
    };
    let other = StoreId::new(Uuid::from_u128(7));
    let error = end(client.subscribe_all().store_id(other).start()).await;
    let actual = client.stats().await.unwrap().store_id;
    assert!(
        matches!(error, Error::WrongStore { expected, actual: a } if expected == other && a == actual),
        "{error}"
    );
    let beyond = client.subscribe_all().after(Position::new(3));
    let error = end(beyond.start()).await;
    assert!(matches!(error, Error::InvalidArgument { ref field, .. } if field == "after"));
    let beyond = client.subscribe_stream(&stream("order-1"));
    let error = end(beyond.after(Revision::new(2)).start()).await;
    assert!(matches!(error, Error::InvalidArgument { ref field, .. } if field == "after"));

    // The right store, up to its very end, is none.
    let right = client.subscribe_all().store_id(actual);
    let mut events = right.after(Position::new(2)).start().events();
    fill(&client, "order-1", 1).await;
    assert_eq!(take(&mut events, 1).await[0].position, Position::new(3));
    server.stop().await;
}

/// A subscription that filters nearly everything out learns how far it has come, and can go on there.
#[tokio::test]
async fn checkpoints_say_how_far_a_filter_has_looked() {
    const NOISE: usize = 3_000;
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let noise: Vec<_> = (0..NOISE).map(|_| event("Noise")).collect();
    let any = ExpectedRevision::Any;
    client.append(&stream("noise-1"), any, noise).await.unwrap();
    let mut subscription = client.subscribe_all().regex("^rare-").start();
    let mut looked_at = Position::START;
    loop {
        match subscription.next().await.unwrap().unwrap() {
            SubscriptionMessage::Confirmed { .. } => {}
            SubscriptionMessage::Checkpoint(position) => looked_at = position,
            SubscriptionMessage::CaughtUp { position } => {
                assert_eq!(position, Position::new(NOISE as u64));
                break;
            }
            SubscriptionMessage::Events(events) => panic!("{events:?}"),
        }
    }
    assert!(looked_at > Position::START, "there was no checkpoint");
    fill(&client, "rare-1", 1).await;
    let resumed = client.subscribe_all().regex("^rare-").after(looked_at);
    let events = take(&mut resumed.start().events(), 1).await;
    assert_eq!(events[0].position, Position::new(NOISE as u64 + 1));
    server.stop().await;
}

/// A tombstone is delivered and then ends the subscription of its stream.
#[tokio::test]
async fn a_tombstone_ends_the_subscription_of_its_stream() {
    let server = TestServer::start().await;
    let client = server.client();
    let order = stream("order-1");
    fill(&client, "order-1", 1).await;
    let mut events = client.subscribe_stream(&order).start().events();
    assert_eq!(take(&mut events, 1).await.len(), 1);
    let tombstone = DeleteKind::Tombstone;
    client.delete(&order, exact(0), tombstone).await.unwrap();
    let last = events.next().await.unwrap().unwrap();
    assert!(last.is_tombstone());
    let end = events.next().await.unwrap();
    assert!(matches!(end, Err(Error::StreamDeleted { .. })), "{end:?}");
    server.stop().await;
}

/// Many subscriptions come and go while events are written; those that are dropped cost nothing and
/// the server counts none in the end.
#[tokio::test(flavor = "multi_thread")]
async fn dropped_subscriptions_are_forgotten() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let stop = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn(write_until(client.clone(), Arc::clone(&stop)));
    for _ in 0..50 {
        let mut subscription = client.subscribe_all().start();
        subscription.next().await.unwrap().unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    writing.await.unwrap();
    // The server notices with the reset of the stream, which is on its way.
    let forgotten = async { while client.stats().await.unwrap().subscriptions > 0 {} };
    let forgotten = tokio::time::timeout(std::time::Duration::from_secs(60), forgotten);
    forgotten.await.expect("the server forgets them");
    server.stop().await;
}

async fn write_until(client: Client, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        fill(&client, "order-1", 1).await;
    }
}
