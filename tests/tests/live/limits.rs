//! What happens when somebody takes too much: memory that is used up, readers that stand still.

use crate::raw::{Frames, Stubs, append, prefix};
use crate::{event, sized, stream};
use futures::StreamExt;
use icecore_client::{Error, ExpectedRevision, RetryPolicy};
use icecore_testing::TestServer;
use std::time::Duration;
use tonic::Code;

const MIB: usize = 1_024 * 1_024;

/// Bodies that have announced their size hold the room of it. When there is none left, an append is
/// told so with the name of the limit, smaller ones still go, and it goes when there is room again.
#[tokio::test]
async fn what_does_not_fit_into_memory_is_exhausted() {
    let server = TestServer::in_memory()
        .config(|config| config.admission_timeout = Duration::from_millis(100))
        .start()
        .await;
    let client = server.client_with(|client| client.retry(RetryPolicy::NEVER));
    let mut held = Vec::new();
    for _ in 0..5 {
        let mut call = Frames::open(&server, "/icecore.v1.Streams/Append").await;
        call.send(prefix(16 * MIB).freeze());
        call.ping().await;
        held.push(call);
    }
    let (order, any) = (stream("order-1"), ExpectedRevision::Any);
    let mut written = 0;
    // The server has received the announcements; it may take a moment until it has looked at them.
    let limit = loop {
        match client.append(&order, any, [sized("Large", 8 * MIB)]).await {
            Ok(_) => written += 1,
            Err(Error::Exhausted { limit, .. }) => break limit,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(limit, "in_flight_bytes");
    client.append(&order, any, [event("Small")]).await.unwrap();
    let mut stubs = Stubs::connect(&server).await;
    let mut request = append("order-1");
    request.events[0].data = vec![0; 8 * MIB].into();
    let status = stubs.streams.append(request).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);

    for call in held {
        call.vanish().await;
    }
    // The room comes back when the server notices that they are gone.
    loop {
        match client.append(&order, any, [sized("Large", 8 * MIB)]).await {
            Ok(_) => break,
            Err(Error::Exhausted { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let events = client.read_stream(&order).await.unwrap();
    assert_eq!(
        events.len(),
        written + 2,
        "what was turned away is not written"
    );
    server.stop().await;
}

/// Subscribers and readers that take nothing hold up neither writers nor those who read on.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_slows_only_itself() {
    const EVENTS: usize = 96;
    let server = TestServer::start().await;
    let (client, other) = (server.client(), server.client());
    let order = stream("order-1");
    let first = client.append(&order, ExpectedRevision::Any, [sized("Large", MIB)]);
    first.await.unwrap();
    let mut standing = Vec::new();
    for _ in 0..4 {
        let mut subscription = client.subscribe_all().start();
        subscription.next().await.unwrap().unwrap();
        standing.push(subscription);
    }
    let reading = tokio::spawn(async move {
        let events = other.subscribe_all().start().events();
        let mut events = events.take(EVENTS).enumerate();
        while let Some((n, event)) = events.next().await {
            assert_eq!(event.unwrap().revision.get(), n as u64);
        }
    });
    for _ in 1..EVENTS {
        let one = [sized("Large", MIB)];
        client
            .append(&order, ExpectedRevision::Any, one)
            .await
            .unwrap();
    }
    reading.await.unwrap();
    // Those who stood still get everything as well, once they go on.
    for subscription in standing {
        let events = subscription.events().take(EVENTS);
        let revisions: Vec<_> = events.map(|e| e.unwrap().revision.get()).collect().await;
        assert!(revisions.into_iter().eq(0..EVENTS as u64));
    }
    server.stop().await;
}
