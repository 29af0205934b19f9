//! `icecore bench subscribe`: one writer and many live subscribers; how long from the append's call to
//! the event's delivery.

use super::append::Pace;
use super::load::{Load, fresh_category};
use super::measure::{End, Lap, Measurement};
use super::{ConnectionsArgs, LoadArgs, ShowArgs};
use crate::args::ConnectionArgs;
use anyhow::{Result, bail};
use clap::Args;
use futures::TryStreamExt as _;
use icecore_client::{Client, Subscription, SubscriptionMessage};
use std::num::NonZeroU64;
use std::time::Duration;
use tokio::time::timeout_at;

/// Measure live delivery: one writer, and subscribers to all streams that follow it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  icecore bench subscribe --clients 1 --rate 500       # latency
  icecore bench subscribe --clients 50 --events-per-append 10 --json

Its events are deliveries, of all subscribers together.")]
pub(super) struct SubscribeArgs {
    /// Subscribers
    #[arg(long, value_name = "N", default_value = "50")]
    clients: NonZeroU64,
    #[command(flatten)]
    connections: ConnectionsArgs,
    /// Appends a second, instead of as many as possible
    #[arg(long, value_name = "N")]
    rate: Option<NonZeroU64>,
    #[command(flatten)]
    load: LoadArgs,
    /// How long to measure, like 8s or 2m
    #[arg(long, value_name = "TIME", default_value = "8s", value_parser = crate::args::duration)]
    duration: Duration,
    #[command(flatten)]
    show: ShowArgs,
}

pub(super) async fn run(args: SubscribeArgs, connection: &ConnectionArgs) -> Result<()> {
    let clients = args.connections.connect(connection).await?;
    let category = fresh_category(&clients[0]).await?;
    let load = args.load.load(&category, 1, NonZeroU64::MIN)?;
    let mut subscriptions = Vec::new();
    for (_, client) in (0..args.clients.get()).zip(clients.iter().cycle()) {
        let mut subscription = client.subscribe_all().from_end().start();
        catch_up(&mut subscription).await?;
        subscriptions.push(subscription);
    }
    let end = End::After(args.duration);
    let mut measurement = Measurement::begin(clients[0].clone(), end, args.show).await?;
    for subscription in subscriptions {
        let load = load.clone();
        measurement.spawn(|lap| follow(subscription, load, lap));
    }
    let (client, pace) = (clients[0].clone(), Pace::new(args.rate));
    measurement.spawn(|lap| write(client, load, pace, lap));
    let report = measurement.finish().await?;
    report.show("appends", "append to delivery")
}

async fn catch_up(subscription: &mut Subscription) -> Result<()> {
    while let Some(message) = subscription.try_next().await? {
        if matches!(message, SubscriptionMessage::CaughtUp { .. }) {
            return Ok(());
        }
    }
    bail!("a subscription ended before it had caught up")
}

/// Appends until time is up; latencies are the subscribers' to measure.
async fn write(client: Client, load: Load, pace: Pace, mut lap: Lap) -> Result<Lap> {
    let mut writer = load.writer(0);
    while lap.goes_on(0) {
        pace.wait().await;
        client.append_request(&writer.append()?).await?;
        lap.counts().appended();
    }
    Ok(lap)
}

/// Takes what is delivered until time is up.
async fn follow(mut subscription: Subscription, load: Load, mut lap: Lap) -> Result<Lap> {
    while let Ok(message) = timeout_at(lap.end().into(), subscription.try_next()).await {
        let Some(message) = message? else {
            bail!("a subscription ended");
        };
        if let SubscriptionMessage::Events(events) = message {
            lap.counts().delivered(events.len() as u64);
            for age in events
                .iter()
                .filter_map(|event| load.age_us(&event.metadata))
            {
                lap.latency_us(age);
            }
        }
    }
    Ok(lap)
}
