//! RabbitMQ.

use crate::scenario::{self, Duplicates, Running, check};
use anyhow::Result;
use icecore_client::{Relay, RelayError, RetryPolicy};
use icecore_relay_rabbitmq::Unroutable;
use icecore_relay_trials::{Rabbit, RealBroker};
use icecore_testing::{History, TestServer};

#[tokio::test]
async fn rabbitmq_gets_everything_in_order() -> Result<()> {
    scenario::everything_arrives::<Rabbit>().await
}

#[tokio::test]
async fn rabbitmq_misses_nothing_when_relays_are_killed() -> Result<()> {
    scenario::killed_relays_skip_nothing::<Rabbit>(Duplicates::SameId).await
}

#[tokio::test]
async fn rabbitmq_is_waited_for_when_it_is_killed() -> Result<()> {
    scenario::a_killed_broker_is_waited_for::<Rabbit>(Duplicates::SameId).await
}

#[tokio::test]
async fn rabbitmq_is_left_by_the_elder_of_two_relays() -> Result<()> {
    scenario::the_elder_relay_is_fenced::<Rabbit>().await
}

/// A message that no queue gets is an error, unless it was said to be none.
#[tokio::test]
async fn rabbitmq_says_what_no_queue_gets() -> Result<()> {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let mut rabbit = Rabbit::without_queue().await?;
    let mut history = History::new(5);
    scenario::append(&client, &mut history, 10).await?;

    let limited = Relay::new("trial", client.subscribe_all(), rabbit.broker())?;
    let limited = limited.retry(RetryPolicy {
        attempts_max: 2,
        ..RetryPolicy::FOR_EVER
    });
    let error = Running::start(limited).error().await?;
    assert!(matches!(error, RelayError::Broker { .. }));
    assert!(error.to_string().contains("NO_ROUTE"), "{error}");

    rabbit.create_queue().await?;
    let relay = Relay::new("trial", client.subscribe_all(), rabbit.broker())?;
    let mut running = Running::start(relay);
    running.until_caught_up(&client).await?;
    running.stop().await?;
    check(
        &rabbit.arrived().await?,
        &client.read_all().await?,
        Duplicates::None,
    )
}

#[tokio::test]
async fn rabbitmq_may_drop_what_no_queue_gets() -> Result<()> {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let mut rabbit = Rabbit::without_queue().await?;
    scenario::append(&client, &mut History::new(6), 10).await?;
    let tolerant = rabbit.broker().unroutable(Unroutable::Passes);
    let mut running = Running::start(Relay::new("trial", client.subscribe_all(), tolerant)?);
    running.until_caught_up(&client).await?;
    running.stop().await?;
    rabbit.create_queue().await?;
    assert_eq!(rabbit.arrived().await?, []);
    Ok(())
}
