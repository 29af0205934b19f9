//! NATS JetStream.

use crate::scenario::{self, Duplicates, Running, check};
use anyhow::Result;
use icecore_client::{ExpectedRevision, Relay, StreamName, json_event};
use icecore_relay_trials::{Nats, RealBroker};
use icecore_testing::{History, TestServer};
use uuid::Uuid;

#[tokio::test]
async fn nats_gets_everything_in_order() -> Result<()> {
    scenario::everything_arrives::<Nats>().await
}

#[tokio::test]
async fn nats_has_once_what_killed_relays_sent_twice() -> Result<()> {
    scenario::killed_relays_skip_nothing::<Nats>(Duplicates::None).await
}

#[tokio::test]
async fn nats_is_waited_for_when_it_is_killed() -> Result<()> {
    scenario::a_killed_broker_is_waited_for::<Nats>(Duplicates::None).await
}

#[tokio::test]
async fn nats_is_left_by_the_elder_of_two_relays() -> Result<()> {
    scenario::the_elder_relay_is_fenced::<Nats>().await
}

/// Ids are unique within a stream only; JetStream would take the second for a duplicate.
#[tokio::test]
async fn nats_gets_events_of_two_streams_with_the_same_id() -> Result<()> {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let mut nats = Nats::start().await?;
    let id = Uuid::from_u128(7);
    for stream in ["account-1", "account-2"] {
        let mut event = json_event("Transferred", &stream)?;
        event.id = id;
        let stream = StreamName::new(stream)?;
        client
            .append(&stream, ExpectedRevision::Any, [event])
            .await?;
    }
    // A second relay sends both again, and JetStream has each once.
    for name in ["first", "second"] {
        let relay = Relay::new(name, client.subscribe_all(), nats.adapter().await?)?;
        let mut running = Running::start(relay.in_flight_max(1));
        running.until_caught_up(&client).await?;
        running.stop().await?;
    }
    let arrived = nats.arrived().await?;
    let ids: Vec<_> = arrived.iter().map(|message| message.id.clone()).collect();
    assert_eq!(ids, [id.to_string(), format!("{id}@account-2")]);
    assert_eq!(arrived[1].header("icecore-stream"), "account-2");
    Ok(())
}

#[tokio::test]
async fn nats_without_a_stream_for_the_subjects_takes_nothing() -> Result<()> {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let mut nats = Nats::without_stream().await?;
    scenario::append(&client, &mut History::new(5), 20).await?;
    let relay = Relay::new("trial", client.subscribe_all(), nats.adapter().await?)?;
    let mut running = Running::start(relay);
    running.until(|progress| progress.failed > 0).await?;
    nats.create_stream().await?;
    running.until_caught_up(&client).await?;
    running.stop().await?;
    check(
        &nats.arrived().await?,
        &client.read_all().await?,
        Duplicates::None,
    )
}
