//! `icecore stats`: figures about the store.

use super::connect;
use crate::args::ConnectionArgs;
use crate::output::{self, OutputArgs};
use anyhow::Result;
use clap::Args;
use icecore_client::StoreStats;

/// Show figures about the store: positions, streams, bytes on disk
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  icecore stats
  icecore stats --output json")]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: StatsArgs, connection: &ConnectionArgs) -> Result<()> {
    let client = connect(connection).await?;
    let stats = client.stats().await?;
    output::show_properties(args.output.format(), &properties(&stats), |json| {
        json.string("store_id", &stats.store_id.to_string())?;
        json.number("last_position", stats.last_position.get())?;
        json.number("streams", stats.streams)?;
        json.number("disk_bytes", stats.disk_bytes)?;
        json.number("subscriptions", stats.subscriptions)?;
        for (name, value) in &stats.details {
            json.number(name, *value)?;
        }
        Ok(())
    })
}

fn properties(stats: &StoreStats) -> Vec<(&str, String)> {
    let mut properties = vec![
        ("store_id", stats.store_id.to_string()),
        ("last_position", stats.last_position.to_string()),
        ("streams", stats.streams.to_string()),
        ("disk_bytes", stats.disk_bytes.to_string()),
        ("subscriptions", stats.subscriptions.to_string()),
    ];
    let details = stats.details.iter();
    properties.extend(details.map(|(name, value)| (name.as_str(), value.to_string())));
    properties
}
