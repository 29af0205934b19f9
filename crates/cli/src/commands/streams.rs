//! `icecore streams`: the names of the streams.

use super::connect;
use crate::args::{ConnectionArgs, by_flag, system_streams};
use crate::output::{Column, Listing, OutputArgs};
use anyhow::Result;
use clap::Args;
use icecore_client::{ListStreams, StreamEntry, StreamState};

const COLUMNS: [Column; 4] = [
    Column::Text("STREAM"),
    Column::Text("STATE"),
    Column::Number("LAST REVISION"),
    Column::Number("LAST POSITION"),
];

/// List streams, in byte order of their names
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  icecore streams
  icecore streams --prefix order-
  icecore streams --system --output json")]
pub(crate) struct StreamsArgs {
    /// Only streams whose name begins with this
    #[arg(long, value_name = "P", default_value = "")]
    prefix: String,
    /// Most streams
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Streams whose name begins with `$` too
    #[arg(long)]
    system: bool,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: StreamsArgs, connection: &ConnectionArgs) -> Result<()> {
    let client = connect(connection).await?;
    let mut listing = Listing::new(args.output.format(), &COLUMNS);
    let mut left = usize::try_from(args.limit.unwrap_or(u64::MAX))?;
    let mut list = ListStreams {
        prefix: args.prefix,
        system: system_streams(args.system),
        ..ListStreams::default()
    };
    loop {
        let page = client.list_streams(list.clone()).await;
        let page = page.map_err(|error| by_flag(error, &[("prefix", "--prefix")]))?;
        for entry in page.streams.iter().take(left) {
            add(&mut listing, entry)?;
        }
        left = left.saturating_sub(page.streams.len());
        list.after = page.next_after;
        if list.after.is_none() || left == 0 {
            return listing.end("no streams");
        }
    }
}

fn add(listing: &mut Listing, entry: &StreamEntry) -> Result<()> {
    let (state, last_revision) = (entry.state, last_revision(entry.state));
    let cells = vec![
        entry.stream.to_string(),
        state_name(state).to_owned(),
        last_revision.map_or_else(String::new, |revision| revision.to_string()),
        entry.last_position.to_string(),
    ];
    listing.add(cells, |json| {
        json.string("stream", entry.stream.as_str())?;
        json.string("state", state_name(state))?;
        if let Some(revision) = last_revision {
            json.number("last_revision", revision)?;
        }
        json.number("last_position", entry.last_position.get())
    })
}

/// The word for a state that tables and JSON show.
pub(crate) fn state_name(state: StreamState) -> &'static str {
    match state {
        StreamState::Absent => "absent",
        StreamState::OnlyMetadata => "only-metadata",
        StreamState::Living { .. } => "living",
        StreamState::SoftDeleted { .. } => "soft-deleted",
        StreamState::Tombstoned => "tombstoned",
    }
}

/// Revision of the last event; the place of a tombstone tells nobody anything.
pub(crate) fn last_revision(state: StreamState) -> Option<u64> {
    match state {
        StreamState::Tombstoned => None,
        state => state.last_revision().map(icecore_client::Revision::get),
    }
}
