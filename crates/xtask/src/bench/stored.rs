//! Stores that are loaded first: what is read from them, the room they take, how they come back.

use super::Race;
use super::contender::{Contender, Server, bytes_of};
use super::outcome::Outcome;
use super::report::{Better, Line, Report};
use super::rows::{self, EVENTS_PER_STREAM, Row, Scale};
use anyhow::{Context, Result, ensure};
use std::time::Instant;
use tempfile::TempDir;

/// Clients that load a store.
const LOADERS: &str = "16";

/// How the events of a stream lie in the log.
#[derive(Clone, Copy)]
enum Shape {
    /// All of a stream in one append.
    Whole,
    /// Each in another append.
    Interleaved,
}

/// A contender with a store that has events.
struct Loaded<'a> {
    contender: &'a Contender,
    folder: TempDir,
    server: Server,
    events: u64,
}

impl Shape {
    /// What the names of rows end with.
    fn suffix(self) -> &'static str {
        match self {
            Self::Whole => "",
            Self::Interleaved => "-interleaved",
        }
    }
}

impl<'a> Loaded<'a> {
    async fn new(contender: &'a Contender, scale: &Scale, shape: Shape) -> Result<Self> {
        let folder = tempfile::tempdir().context("make a temporary folder")?;
        let server = contender.serve(&folder.path().join("data")).await?;
        let (events, streams) = (scale.events.to_string(), scale.streams().to_string());
        let per_append = EVENTS_PER_STREAM.to_string();
        let mut load = vec!["append", "--events", &events, "--streams", &streams];
        load.extend(["--events-per-append", &per_append, "--clients", LOADERS]);
        if let Shape::Interleaved = shape {
            load.push("--interleaved");
        }
        let load: Vec<String> = load.into_iter().map(str::to_owned).collect();
        let loaded = contender.run(&server, &load).await;
        loaded.with_context(|| format!("load {}", contender.name()))?;
        if scale.settles {
            server.settle().await?;
        }
        Ok(Self {
            contender,
            folder,
            server,
            events: scale.events,
        })
    }

    /// Nothing, where the row says nothing to this contender.
    async fn measure(&self, row: &Row, scale: &Scale) -> Result<Option<Outcome>> {
        let Some(load) = row.load(self.contender, scale) else {
            return Ok(None);
        };
        let outcome = self.contender.run(&self.server, &load).await?;
        if let Some(events) = row.events(scale) {
            ensure!(
                outcome.events == events,
                "{load:?} on {} found {} events instead of {events}",
                self.contender.name(),
                outcome.events
            );
        }
        Ok(Some(outcome))
    }

    #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
    fn bytes_per_event(&self) -> Result<f64> {
        let bytes = bytes_of(&self.folder.path().join("data")).context("measure the files")?;
        Ok(bytes as f64 / self.events as f64)
    }

    #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
    fn memory_max_mib(&self) -> Result<f64> {
        Ok(self.server.memory_max()? as f64 / (1_024.0 * 1_024.0))
    }

    /// Kills the server and starts it again, until it answers; in seconds.
    async fn start_seconds(self) -> Result<f64> {
        self.server.kill().await?;
        let since = Instant::now();
        let server = self
            .contender
            .serve(&self.folder.path().join("data"))
            .await?;
        let seconds = since.elapsed().as_secs_f64();
        server.kill().await?;
        Ok(seconds)
    }
}

impl Race {
    /// The rows on stores of the usual size, both shapes.
    pub(super) async fn stored(&self, report: &mut Report) -> Result<()> {
        for shape in [Shape::Whole, Shape::Interleaved] {
            let mut names: Vec<_> = rows::STORED.iter().map(|row| row.name).collect();
            names.extend(["disk", "memory", "start"]);
            let is_wanted = |name: &&str| self.wants(&format!("{name}{}", shape.suffix()));
            if names.iter().any(is_wanted) {
                let mut stores = Vec::new();
                for contender in &self.contenders {
                    stores.push(Loaded::new(contender, &self.scale, shape).await?);
                }
                self.on(stores, shape, report).await?;
            }
        }
        Ok(())
    }

    async fn on(&self, stores: Vec<Loaded<'_>>, shape: Shape, report: &mut Report) -> Result<()> {
        let name = |name: &str| format!("{name}{}", shape.suffix());
        let wants = |row: &str| self.wants(&name(row));
        // Before anything else is written to them.
        if wants("disk") {
            let bytes: Result<Vec<f64>> = stores.iter().map(Loaded::bytes_per_event).collect();
            let what = "bytes of all files for each event";
            report.add([lower(&name("disk"), what, "bytes", &bytes?, 450.0)]);
        }
        for row in rows::STORED.iter().filter(|row| wants(row.name)) {
            let mut turns = Vec::new();
            for _ in 0..self.turns {
                let mut turn = Vec::new();
                for store in &stores {
                    turn.push(store.measure(row, &self.scale).await?);
                }
                turns.push(turn);
            }
            report.add(row.lines(&name(row.name), &turns));
        }
        if wants("memory") {
            let memory: Result<Vec<f64>> = stores.iter().map(Loaded::memory_max_mib).collect();
            let what = "most that was resident up to here";
            report.add([lower(&name("memory"), what, "MiB", &memory?, 512.0)]);
        }
        if wants("start") {
            let seconds = starts(stores).await?;
            let what = "after kill -9, until it answers";
            report.add([lower(&name("start"), what, "s", &seconds, 0.3)]);
        }
        Ok(())
    }

    /// Ten times the events beside the usual number.
    pub(super) async fn growth(&self, report: &mut Report) -> Result<()> {
        let small = Scale {
            duration: "8s",
            ..self.scale
        };
        let large = Scale {
            events: small.events * 10,
            ..small
        };
        let (mut appends, mut reads) = (Vec::new(), Vec::new());
        let mut grown = Vec::new();
        for contender in &self.contenders {
            let store = Loaded::new(contender, &small, Shape::Whole).await?;
            let before = store.rates(&small).await?;
            drop(store);
            let store = Loaded::new(contender, &large, Shape::Whole).await?;
            let after = store.rates(&large).await?;
            appends.push(after.0 / before.0);
            reads.push(after.1 / before.1);
            grown.push(store);
        }
        let what = "rate at ten times the events, of that before";
        let ratio = |name, ratios: &[f64], target| Line {
            better: Better::Higher,
            ..lower(name, what, "ratio", ratios, target)
        };
        report.add([
            ratio("growth-append-64", &appends, 0.9),
            ratio("growth-read-16", &reads, 0.75),
        ]);
        let memory: Result<Vec<f64>> = grown.iter().map(Loaded::memory_max_mib).collect();
        let what = "most that was resident at ten times the events";
        report.add([lower("growth-memory", what, "MiB", &memory?, 1_024.0)]);
        let seconds = starts(grown).await?;
        let what = "after kill -9, at ten times the events";
        report.add([lower("growth-start", what, "s", &seconds, 3.0)]);
        Ok(())
    }
}

impl Loaded<'_> {
    /// Appends and stream reads a second, after a replay for what that takes of memory.
    async fn rates(&self, scale: &Scale) -> Result<(f64, f64)> {
        let mut rates = Vec::new();
        for name in ["replay", "read-16", "append-64"] {
            let mut rows = rows::FRESH.iter().chain(rows::STORED);
            let row = rows.find(|row| row.name == name).context("find the row")?;
            let outcome = self.measure(row, scale).await?;
            rates.push(outcome.context("measure what all have")?.calls_per_s);
        }
        Ok((rates[2], rates[1]))
    }
}

/// How long each takes to come back; in seconds.
async fn starts(stores: Vec<Loaded<'_>>) -> Result<Vec<f64>> {
    let mut seconds = Vec::new();
    for store in stores {
        seconds.push(store.start_seconds().await?);
    }
    Ok(seconds)
}

/// A line of a figure that should be low; of each contender, first ours.
fn lower(row: &str, what: &str, figure: &str, of: &[f64], target: f64) -> Line {
    Line {
        row: row.to_owned(),
        what: what.to_owned(),
        figure: figure.to_owned(),
        better: Better::Lower,
        ours: of.first().copied(),
        theirs: of.get(1).copied(),
        target: Some(target),
    }
}
