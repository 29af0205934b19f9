//! What ends a relay, and how it says so.

use crate::fake::Fake;
use crate::{QUICK, append_to, relay, start, stored};
use icecore_client::{
    Error, ExpectedRevision, Relay, RelayError, RetryPolicy, StreamName, json_event,
};
use icecore_testing::TestServer;

#[tokio::test]
async fn of_two_relays_of_a_name_the_younger_goes_on() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    append_to(&client, "order-1", 5).await;
    let fake = Fake::new();
    let mut elder = start(relay("all", client.subscribe_all(), &fake));
    elder.until_caught_up(&client).await;
    let mut younger = start(relay("all", client.subscribe_all(), &fake.for_another()));
    younger.until_caught_up(&client).await;
    append_to(&client, "order-1", 5).await;
    younger.until_caught_up(&client).await;
    let error = elder.error().await;
    assert!(
        matches!(&error, RelayError::Fenced { name } if name == "all"),
        "{error}"
    );
    assert_eq!(error.to_string(), "another relay `all` has taken over");
    append_to(&client, "order-1", 1).await;
    younger.until_caught_up(&client).await;
    younger.stop().await;
    fake.check(&stored(&client).await);
    server.stop().await;
}

/// A checkpoint of a store whose id is not the one of this store, as a restored store has it.
async fn foreign_checkpoint(server: &TestServer, data: &serde_json::Value) {
    let stream = StreamName::new("$relay-all").unwrap();
    let event = json_event("$relayCheckpoint", data).unwrap();
    let any = ExpectedRevision::Any;
    server.client().append(&stream, any, [event]).await.unwrap();
}

#[tokio::test]
async fn in_a_restored_store_it_stops_unless_told_to_go_on() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    append_to(&client, "order-1", 5).await;
    let other = "018f2c3e-5b7a-7cc1-b1f0-2d1c9a3e4f50";
    let data = serde_json::json!({ "store_id": other, "position": 3 });
    foreign_checkpoint(&server, &data).await;
    let fake = Fake::new();
    let error = start(relay("all", client.subscribe_all(), &fake))
        .error()
        .await;
    let RelayError::Store(Error::WrongStore { expected, .. }) = error else {
        panic!("{error}");
    };
    assert_eq!(expected.to_string(), other);
    assert!(fake.names().is_empty());

    let accepting = relay("all", client.subscribe_all(), &fake).accept_restored();
    let mut running = start(accepting);
    running.until_caught_up(&client).await;
    running.stop().await;
    assert_eq!(fake.names(), ["order-1/3", "order-1/4"]);
    let mut running = start(relay("all", client.subscribe_all(), &fake));
    running.until_caught_up(&client).await;
    running.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn a_checkpoint_that_does_not_fit_is_refused() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let fake = Fake::new();
    let stream = StreamName::new("order-1").unwrap();
    let mut running = start(relay("all", client.subscribe_all(), &fake));
    running.until(|progress| progress.is_caught_up).await;
    running.stop().await;
    let error = start(relay("all", client.subscribe_stream(&stream), &fake));
    let error = error.error().await.to_string();
    assert!(error.ends_with("is of a relay of all streams"), "{error}");

    foreign_checkpoint(&server, &serde_json::json!({ "position": "x" })).await;
    let error = start(relay("all", client.subscribe_all(), &fake))
        .error()
        .await;
    assert!(error.to_string().contains("is not understood"), "{error}");
    server.stop().await;
}

#[tokio::test]
async fn names_are_checked() {
    let server = TestServer::in_memory().start().await;
    for name in [String::new(), "a".repeat(1_024), "a\nb".to_owned()] {
        let relay = Relay::new(name, server.client().subscribe_all(), Fake::new());
        assert!(matches!(relay, Err(Error::InvalidArgument { .. })));
    }
    server.stop().await;
}

#[tokio::test]
async fn an_event_that_is_refused_too_often_ends_it() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    append_to(&client, "order-1", 3).await;
    let fake = Fake::new();
    fake.close();
    let limited = relay("all", client.subscribe_all(), &fake).retry(RetryPolicy {
        attempts_max: 3,
        ..QUICK
    });
    let running = start(limited);
    let progress = running.progress.clone();
    let error = running.error().await;
    let RelayError::Broker { event, source } = error else {
        panic!("{error}");
    };
    assert_eq!(crate::fake::name_of(&event), "order-1/0");
    assert_eq!(source.to_string(), "is closed");
    assert_eq!(progress.borrow().failed, 3);

    fake.open();
    let mut running = start(relay("all", client.subscribe_all(), &fake));
    running.until_caught_up(&client).await;
    running.stop().await;
    fake.check(&stored(&client).await);
    server.stop().await;
}

#[tokio::test]
async fn a_stop_before_the_store_is_there_ends_it() {
    let mut server = TestServer::in_memory().start().await;
    let client = server.client();
    server.halt().await;
    let running = start(relay("all", client.subscribe_all(), &Fake::new()));
    running.stop().await;
}
