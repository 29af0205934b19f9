//! `icecore metadata`: what a stream's owner says about the stream.

use super::{connect, show_change};
use crate::args::{ConnectionArgs, expected, stream_name};
use crate::exit::Usage;
use crate::input;
use crate::output::{self, OutputArgs};
use anyhow::Result;
use clap::{Args, Subcommand};
use icecore_client::{ExpectedRevision, StreamName};
use serde_json::value::RawValue;

/// Show or replace the metadata of a stream, like how long its events are kept
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  icecore metadata set order-1 '{\"$maxCount\":100}'       # only the newest 100 events are visible
  icecore metadata show order-1

Keys that mean something: $maxCount (events), $maxAge (seconds), $tb (first visible revision),
$cacheControl (seconds), $acl (object). Others are yours.")]
pub(crate) struct MetadataArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Show(ShowArgs),
    Set(SetArgs),
}

/// Show the metadata of a stream, a JSON object
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  icecore metadata show order-1")]
struct ShowArgs {
    /// The stream
    #[arg(value_parser = stream_name)]
    stream: StreamName,
}

/// Replace the metadata of a stream
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  icecore metadata set order-1 '{\"$maxAge\":86400,\"owner\":\"shop\"}'")]
struct SetArgs {
    /// The stream
    #[arg(value_parser = stream_name)]
    stream: StreamName,
    /// A JSON object, a file with it, or - for standard input
    #[arg(value_name = "JSON|@FILE|-")]
    metadata: String,
    /// What the metadata must be like: any, no-stream, exists, or the revision of its last change
    #[arg(long, value_name = "REVISION", default_value = "any", value_parser = expected)]
    expected: ExpectedRevision,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: MetadataArgs, connection: &ConnectionArgs) -> Result<()> {
    match args.action {
        Action::Show(args) => show(args, connection).await,
        Action::Set(args) => set(args, connection).await,
    }
}

async fn show(args: ShowArgs, connection: &ConnectionArgs) -> Result<()> {
    let client = connect(connection).await?;
    let info = client.get_stream(&args.stream).await?;
    if info.metadata.is_empty() {
        output::print("{}")
    } else {
        output::print(String::from_utf8_lossy(&info.metadata))
    }
}

async fn set(args: SetArgs, connection: &ConnectionArgs) -> Result<()> {
    let metadata = input::json("metadata", &args.metadata)?;
    let metadata: &RawValue = serde_json::from_slice(&metadata)?;
    if !metadata.get().starts_with('{') {
        return Err(Usage::new("metadata is no JSON object").into());
    }
    let client = connect(connection).await?;
    let appended = client
        .set_metadata(&args.stream, args.expected, &metadata)
        .await?;
    show_change(
        args.output.format(),
        "metadata of",
        args.stream.as_str(),
        &appended,
    )
}
