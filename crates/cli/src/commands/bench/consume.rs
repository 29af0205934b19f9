//! `icecore bench consume`: a group with its consumers, from the first of its events until each is
//! answered.

use super::load::{Load, fresh_category, stream_name};
use super::measure::{End, Lap, Measurement};
use super::replay::fill;
use super::{ConnectionsArgs, LoadArgs, ShowArgs};
use crate::args::ConnectionArgs;
use anyhow::{Result, bail};
use clap::Args;
use futures::StreamExt as _;
use icecore_client::{
    Append, Client, EventData, ExpectedRevision, Filter, Group, GroupEvent, GroupEvents, GroupId,
    GroupName, GroupSettings, GroupStart, NameMatch, StreamName,
};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::watch;

/// Measure a group: its consumers share the events and answer each
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  icecore bench consume --clients 1
  icecore bench consume --clients 8 --json
  icecore bench consume --clients 8 --finish            # each answer is an append

It writes the events first, to streams that nobody has written yet, then creates a group that starts
with them; at the end it deletes the group. Latencies are what a consumer waits for its next event.")]
pub(super) struct ConsumeArgs {
    /// Consumers
    #[arg(long, value_name = "N", default_value = "8")]
    clients: NonZeroU64,
    #[command(flatten)]
    connections: ConnectionsArgs,
    /// Events that a consumer may have and not have answered
    #[arg(long, value_name = "N", default_value_t = 100)]
    buffer: u32,
    /// Answer each event with an append of one event that finishes it
    #[arg(long)]
    finish: bool,
    /// Events, rounded up to whole appends
    #[arg(long, value_name = "N", default_value = "100000")]
    events: NonZeroU64,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    show: ShowArgs,
}

pub(super) async fn run(args: ConsumeArgs, connection: &ConnectionArgs) -> Result<()> {
    let clients = args.connections.connect(connection).await?;
    let client = &clients[0];
    let category = fresh_category(client).await?;
    let next = client.stats().await?.last_position.get() + 1;
    let written = fill(&clients, &args.load, &category, args.events, args.show).await?;
    let group = GroupId::of_all(GroupName::new(format!("{}-{category}", Load::CATEGORY))?);
    let settings = GroupSettings {
        start: GroupStart::From(next),
        ..GroupSettings::default()
    };
    // Not what its consumers append.
    let names = [format!("{category}-"), format!("{category}rare-")];
    let filter = Filter {
        stream: Some(NameMatch::Prefixes(names.map(Into::into).to_vec())),
        ..Filter::default()
    };
    let id = group.clone();
    let new = Group {
        id,
        filter,
        settings,
    };
    client.create_group(new).await?;

    let mut measurement = Measurement::begin(client.clone(), End::ByItself, args.show).await?;
    let left = Left::new(written);
    for (number, client) in (0..args.clients.get()).zip(clients.iter().cycle()) {
        let consumer = Consumer {
            events: client.consume(&group).buffer_size(args.buffer).start(),
            client: client.clone(),
            out: args
                .finish
                .then(|| stream_name(&format!("{category}out"), number))
                .transpose()?,
            left: left.clone(),
        };
        measurement.spawn(|lap| consumer.work(lap));
    }
    let report = measurement.finish().await?;
    client.delete_group(&group).await?;
    report.show("answers", "wait for an event")
}

/// How many events are still to be answered, by all consumers together.
#[derive(Clone)]
struct Left {
    count: Arc<AtomicU64>,
    none: watch::Sender<bool>,
}

impl Left {
    fn new(count: u64) -> Self {
        Self {
            count: Arc::new(count.into()),
            none: watch::Sender::new(false),
        }
    }

    fn answered(&self) {
        if self.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.none.send_replace(true);
        }
    }
}

/// One consumer.
struct Consumer {
    events: GroupEvents,
    client: Client,
    /// Where its appends go, if it answers with appends.
    out: Option<StreamName>,
    left: Left,
}

impl Consumer {
    /// Answers what comes until nothing is left.
    async fn work(mut self, mut lap: Lap) -> Result<Lap> {
        let mut none_left = self.left.none.subscribe();
        loop {
            let since = Instant::now();
            let event = tokio::select! {
                event = self.events.next() => event,
                _ = none_left.wait_for(|none| *none) => break,
            };
            let Some(event) = event.transpose()? else {
                bail!("the group sent a consumer away");
            };
            self.answer(event).await?;
            lap.done(since, 1);
            self.left.answered();
        }
        self.events.leave().await?;
        Ok(lap)
    }

    async fn answer(&mut self, event: GroupEvent) -> Result<()> {
        let Some(out) = &self.out else {
            return Ok(event.ack().await?);
        };
        let Some(cause) = event.event() else {
            bail!("an event without a link is always there");
        };
        // With the id of its cause, so that a repeated append is known as one.
        let done = EventData::json(cause.id, "BenchDone", "{}")?;
        let append = Append::to_stream(out.clone(), ExpectedRevision::Any, vec![done])?;
        self.client
            .append_finishing(&append, event.finish())
            .await?;
        Ok(())
    }
}
