//! `icecore group parked`, `replay` and `discard`: what a group could not process.

use super::WhichArgs;
use crate::args::{ConnectionArgs, by_flag};
use crate::commands::connect;
use crate::exit::Usage;
use crate::ndjson;
use crate::output::{self, Column, Listing, OutputArgs, note};
use anyhow::Result;
use clap::Args;
use icecore_client::{Client, GroupId, GroupParkedEvent, ParkedRange, Revision};
use std::io::{self, Write};

const COLUMNS: [Column; 7] = [
    Column::Number("PARKED"),
    Column::Text("TIME"),
    Column::Text("STREAM"),
    Column::Number("REVISION"),
    Column::Text("TYPE"),
    Column::Text("STATE"),
    Column::Text("REASON"),
];

/// Show what a group has parked, and why
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  icecore group parked shipping
  icecore group parked shipping --revision 3      # one of them, with its data

The numbers in the first column are what --revision of `replay` and `discard` takes.")]
pub(super) struct ParkedArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// Only this parked event, with its data
    #[arg(long, value_name = "N")]
    revision: Option<u64>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Send parked events to the consumers again
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  icecore group replay shipping                   # how many it would be
  icecore group replay shipping --yes
  icecore group replay shipping --revision 3

Each stays parked until it is processed. A stream that waits behind one goes on after it.")]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    which: WhichArgs,
    #[command(flatten)]
    range: RangeArgs,
}

/// Give parked events up; streams that wait behind them go on
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  icecore group discard shipping --revision 3
  icecore group discard shipping --before 10 --yes")]
pub(super) struct DiscardArgs {
    #[command(flatten)]
    which: WhichArgs,
    #[command(flatten)]
    range: RangeArgs,
}

/// Which parked events.
#[derive(Debug, Args)]
struct RangeArgs {
    /// Only this one
    #[arg(long, value_name = "N", conflicts_with = "before")]
    revision: Option<u64>,
    /// Only those before this one
    #[arg(long, value_name = "N")]
    before: Option<u64>,
    /// Do it; without it only their number is said
    #[arg(long)]
    yes: bool,
}

impl RangeArgs {
    fn range(&self) -> ParkedRange {
        match (self.revision, self.before) {
            (Some(revision), _) => ParkedRange::One(Revision::new(revision)),
            (None, Some(before)) => ParkedRange::Before(Revision::new(before)),
            (None, None) => ParkedRange::All,
        }
    }

    /// Whether to go on: one event needs no second word.
    async fn is_meant(&self, client: &Client, id: &GroupId) -> Result<bool> {
        if self.yes || self.revision.is_some() {
            return Ok(true);
        }
        let count = client.count_parked(id, self.range()).await?;
        note(format_args!("{count} parked events; say --yes to go on"));
        Ok(false)
    }
}

pub(super) async fn run(args: ParkedArgs, connection: &ConnectionArgs) -> Result<()> {
    let id = args.which.id()?;
    let client = connect(connection).await?;
    if let Some(revision) = args.revision {
        return show_one(&args, &client, &id, Revision::new(revision)).await;
    }
    let mut listing = Listing::new(args.output.format(), &COLUMNS);
    let mut from = Revision::FIRST;
    loop {
        let page = client.parked_events(&id, from, 0).await?;
        for parked in &page.events {
            let event_type = parked.event.as_ref().map(|event| event.event_type.as_str());
            let cells = vec![
                parked.parked_revision.to_string(),
                parked.parked_at.to_string(),
                parked.stream.to_string(),
                parked.revision.to_string(),
                event_type.unwrap_or("(gone)").to_owned(),
                state(parked).to_owned(),
                parked.reason.clone(),
            ];
            listing.add(cells, |json| write(json, parked))?;
        }
        match page.next {
            Some(next) => from = next,
            None => return listing.end("nothing is parked"),
        }
    }
}

async fn show_one(
    args: &ParkedArgs,
    client: &Client,
    id: &GroupId,
    revision: Revision,
) -> Result<()> {
    let page = client.parked_events(id, revision, 1).await?;
    let mut events = page.events.into_iter();
    let found = events
        .next()
        .filter(|parked| parked.parked_revision == revision);
    let Some(parked) = found else {
        return Err(Usage::new(format!("--revision: nothing is parked at {revision}")).into());
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut properties = vec![
        ("parked", parked.parked_revision.to_string()),
        ("time", parked.parked_at.to_string()),
        ("reason", parked.reason.clone()),
        ("state", state(&parked).to_owned()),
        ("stream", parked.stream.to_string()),
        ("revision", parked.revision.to_string()),
    ];
    if let Some(event) = &parked.event {
        properties.extend([
            ("type", event.event_type.to_string()),
            ("data", text(&event.data)),
            ("metadata", text(&event.metadata)),
        ]);
    }
    output::show_properties(args.output.format(), &properties, |json| {
        write(json, &parked)
    })
}

fn state(parked: &GroupParkedEvent) -> &'static str {
    match (parked.replaying, &parked.waiting_stream) {
        (true, _) => "replaying",
        (false, Some(_)) => "its stream waits",
        (false, None) => "",
    }
}

fn write(json: &mut ndjson::Object<'_, impl Write>, parked: &GroupParkedEvent) -> io::Result<()> {
    json.number("parked", parked.parked_revision.get())?;
    json.string("parked_at", &parked.parked_at.to_string())?;
    json.string("reason", &parked.reason)?;
    json.raw(
        "replaying",
        if parked.replaying { b"true" } else { b"false" },
    )?;
    if let Some(waiting) = &parked.waiting_stream {
        json.string("waiting_stream", waiting.as_str())?;
    }
    json.string("stream", parked.stream.as_str())?;
    json.number("revision", parked.revision.get())?;
    if let Some(event) = &parked.event {
        let mut line = Vec::new();
        ndjson::write_event(&mut line, event)?;
        json.raw("event", line.trim_ascii())?;
    }
    Ok(())
}

pub(super) async fn replay(args: ReplayArgs, connection: &ConnectionArgs) -> Result<()> {
    let id = args.which.id()?;
    let client = connect(connection).await?;
    if args.range.is_meant(&client, &id).await? {
        let replayed = client.replay_parked(&id, args.range.range()).await;
        let count = replayed.map_err(|error| by_flag(error, &[("revision", "--revision")]))?;
        note(format_args!(
            "{count} parked events go to the consumers again"
        ));
    }
    Ok(())
}

pub(super) async fn discard(args: DiscardArgs, connection: &ConnectionArgs) -> Result<()> {
    let id = args.which.id()?;
    let client = connect(connection).await?;
    if args.range.is_meant(&client, &id).await? {
        let discarded = client.discard_parked(&id, args.range.range()).await;
        let count = discarded.map_err(|error| by_flag(error, &[("revision", "--revision")]))?;
        note(format_args!("{count} parked events are given up"));
    }
    Ok(())
}
