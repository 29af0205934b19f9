//! `icecore doctor`: why a store does not start, and what can be done about it.

use crate::exit::Usage;
use crate::output::{Out, print};
use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use icecore_client::Position;
use icecore_server::offline::{self, Diagnosis, Repaired};
use std::path::{Path, PathBuf};

/// Find out why a store does not start, and repair a copy of it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  icecore doctor --data /var/lib/icecore
  icecore doctor --data /var/lib/icecore --apply salvage --to /var/lib/icecore-new
  icecore doctor --data /var/lib/icecore --apply cut --to-position 4711 --to /var/lib/icecore-new

Without --apply it only reads, and says what fits. With --apply it does one thing, always into a new
directory; the damaged one stays as it is. No server may have the store open.")]
pub(crate) struct DoctorArgs {
    /// Data directory of the store
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// What is to be done
    #[arg(long, value_name = "CHOICE", requires = "to")]
    apply: Option<Choice>,
    /// Directory of the repaired store: empty or not there
    #[arg(long, value_name = "NEWDIR", requires = "apply")]
    to: Option<PathBuf>,
    /// With cut: the last position to keep [default: the last one before the damage]
    #[arg(long, value_name = "N", requires = "apply")]
    to_position: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Choice {
    /// A copy without sled's snapshots, which only make a start faster
    Snapshots,
    /// A copy without the index, which the next start makes from the log
    Indexes,
    /// A new store of what stands before the damage
    Cut,
    /// A new store of everything that the raw file still holds in one piece
    Salvage,
}

pub(crate) async fn run(args: DoctorArgs) -> Result<()> {
    let data = args.data.clone();
    let (Some(choice), Some(to)) = (args.apply, &args.to) else {
        let diagnosis = tokio::task::spawn_blocking(move || offline::diagnose(&data, &mut |_| {}))
            .await
            .context("look at the store")??;
        return show(&args.data, &diagnosis);
    };
    if args.to_position.is_some() && choice != Choice::Cut {
        return Err(Usage::new("--to-position goes with --apply cut only").into());
    }
    let until = args.to_position.map(Position::new);
    let repaired = offline::repair(&data, choice.into(), until, to).await?;
    print(done(choice, &repaired, to))
}

impl From<Choice> for offline::Choice {
    fn from(choice: Choice) -> Self {
        match choice {
            Choice::Snapshots => Self::Snapshots,
            Choice::Indexes => Self::Indexes,
            Choice::Cut => Self::Cut,
            Choice::Salvage => Self::Salvage,
        }
    }
}

fn done(choice: Choice, repaired: &Repaired, to: &Path) -> String {
    let store_id = repaired
        .store_id
        .map_or_else(String::new, |id| id.to_string());
    let to = to.display();
    match (choice, repaired.last_position) {
        (Choice::Snapshots | Choice::Indexes, _) | (_, None) => format!(
            "{to} holds a copy of store {store_id}\nstart it with: icecore serve --data {to}\n\
             never run the old directory and the copy both: they have the same id"
        ),
        (Choice::Cut | Choice::Salvage, Some(last)) => format!(
            "{to} holds the new store {store_id}, which ends at position {last}\n\
             start it with: icecore serve --data {to}\n\
             its id is a new one: projections that have seen more must start afresh"
        ),
    }
}

fn show(data: &Path, diagnosis: &Diagnosis) -> Result<()> {
    let mut out = Out::new();
    let position = |position: Option<Position>| {
        position.map_or_else(
            || "nobody knows".to_owned(),
            |position| position.to_string(),
        )
    };
    let id = diagnosis.store_id;
    let id = id.map_or_else(|| "nobody knows".to_owned(), |id| id.to_string());
    out.line(format_args!("store              {id}"))?;
    out.line(format_args!(
        "acknowledged up to {}",
        position(diagnosis.acknowledged)
    ))?;
    out.line(format_args!(
        "found in the file  positions 1 to {}, in {} versions of chunks",
        diagnosis.found, diagnosis.chunk_versions
    ))?;
    out.line(format_args!("snapshots of sled  {}", diagnosis.snapshots))?;
    out.line("")?;
    if diagnosis.findings.is_empty() {
        out.line("Nothing is wrong with the files of the log.")?;
    } else {
        out.line("What is wrong:")?;
    }
    for finding in &diagnosis.findings {
        out.line(format_args!("  {finding}"))?;
    }
    out.line("")?;
    out.line("What can be done, best first. Each leaves this directory as it is:")?;
    for (what, command) in choices(data, diagnosis) {
        out.line(format_args!("  {what}\n    {command}"))?;
    }
    out.flush()
}

/// What fits, each with its command. What loses nothing comes first.
fn choices(data: &Path, diagnosis: &Diagnosis) -> Vec<(String, String)> {
    let data = data.display();
    let mut choices = Vec::new();
    if diagnosis.findings.is_empty() {
        choices.push((
            "start it; if it is refused, the message says why".to_owned(),
            format!("icecore serve --data {data}"),
        ));
    }
    let (found, sound) = (diagnosis.found, diagnosis.sound);
    let mut lossy = Vec::new();
    for choice in &diagnosis.choices {
        let (name, what, is_lossy) = match choice {
            offline::Choice::Snapshots => (
                "snapshots",
                "copy it without sled's snapshots; loses nothing, the next start takes longer"
                    .into(),
                false,
            ),
            offline::Choice::Indexes => (
                "indexes",
                "copy it without its index, which is made from the log again; loses nothing".into(),
                false,
            ),
            offline::Choice::Cut => (
                "cut",
                format!("make a new store of positions 1 to {sound}, before all damage"),
                true,
            ),
            offline::Choice::Salvage => (
                "salvage",
                format!("make a new store of what the file holds, positions 1 to {found}"),
                true,
            ),
        };
        let command = format!("icecore doctor --data {data} --apply {name} --to {data}-new");
        if is_lossy {
            lossy.push((what, command));
        } else {
            choices.push((what, command));
        }
    }
    choices.push((
        "restore a backup; loses what came after it".to_owned(),
        format!("icecore restore --from BACKUP --data {data}-new"),
    ));
    // The longest one first.
    lossy.reverse();
    choices.extend(lossy);
    choices
}
