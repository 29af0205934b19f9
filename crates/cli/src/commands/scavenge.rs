//! `icecore scavenge`: gives back the space of what is hidden.

use super::connect;
use crate::args::ConnectionArgs;
use crate::output::{self, OutputArgs, note};
use anyhow::{Result, anyhow};
use clap::Args;
use futures::TryStreamExt as _;
use icecore_client::{Client, ScavengeMode, ScavengePhase, ScavengeProgress};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

/// Remove what truncation, age, count and deletion have hidden
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  icecore scavenge --dry-run          # what would go
  icecore scavenge

The server goes on serving. Positions and revisions stay, and so do the last event of each stream and
tombstones. Ended early, it loses nothing: what is left goes the next time. The server does it by
itself when it is worth it, see --scavenge-interval of `icecore serve`. What was done is said by the
events of the stream $scavenges.")]
pub(crate) struct ScavengeArgs {
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: ScavengeArgs, connection: &ConnectionArgs) -> Result<()> {
    let client = connect(connection).await?;
    let mode = if args.dry_run {
        ScavengeMode::DryRun
    } else {
        ScavengeMode::Remove
    };
    let before = disk_bytes(&client).await?;
    let done = follow(&client, mode).await?;
    let after = disk_bytes(&client).await?;
    show(&args, &done, (before, after))
}

async fn disk_bytes(client: &Client) -> Result<u64> {
    Ok(client.stats().await?.disk_bytes)
}

async fn follow(client: &Client, mode: ScavengeMode) -> Result<ScavengeProgress> {
    let template = "{bar:30} {percent:>3}%  {msg}";
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(template)?);
    let mut messages = std::pin::pin!(client.scavenge(mode).await?);
    let mut last = None;
    while let Some(progress) = messages.try_next().await? {
        bar.set_length(progress.up_to.get());
        bar.set_position(progress.position.get());
        bar.set_message(phase(&progress));
        last = Some(progress);
    }
    bar.finish_and_clear();
    last.filter(|progress| progress.phase == ScavengePhase::Done)
        .ok_or_else(|| anyhow!("the server ended the scavenge; what is left goes the next time"))
}

fn phase(progress: &ScavengeProgress) -> String {
    let bytes = HumanBytes(progress.removable_bytes);
    match progress.phase {
        ScavengePhase::Looking => {
            format!(
                "looking, {} events of {bytes} can go",
                progress.removable_events
            )
        }
        ScavengePhase::Removing => format!(
            "removing, {} of {} events",
            progress.removed_events, progress.removable_events
        ),
        ScavengePhase::Compacting => "compacting indexes and files".to_owned(),
        ScavengePhase::Done => "done".to_owned(),
    }
}

fn show(args: &ScavengeArgs, done: &ScavengeProgress, disk: (u64, u64)) -> Result<()> {
    let properties = [
        ("events that can go", done.removable_events.to_string()),
        (
            "what they carry",
            HumanBytes(done.removable_bytes).to_string(),
        ),
        ("events removed", done.removed_events.to_string()),
        ("log freed", HumanBytes(done.removed_bytes).to_string()),
        ("disk before", HumanBytes(disk.0).to_string()),
        ("disk after", HumanBytes(disk.1).to_string()),
    ];
    let shown = if args.dry_run {
        &properties[..2]
    } else {
        &properties[..]
    };
    output::show_properties(args.output.format(), shown, |json| {
        json.number("removable_events", done.removable_events)?;
        json.number("removable_bytes", done.removable_bytes)?;
        json.number("removed_events", done.removed_events)?;
        json.number("removed_bytes", done.removed_bytes)?;
        json.number("disk_bytes_before", disk.0)?;
        json.number("disk_bytes_after", disk.1)
    })?;
    if !args.dry_run && disk.1 >= disk.0 && done.removed_events > 0 {
        note("the file does not get smaller at once: what was freed is used for what comes next");
    }
    Ok(())
}
