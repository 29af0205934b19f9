//! Logs of events that happened elsewhere, and their import: with the times that they had, in batches,
//! each of which tells how far it goes, so that an import that broke off goes on where it was.

use crate::office;
use anyhow::{Context as _, Result, bail};
use flate2::read::MultiGzDecoder;
use icecore_client::{
    AppendBuilder, Category, Client, Error, EventData, EventDataExt, ExpectedRevision, ImportTimes,
    RecordedEventExt, Revision, StreamName, Timestamp, json_event,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::time::Duration;
use tokio::time::sleep;
use uuid::Uuid;

/// Lines of one append.
const BATCH_LINES: usize = 2_000;

/// How fast the office goes on working.
const WORK_PAUSE: Duration = Duration::from_millis(150);

/// A line of a log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) stream: String,
    #[serde(rename = "type")]
    pub(crate) event_type: String,
    pub(crate) time: String,
    pub(crate) data: Value,
    pub(crate) metadata: Value,
    #[serde(default)]
    pub(crate) tags: Vec<String>,
}

/// How far an import is. It is an event of its own, written together with the lines.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Progress {
    lines: usize,
}

/// Imports a log, or the made-up one, unless the store has loans from elsewhere.
pub(crate) async fn import_if_empty(client: &Client, log: Option<&Path>) -> Result<()> {
    let import = Import::find(client).await?;
    if import.done.lines == 0 && has_loans(client).await? {
        return Ok(());
    }
    match log {
        Some(path) => import.take(&mut read(path)?).await,
        None if import.done.lines == 0 => {
            let lines = office::log().into_iter().take(office::LINES_AT_FIRST);
            import.take(&mut lines.map(Ok)).await
        }
        None => Ok(()),
    }
}

/// Lets the made-up office go on, a line at a time.
pub(crate) async fn go_on(client: Client) -> Result<()> {
    for line in office::log()
        .into_iter()
        .skip(Import::find(&client).await?.done.lines)
    {
        sleep(WORK_PAUSE).await;
        let mut import = Import::find(&client).await?;
        import.append(&[line]).await?;
    }
    Ok(())
}

async fn has_loans(client: &Client) -> Result<bool> {
    let loans = client.read_all().category(Category::new("loan")?).limit(1);
    Ok(!loans.await?.is_empty())
}

/// The lines of a file, gzipped or not.
fn read(path: &Path) -> Result<impl Iterator<Item = Result<Line>>> {
    let open = || File::open(path).with_context(|| format!("open {}", path.display()));
    let mut magic = [0; 2];
    let is_gzip = open()?.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
    let reader: Box<dyn Read> = if is_gzip {
        Box::new(MultiGzDecoder::new(open()?))
    } else {
        Box::new(open()?)
    };
    let lines = BufReader::new(reader).lines().enumerate();
    Ok(lines.map(|(number, line)| {
        serde_json::from_str(&line?).with_context(|| format!("line {}", number + 1))
    }))
}

struct Import {
    client: Client,
    progress: StreamName,
    done: Progress,
    revision: Option<Revision>,
}

impl Import {
    /// The import as the store knows it.
    async fn find(client: &Client) -> Result<Self> {
        let progress = StreamName::new("$import-loans")?;
        let last = client.read_stream(&progress).backwards().limit(1).await;
        let last = match last {
            Err(Error::StreamNotFound { .. }) => None,
            last => last?.into_iter().next(),
        };
        let done = match &last {
            Some(last) => last.json()?,
            None => Progress::default(),
        };
        Ok(Self {
            client: client.clone(),
            progress,
            done,
            revision: last.map(|last| last.revision),
        })
    }

    /// Takes the lines that it has not taken before.
    async fn take(mut self, lines: &mut dyn Iterator<Item = Result<Line>>) -> Result<()> {
        let mut lines = lines.skip(self.done.lines).peekable();
        if lines.peek().is_some() {
            eprintln!("importing, from line {} on ...", self.done.lines + 1);
        }
        while lines.peek().is_some() {
            let batch: Vec<Line> = lines.by_ref().take(BATCH_LINES).collect::<Result<_>>()?;
            self.append(&batch).await?;
        }
        Ok(())
    }

    /// Writes some lines and how far they go: both or nothing.
    async fn append(&mut self, lines: &[Line]) -> Result<()> {
        let mut append = AppendBuilder::for_import();
        let mut streams = HashMap::new();
        for (number, line) in (self.done.lines..).zip(lines) {
            let stream = if let Some(&known) = streams.get(&line.stream) {
                known
            } else {
                let name = StreamName::new(line.stream.as_str())?;
                let new = append.stream(name, ExpectedRevision::Any)?;
                streams.insert(&line.stream, new);
                new
            };
            let recorded_at = Timestamp::parse(&line.time)?;
            let created_at = None;
            let times = ImportTimes {
                recorded_at,
                created_at,
            };
            append.event(stream, line.event(number)?, Some(times))?;
        }
        let done = Progress {
            lines: self.done.lines + lines.len(),
        };
        let expected = self
            .revision
            .map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
        let progress = append.stream(self.progress.clone(), expected)?;
        append.event(progress, json_event("ImportProgress", &done)?, None)?;
        match self.client.import(&append.build()?).await {
            Err(Error::Refused(_)) => bail!("another program imports into this store"),
            imported => imported?,
        };
        self.done = done;
        self.revision = Some(self.revision.map_or(Revision::FIRST, Revision::next));
        Ok(())
    }
}

impl Line {
    fn event(&self, number: usize) -> Result<EventData> {
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("loans/{number}").as_bytes());
        let event = json_event(self.event_type.as_str(), &self.data)?.with_id(id);
        let mut event = event.with_metadata(&self.metadata)?;
        for tag in &self.tags {
            event = event.with_tag(tag.as_str())?;
        }
        Ok(event)
    }
}
