//! `icecore bench`: how fast a running server appends, reads, replays and delivers, measured from
//! outside, through the client that everybody has.
//!
//! Owns the flags; the load stands in `load.rs`, the five measurements in files of their own, what they
//! print in `report.rs`.

mod append;
mod consume;
mod load;
mod measure;
mod read;
mod replay;
mod report;
mod subscribe;

use crate::args::{ConnectionArgs, duration};
use anyhow::{Result, ensure};
use clap::{Args, Subcommand, ValueEnum};
use icecore_client::Client;
use std::num::NonZeroU64;
use std::time::Duration;

/// Measure how fast the server appends, reads, replays and delivers
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  icecore bench append --clients 64                    # each waits for its answer
  icecore bench append --clients 64 --session --events-per-append 10
  icecore bench read --clients 16
  icecore bench replay
  icecore bench subscribe --clients 50 --events-per-append 10
  icecore bench consume --clients 8                    # a group

It writes events of its own, to streams `bench-0`, `bench-1`, and so on: give it a store that
you can throw away. Rates depend on the machine and on what else it does; compare within one run
only.")]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    Append(append::AppendArgs),
    Read(read::ReadArgs),
    Replay(replay::ReplayArgs),
    Subscribe(subscribe::SubscribeArgs),
    Consume(consume::ConsumeArgs),
}

/// What is written.
#[derive(Clone, Debug, Args)]
struct LoadArgs {
    /// Streams that the events are spread over
    #[arg(long, value_name = "N", default_value = "100000")]
    streams: NonZeroU64,
    /// Events in an append [default: 1; 10 to fill an empty store]
    #[arg(long, value_name = "N")]
    events_per_append: Option<NonZeroU64>,
    /// Bytes of an event's JSON data; most of it is random and hardly compresses
    #[arg(long, value_name = "N", default_value = "256")]
    payload_bytes: usize,
    /// Give each event of an append to another stream, instead of all to one
    #[arg(long)]
    interleaved: bool,
}

/// The door that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Protocol {
    /// Icecore's own, `icecore.v1`
    Icecore,
    /// That of KurrentDB's and EventStoreDB's clients
    Kurrent,
}

/// How the result is shown.
#[derive(Clone, Copy, Debug, Args)]
struct ShowArgs {
    /// Print one JSON object
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// How many connections the clients share.
#[derive(Clone, Copy, Debug, Args)]
struct ConnectionsArgs {
    /// Connections that the clients share
    #[arg(long, value_name = "N", default_value = "1")]
    connections: NonZeroU64,
}

/// How long it goes on.
#[derive(Clone, Copy, Debug, Args)]
struct EndArgs {
    /// How long to measure, like 8s or 2m
    #[arg(long, value_name = "TIME", default_value = "8s", value_parser = duration)]
    duration: Duration,
    /// Stop after so many events, rounded up to whole appends, instead of after a time
    #[arg(long, value_name = "N", conflicts_with = "duration")]
    events: Option<NonZeroU64>,
}

pub(crate) async fn run(args: BenchArgs, connection: &ConnectionArgs) -> Result<()> {
    match args.what {
        Bench::Append(args) => append::run(args, connection).await,
        Bench::Read(args) => read::run(args, connection).await,
        Bench::Replay(args) => replay::run(args, connection).await,
        Bench::Subscribe(args) => subscribe::run(args, connection).await,
        Bench::Consume(args) => consume::run(args, connection).await,
    }
}

impl EndArgs {
    fn end(self, tasks: u64) -> measure::End {
        match self.events {
            Some(events) => measure::End::Events {
                events: events.get(),
                tasks,
            },
            None => measure::End::After(self.duration),
        }
    }
}

impl ConnectionsArgs {
    async fn connect(self, connection: &ConnectionArgs) -> Result<Vec<Client>> {
        let mut clients = Vec::new();
        for _ in 0..self.connections.get() {
            clients.push(super::connect(connection).await?);
        }
        Ok(clients)
    }
}

impl LoadArgs {
    /// What so many writers that do not share a stream write to streams of `category`, so many events an
    /// append unless it is given.
    fn load(&self, category: &str, writers: u64, events: NonZeroU64) -> Result<load::Load> {
        let events = self.events_per_append.unwrap_or(events).get();
        let streams_min = writers * if self.interleaved { events } else { 1 };
        ensure!(
            self.streams.get() >= streams_min,
            "--streams is {}, but no two writers share a stream, so it takes at least {streams_min}",
            self.streams
        );
        Ok(load::Load::new(self, category, writers, events))
    }
}
