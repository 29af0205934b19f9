//! `icecore bench append`: writers, each with streams of its own, append as fast as they are answered,
//! or at a rate.

use super::load::{Writer, fresh_category};
use super::measure::{Lap, Measurement};
use super::{ConnectionsArgs, EndArgs, LoadArgs, Protocol, ShowArgs};
use crate::args::ConnectionArgs;
use anyhow::{Context as _, Result};
use clap::Args;
use icecore_client::{Client, PendingAppend};
use icecore_kurrent::client::Batches;
use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Appends under way in a session, unless said otherwise.
const SESSION_IN_FLIGHT: NonZeroU64 = NonZeroU64::new(64).expect("it is not 0");

/// Measure appends: every one expects an exact revision, every answer means durable
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  icecore bench append --clients 1
  icecore bench append --clients 64 --events-per-append 10 --duration 30s
  icecore bench append --clients 64 --session --json
  icecore bench append --clients 16 --protocol kurrent
  icecore bench append --clients 16 --events 1000000 --events-per-append 100 --interleaved")]
pub(super) struct AppendArgs {
    /// Clients that append at the same time
    #[arg(long, value_name = "N", default_value = "64")]
    clients: NonZeroU64,
    #[command(flatten)]
    connections: ConnectionsArgs,
    /// Appends that a client has under way [default: 1, with --session 64]
    #[arg(long, value_name = "N")]
    in_flight: Option<NonZeroU64>,
    /// Append through one session for each client instead of one call for each append
    #[arg(long)]
    session: bool,
    /// Appends a second, all clients together, instead of as many as possible
    #[arg(long, value_name = "N", conflicts_with = "session")]
    rate: Option<NonZeroU64>,
    /// The protocol of the calls; that of KurrentDB's clients appends in batches, through one call for
    /// each client
    #[arg(long, value_name = "NAME", default_value = "icecore", conflicts_with_all = ["session", "rate"])]
    protocol: Protocol,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    end: EndArgs,
    #[command(flatten)]
    show: ShowArgs,
}

pub(super) async fn run(args: AppendArgs, connection: &ConnectionArgs) -> Result<()> {
    let clients = args.connections.connect(connection).await?;
    let category = fresh_category(&clients[0]).await?;
    let in_flight = args.in_flight;
    let pipelined = args.session || args.protocol == Protocol::Kurrent;
    let writers = match in_flight {
        Some(in_flight) if !pipelined => args.clients.get() * in_flight.get(),
        _ => args.clients.get(),
    };
    let load = args.load.load(&category, writers, NonZeroU64::MIN)?;
    let events = load.events_per_append;
    let pace = Arc::new(Pace::new(args.rate));
    let end = args.end.end(writers);
    let mut measurement = Measurement::begin(clients[0].clone(), end, args.show).await?;
    for (number, client) in (0..writers).zip(clients.iter().cycle()) {
        let (writer, client, pace) = (load.writer(number), client.clone(), Arc::clone(&pace));
        let session_in_flight = in_flight.unwrap_or(SESSION_IN_FLIGHT).get();
        if args.protocol == Protocol::Kurrent {
            let server = connection.server.clone();
            measurement.spawn(|lap| in_batches(server, writer, events, session_in_flight, lap));
        } else if args.session {
            let in_flight = session_in_flight;
            measurement.spawn(|lap| through_session(client, writer, events, in_flight, lap));
        } else {
            measurement.spawn(|lap| one_by_one(client, writer, events, pace, lap));
        }
    }
    measurement
        .finish()
        .await?
        .show("appends", "append to answer")
}

/// Appends, each when the one before is answered.
pub(super) async fn one_by_one(
    client: Client,
    mut writer: Writer,
    events: u64,
    pace: Arc<Pace>,
    mut lap: Lap,
) -> Result<Lap> {
    while lap.goes_on(events) {
        pace.wait().await;
        let append = writer.append()?;
        let since = Instant::now();
        client.append_request(&append).await?;
        lap.done(since, events);
    }
    Ok(lap)
}

/// Appends with up to so many under way.
async fn through_session(
    client: Client,
    mut writer: Writer,
    events: u64,
    in_flight: u64,
    mut lap: Lap,
) -> Result<Lap> {
    let mut session = client.append_session().await?;
    let mut pending: VecDeque<(Instant, PendingAppend)> = VecDeque::new();
    while lap.goes_on(events) {
        let append = writer.append()?;
        let since = Instant::now();
        pending.push_back((since, session.append(&append).await?));
        if pending.len() as u64 == in_flight
            && let Some((since, answer)) = pending.pop_front()
        {
            answer.await?;
            lap.done(since, events);
        }
    }
    for (since, answer) in pending {
        answer.await?;
        lap.done(since, events);
    }
    session.close().await;
    Ok(lap)
}

/// Appends as KurrentDB's clients do, with up to so many under way.
async fn in_batches(
    server: String,
    mut writer: Writer,
    events: u64,
    in_flight: u64,
    mut lap: Lap,
) -> Result<Lap> {
    let mut batches = icecore_kurrent::client::Client::connect(&server)
        .await?
        .batches()
        .await?;
    let mut pending = HashMap::new();
    while lap.goes_on(events) {
        let append = writer.append()?;
        let since = Instant::now();
        pending.insert(batches.send(&append).await?, since);
        if pending.len() as u64 == in_flight {
            answered(&mut batches, &mut pending, events, &mut lap).await?;
        }
    }
    while !pending.is_empty() {
        answered(&mut batches, &mut pending, events, &mut lap).await?;
    }
    Ok(lap)
}

/// Takes the next answer.
async fn answered(
    batches: &mut Batches,
    pending: &mut HashMap<u64, Instant>,
    events: u64,
    lap: &mut Lap,
) -> Result<()> {
    let number = batches.answer().await?;
    let since = pending.remove(&number);
    lap.done(since.context("an answer to nothing came")?, events);
    Ok(())
}

/// Hands out moments, so many a second, to all who ask.
pub(super) struct Pace {
    interval: Option<Duration>,
    since: Instant,
    given: AtomicU64,
}

impl Pace {
    pub(super) fn new(rate: Option<NonZeroU64>) -> Self {
        let nanos = |rate: NonZeroU64| Duration::from_nanos(1_000_000_000 / rate.get());
        Self {
            interval: rate.map(nanos),
            since: Instant::now(),
            given: AtomicU64::new(0),
        }
    }

    /// Waits for the next moment; with no rate, not at all.
    pub(super) async fn wait(&self) {
        if let Some(interval) = self.interval {
            let number = self.given.fetch_add(1, Ordering::Relaxed);
            let after = interval.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX));
            tokio::time::sleep_until((self.since + after).into()).await;
        }
    }
}
