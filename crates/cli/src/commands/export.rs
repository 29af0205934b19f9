//! `icecore export`: writes what `import` reads: the visible events, or with `--system` everything.

mod hidden;

use super::connect;
use crate::args::{ConnectionArgs, FilterArgs, TargetArgs, time};
use crate::ndjson;
use crate::output::{self, Out};
use anyhow::{Context as _, Result};
use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::{Stream, TryStreamExt as _};
use hidden::Hidden;
use icecore_client::{
    Error, NameMatch, Read, ReadBatch, ReadFrom, RecordedEvent, StreamName, SystemStreams,
    Timestamp,
};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Export events to a file or a pipe, one JSON object a line, as import reads them
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  icecore export --all > events.ndjson
  icecore export --all --output events.ndjson.gz          # gzipped by its name
  icecore export --all --system --output everything.ndjson.gz
  icecore export order-1 | icecore --server http://127.0.0.1:2114 import -

Without --system it leaves out what readers do not see: events that are truncated, too old or too
many, deleted streams, and streams whose name begins with `$`. With --system it is the whole store,
metadata and deletions included. Positions and revisions are not exported; ids and times are.")]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// File to write; gzipped if its name ends in .gz [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only what had been recorded by then (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    as_of: Option<Timestamp>,
    #[command(flatten)]
    filter: FilterArgs,
}

pub(crate) async fn run(args: ExportArgs, connection: &ConnectionArgs) -> Result<()> {
    let (read, wholly) = (args.read(), args.filter.system);
    read.check().map_err(|error| args.filter.named(error))?;
    let client = connect(connection).await?;
    let hidden = match (&read.from, wholly) {
        (ReadFrom::All(_), false) => Hidden::load(&client).await?,
        // The server leaves out what is hidden in one stream.
        _ => Hidden::nothing(),
    };
    let shown = |event: &RecordedEvent| {
        if wholly {
            // How far an import has come is of no use in another store.
            !ndjson::is_import_progress(event.stream.as_str())
        } else {
            hidden.shows(event)
        }
    };
    let mut to = Destination::open(args.output.as_deref())?;
    let batches = client.read(read).batches();
    let batches = batches.map_err(|error| args.filter.named(error));
    let exported = export(batches, shown, &mut to).await;
    to.close(exported.is_ok())?;
    let (events, streams) = exported?;
    output::note(format_args!("exported: {events} events, {streams} streams"));
    Ok(())
}

async fn export(
    mut batches: impl Stream<Item = Result<ReadBatch, Error>> + Unpin,
    shown: impl Fn(&RecordedEvent) -> bool,
    to: &mut Destination,
) -> Result<(u64, usize)> {
    let (mut events, mut streams) = (0, HashSet::new());
    while let Some(batch) = batches.try_next().await? {
        for event in batch.events.iter().filter(|event| shown(event)) {
            to.write(event)?;
            events += 1;
            if !streams.contains(&event.stream) {
                streams.insert(event.stream.clone());
            }
        }
    }
    Ok((events, streams.len()))
}

impl ExportArgs {
    fn read(&self) -> Read {
        let mut read = Read {
            filter: self.filter.filter(),
            as_of: self.as_of,
            ..Read::all()
        };
        match &self.target.stream {
            // Reads of all see hidden events, those of one stream do not.
            Some(stream) if read.filter.system == SystemStreams::Include => {
                let names = [Some(stream.clone()), stream.metadata_stream()];
                let names = names.into_iter().flatten().map(StreamName::into_inner);
                read.filter.stream = Some(NameMatch::AnyOf(names.collect()));
            }
            Some(stream) => read.from = ReadFrom::Stream(stream.clone(), None),
            None => {}
        }
        read
    }
}

/// Where the lines go.
enum Destination {
    Stdout(Out),
    File(Output, PathBuf),
}

enum Output {
    Plain(BufWriter<File>),
    Gzip(GzEncoder<BufWriter<File>>),
}

impl Destination {
    /// A file gets its name when it is complete; until then it is called `.part`.
    fn open(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else {
            return Ok(Self::Stdout(Out::new()));
        };
        let part = part_of(path);
        let file = File::create(&part).with_context(|| format!("create {}", part.display()))?;
        let file = BufWriter::with_capacity(256 * 1_024, file);
        let is_gzip = path.extension().is_some_and(|extension| extension == "gz");
        let output = if is_gzip {
            Output::Gzip(GzEncoder::new(file, Compression::default()))
        } else {
            Output::Plain(file)
        };
        Ok(Self::File(output, path.to_owned()))
    }

    fn write(&mut self, event: &RecordedEvent) -> Result<()> {
        match self {
            Self::Stdout(out) => out.write(|out| ndjson::write_export(out, event)),
            Self::File(output, path) => {
                let written = match output {
                    Output::Plain(file) => ndjson::write_export(file, event),
                    Output::Gzip(gzip) => ndjson::write_export(gzip, event),
                };
                written.with_context(|| format!("write {}", path.display()))
            }
        }
    }

    fn close(self, is_complete: bool) -> Result<()> {
        match self {
            Self::Stdout(mut out) => out.flush(),
            Self::File(output, path) if is_complete => {
                let finish = || {
                    let mut file = match output {
                        Output::Plain(file) => file,
                        Output::Gzip(gzip) => gzip.finish()?,
                    };
                    file.flush()?;
                    file.get_ref().sync_all()?;
                    fs::rename(part_of(&path), &path)
                };
                finish().with_context(|| format!("write {}", path.display()))
            }
            Self::File(_, path) => {
                let part = part_of(&path);
                fs::remove_file(&part).with_context(|| format!("remove {}", part.display()))
            }
        }
    }
}

fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}
