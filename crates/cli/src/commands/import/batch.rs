//! Lines cut into batches, each of which becomes one append with the progress that it makes.

use super::progress::{Progress, Run};
use super::source::{Lines, Source};
use crate::ndjson::{self, ImportLine, LineError};
use anyhow::Result;
use icecore_client::{
    Append, AppendBuilder, Error, ExpectedRevision, ImportTimes, StreamName, Timestamp,
};
use std::collections::HashMap;
use std::ops::Range;

/// Events of a batch at most.
const BATCH_EVENTS: usize = 2_000;

/// Bytes of events of a batch at most, or one event.
const BATCH_BYTES: usize = 2 * 1_024 * 1_024;

/// Lines that are written together, or none of them.
pub(super) struct Batch {
    /// The lines before it.
    before: Lines,
    /// The time of the line before it.
    time_before: Option<Timestamp>,
    /// Its lines, empty ones included.
    text: Vec<u8>,
    pub(super) events: Vec<NumberedLine>,
    bytes: usize,
    /// Has seen that its events fit into one append.
    check: Builder,
    /// It is the last one.
    pub(super) is_last: bool,
    /// How much of the file was read for it.
    pub(super) consumed: u64,
}

/// An event with its place in the file.
pub(super) struct NumberedLine {
    pub(super) number: u64,
    pub(super) line: ImportLine,
    /// Where it ends in the text of its batch.
    text_end: usize,
}

/// A line that cannot be imported.
#[derive(Debug, thiserror::Error)]
#[error("line {number}: {reason}")]
pub(super) struct BadLine {
    number: u64,
    reason: LineError,
}

impl BadLine {
    pub(super) fn new(number: u64, reason: impl Into<LineError>) -> Self {
        let reason = reason.into();
        Self { number, reason }
    }
}

impl Batch {
    fn after(before: Lines, time_before: Option<Timestamp>) -> Self {
        Self {
            before,
            time_before,
            text: Vec::new(),
            events: Vec::new(),
            bytes: 0,
            check: Builder::default(),
            is_last: false,
            consumed: 0,
        }
    }

    /// The whole batch, as a range of its events.
    pub(super) fn all(&self) -> Range<usize> {
        0..self.events.len()
    }

    /// What the store is to know when these events are written, with what it knew before them.
    pub(super) fn progress(&self, part: &Range<usize>, written: u64, clamped: u64) -> Progress {
        let mut lines = self.before.clone();
        lines.add(&self.text[..self.text_end(part.end)]);
        Progress {
            lines: lines.count,
            sha256: lines.sha256(),
            events: written + part.len() as u64,
            clamped,
            time: self.time_at(part.end).map(|time| time.to_string()),
            done: self.is_last && part.end == self.events.len(),
        }
    }

    /// The append of these events with the progress that they make.
    pub(super) fn append(
        &self,
        part: &Range<usize>,
        run: &Run,
        progress: &Progress,
    ) -> Result<Append, Error> {
        let mut builder = Builder::default();
        for NumberedLine { line, .. } in &self.events[part.clone()] {
            builder.add(line)?;
        }
        let mut append = builder.append;
        let stream = append.stream(run.stream.clone(), run.expected())?;
        // Without a time of its own it is recorded at that of the event before it.
        append.event(
            stream,
            run.event(self.lines_at(part.start), progress)?,
            None,
        )?;
        append.build()
    }

    fn is_full(&self, next: &ImportLine) -> bool {
        let is_full =
            self.events.len() == BATCH_EVENTS || self.bytes + next.event.size() > BATCH_BYTES;
        is_full && !self.events.is_empty()
    }

    /// Adds the line that was read last.
    fn push(&mut self, number: u64, line: ImportLine) -> Result<(), BadLine> {
        self.check
            .add(&line)
            .map_err(|error| BadLine::new(number, error))?;
        self.bytes += line.event.size();
        let text_end = self.text.len();
        self.events.push(NumberedLine {
            number,
            line,
            text_end,
        });
        Ok(())
    }

    /// The lines before the event with this index, empty ones left out.
    fn lines_at(&self, event: usize) -> u64 {
        event
            .checked_sub(1)
            .map_or(self.before.count, |last| self.events[last].number)
    }

    fn time_at(&self, event: usize) -> Option<Timestamp> {
        event
            .checked_sub(1)
            .map_or(self.time_before, |last| self.events[last].line.time)
    }

    fn text_end(&self, event: usize) -> usize {
        event
            .checked_sub(1)
            .map_or(0, |last| self.events[last].text_end)
    }

    /// What follows its last event is the beginning of the next batch, which stays.
    fn cut(&mut self, consumed: u64) -> Self {
        let end = self.text_end(self.events.len());
        let mut before = self.before.clone();
        before.add(&self.text[..end]);
        let mut next = Self::after(before, self.time_at(self.events.len()));
        next.text = self.text.split_off(end);
        let mut batch = std::mem::replace(self, next);
        batch.consumed = consumed;
        batch
    }
}

/// Puts events of any streams into one append.
struct Builder {
    append: AppendBuilder,
    streams: HashMap<StreamName, usize>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            append: AppendBuilder::for_import(),
            streams: HashMap::new(),
        }
    }
}

impl Builder {
    fn add(&mut self, line: &ImportLine) -> Result<(), Error> {
        let stream = if let Some(stream) = self.streams.get(&line.stream) {
            *stream
        } else {
            let stream = self
                .append
                .stream(line.stream.clone(), ExpectedRevision::Any)?;
            self.streams.insert(line.stream.clone(), stream);
            stream
        };
        let created_at = line.created_at;
        let times = line.time.map(|recorded_at| ImportTimes {
            recorded_at,
            created_at,
        });
        self.append.event(stream, line.event.clone(), times)
    }
}

/// Reads a source from where an import is to go on.
pub(super) struct Batches {
    source: Source,
    run: Run,
    batch: Batch,
    /// What is to be said after the batch before it.
    failed: Option<anyhow::Error>,
    is_over: bool,
}

enum Step {
    Added,
    Full(Box<Batch>),
    End,
}

impl Batches {
    /// From the line after those that the source has read.
    pub(super) fn new(source: Source, run: Run) -> Self {
        let time = run.last.as_ref().and_then(|last| last.progress.time());
        let batch = Batch::after(source.lines().clone(), time);
        Self {
            source,
            run,
            batch,
            failed: None,
            is_over: false,
        }
    }

    /// The next batch; `None` after the last one. What stands before a bad line comes first, then the
    /// error.
    pub(super) fn next(&mut self) -> Result<Option<Batch>> {
        if let Some(error) = self.failed.take() {
            self.is_over = true;
            return Err(error);
        }
        while !self.is_over {
            match self.step() {
                Ok(Step::Added) => {}
                Ok(Step::Full(batch)) => return Ok(Some(*batch)),
                Ok(Step::End) => return Ok(self.last()),
                Err(error) => {
                    let batch = self.batch.cut(self.source.consumed());
                    self.is_over = batch.events.is_empty();
                    if self.is_over {
                        return Err(error);
                    }
                    self.failed = Some(error);
                    return Ok(Some(batch));
                }
            }
        }
        Ok(None)
    }

    fn step(&mut self) -> Result<Step> {
        let Some((number, line)) = self.next_event()? else {
            return Ok(Step::End);
        };
        if !self.batch.is_full(&line) {
            self.batch.push(number, line)?;
            return Ok(Step::Added);
        }
        let full = self.batch.cut(self.source.consumed());
        self.failed = self.batch.push(number, line).err().map(Into::into);
        Ok(Step::Full(Box::new(full)))
    }

    /// The last batch; empty only where nothing remains but to say that the import is complete.
    fn last(&mut self) -> Option<Batch> {
        self.is_over = true;
        let mut batch = self.batch.cut(self.source.consumed());
        batch.is_last = true;
        let was_begun = self
            .run
            .last
            .as_ref()
            .is_some_and(|last| !last.progress.done);
        (was_begun || !batch.events.is_empty()).then_some(batch)
    }

    /// The next line that is not empty, as an event.
    fn next_event(&mut self) -> Result<Option<(u64, ImportLine)>> {
        loop {
            let start = self.batch.text.len();
            if !self.source.next_line(&mut self.batch.text)? {
                return Ok(None);
            }
            let line = self.batch.text[start..].trim_ascii();
            if !line.is_empty() {
                let number = self.source.lines().count;
                let line = self.event(number, line);
                return Ok(Some((
                    number,
                    line.map_err(|reason| BadLine::new(number, reason))?,
                )));
            }
        }
    }

    /// An event with the id and the time that it gets where the line has none.
    fn event(&self, number: u64, line: &[u8]) -> Result<ImportLine, LineError> {
        let mut has_id = true;
        let made = || {
            has_id = false;
            self.run.event_id(number, None)
        };
        let mut line = ndjson::import_line(line, made)?;
        if has_id {
            line.event.id = self.run.event_id(number, Some(line.event.id));
        }
        line.time = line.time.or(self.batch.time_at(self.batch.events.len()));
        Ok(line)
    }
}

#[cfg(test)]
mod tests;
