//! `icecore bench read`: whole streams, chosen at random.

use super::load::{Load, Random, stream_name};
use super::measure::{End, Lap, Measurement};
use super::replay::{self, StoredArgs};
use super::{ConnectionsArgs, ShowArgs};
use crate::args::ConnectionArgs;
use anyhow::{Result, ensure};
use clap::Args;
use icecore_client::Client;
use std::num::NonZeroU64;
use std::time::Instant;

/// Measure reads of whole streams, chosen at random
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  icecore bench read --clients 1
  icecore bench read --clients 16 --duration 30s --json")]
pub(super) struct ReadArgs {
    /// Readers at the same time
    #[arg(long, value_name = "N", default_value = "16")]
    clients: NonZeroU64,
    #[command(flatten)]
    connections: ConnectionsArgs,
    #[command(flatten)]
    stored: StoredArgs,
    /// How long to measure, like 8s or 2m
    #[arg(long, value_name = "TIME", default_value = "8s", value_parser = crate::args::duration)]
    duration: std::time::Duration,
    #[command(flatten)]
    show: ShowArgs,
}

pub(super) async fn run(args: ReadArgs, connection: &ConnectionArgs) -> Result<()> {
    let clients = args.connections.connect(connection).await?;
    replay::fill_if_empty(&clients, &args.stored, args.show).await?;
    let streams = args.stored.load.streams.get();
    check(&clients[0], streams).await?;
    let end = End::After(args.duration);
    let mut measurement = Measurement::begin(clients[0].clone(), end, args.show).await?;
    for (number, client) in (0..args.clients.get()).zip(clients.iter().cycle()) {
        let client = client.clone();
        measurement.spawn(|lap| read(client, Random::new(number), streams, lap));
    }
    measurement
        .finish()
        .await?
        .show("reads", "call to whole stream")
}

/// Refuses a store that does not have what is to be read.
async fn check(client: &Client, streams: u64) -> Result<()> {
    for number in [0, streams - 1] {
        let name = stream_name(Load::CATEGORY, number)?;
        ensure!(
            client.get_stream(&name).await.is_ok(),
            "the store has events, but no stream `{name}`: take an empty store, or give the --streams \
             that it was filled with"
        );
    }
    Ok(())
}

async fn read(client: Client, mut random: Random, streams: u64, mut lap: Lap) -> Result<Lap> {
    let streams = usize::try_from(streams)?;
    while lap.goes_on(1) {
        let stream = stream_name(Load::CATEGORY, random.below(streams) as u64)?;
        let since = Instant::now();
        let events = client.read_stream(&stream).await?;
        ensure!(!events.is_empty(), "`{stream}` has no events");
        lap.done(since, events.len() as u64);
    }
    Ok(lap)
}
