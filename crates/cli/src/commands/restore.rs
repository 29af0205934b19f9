//! `icecore restore`: makes a new store of a backup.

use crate::args::time;
use crate::output::{self, OutputArgs, note};
use anyhow::Result;
use clap::Args;
use icecore_client::{Position, Timestamp};
use icecore_server::offline::{self, Restored, Until};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;

/// Make a new store of a backup, as it was at its end, at a position or at a time
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  icecore restore --from /backup/icecore --data /var/lib/icecore-restored
  icecore restore --from /backup/icecore --data ./before --to-position 120000
  icecore restore --from /backup/icecore --data ./before --to-time 2026-03-01T12:00:00Z
  icecore serve --data /var/lib/icecore-restored

Positions, revisions, ids and times stay as they were. The store gets an id of its own, so that no
projection goes on as if nothing had happened: a projection that has seen more than was restored must
start afresh. Only whole appends are restored. Until it is complete the directory is no store; a restore
that was interrupted is simply run again.")]
pub(crate) struct RestoreArgs {
    /// Directory of the backup
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Data directory of the new store: empty or not there
    #[arg(long, value_name = "NEWDIR")]
    data: PathBuf,
    /// Restore up to this position (inclusive)
    #[arg(long, value_name = "N", conflicts_with = "to_time")]
    to_position: Option<u64>,
    /// Restore what had been recorded by then (inclusive; RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    to_time: Option<Timestamp>,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: RestoreArgs) -> Result<()> {
    let until = match (args.to_position, args.to_time) {
        (Some(position), _) => Until::Position(Position::new(position)),
        (None, Some(time)) => Until::Time(time),
        (None, None) => Until::End,
    };
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(
        "{bar:30} {percent:>3}%  position {human_pos} of {human_len}, {per_sec}, {eta} left",
    )?);
    let mut progress = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let restored = offline::restore(&args.from, &args.data, until, &mut progress).await;
    bar.finish_and_clear();
    show(&args, &restored?)
}

fn show(args: &RestoreArgs, restored: &Restored) -> Result<()> {
    let Restored {
        store_id,
        from_store_id,
        last_position,
        backup_position,
    } = restored;
    let properties = [
        ("new store", store_id.to_string()),
        ("last position", last_position.to_string()),
        ("from the backup of", from_store_id.to_string()),
        ("which ends at", backup_position.to_string()),
    ];
    output::show_properties(args.output.format(), &properties, |json| {
        json.string("store_id", &store_id.to_string())?;
        json.number("last_position", last_position.get())?;
        json.string("from_store_id", &from_store_id.to_string())?;
        json.number("backup_position", backup_position.get())
    })?;
    note(format_args!(
        "start it with: icecore serve --data {}\n\
         projections that know the old store are refused by the new one (its id is another): those \
         whose\ncheckpoint is at or before position {last_position} may go on there with the new id, \
         all others must start afresh",
        args.data.display()
    ));
    Ok(())
}
