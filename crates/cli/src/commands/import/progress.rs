//! How far an import has come. That is kept in the store itself, in a stream of the import's own: the
//! last event there says it, and each one was written in the same append as the lines it speaks of.

use super::source::{Fingerprint, hex};
use crate::ndjson::{IMPORT_STREAM_PREFIX, is_import_progress};
use anyhow::{Context as _, Result};
use icecore_client::{
    Client, ContentType, Error, EventData, EventType, ExpectedRevision, ListStreams, Position,
    RecordedEvent, RecordedEventExt as _, Revision, StreamName, SystemStreams, Timestamp,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const PROGRESS_TYPE: &str = "$importProgress";

/// What the last event of an import's stream says. Counts are from the beginning of the file on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Lines done, empty ones included.
    pub(super) lines: u64,
    /// SHA-256 of these lines, each with one `\n` at its end.
    pub(super) sha256: String,
    /// Events written.
    pub(super) events: u64,
    /// Times that were clamped, without those of the batch that this event belongs to.
    pub(super) clamped: u64,
    /// The time of the last line, which a line without one takes over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) time: Option<String>,
    /// The file was read to its end.
    pub(super) done: bool,
}

/// One import of one file: the first one, or one that was asked for `--again`.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// Where its progress is kept.
    pub(super) stream: StreamName,
    /// What its ids are made of.
    namespace: Uuid,
    /// 1 for the first import of this file.
    number: u32,
    /// The last event of its stream; `None` when it has not begun.
    pub(super) last: Option<LastProgress>,
}

#[derive(Clone, Debug)]
pub(super) struct LastProgress {
    pub(super) id: Uuid,
    pub(super) revision: Revision,
    pub(super) position: Position,
    pub(super) progress: Progress,
}

impl Run {
    /// An import of this file that has not begun.
    fn new(fingerprint: Fingerprint, number: u32) -> Result<Self> {
        let suffix = if number == 1 {
            String::new()
        } else {
            format!("-{number}")
        };
        let name = format!("{IMPORT_STREAM_PREFIX}{}{suffix}", hex(&fingerprint));
        let of_file = Uuid::from_bytes(fingerprint);
        let namespace = match number {
            1 => of_file,
            _ => Uuid::new_v5(&of_file, format!("again {number}").as_bytes()),
        };
        Ok(Self {
            stream: StreamName::derived(name)?,
            namespace,
            number,
            last: None,
        })
    }

    /// The import whose progress is in this stream; `None` for a stream that no import made.
    fn of_stream(stream: &StreamName) -> Option<Self> {
        let name = stream.as_str();
        if !is_import_progress(name) {
            return None;
        }
        let name = name.strip_prefix(IMPORT_STREAM_PREFIX)?;
        let (digits, number) = match name.split_once('-') {
            Some((digits, number)) => (digits, number.parse().ok()?),
            None => (name, 1),
        };
        let fingerprint = Uuid::try_parse(digits).ok()?.into_bytes();
        Self::new(fingerprint, number)
            .ok()
            .filter(|run| run.stream == *stream)
    }

    /// The id of the event of a line. Where the line has an id, the first import keeps it, and each
    /// further one makes another of it, since the store takes an id in a stream for a retry.
    pub(super) fn event_id(&self, line: u64, given: Option<Uuid>) -> Uuid {
        match given {
            Some(id) if self.number == 1 => id,
            Some(id) => Uuid::new_v5(&self.namespace, id.as_bytes()),
            None => Uuid::new_v5(&self.namespace, format!("line {line}").as_bytes()),
        }
    }

    /// The event that says that the lines after `after` are done up to what `progress` says.
    pub(super) fn event(&self, after: u64, progress: &Progress) -> Result<EventData, Error> {
        let name = format!("progress {after}-{}", progress.lines);
        let json = serde_json::to_vec(progress)
            .map_err(|error| Error::invalid("progress", error.to_string()))?;
        let id = Uuid::new_v5(&self.namespace, name.as_bytes());
        Ok(EventData {
            id,
            event_type: EventType::new(PROGRESS_TYPE)?,
            content_type: ContentType::JSON,
            data: json.into(),
            metadata: bytes::Bytes::new(),
            tags: Vec::new(),
        })
    }

    /// What the next batch expects of the stream, so that nothing is written twice.
    pub(super) fn expected(&self) -> ExpectedRevision {
        match &self.last {
            None => ExpectedRevision::NoStream,
            Some(last) => ExpectedRevision::Exact(last.revision),
        }
    }

    /// How far it has come, in lines.
    pub(super) fn lines(&self) -> u64 {
        self.last.as_ref().map_or(0, |last| last.progress.lines)
    }

    /// Reads the last event of its stream.
    pub(super) async fn load(&mut self, client: &Client) -> Result<()> {
        let newest = client.read_stream(&self.stream).backwards().limit(1).await;
        let event = match newest {
            Ok(events) => events.into_iter().next(),
            Err(Error::StreamNotFound { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let event = event.map(|event| LastProgress::of(&event));
        self.last = event.transpose()?;
        Ok(())
    }

    /// Events of the last batch whose time was clamped. The progress of a batch cannot know that.
    pub(super) async fn clamped_in_last_batch(&self, client: &Client) -> Result<u64> {
        let Some(last) = &self.last else { return Ok(0) };
        let before = match last.revision.previous() {
            Some(revision) => {
                let read = client.read_stream(&self.stream).from(revision).limit(1);
                let events = read.await?;
                let event = events.first().context("read the progress of the import")?;
                LastProgress::of(event)?.progress.events
            }
            None => 0,
        };
        let count = last.progress.events.saturating_sub(before);
        let first = last.position.get().saturating_sub(count);
        let read = client
            .read_all()
            .include_system()
            .from(Position::new(first))
            .limit(count.max(1));
        let events = read.await?;
        Ok(events
            .iter()
            .filter(|event| event.created_at.is_some())
            .count() as u64)
    }
}

impl LastProgress {
    fn of(event: &RecordedEvent) -> Result<Self> {
        Ok(Self {
            id: event.id,
            revision: event.revision,
            position: event.position,
            progress: event.json()?,
        })
    }
}

impl Progress {
    /// The time that the next line takes over if it has none.
    pub(super) fn time(&self) -> Option<Timestamp> {
        self.time
            .as_deref()
            .and_then(|time| Timestamp::parse(time).ok())
    }
}

/// The imports that the store knows.
#[derive(Default)]
pub(super) struct Runs(Vec<Run>);

impl Runs {
    /// Lists them, with how far each has come.
    pub(super) async fn load(client: &Client) -> Result<Self> {
        let mut list = ListStreams {
            prefix: IMPORT_STREAM_PREFIX.to_owned(),
            system: SystemStreams::Include,
            ..ListStreams::default()
        };
        let mut runs = Vec::new();
        loop {
            let page = client.list_streams(list.clone()).await?;
            for mut run in page
                .streams
                .iter()
                .filter_map(|entry| Run::of_stream(&entry.stream))
            {
                run.load(client).await?;
                runs.extend(run.last.is_some().then_some(run));
            }
            list.after = page.next_after;
            if list.after.is_none() {
                return Ok(Self(runs));
            }
        }
    }

    /// The last import of a file with this beginning.
    pub(super) fn latest(&self, fingerprint: Fingerprint) -> Option<&Run> {
        let name = format!("{IMPORT_STREAM_PREFIX}{}", hex(&fingerprint));
        let of_file = self.0.iter().filter(|run| {
            let rest = run.stream.as_str().strip_prefix(&name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        });
        of_file.max_by_key(|run| run.number)
    }

    /// The next import of a file with this beginning, to be begun.
    pub(super) fn next(&self, fingerprint: Fingerprint) -> Result<Run> {
        let number = self.latest(fingerprint).map_or(1, |run| run.number + 1);
        Run::new(fingerprint, number)
    }

    /// Imports that broke off.
    pub(super) fn broken_off(&self) -> impl Iterator<Item = (&Run, &Progress)> {
        let begun = self
            .0
            .iter()
            .filter_map(|run| Some((run, &run.last.as_ref()?.progress)));
        begun.filter(|(_, progress)| !progress.done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_is_known_by_its_stream() {
        let first = Run::new([0xab; 16], 1).unwrap();
        assert_eq!(
            first.stream.as_str(),
            "$import-abababababababababababababababab"
        );
        let third = Run::new([0xab; 16], 3).unwrap();
        assert_eq!(
            third.stream.as_str(),
            "$import-abababababababababababababababab-3"
        );
        let again = Run::of_stream(&third.stream).unwrap();
        assert_eq!(again.event_id(7, None), third.event_id(7, None));
        assert!(Run::of_stream(&StreamName::derived("$import-x").unwrap()).is_none());
    }

    #[test]
    fn ids_tell_lines_and_imports_apart() {
        let (first, second) = (Run::new([1; 16], 1).unwrap(), Run::new([1; 16], 2).unwrap());
        assert_ne!(first.event_id(1, None), first.event_id(2, None));
        assert_ne!(first.event_id(1, None), second.event_id(1, None));
        let given = Uuid::from_u128(9);
        assert_eq!(first.event_id(1, Some(given)), given);
        assert_ne!(second.event_id(1, Some(given)), given);
    }

    #[test]
    fn the_next_import_of_a_file_follows_its_last() {
        let run = |byte, number| Run::new([byte; 16], number).unwrap();
        let runs = Runs(vec![run(1, 1), run(1, 2), run(2, 1)]);
        assert_eq!(runs.next([1; 16]).unwrap().number, 3);
        assert_eq!(runs.next([2; 16]).unwrap().number, 2);
        assert_eq!(runs.next([3; 16]).unwrap().number, 1);
        assert!(runs.latest([3; 16]).is_none());
    }
}
