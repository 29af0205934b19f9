//! `icecore import`: history from a file of lines into the store, with its times, exactly once.
//!
//! ```text
//! file or stdin -> lines (source.rs) -> batches (batch.rs) -> one Import call each, which writes the
//! events of the batch and the progress that they make (progress.rs) in one append
//! ```

mod batch;
mod progress;
mod sender;
mod source;

use super::connect_with;
use crate::args::ConnectionArgs;
use crate::exit::Hint;
use crate::input;
use crate::output::{self, note};
use crate::signals::Ending;
use anyhow::{Context as _, Result, anyhow, bail};
use batch::{Batch, Batches};
use clap::Args;
use icecore_client::RetryPolicy;
use progress::{Progress, Run, Runs};
use sender::Sender;
use source::Source;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Batches that are read while others are written.
const READ_AHEAD: usize = 2;

/// Import events from a file, one JSON object a line, gzipped or not
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  icecore import events.ndjson.gz
  icecore import events.ndjson --resume             # goes on where it broke off
  icecore export --all | icecore --server http://127.0.0.1:2114 import -

A line: {\"stream\":\"order-1\",\"type\":\"OrderPlaced\",\"time\":\"2012-01-31T00:00:00Z\",\"data\":{\"total\":12},
\"metadata\":{},\"tags\":[\"order:1\"],\"id\":\"...\"}. Only stream and type must be there; data_base64 and
metadata_base64 carry bytes, content_type says of which kind.

The order of the lines is the order in the store. `time` becomes the recorded time; one that lies
before the last recorded time of the store is clamped to it and kept as created_at. A line without
`time` has that of the line before it.")]
pub(crate) struct ImportArgs {
    /// The file; - is standard input
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    /// Go on with an import of this file that broke off
    #[arg(long)]
    resume: bool,
    /// Import a file that was imported before once more, as new events with new ids
    #[arg(long, conflicts_with = "resume")]
    again: bool,
}

pub(crate) async fn run(args: ImportArgs, connection: &ConnectionArgs) -> Result<()> {
    let source = Source::open(&args.file)?;
    let mut ending = Ending::listen()?;
    // What is sent again is sent by the sender, which then knows about it.
    let client = connect_with(connection, RetryPolicy::NEVER).await?;
    let runs = Runs::load(&client).await?;
    let run = choose(&args, &source, &runs)?;
    let (source, run) = skip_done(&args.file, source, run)?;
    let size = source.size();
    let mut sender = Sender::new(client, run.clone(), size).await?;
    let since = Instant::now();
    let outcome = tokio::select! {
        outcome = import(source, run, &mut sender) => outcome,
        () = ending.wait() => Err(anyhow!("interrupted")),
    };
    let elapsed = since.elapsed();
    sender.clear_bar();
    outcome
        .with_context(|| format!("import {}", input::name(&args.file)))
        .with_context(|| what_is_written(&args.file, &sender.run))?;
    output::print(result(&sender, elapsed))
}

/// Which import this is: a new one, or one that is to go on.
fn choose(args: &ImportArgs, source: &Source, runs: &Runs) -> Result<Run> {
    let fingerprint = source.fingerprint();
    if args.again {
        return runs.next(fingerprint);
    }
    let begun = match runs.latest(fingerprint) {
        Some(run) => Some(run.clone()),
        None => broken_off_with_this_beginning(&args.file, runs)?,
    };
    match (begun, args.resume) {
        (None, false) => runs.next(fingerprint),
        (Some(run), true) => Ok(run),
        (Some(run), false) => Err(already(&args.file, &run)),
        (None, true) => Err(anyhow!(
            "no import of {} has begun; begin it without --resume",
            args.file.display()
        )),
    }
}

/// An import that broke off after lines that this file begins with. Its file may have been corrected
/// further down and so be recognised by nothing else.
fn broken_off_with_this_beginning(file: &Path, runs: &Runs) -> Result<Option<Run>> {
    let mut candidates: Vec<_> = runs.broken_off().collect();
    candidates.sort_by_key(|(_, progress)| progress.lines);
    if candidates.is_empty() || file == Path::new("-") {
        return Ok(None);
    }
    let mut source = Source::open(file)?;
    let mut found = None;
    for (run, Progress { lines, sha256, .. }) in candidates {
        if !skip(&mut source, *lines)? {
            break;
        }
        if source.lines().sha256() == *sha256 {
            found = Some(run.clone());
        }
    }
    Ok(found)
}

/// Reads up to so many lines; `false` when there are fewer.
fn skip(source: &mut Source, lines: u64) -> Result<bool> {
    let mut text = Vec::new();
    while source.lines().count < lines {
        text.clear();
        if !source.next_line(&mut text)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn already(file: &Path, run: &Run) -> anyhow::Error {
    let file = file.display();
    let Some(Progress {
        lines,
        events,
        done,
        ..
    }) = run.last.as_ref().map(|last| &last.progress)
    else {
        return anyhow!("an import of {file} has begun");
    };
    if *done {
        anyhow!(
            "{file} was imported already: {lines} lines, {events} events\n\
             lines that were added to it since: icecore import {file} --resume\n\
             all of it once more, as new events: icecore import {file} --again"
        )
    } else {
        anyhow!(
            "an import of {file} has begun and broke off after line {lines} ({events} events)\n\
             go on with it: icecore import {file} --resume\n\
             all of it from the beginning, as new events: icecore import {file} --again"
        )
    }
}

/// Reads over the lines that are done, and makes sure that they are those that were imported.
fn skip_done(file: &Path, mut source: Source, run: Run) -> Result<(Source, Run)> {
    let Some(last) = &run.last else {
        return Ok((source, run));
    };
    let Progress { lines, sha256, .. } = &last.progress;
    let (file, found) = (file.display(), skip(&mut source, *lines)?);
    if !found {
        let count = source.lines().count;
        bail!("{lines} lines of {file} were imported, but now it has only {count}");
    }
    if source.lines().sha256() != *sha256 {
        bail!(
            "the first {lines} lines of {file} are not those that were imported\n\
             put the old ones back, or import all of it as new events with --again"
        );
    }
    if *lines > 0 {
        note(format_args!("going on after line {lines}"));
    }
    Ok((source, run))
}

/// Reads batches in a thread of its own and writes them one after the other.
async fn import(source: Source, run: Run, sender: &mut Sender) -> Result<()> {
    let (batches, mut read) = mpsc::channel(READ_AHEAD);
    let mut reader = Batches::new(source, run);
    tokio::task::spawn_blocking(move || {
        while let Some(batch) = reader.next().transpose() {
            let is_error = batch.is_err();
            if batches.blocking_send(batch).is_err() || is_error {
                break;
            }
        }
    });
    while let Some(batch) = read.recv().await {
        let batch: Batch = batch?;
        sender.send(&batch).await?;
    }
    Ok(())
}

/// What stands in the store when an import breaks off.
fn what_is_written(file: &Path, run: &Run) -> Hint {
    let file = file.display();
    Hint(match run.last.as_ref().map(|last| &last.progress) {
        None => "nothing is written".to_owned(),
        Some(Progress { lines, events, .. }) => format!(
            "everything up to line {lines} is written ({events} events)\n\
             go on after that with: icecore import {file} --resume"
        ),
    })
}

fn result(sender: &Sender, elapsed: Duration) -> String {
    let Sender {
        events,
        streams,
        clamped,
        ..
    } = sender;
    let millis = elapsed.as_millis().max(1);
    let per_second = u128::from(*events) * 1_000 / millis;
    let seconds = elapsed.as_secs_f64();
    let streams = streams.len();
    format!(
        "imported: {events} events, {streams} streams, {seconds:.1} s, {per_second} events/s, \
         {clamped} clamped"
    )
}
