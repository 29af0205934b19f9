//! Event logs: files of one JSON object a line, and what the store must hold once it has imported one.

use anyhow::{Context, Result, ensure};
use flate2::read::MultiGzDecoder;
use icecore_client::{RecordedEvent, Revision, Tag, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

/// A line of an event log.
#[derive(Debug, Deserialize, Serialize)]
pub struct LogEvent {
    /// The stream it goes to.
    pub stream: String,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: String,
    /// When it happened, in RFC 3339 with any offset.
    pub time: String,
    /// The payload as it is written.
    pub data: Box<RawValue>,
    /// Who, why: as it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Box<RawValue>>,
    /// Labels.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The id, where the log gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// Writes a log.
///
/// # Errors
///
/// When the file cannot be written.
pub fn write_log(path: &Path, events: impl IntoIterator<Item = LogEvent>) -> Result<()> {
    let file = File::create(path).with_context(|| format!("make {}", path.display()))?;
    let mut file = BufWriter::new(file);
    for event in events {
        serde_json::to_writer(&mut file, &event)?;
        file.write_all(b"\n")?;
    }
    file.flush().context("write the log")
}

/// What the store must hold of a line.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) line: LogEvent,
    pub(crate) revision: Revision,
    pub(crate) recorded_at: Timestamp,
    pub(crate) created_at: Option<Timestamp>,
}

/// Reads a log, packed or not, and says what the store must hold of it.
pub(crate) fn read_log(path: &Path) -> Result<Vec<Expected>> {
    let open = || File::open(path).with_context(|| format!("open {}", path.display()));
    let mut magic = [0; 2];
    let is_packed = open()?.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
    let plain: Box<dyn Read> = if is_packed {
        Box::new(MultiGzDecoder::new(open()?))
    } else {
        Box::new(open()?)
    };
    let mut revisions = HashMap::<String, u64>::new();
    let mut last: Option<Timestamp> = None;
    let mut expected = Vec::new();
    for (number, line) in (1..).zip(BufReader::new(plain).lines()) {
        let line: LogEvent =
            serde_json::from_str(&line?).with_context(|| format!("read line {number}"))?;
        let next = revisions.entry(line.stream.clone()).or_default();
        let revision = Revision::new(*next);
        *next += 1;
        let time = Timestamp::parse(&line.time)?;
        let recorded_at = last.map_or(time, |last| last.max(time));
        last = Some(recorded_at);
        expected.push(Expected {
            line,
            revision,
            recorded_at,
            created_at: (time < recorded_at).then_some(time),
        });
    }
    ensure!(!expected.is_empty(), "{} has no event", path.display());
    Ok(expected)
}

impl Expected {
    /// Checks an event against its line: every field, data and metadata byte for byte.
    pub(crate) fn check(&self, found: &RecordedEvent) -> Result<()> {
        let LogEvent {
            stream,
            event_type,
            data,
            metadata,
            tags,
            id,
            ..
        } = &self.line;
        let metadata = metadata.as_ref().map_or("", |metadata| metadata.get());
        let found_tags: Vec<_> = found.tags.iter().map(Tag::as_str).collect();
        let same = found.stream.as_str() == stream
            && found.revision == self.revision
            && found.event_type.as_str() == event_type
            && found.data == data.get().as_bytes()
            && found.metadata == metadata.as_bytes()
            && found_tags == *tags
            && id.as_ref().is_none_or(|id| *id == found.id.to_string())
            && found.recorded_at == self.recorded_at
            && found.created_at == self.created_at;
        ensure!(same, "the log has {self:?}\nthe store has {found:?}");
        Ok(())
    }
}
