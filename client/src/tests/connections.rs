//! Servers that are not there, addresses that are none, and connections that are cut in the middle.

use super::fake::{Fake, QUICK};
use crate::{Client, Error, RetryPolicy, SubscriptionMessage};
use futures::StreamExt;
use std::net::TcpListener as StdListener;
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Nobody listens there: the port was free a moment ago.
fn nobody() -> String {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// A way to a server that can be cut: whatever is connected is closed, and can connect again.
async fn way_to(server: &str) -> (String, watch::Sender<u32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = server.trim_start_matches("http://").to_owned();
    let (cut, cuts) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let mut to = TcpStream::connect(&server).await.unwrap();
            let mut cuts = cuts.clone();
            cuts.mark_unchanged();
            tokio::spawn(async move {
                tokio::select! {
                    _ = copy_bidirectional(&mut from, &mut to) => {}
                    _ = cuts.changed() => {}
                }
            });
        }
    });
    (url, cut)
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let url = nobody();
    let error = Client::connect(&url).await.unwrap_err();
    assert!(
        matches!(&error, Error::Unreachable { server, .. } if *server == url),
        "{error:?}"
    );

    let client = Client::builder(&url).retry(QUICK).connect_lazy().unwrap();
    let error = client.read_all().await.unwrap_err();
    assert!(
        matches!(&error, Error::Unreachable { server, .. } if *server == url),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_address_that_is_none_is_an_invalid_argument() {
    for url in ["", "127.0.0.1:2113", "https://127.0.0.1:2113", "http://a b"] {
        let error = Client::connect(url).await.unwrap_err();
        assert!(
            matches!(error, Error::InvalidArgument { ref field, .. } if field == "server"),
            "{url}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let client = Client::builder(url)
        .call_timeout(Duration::from_millis(50))
        .retry(RetryPolicy::NEVER)
        .connect_lazy()
        .unwrap();
    let stream = crate::StreamName::new("order-1").unwrap();
    let error = client.get_stream(&stream).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let error = client.read_all().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let following = client.subscribe_all().reconnection(RetryPolicy::NEVER);
    let error = following.start().next().await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_subscription_survives_a_connection_that_is_cut() {
    let fake = Fake::with_events(3);
    let (url, cut) = way_to(&fake.serve()).await;
    let client = Client::builder(url).connect().await.unwrap();
    let mut subscription = client.subscribe_all().reconnection(QUICK).start();
    let mut positions = Vec::new();
    let mut caught_up = 0;
    while caught_up < 3 {
        match subscription.next().await.unwrap().unwrap() {
            SubscriptionMessage::Events(events) => {
                positions.extend(events.iter().map(|event| event.position.get()));
            }
            SubscriptionMessage::CaughtUp { .. } => {
                caught_up += 1;
                cut.send_modify(|cuts| *cuts += 1);
            }
            _ => {}
        }
    }
    assert_eq!(positions, [1, 2, 3]);
}
