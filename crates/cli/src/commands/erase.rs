//! `icecore erase`: takes the payload of one event away for good.

use super::connect;
use crate::args::{ConnectionArgs, by_flag, stream_name};
use crate::output::{self, OutputArgs};
use anyhow::Result;
use clap::Args;
use icecore_client::{Client, Revision, StreamName};

/// The data of a snapshot that was cleared.
const CLEARED: &[u8] = b"{}";

/// Erase data, metadata and tags of one event for good
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  icecore erase customer-7 --revision 3 --reason 'asked for on 2026-11-20'

The event keeps its place, id, type, times and hash; readers see that it was erased. Nothing brings
the payload back but a backup that was made before: the next `icecore backup` into the same directory
takes it out there too. Old bytes stay in free space of the database's file until it is used again.
The act is an event of the stream $erasures: do not put into the reason what is to be forgotten.
What others have made of the event is theirs to forget: read models, copies, and the snapshot of an
aggregate, which is told of here.")]
pub(crate) struct EraseArgs {
    /// The stream
    #[arg(value_parser = stream_name)]
    stream: StreamName,
    /// Revision of the event
    #[arg(long, value_name = "N")]
    revision: u64,
    /// Why, for the record
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: EraseArgs, connection: &ConnectionArgs) -> Result<()> {
    let client = connect(connection).await?;
    let erased = client
        .erase(&args.stream, Revision::new(args.revision), args.reason)
        .await
        .map_err(|error| by_flag(error, &[("revision", "--revision"), ("reason", "--reason")]))?;
    let what = if erased.was_erased {
        "was erased before"
    } else {
        "erased"
    };
    let snapshot = snapshot_of(&client, &args.stream).await;
    let mut properties = vec![
        (what, args.stream.to_string()),
        ("revision", args.revision.to_string()),
        ("position", erased.position.to_string()),
    ];
    if let Some(snapshot) = &snapshot {
        let advice = "may still know it: let the program clear it (Repository::clear_snapshot)";
        properties.push(("snapshot", format!("{snapshot} {advice}")));
    }
    output::show_properties(args.output.format(), &properties, |json| {
        json.string("stream", args.stream.as_str())?;
        json.number("revision", args.revision)?;
        json.number("position", erased.position.get())?;
        json.raw(
            "was_erased",
            if erased.was_erased { b"true" } else { b"false" },
        )?;
        match &snapshot {
            Some(snapshot) => json.string("snapshot", snapshot.as_str()),
            None => Ok(()),
        }
    })
}

/// The stream in which the client keeps the snapshot of an aggregate, if this stream has one that was not
/// cleared.
async fn snapshot_of(client: &Client, stream: &StreamName) -> Option<StreamName> {
    let snapshots = StreamName::new(format!("$snapshot-{stream}")).ok()?;
    // The event is erased already; not to know whether there is a snapshot is no failure of that.
    let found = client.read_stream(&snapshots).backwards().limit(1).await;
    let knows = found.is_ok_and(|events| events.iter().any(|event| event.data != CLEARED));
    knows.then_some(snapshots)
}
