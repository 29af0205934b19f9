//! `icecore truncate`: hides the first events of a stream.

use super::{connect, show_change};
use crate::args::{ConnectionArgs, by_flag, stream_name};
use crate::output::OutputArgs;
use anyhow::Result;
use clap::Args;
use icecore_client::{Revision, StreamName};

/// Hide the first events of a stream from those who read it
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  icecore truncate order-1 --before 1000      # revision 1000 is the first one that remains visible

The events stay where they are until they are scavenged: reads of all streams show them, and `icecore
metadata set` with a smaller $tb, or without one, shows them to readers of the stream again. See
`icecore scavenge`.")]
pub(crate) struct TruncateArgs {
    /// The stream
    #[arg(value_parser = stream_name)]
    stream: StreamName,
    /// The first revision that remains visible
    #[arg(long, value_name = "N")]
    before: u64,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: TruncateArgs, connection: &ConnectionArgs) -> Result<()> {
    let client = connect(connection).await?;
    let appended = client
        .truncate(&args.stream, Revision::new(args.before))
        .await
        .map_err(|error| by_flag(error, &[("before", "--before")]))?;
    show_change(
        args.output.format(),
        "truncated",
        args.stream.as_str(),
        &appended,
    )
}
