//! How many events a second a relay publishes, with many streams and with one:
//! `cargo run --release -p icecore-relay-trials --example rates`. Needs nats-server and rabbitmq-server.

#![allow(clippy::print_stdout, reason = "a measurement prints what it measured")]

use anyhow::{Context, Result};
use icecore_client::{AppendBuilder, Client, ExpectedRevision, Relay, StreamName, json_event};
use icecore_relay_trials::{Nats, Rabbit, RealBroker};
use icecore_testing::TestServer;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Instant;

const EVENTS: u32 = 20_000;

/// Events that go to the store in one append.
const APPEND: u32 = 500;

#[tokio::main]
async fn main() -> Result<()> {
    for streams in [1_000, 100, 10, 1] {
        let server = TestServer::in_memory().start().await;
        let client = server.client();
        fill(&client, streams).await?;
        println!("{streams} streams");
        println!(
            "  NATS     {:>6.0} events/s",
            rate::<Nats>(&client, "nats").await?
        );
        println!(
            "  RabbitMQ {:>6.0} events/s",
            rate::<Rabbit>(&client, "rabbitmq").await?
        );
    }
    Ok(())
}

/// Events of 100 bytes, the streams in turn.
async fn fill(client: &Client, streams: u32) -> Result<()> {
    let text = "x".repeat(100);
    for first in (0..EVENTS).step_by(APPEND as usize) {
        let mut append = AppendBuilder::default();
        let mut known = HashMap::new();
        for order in (first..first + APPEND).map(|number| number % streams) {
            let stream = match known.entry(order) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => {
                    let name = StreamName::new(format!("order-{order}"))?;
                    *new.insert(append.stream(name, ExpectedRevision::Any)?)
                }
            };
            append.event(stream, json_event("OrderPlaced", &text)?, None)?;
        }
        client.append_request(&append.build()?).await?;
    }
    Ok(())
}

async fn rate<B: RealBroker>(client: &Client, name: &str) -> Result<f64> {
    let broker = B::start().await?;
    let relay = Relay::new(
        name.to_owned(),
        client.subscribe_all(),
        broker.adapter().await?,
    )?;
    let mut progress = relay.progress();
    let since = Instant::now();
    let relay = tokio::spawn(relay.run(std::future::pending()));
    let published = progress.wait_for(|progress| progress.published >= u64::from(EVENTS));
    published.await.context("the relay ended")?;
    let rate = f64::from(EVENTS) / since.elapsed().as_secs_f64();
    relay.abort();
    Ok(rate)
}
