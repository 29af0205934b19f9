//! Reads: whole random streams by many, or everything by one. An empty store is filled first.

use crate::append::{self, Pace, Shape};
use crate::events::{self, CATEGORY, Events};
use crate::outcome::{Lap, Measured};
use crate::store::Store;
use crate::{Server, duration};
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use umadb_client::AsyncUmaDbClient;
use umadb_dcb::{DcbEventStoreAsync, DcbQuery, DcbQueryItem};

/// Writers that fill a store, and the events that they give an append unless told otherwise.
const WRITERS: usize = 16;
const EVENTS_PER_APPEND: u64 = 10;

#[derive(Args)]
pub(crate) struct ReadArgs {
    /// Readers at the same time
    #[arg(long, value_name = "N", default_value_t = 16)]
    clients: usize,
    #[command(flatten)]
    stored: Stored,
    /// How long to measure, like 8s
    #[arg(long, value_name = "TIME", default_value = "8s", value_parser = duration)]
    duration: Duration,
}

#[derive(Args)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    stored: Stored,
    /// Only events of this type
    #[arg(long = "type", value_name = "T")]
    event_type: Option<String>,
    /// Only events with this tag
    #[arg(long, value_name = "K:V")]
    tag: Option<String>,
}

/// What an empty store is filled with first.
#[derive(Args)]
struct Stored {
    #[command(flatten)]
    server: Server,
    /// Events that an empty store is filled with
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    events: u64,
    #[command(flatten)]
    shape: Shape,
}

impl ReadArgs {
    pub(crate) async fn run(self) -> Result<Value> {
        let store = self.stored.fill_if_empty().await?;
        let measured = Measured::begin(self.stored.server.pid)?;
        let until = measured.since() + self.duration;
        let mut tasks = JoinSet::new();
        for number in 0..self.clients {
            let streams = self.stored.shape.streams;
            tasks.spawn(read_streams(store.client(number), streams, until));
        }
        let mut all = Lap::new();
        while let Some(lap) = tasks.join_next().await {
            all.add(&lap.context("wait for a client")??);
        }
        measured.end(&all)
    }
}

impl ReplayArgs {
    pub(crate) async fn run(self) -> Result<Value> {
        let store = self.stored.fill_if_empty().await?;
        let is_filtered = self.event_type.is_some() || self.tag.is_some();
        let item = DcbQueryItem::new().types(self.event_type).tags(self.tag);
        let query = is_filtered.then(|| DcbQuery::with_items([item]));
        let mut lap = Lap::new();
        let measured = Measured::begin(self.stored.server.pid)?;
        let message = |since, events| lap.done(since, events);
        read(&store.client(0), query, message).await?;
        measured.end(&lap)
    }
}

impl Stored {
    /// Fills a store that has no events.
    async fn fill_if_empty(&self) -> Result<Store> {
        let store = Store::connect(&self.server).await?;
        if store.events().await? == 0 {
            let per_append = self.shape.events_per_append.unwrap_or(EVENTS_PER_APPEND);
            let pace = Pace::appends(Instant::now(), self.events.div_ceil(per_append), None);
            let events = Events::new(CATEGORY, self.shape.payload_bytes);
            append::write(&store, self.shape, per_append, &events, WRITERS, pace).await?;
        }
        Ok(store)
    }
}

/// Reads one whole stream after the other until this moment.
async fn read_streams(client: Arc<AsyncUmaDbClient>, streams: u64, until: Instant) -> Result<Lap> {
    let mut lap = Lap::new();
    while Instant::now() < until {
        let stream = events::of_stream(CATEGORY, fastrand::u64(..streams));
        let since = Instant::now();
        let query = DcbQuery::with_items([stream]);
        let mut events = 0;
        read(&client, Some(query), |_, batch| events += batch).await?;
        ensure!(events > 0, "a stream has no events");
        lap.done(since, events);
    }
    Ok(lap)
}

/// Reads to the end, and says of each message since when it was waited for and how many events it has.
async fn read(
    client: &AsyncUmaDbClient,
    query: Option<DcbQuery>,
    mut message: impl FnMut(Instant, u64),
) -> Result<()> {
    let response = client.read(query, None, false, None).await;
    let mut response = response.context("read")?;
    loop {
        let since = Instant::now();
        let batch = response.next_batch().await.context("read on")?;
        if batch.is_empty() {
            return Ok(());
        }
        message(since, batch.len() as u64);
    }
}
