//! Appends: writers that each own some streams and append to them in turn.

use crate::events::{self, Events};
use crate::outcome::{Lap, Measured};
use crate::store::{self, Store};
use crate::{Server, duration};
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use umadb_client::AsyncUmaDbClient;
use umadb_dcb::DcbEventStoreAsync;

#[derive(Args)]
pub(crate) struct AppendArgs {
    #[command(flatten)]
    server: Server,
    /// Clients that append at the same time
    #[arg(long, value_name = "N", default_value_t = 64)]
    clients: usize,
    /// Appends that a client has under way
    #[arg(long, value_name = "N", default_value_t = 1)]
    in_flight: usize,
    /// Appends a second, all clients together, instead of as many as possible
    #[arg(long, value_name = "N")]
    rate: Option<u64>,
    #[command(flatten)]
    shape: Shape,
    /// How long to measure, like 8s
    #[arg(long, value_name = "TIME", default_value = "8s", value_parser = duration)]
    duration: Duration,
    /// Stop after so many events instead of after a time
    #[arg(long, value_name = "N")]
    events: Option<u64>,
}

/// What is written.
#[derive(Args, Clone, Copy)]
pub(crate) struct Shape {
    /// Streams that the events are spread over
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub(crate) streams: u64,
    /// Events in an append [default: 1; 10 to fill an empty store]
    #[arg(long, value_name = "N")]
    pub(crate) events_per_append: Option<u64>,
    /// Bytes of an event's JSON data
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub(crate) payload_bytes: usize,
    /// Give each event of an append to another stream, instead of all to one
    #[arg(long)]
    pub(crate) interleaved: bool,
}

/// When to stop, and how fast to go; shared by all writers.
pub(crate) struct Pace {
    begun: AtomicU64,
    end: End,
    since: Instant,
    interval: Option<Duration>,
}

/// When it is over.
#[derive(Clone, Copy)]
enum End {
    At(Instant),
    /// After so many appends of all writers, of which each makes the same number, so that all streams grow
    /// alike.
    Appends(u64),
}

/// The writer of every `step`-th stream, from `first`. Nobody else writes them.
pub(crate) struct Writer {
    client: Arc<AsyncUmaDbClient>,
    events: Events,
    count: usize,
    distinct: usize,
    first: u64,
    step: u64,
    /// The last position of each of its streams.
    known: Vec<Option<u64>>,
    next: usize,
    /// Appends that it has made.
    appends: u64,
}

impl AppendArgs {
    pub(crate) async fn run(self) -> Result<Value> {
        let store = Store::connect(&self.server).await?;
        let category = events::fresh_category(&store.client(0)).await?;
        let events = Events::new(&category, self.shape.payload_bytes);
        let per_append = self.shape.events_per_append.unwrap_or(1);
        let measured = Measured::begin(self.server.pid)?;
        let since = measured.since();
        let pace = match self.events {
            None => Pace::until(since, since + self.duration, self.rate),
            Some(events) => Pace::appends(since, events.div_ceil(per_append), self.rate),
        };
        let writers = self.clients * self.in_flight;
        let lap = write(&store, self.shape, per_append, &events, writers, pace).await?;
        measured.end(&lap)
    }
}

/// So many writers append together until it is over.
pub(crate) async fn write(
    store: &Store,
    shape: Shape,
    per_append: u64,
    events: &Events,
    writers: usize,
    pace: Pace,
) -> Result<Lap> {
    let pace = Arc::new(pace);
    let mut tasks = JoinSet::new();
    for number in 0..writers {
        let client = store.client(number);
        let writer = Writer::new(client, shape, per_append, events.clone(), number, writers)?;
        tasks.spawn(writer.run(Arc::clone(&pace)));
    }
    let mut all = Lap::new();
    while let Some(lap) = tasks.join_next().await {
        all.add(&lap.context("wait for a client")??);
    }
    Ok(all)
}

impl Pace {
    /// Until this moment.
    pub(crate) fn until(since: Instant, until: Instant, rate: Option<u64>) -> Self {
        Self::new(since, End::At(until), rate)
    }

    /// So many appends.
    pub(crate) fn appends(since: Instant, appends: u64, rate: Option<u64>) -> Self {
        Self::new(since, End::Appends(appends), rate)
    }

    fn new(since: Instant, end: End, rate: Option<u64>) -> Self {
        let nanoseconds = |rate| Duration::from_nanos(1_000_000_000 / rate);
        Self {
            begun: AtomicU64::new(0),
            end,
            since,
            interval: rate.map(nanoseconds),
        }
    }

    /// Waits for the turn of the writer's next append; `false` when it is over.
    async fn next(&self, writer: &Writer) -> bool {
        if let Some(interval) = self.interval {
            let number = self.begun.fetch_add(1, Ordering::Relaxed);
            let after = interval.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX));
            tokio::time::sleep_until((self.since + after).into()).await;
        }
        match self.end {
            End::At(moment) => Instant::now() < moment,
            End::Appends(appends) => writer.first + writer.appends * writer.step < appends,
        }
    }
}

impl Writer {
    pub(crate) fn new(
        client: Arc<AsyncUmaDbClient>,
        shape: Shape,
        per_append: u64,
        events: Events,
        number: usize,
        writers: usize,
    ) -> Result<Self> {
        let (first, step) = (number as u64, writers as u64);
        let streams = shape.streams.saturating_sub(first).div_ceil(step);
        let distinct = if shape.interleaved { per_append } else { 1 };
        ensure!(
            per_append > 0 && distinct <= streams,
            "--streams is {}, but no two writers share a stream",
            shape.streams
        );
        Ok(Self {
            client,
            events,
            count: usize::try_from(per_append)?,
            distinct: usize::try_from(distinct)?,
            first,
            step,
            known: vec![None; usize::try_from(streams)?],
            next: 0,
            appends: 0,
        })
    }

    /// Appends until it is over.
    pub(crate) async fn run(mut self, pace: Arc<Pace>) -> Result<Lap> {
        let mut lap = Lap::new();
        while pace.next(&self).await {
            self.append(&mut lap).await?;
        }
        Ok(lap)
    }

    /// Appends once, to the next of its streams. One position stands for all of them: what has come to
    /// them since this writer last wrote one of them came from somebody else.
    async fn append(&mut self, lap: &mut Lap) -> Result<()> {
        let own = self.known.len();
        let streams: Vec<usize> = (0..self.distinct).map(|i| (self.next + i) % own).collect();
        self.next = (self.next + self.distinct) % own;
        let known = streams
            .iter()
            .filter_map(|stream| self.known[*stream])
            .max();
        let number = |stream: &usize| self.first + *stream as u64 * self.step;
        let items = streams
            .iter()
            .map(|stream| self.events.of_stream(number(stream)));
        let condition = store::unchanged_since(items, known);
        let events =
            (0..self.count).map(|i| self.events.event(number(&streams[i % self.distinct])));
        let events = events.collect();
        let since = Instant::now();
        let appended = self.client.append(events, Some(condition), None).await;
        let position = appended.context("append")?;
        self.appends += 1;
        lap.done(since, self.count as u64);
        for stream in streams {
            self.known[stream] = Some(position);
        }
        Ok(())
    }
}
