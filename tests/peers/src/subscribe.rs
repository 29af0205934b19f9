//! One writer and so many subscribers of everything; how long from the append's call to the delivery.

use crate::append::{Pace, Shape, Writer};
use crate::events::{self, Events};
use crate::outcome::{Lap, Measured};
use crate::store::Store;
use crate::{Server, duration};
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::timeout_at;
use umadb_dcb::DcbSubscriptionAsync;

#[derive(Args)]
pub(crate) struct SubscribeArgs {
    #[command(flatten)]
    server: Server,
    /// Subscribers
    #[arg(long, value_name = "N", default_value_t = 50)]
    clients: usize,
    /// Appends a second, instead of as many as possible
    #[arg(long, value_name = "N")]
    rate: Option<u64>,
    #[command(flatten)]
    shape: Shape,
    /// How long to measure, like 8s
    #[arg(long, value_name = "TIME", default_value = "8s", value_parser = duration)]
    duration: Duration,
}

type Subscription = Box<dyn DcbSubscriptionAsync + Send>;

impl SubscribeArgs {
    pub(crate) async fn run(self) -> Result<Value> {
        let store = Store::connect(&self.server).await?;
        let category = events::fresh_category(&store.client(0)).await?;
        let events = Events::new(&category, self.shape.payload_bytes);
        let before = store.events().await?;
        let mut subscriptions = Vec::new();
        for number in 0..self.clients {
            let subscription = store.client(number).subscribe(None, Some(before)).await;
            subscriptions.push(subscription.context("subscribe")?);
        }
        let per_append = self.shape.events_per_append.unwrap_or(1);
        let client = store.client(0);
        let writer = Writer::new(client, self.shape, per_append, events.clone(), 0, 1)?;
        let measured = Measured::begin(self.server.pid)?;
        let since = measured.since();
        let until = since + self.duration;
        let mut tasks = JoinSet::new();
        for subscription in subscriptions {
            tasks.spawn(follow(subscription, events.clone(), until));
        }
        tasks.spawn(write(writer, Pace::until(since, until, self.rate)));
        let mut all = Lap::new();
        while let Some(lap) = tasks.join_next().await {
            all.add(&lap.context("wait for a client")??);
        }
        measured.end(&all)
    }
}

/// Appends until time is up; events and latencies are the subscribers' to count.
async fn write(writer: Writer, pace: Pace) -> Result<Lap> {
    let own = writer.run(Arc::new(pace)).await?;
    let mut lap = Lap::new();
    lap.appends = own.appends;
    Ok(lap)
}

/// Takes what is delivered until time is up.
async fn follow(mut subscription: Subscription, events: Events, until: Instant) -> Result<Lap> {
    let mut lap = Lap::new();
    while let Ok(batch) = timeout_at(until.into(), subscription.next_batch()).await {
        let batch = batch.context("follow")?;
        ensure!(!batch.is_empty(), "a subscription ended");
        lap.events += batch.len() as u64;
        for age in batch.iter().filter_map(|event| events.age(&event.event)) {
            lap.latency(age);
        }
    }
    Ok(lap)
}
