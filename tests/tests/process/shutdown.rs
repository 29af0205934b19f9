//! How a server stops: in order, soon, and saying so to everybody who is connected.

use crate::{icecore, sized, stream};
use futures::StreamExt;
use icecore_client::{
    Append, Error, ExpectedRevision, RetryPolicy, Subscription, SubscriptionMessage,
};
use std::time::Duration;

/// What is promised, and as much again for a machine that has other things to do.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);

async fn caught_up(subscription: &mut Subscription) {
    loop {
        let message = subscription.next().await.unwrap().unwrap();
        if matches!(message, SubscriptionMessage::CaughtUp { .. }) {
            return;
        }
    }
}

/// Subscriptions that wait, ones that stand still, an open session, idle connections: none of them
/// holds up the end, and subscribers are told that it is the server that goes.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_stops_soon_whatever_is_open() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("store");
    let server = icecore().serve(&data).await.unwrap();
    let client = server.client();
    let (order, any) = (stream("order-1"), ExpectedRevision::Any);
    for _ in 0..64 {
        client.append(&order, any, [sized(200_000)]).await.unwrap();
    }
    let begin = |reconnection| client.subscribe_all().reconnection(reconnection).start();
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut subscription = begin(RetryPolicy::NEVER);
        caught_up(&mut subscription).await;
        waiting.push(subscription);
    }
    let mut standing = Vec::new();
    for _ in 0..5 {
        let mut subscription = server.client().subscribe_all().start();
        subscription.next().await.unwrap().unwrap();
        standing.push(subscription);
    }
    let mut session = server.client().append_session().await.unwrap();
    let append = Append::to_stream(order.clone(), any, vec![sized(10)]).unwrap();
    session.append(&append).await.unwrap().await.unwrap();
    let idle = tokio::net::TcpStream::connect(server.address()).await;

    let took = server.stop().await.unwrap();
    assert!(took < STOPPED_WITHIN, "it took {took:?}");
    for subscription in waiting {
        let end = subscription.filter_map(async |message| message.err());
        let end = std::pin::pin!(end).next().await;
        assert!(matches!(end, Some(Error::Unavailable { .. })), "{end:?}");
    }
    drop((standing, session, idle));

    let server = icecore().serve(&data).await.unwrap();
    let events = server.client().read_stream(&order).await.unwrap();
    assert_eq!(events.len(), 65);
    server.stop().await.unwrap();
}

/// Appends that are under way when the signal comes are answered or told that nothing was written.
#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_loses_no_append_and_leaves_at_most_the_last_one_in_doubt() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("store");
    let server = icecore().serve(&data).await.unwrap();
    let order = stream("order-1");
    let (first, begun) = tokio::sync::oneshot::channel();
    let client = server.client();
    let writing = tokio::spawn({
        let order = order.clone();
        let client = icecore_client::Client::builder(client.server().to_owned());
        let client = client.retry(RetryPolicy::NEVER).connect().await.unwrap();
        async move {
            let mut first = Some(first);
            let mut acknowledged = 0;
            loop {
                let outcome = client
                    .append(&order, ExpectedRevision::Any, [sized(10)])
                    .await;
                match outcome {
                    Ok(_) => acknowledged += 1,
                    Err(Error::Unavailable { .. } | Error::Unreachable { .. }) => {
                        return (acknowledged, 0);
                    }
                    // Sent at the very moment at which the connection was closed.
                    Err(Error::OutcomeUnknown { .. }) => return (acknowledged, 1),
                    Err(other) => panic!("no answer to an append at a stop: {other}"),
                }
                if let Some(first) = first.take() {
                    first.send(()).unwrap();
                }
            }
        }
    });
    begun.await.unwrap();
    server.stop().await.unwrap();
    let (acknowledged, in_doubt) = writing.await.unwrap();
    let server = icecore().serve(&data).await.unwrap();
    let events = server.client().read_stream(&order).await.unwrap();
    assert!((acknowledged..=acknowledged + in_doubt).contains(&events.len()));
    server.stop().await.unwrap();
}

/// Ctrl-C stops a server as SIGTERM does.
#[tokio::test]
async fn ctrl_c_stops_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = icecore().serve(directory.path()).await.unwrap();
    server.interrupt().unwrap();
    assert!(server.ended().await.unwrap().success());
}
