//! `icecore bench replay`: a catch-up subscription from the beginning of the log to its end, as a read
//! model that is built anew has it. Also how an empty store is filled for the measurements that read.

use super::append::{Pace, one_by_one};
use super::load::Load;
use super::measure::{End, Lap, Measurement};
use super::{ConnectionsArgs, LoadArgs, Protocol, ShowArgs};
use crate::args::{ConnectionArgs, FilterArgs};
use crate::output::note;
use anyhow::{Result, bail, ensure};
use clap::Args;
use futures::TryStreamExt as _;
use icecore_client::{
    Client, Filter, Position, Start, Subscribe, SubscribeFrom, SubscriptionMessage,
};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;

/// Writers that fill a store.
const WRITERS: u64 = 16;

/// Events that are counted at once where each is a message.
const EVENTS_OF_A_LAP: u64 = 1_000;

/// Events that they give an append unless told otherwise.
const EVENTS_PER_APPEND: NonZeroU64 = NonZeroU64::new(10).expect("it is not 0");

/// Measure a subscription to all streams, from the first event until it has caught up
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  icecore bench replay
  icecore bench replay --type BenchRare                # one event in a thousand, by an index
  icecore bench replay --protocol kurrent              # as KurrentDB's clients read all streams
  icecore bench replay --events 10000000 --json        # fills an empty store with so many first")]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    stored: StoredArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// The protocol of the call; that of KurrentDB's clients reads all streams, without a filter
    #[arg(long, value_name = "NAME", default_value = "icecore")]
    protocol: Protocol,
    #[command(flatten)]
    show: ShowArgs,
}

/// What an empty store is filled with before it is read.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "What an empty store is filled with first")]
pub(super) struct StoredArgs {
    /// Events
    #[arg(long, value_name = "N", default_value = "1000000")]
    events: NonZeroU64,
    #[command(flatten)]
    pub(super) load: LoadArgs,
}

pub(super) async fn run(args: ReplayArgs, connection: &ConnectionArgs) -> Result<()> {
    let one = ConnectionsArgs {
        connections: NonZeroU64::MIN,
    };
    let clients = one.connect(connection).await?;
    fill_if_empty(&clients, &args.stored, args.show).await?;
    let filter = args.filter.filter();
    let client = clients[0].clone();
    let mut measurement = Measurement::begin(client.clone(), End::ByItself, args.show).await?;
    match args.protocol {
        Protocol::Icecore => measurement.spawn(|lap| replay(client, filter, lap)),
        Protocol::Kurrent => {
            ensure!(
                filter == Filter::default(),
                "--protocol kurrent takes no filter"
            );
            let server = connection.server.clone();
            measurement.spawn(|lap| read_all(server, lap));
        }
    }
    let report = measurement.finish().await?;
    report.show("messages", "wait for a message")
}

/// From the beginning until caught up.
async fn replay(client: Client, filter: Filter, mut lap: Lap) -> Result<Lap> {
    let mut messages = client.subscribe(Subscribe {
        from: SubscribeFrom::All(Start::Beginning),
        filter,
        store_id: None,
    });
    let mut since = Instant::now();
    while let Some(message) = messages.try_next().await? {
        match message {
            SubscriptionMessage::Events(events) => lap.done(since, events.len() as u64),
            SubscriptionMessage::CaughtUp { .. } => return Ok(lap),
            SubscriptionMessage::Confirmed { .. } | SubscriptionMessage::Checkpoint(_) => {}
        }
        since = Instant::now();
    }
    bail!("the subscription ended before it had caught up")
}

/// As KurrentDB's clients read it: a message for each event.
async fn read_all(server: String, mut lap: Lap) -> Result<Lap> {
    let mut client = icecore_kurrent::client::Client::connect(&server).await?;
    let (mut since, mut taken) = (Instant::now(), 0);
    let reading = client.read_all(|| {
        taken += 1;
        if taken == EVENTS_OF_A_LAP {
            lap.done(since, taken);
            (since, taken) = (Instant::now(), 0);
        }
    });
    reading.await?;
    lap.done(since, taken);
    Ok(lap)
}

/// Fills a store that has no events.
pub(super) async fn fill_if_empty(
    clients: &[Client],
    stored: &StoredArgs,
    show: ShowArgs,
) -> Result<()> {
    let client = &clients[0];
    if client.stats().await?.last_position > Position::START {
        return Ok(());
    }
    if !show.json {
        note(format_args!(
            "the store is empty: writing {} events first",
            stored.events
        ));
    }
    fill(clients, &stored.load, Load::CATEGORY, stored.events, show).await?;
    Ok(())
}

/// Writes so many events, or a few more, to streams of a category; how many they are.
pub(super) async fn fill(
    clients: &[Client],
    load: &LoadArgs,
    category: &str,
    events: NonZeroU64,
    show: ShowArgs,
) -> Result<u64> {
    let client = &clients[0];
    let writers = WRITERS.min(load.streams.get());
    let load = load.load(category, writers, EVENTS_PER_APPEND)?;
    let end = End::Events {
        events: events.get(),
        tasks: writers,
    };
    let events = load.events_per_append;
    let mut filling = Measurement::begin(client.clone(), end, show).await?;
    let pace = Arc::new(Pace::new(None));
    for number in 0..writers {
        let (client, writer, pace) = (client.clone(), load.writer(number), Arc::clone(&pace));
        filling.spawn(|lap| one_by_one(client, writer, events, pace, lap));
    }
    Ok(filling.finish().await?.events)
}
