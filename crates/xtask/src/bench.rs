//! What `just bench` and `just bench-peers` measure: the release binary, from outside, through
//! `icecore bench`; with peers the same loads on them, in turn.
//!
//! Owns the order of things. What is measured stands in `rows.rs`, how a store is started and asked in
//! `contender.rs`, what becomes of the figures in `report.rs`.

mod contender;
mod estimates;
mod machine;
mod outcome;
mod report;
mod rows;
mod stored;

use anyhow::{Context, Result, ensure};
use clap::Args;
use contender::Contender;
use icecore_tests::Icecore;
use outcome::Outcome;
use report::Report;
use rows::{Row, Scale};
use std::path::{Path, PathBuf};

/// How often a row is measured, beside peers and alone.
const TURNS_WITH_PEERS: usize = 3;

/// What is measured, and beside whom.
#[derive(Args)]
pub(crate) struct BenchArgs {
    /// Measure `UmaDB` too, in turn; where `just bench-peers` has put its server and its driver
    #[arg(long, value_name = "DIR")]
    peers: Option<PathBuf>,
    /// All rows on small stores, a moment each: shows that they run, not how fast
    #[arg(long, conflicts_with = "growth")]
    quick: bool,
    /// Only rows whose names begin so, like `append-64,read`; `criterion` is the engine's benches
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    rows: Vec<String>,
    /// Compare ten million events with one million too, which takes long
    #[arg(long)]
    growth: bool,
}

/// Everybody who is measured, and how.
struct Race {
    contenders: Vec<Contender>,
    scale: Scale,
    turns: usize,
    rows: Vec<String>,
}

impl BenchArgs {
    /// Measures, prints the table and keeps it below the target folder.
    pub(crate) async fn run(self, binary: &Path) -> Result<()> {
        let mut contenders = vec![Contender::Icecore(Icecore::new(binary))];
        if let Some(peers) = &self.peers {
            contenders.push(Contender::umadb(peers)?);
        }
        let kind = match (self.quick, self.rows.is_empty()) {
            (true, _) => Some("quick"),
            (false, false) => Some("part"),
            (false, true) => None,
        };
        let race = Race {
            turns: if contenders.len() > 1 {
                TURNS_WITH_PEERS
            } else {
                1
            },
            scale: match (self.quick, &self.peers) {
                (true, _) => Scale::QUICK,
                (false, Some(_)) => Scale::IN_TURN,
                (false, None) => Scale::ALONE,
            },
            contenders,
            rows: self.rows,
        };
        let mut report = Report::begin(kind)?;
        let measured = race.measure(&mut report, self.growth, !self.quick).await;
        // What was measured before a failure took its time too.
        report.finish()?;
        measured
    }
}

impl Race {
    async fn measure(&self, report: &mut Report, growth: bool, engine: bool) -> Result<()> {
        self.fresh(report).await?;
        self.stored(report).await?;
        if growth {
            self.growth(report).await?;
        }
        if engine && self.wants("criterion") {
            report.add(estimates::measure()?);
        }
        ensure!(!report.is_empty(), "no row has such a name");
        Ok(())
    }

    /// Whether this row was asked for.
    fn wants(&self, name: &str) -> bool {
        let asked = |row: &String| name.starts_with(row.as_str());
        self.rows.is_empty() || self.rows.iter().any(asked)
    }

    /// The rows that each have an empty store to themselves.
    async fn fresh(&self, report: &mut Report) -> Result<()> {
        for row in rows::FRESH.iter().filter(|row| self.wants(row.name)) {
            let mut outcomes = Vec::new();
            for _ in 0..self.turns {
                let mut turn = Vec::new();
                for contender in &self.contenders {
                    turn.push(self.on_a_fresh_store(contender, row).await?);
                }
                outcomes.push(turn);
            }
            report.add(row.lines(row.name, &outcomes));
        }
        Ok(())
    }

    async fn on_a_fresh_store(&self, contender: &Contender, row: &Row) -> Result<Option<Outcome>> {
        let Some(load) = row.load(contender, &self.scale) else {
            return Ok(None);
        };
        let folder = tempfile::tempdir().context("make a temporary folder")?;
        let server = contender.serve(&folder.path().join("data")).await?;
        if self.scale.settles {
            server.settle().await?;
        }
        let outcome = contender.run(&server, &load).await;
        server.kill().await?;
        outcome
            .with_context(|| format!("measure {} on {}", row.name, contender.name()))
            .map(Some)
    }
}
