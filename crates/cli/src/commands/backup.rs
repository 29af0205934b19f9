//! `icecore backup`: copies what a running store holds, or what has come since the backup before.

use super::connect;
use crate::args::ConnectionArgs;
use crate::output::{self, OutputArgs};
use anyhow::{Context as _, Result};
use clap::Args;
use futures::TryStreamExt as _;
use icecore_client::{Client, Error, Position};
use icecore_server::offline::{BackupInfo, BackupRun};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;

/// Back up a running store into a directory, or bring an earlier backup up to date
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  icecore backup --to /backup/icecore        # again: only what has come since
  icecore verify --backup /backup/icecore
  icecore restore --from /backup/icecore --data /var/lib/icecore-restored

The store goes on meanwhile; the backup is consistent at the position that is printed. It may be killed
at any time: the directory stays a usable backup, and the next run goes on. An event that was erased in
the store after an earlier backup is erased in the backup too. A directory holds the backup of one
store.")]
pub(crate) struct BackupArgs {
    /// Directory of the backup; it is created when it is not there
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: BackupArgs, connection: &ConnectionArgs) -> Result<()> {
    let client = connect(connection).await?;
    let stats = client.stats().await?;
    let to = args.to.clone();
    let begun = blocking(move || Ok(BackupRun::open(to, stats.store_id)?)).await?;
    let before = begun.last();
    let (info, added) = copy(&client, begun, stats.last_position).await?;
    show(&args, &info, before, added)
}

/// Copies the log behind what the backup holds, one batch after the other.
async fn copy(client: &Client, mut backup: BackupRun, last: Position) -> Result<(BackupInfo, u64)> {
    let before = backup.last();
    let bar = ProgressBar::new(last.get()).with_style(ProgressStyle::with_template(
        "{bar:30} {percent:>3}%  position {human_pos} of {human_len}, {per_sec}, {eta} left",
    )?);
    // The last event of the backup is asked for again, to see that it is the same history.
    let mut batches = client.read_log(before.max(Position::FIRST));
    while let Some(batch) = batches
        .try_next()
        .await
        .map_err(|error| shorter(error, before))?
    {
        bar.set_length(batch.last_position.get());
        bar.set_position(
            batch
                .entries
                .last()
                .map_or(before, |entry| entry.position)
                .get(),
        );
        backup = blocking(move || {
            backup.take(batch)?;
            Ok(backup)
        })
        .await?;
    }
    let info = blocking(move || Ok(backup.finish()?)).await?;
    bar.finish_and_clear();
    Ok((info, info.last_position.get() - before.get()))
}

/// A store that ends before its backup is not the one that was backed up.
fn shorter(error: Error, before: Position) -> anyhow::Error {
    let is_position =
        matches!(&error, Error::InvalidArgument { field, .. } if field == "from_position");
    if is_position {
        return anyhow::anyhow!(
            "the backup goes to position {before}, and the store ends before that ({error}): it may be \
             an older copy of the store. Back it up into a new directory"
        );
    }
    error.into()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context("backup")?
}

fn show(args: &BackupArgs, info: &BackupInfo, before: Position, added: u64) -> Result<()> {
    let last = info.last_position;
    let properties = [
        ("backup of store", info.store_id.to_string()),
        ("consistent at position", last.to_string()),
        ("added events", format!("{added}, after position {before}")),
        ("files", info.files.to_string()),
        ("bytes", info.bytes.to_string()),
        ("tree", info.tree.to_string()),
    ];
    output::show_properties(args.output.format(), &properties, |json| {
        json.string("store_id", &info.store_id.to_string())?;
        json.number("last_position", last.get())?;
        json.number("added", added)?;
        json.number("files", info.files as u64)?;
        json.number("bytes", info.bytes)?;
        json.string("tree", &info.tree.to_string())
    })
}
