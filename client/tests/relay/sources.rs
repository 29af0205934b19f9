//! What a relay publishes is what its subscription sees, from where that starts.

use crate::fake::Fake;
use crate::{append_to, relay, start};
use icecore_client::{Category, Client, Revision, StreamName};
use icecore_testing::TestServer;

async fn check_source<At>(
    client: &Client,
    source: icecore_client::SubscribeCall<At>,
    expected: &[&str],
) {
    let fake = Fake::new();
    let running = start(relay("source", source, &fake));
    let mut running = running;
    let count = expected.len() as u64;
    running
        .until(|progress| progress.is_caught_up && progress.published >= count)
        .await;
    running.stop().await;
    assert_eq!(fake.names(), expected);
    let checkpoints = StreamName::new("$relay-source").unwrap();
    let kind = icecore_client::DeleteKind::Soft;
    let any = icecore_client::ExpectedRevision::Any;
    client.delete(&checkpoints, any, kind).await.unwrap();
}

#[tokio::test]
async fn filters_and_starts_are_those_of_the_subscription() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    append_to(&client, "order-1", 2).await;
    append_to(&client, "customer-1", 1).await;
    append_to(&client, "order-1", 1).await;
    let order = StreamName::new("order-1").unwrap();
    let category = Category::new("customer").unwrap();
    let all = || client.subscribe_all();
    check_source(&client, all().category(category), &["customer-1/0"]).await;
    check_source(&client, all().types(["Nothing"]), &[]).await;
    let after = all()
        .prefix("order-")
        .after(icecore_client::Position::FIRST);
    check_source(&client, after, &["order-1/1", "order-1/2"]).await;
    let one = || client.subscribe_stream(&order);
    check_source(&client, one(), &["order-1/0", "order-1/1", "order-1/2"]).await;
    check_source(&client, one().after(Revision::new(1)), &["order-1/2"]).await;
    server.stop().await;
}

/// The end is found once, by the first start, so what comes before the second is not left out.
#[tokio::test]
async fn a_start_at_the_end_is_kept() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let order = StreamName::new("order-1").unwrap();
    append_to(&client, "order-1", 2).await;
    let fake = Fake::new();
    let all = || relay("all", client.subscribe_all().from_end(), &fake);
    let one = || relay("one", client.subscribe_stream(&order).from_end(), &fake);
    for relay in [all(), one()] {
        let mut running = start(relay);
        running.until(|progress| progress.is_caught_up).await;
        running.abort().await;
    }
    append_to(&client, "order-1", 1).await;
    for (relay, count) in [(all(), 1), (one(), 2)] {
        let mut running = start(relay);
        running.until(|progress| progress.published == 1).await;
        running.stop().await;
        assert_eq!(fake.names(), vec!["order-1/2"; count]);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_relay_of_one_stream_goes_on_by_its_revisions() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let order = StreamName::new("order-1").unwrap();
    let fake = Fake::new();
    for _ in 0..3 {
        append_to(&client, "customer-1", 5).await;
        append_to(&client, "order-1", 2).await;
        let mut running = start(relay("one", client.subscribe_stream(&order), &fake));
        running.until(|progress| progress.published == 2).await;
        running.stop().await;
    }
    let expected: Vec<_> = (0..6)
        .map(|revision| format!("order-1/{revision}"))
        .collect();
    assert_eq!(fake.names(), expected);
    server.stop().await;
}

#[tokio::test]
async fn checkpoints_are_not_published_themselves() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let fake = Fake::new();
    let mut running = start(relay("all", client.subscribe_all().include_system(), &fake));
    for _ in 0..3 {
        append_to(&client, "order-1", 1).await;
        running.until_caught_up(&client).await;
    }
    running.stop().await;
    let again = relay("all", client.subscribe_all().include_system(), &fake);
    let mut running = start(again);
    append_to(&client, "order-1", 1).await;
    running.until_caught_up(&client).await;
    running.stop().await;
    let expected: Vec<_> = (0..4)
        .map(|revision| format!("order-1/{revision}"))
        .collect();
    assert_eq!(fake.names(), expected);
    server.stop().await;
}
