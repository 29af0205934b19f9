//! Writes batches, each exactly once, whatever happens to the server meanwhile; finds the line that
//! the store does not take; counts and shows how far it is.

use super::batch::{BadLine, Batch};
use super::progress::{LastProgress, Run};
use crate::output::note;
use anyhow::{Context as _, Result, anyhow};
use icecore_client::{Append, Client, Error, Imported, Position, Refusal};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::ops::Range;
use std::time::Duration;
use tokio::time::sleep;

/// How often a batch is sent when the server does not answer, with pauses that grow to
/// [`PAUSE_MAX`]: about a minute in all, enough for a restart.
const ATTEMPTS_MAX: u32 = 36;
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// From this attempt on the user hears that it takes longer.
const ATTEMPTS_QUIET: u32 = 4;

/// Writes the batches of one import.
pub(super) struct Sender {
    client: Client,
    /// The import, with the progress that is known to be durable.
    pub(super) run: Run,
    /// Events that this process has written.
    pub(super) events: u64,
    /// Streams they went to, as hashes of their names.
    pub(super) streams: HashSet<u64>,
    hasher: RandomState,
    /// Times that were clamped since the beginning of the file.
    pub(super) clamped: u64,
    bar: ProgressBar,
}

/// How an attempt to write some events ended.
enum Sent {
    Written,
    /// The store does not take them as they are.
    NotTaken(Error),
}

impl Sender {
    pub(super) async fn new(client: Client, run: Run, size: Option<u64>) -> Result<Self> {
        let known = run.last.as_ref().map_or(0, |last| last.progress.clamped);
        let clamped = known + run.clamped_in_last_batch(&client).await?;
        Ok(Self {
            client,
            run,
            events: 0,
            streams: HashSet::new(),
            hasher: RandomState::new(),
            clamped,
            bar: bar(size)?,
        })
    }

    /// Writes a batch. If the store does not take it, writes what stands before the first line that
    /// is to blame, and says which one that is.
    pub(super) async fn send(&mut self, batch: &Batch) -> Result<()> {
        let mut parts = vec![batch.all()];
        while let Some(part) = parts.pop() {
            match self.send_part(batch, &part).await? {
                Sent::Written => {}
                Sent::NotTaken(error) if part.len() <= 1 => return Err(blame(batch, &part, error)),
                Sent::NotTaken(_) => {
                    let middle = part.start + part.len() / 2;
                    parts.push(middle..part.end);
                    parts.push(part.start..middle);
                }
            }
        }
        self.bar.set_position(batch.consumed);
        let lines = self.run.lines();
        self.bar.set_message(format!("{lines} lines"));
        Ok(())
    }

    async fn send_part(&mut self, batch: &Batch, part: &Range<usize>) -> Result<Sent> {
        let written = self
            .run
            .last
            .as_ref()
            .map_or(0, |last| last.progress.events);
        let progress = batch.progress(part, written, self.clamped);
        let append = match batch.append(part, &self.run, &progress) {
            Ok(append) => append,
            Err(error) => return Ok(Sent::NotTaken(error)),
        };
        let (imported, attempts) = self.import(&append).await;
        let imported = match imported {
            Ok(imported) => imported,
            Err(Error::Refused(refusal)) => match self.look_again(&append).await? {
                Some(position) => Imported {
                    last_position: position,
                    clamped: 0,
                },
                None => return not_taken(&self.run, *refusal),
            },
            Err(error @ Error::InvalidArgument { .. }) => return Ok(Sent::NotTaken(error)),
            Err(error) => return Err(error.into()),
        };
        self.clamped += match attempts {
            1 => imported.clamped,
            // The answer of a batch that was there already does not say what was clamped.
            _ => {
                self.count_clamped(batch, part, imported.last_position)
                    .await?
            }
        };
        self.advance(batch, part, &append, progress, imported.last_position)
    }

    /// Sends a batch, again and again while nobody answers; with the number of attempts.
    async fn import(&self, append: &Append) -> (Result<Imported, Error>, u32) {
        let mut pause = PAUSE_FIRST;
        for attempt in 1.. {
            let error = match self.client.import(append).await {
                Ok(imported) => return (Ok(imported), attempt),
                Err(error) => error,
            };
            let may_pass = matches!(
                error,
                Error::Unavailable { .. }
                    | Error::Unreachable { .. }
                    | Error::OutcomeUnknown { .. }
                    | Error::Exhausted { .. }
            );
            if !may_pass || attempt == ATTEMPTS_MAX {
                return (Err(error), attempt);
            }
            if attempt == ATTEMPTS_QUIET {
                let text = format!("waiting for the server: {}", reason(&error));
                self.bar.suspend(|| note(text));
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        unreachable!("the loop has no end of its own")
    }

    /// A refusal may be about what an earlier attempt, of this process or the one before it, has
    /// written after all: then the last progress is the one that this append carries.
    async fn look_again(&self, append: &Append) -> Result<Option<Position>> {
        let mut now = self.run.clone();
        now.load(&self.client).await?;
        let carried = append
            .events()
            .last()
            .context("find the progress in the batch")?;
        let last = now.last.filter(|last| last.id == carried.event.id);
        Ok(last.map(|last| last.position))
    }

    async fn count_clamped(
        &self,
        batch: &Batch,
        part: &Range<usize>,
        last: Position,
    ) -> Result<u64> {
        let lines = &batch.events[part.clone()];
        let first = Position::new(last.get() - lines.len() as u64);
        let read = self
            .client
            .read_all()
            .include_system()
            .from(first)
            .limit(lines.len().max(1) as u64);
        let events = read.await?;
        let clamped = events
            .iter()
            .zip(lines)
            .filter(|(event, line)| line.line.time.is_some_and(|time| event.recorded_at != time));
        Ok(clamped.count() as u64)
    }

    /// Takes in what is written now.
    fn advance(
        &mut self,
        batch: &Batch,
        part: &Range<usize>,
        append: &Append,
        progress: super::progress::Progress,
        position: Position,
    ) -> Result<Sent> {
        let revision = match &self.run.last {
            None => icecore_client::Revision::FIRST,
            Some(last) => last.revision.next(),
        };
        let carried = append
            .events()
            .last()
            .context("find the progress in the batch")?;
        self.run.last = Some(LastProgress {
            id: carried.event.id,
            revision,
            position,
            progress,
        });
        self.events += part.len() as u64;
        for event in &batch.events[part.clone()] {
            self.streams
                .insert(self.hasher.hash_one(&event.line.stream));
        }
        Ok(Sent::Written)
    }

    pub(super) fn clear_bar(&self) {
        self.bar.finish_and_clear();
    }
}

/// What happened, without what is done about it here.
fn reason(error: &Error) -> String {
    match error {
        Error::OutcomeUnknown { reason } => reason.clone(),
        other => other.to_string(),
    }
}

/// Somebody else who imports the same file is no fault of a line.
fn not_taken(run: &Run, refusal: Refusal) -> Result<Sent> {
    if refusal
        .violations
        .iter()
        .any(|violation| violation.stream == run.stream)
    {
        return Err(anyhow!(
            "somebody else is importing the same file at the same time; let them finish"
        ));
    }
    Ok(Sent::NotTaken(Error::Refused(Box::new(refusal))))
}

fn blame(batch: &Batch, part: &Range<usize>, error: Error) -> anyhow::Error {
    match batch.events.get(part.start) {
        Some(event) => BadLine::new(event.number, error).into(),
        None => error.into(),
    }
}

fn bar(size: Option<u64>) -> Result<ProgressBar> {
    let (bar, template) = match size {
        Some(size) => (
            ProgressBar::new(size),
            "{bar:30} {percent:>3}%  {msg}  {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{spinner} {msg}  {bytes}, {bytes_per_sec}",
        ),
    };
    Ok(bar.with_style(ProgressStyle::with_template(template)?))
}
