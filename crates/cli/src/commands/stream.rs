//! `icecore stream`: what is known about one stream.

use super::connect;
use super::streams::{last_revision, state_name};
use crate::args::{ConnectionArgs, stream_name};
use crate::output::{self, OutputArgs};
use anyhow::Result;
use clap::Args;
use icecore_client::{StreamInfo, StreamName};

/// Show what is known about a stream: state, revisions, positions, times, metadata
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  icecore stream order-1")]
pub(crate) struct StreamArgs {
    /// The stream
    #[arg(value_parser = stream_name)]
    stream: StreamName,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: StreamArgs, connection: &ConnectionArgs) -> Result<()> {
    let client = connect(connection).await?;
    let info = client.get_stream(&args.stream).await?;
    output::show_properties(args.output.format(), &properties(&info), |json| {
        json.string("stream", info.stream.as_str())?;
        json.string("state", state_name(info.state))?;
        if let Some(revision) = last_revision(info.state) {
            json.number("last_revision", revision)?;
        }
        if let Some(first) = info.first {
            json.number("first_revision", first.revision.get())?;
            json.number("first_position", first.position.get())?;
            json.string("first_time", &first.recorded_at.to_string())?;
        }
        if let Some(last) = info.last {
            json.number("last_position", last.position.get())?;
            json.string("last_time", &last.recorded_at.to_string())?;
        }
        if let Some(revision) = info.metadata_revision {
            json.number("metadata_revision", revision.get())?;
            json.raw("metadata", &info.metadata)?;
        }
        Ok(())
    })
}

fn properties(info: &StreamInfo) -> Vec<(&'static str, String)> {
    let mut properties = vec![
        ("stream", info.stream.to_string()),
        ("state", state_name(info.state).to_owned()),
    ];
    if let Some(revision) = last_revision(info.state) {
        properties.push(("last revision", revision.to_string()));
    }
    if let Some(first) = info.first {
        properties.push(("first revision", first.revision.to_string()));
        properties.push(("first position", first.position.to_string()));
        properties.push(("first time", first.recorded_at.to_string()));
    }
    if let Some(last) = info.last {
        properties.push(("last position", last.position.to_string()));
        properties.push(("last time", last.recorded_at.to_string()));
    }
    if let Some(revision) = info.metadata_revision {
        properties.push(("metadata revision", revision.to_string()));
        properties.push((
            "metadata",
            String::from_utf8_lossy(&info.metadata).into_owned(),
        ));
    }
    properties
}
