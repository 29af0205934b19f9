//! The process that is tried out: opens the real engine, checks what it holds, goes on writing,
//! closes it, and says on its standard output how far it got.
//!
//! ```text
//! found 17            the store ends there, and everything up to there is right
//! acknowledged 23     a commit was answered
//! removed 23          what is to go up to there is gone
//! closed
//! ```
//!
//! What a store is asked to do is [`Operation`]; a new kind of work is a further line there.

use super::check::{Finding, check};
use super::history::{self, History, Promised, end};
use super::tracer;
use anyhow::Result;
use clap::Args;
use icecore_core::{Direction, PageLimit, Position, Revision};
use icecore_storage::contract::generate::Random;
use icecore_storage::{Committed, Storage};
use icecore_storage_sled::SledStorage;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

/// The process did all of its work.
pub(crate) const DONE: i32 = 0;
/// A promise of the store is broken.
pub(crate) const WRONG: i32 = 1;
/// The store refused, and said why.
pub(crate) const REFUSED: i32 = 3;
/// It took too long.
const HUNG: i32 = 4;

/// Events that are taken away at a time.
const REMOVALS_PER_STEP: usize = 20;

/// How long the process may take. Far more than it needs.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one process does.
#[derive(Args, Clone, Debug)]
pub(crate) struct Work {
    /// Where the store is
    #[arg(long)]
    pub(crate) directory: PathBuf,
    /// Decides about settings and contents
    #[arg(long)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) promised: Promised,
    /// How many groups are written each time
    #[arg(long, default_value_t = 0)]
    pub(crate) groups: usize,
    /// How often the store is opened
    #[arg(long, default_value_t = 1)]
    pub(crate) rounds: usize,
    /// Wait for a tracer first
    #[arg(long)]
    pub(crate) traced: bool,
}

/// One thing that is done with an open store.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Append {
        appends: usize,
    },
    ReadStream,
    Scan,
    Compact,
    /// Of all that is there, what is to go.
    Remove,
}

impl Operation {
    /// Reads write in sled, so they come between the appends.
    fn any(random: &mut Random) -> Self {
        match random.below(14) {
            0 => Self::Scan,
            1 | 2 => Self::ReadStream,
            3 | 4 => Self::Compact,
            5 => Self::Remove,
            _ => Self::Append {
                appends: 1 + random.below(4),
            },
        }
    }
}

impl Work {
    /// The process that does this.
    pub(crate) fn command(&self) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("work").arg("--directory").arg(&self.directory);
        for (name, value) in [
            ("--seed", self.seed),
            ("--acknowledged", self.promised.acknowledged),
            ("--removed", self.promised.removed),
            ("--groups", self.groups as u64),
            ("--rounds", self.rounds as u64),
        ] {
            command.arg(name).arg(value.to_string());
        }
        if self.traced {
            command.arg("--traced");
        }
        Ok(command)
    }

    /// Does it in this process.
    pub(crate) fn run(&self) -> Result<ExitCode> {
        if self.traced {
            tracer::ask_for_tracer()?;
        }
        std::thread::spawn(|| {
            std::thread::sleep(PATIENCE);
            eprintln!("the store hangs");
            std::process::exit(HUNG);
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()?;
        let code = match runtime.block_on(self.rounds()) {
            Ok(()) => DONE,
            Err(Finding::Wrong(what)) => {
                eprintln!("wrong: {what}");
                WRONG
            }
            Err(Finding::Named(what)) => {
                eprintln!("refused: {what}");
                REFUSED
            }
        };
        Ok(ExitCode::from(u8::try_from(code)?))
    }

    async fn rounds(&self) -> Result<(), Finding> {
        let mut history = History::new(self.seed);
        let mut random = Random::new(self.seed ^ self.promised.acknowledged.rotate_left(32));
        let mut promised = self.promised;
        for _ in 0..self.rounds {
            let store = open(self.seed, &self.directory)?;
            let mut session = Session {
                last: check(&store, &mut history, promised).await?,
                removed: promised.removed,
                store,
                history: &mut history,
                random: &mut random,
            };
            say(&format!("found {}", session.last));
            session.write(self.groups).await?;
            promised = Promised {
                acknowledged: session.last,
                removed: session.removed,
            };
            session.store.close().await?;
            say("closed");
        }
        Ok(())
    }
}

fn open(seed: u64, directory: &Path) -> Result<SledStorage, Finding> {
    let config = history::config(seed, directory);
    SledStorage::open(config).map_err(|error| Finding::Named(error.to_string()))
}

/// An open store that is written to.
struct Session<'a> {
    store: SledStorage,
    history: &'a mut History,
    random: &'a mut Random,
    last: u64,
    removed: u64,
}

impl Session<'_> {
    async fn write(&mut self, groups: usize) -> Result<(), Finding> {
        let mut written = 0;
        while written < groups {
            match Operation::any(self.random) {
                Operation::Append { appends } => {
                    self.append(appends).await?;
                    written += 1;
                }
                Operation::ReadStream => self.read_stream().await?,
                Operation::Scan => self.scan().await?,
                Operation::Compact => self.compact().await?,
                Operation::Remove => self.remove().await?,
            }
        }
        Ok(())
    }

    async fn append(&mut self, appends: usize) -> Result<(), Finding> {
        let group = self.history.after(self.last, appends);
        let last = group.last().map_or(self.last, end);
        let lease = self.store.lead().await?;
        let after = Position::new(self.last);
        match self.store.commit(&lease, after, group).await {
            Committed::Done => {
                self.last = last;
                say(&format!("acknowledged {last}"));
                Ok(())
            }
            Committed::Unknown(error) => Err(error.into()),
            Committed::Fenced => Err(Finding::Wrong("the only writer was fenced".into())),
        }
    }

    async fn read_stream(&mut self) -> Result<(), Finding> {
        let from = Position::new(self.random.number() % (self.last + 1));
        let one = PageLimit::events(1);
        let page = self.store.read_all(from, Direction::Forwards, one).await?;
        if let Some(event) = page.events.first() {
            let (last, limit) = (Revision::new(u64::MAX), PageLimit::events(50));
            let page = self
                .store
                .read_stream(&event.stream, last, Direction::Backwards, limit);
            page.await?;
        }
        Ok(())
    }

    async fn compact(&mut self) -> Result<(), Finding> {
        let lease = self.store.lead().await?;
        let first = Position::new(1 + self.random.number() % (self.last + 1));
        let last = Position::new(self.last);
        if first <= last {
            self.store.compact(&lease, first, last).await?;
        }
        Ok(())
    }

    async fn remove(&mut self) -> Result<(), Finding> {
        let appends = self.history.up_to(self.last).unwrap_or_default();
        let removals = history::removals(appends, self.last);
        let lease = self.store.lead().await?;
        for step in removals.chunks(REMOVALS_PER_STEP) {
            self.store.remove(&lease, step.to_vec()).await?;
        }
        self.removed = self.last;
        say(&format!("removed {}", self.removed));
        Ok(())
    }

    async fn scan(&mut self) -> Result<(), Finding> {
        let mut from = Position::START;
        loop {
            let page = self
                .store
                .read_all(from, Direction::Forwards, PageLimit::events(500))
                .await?;
            if page.end {
                return Ok(());
            }
            from = page.next;
        }
    }
}

/// Tells whoever records this process. The line is written at once.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let told = writeln!(out, "{line}").and_then(|()| out.flush());
    if let Err(error) = told {
        eprintln!("nobody listens: {error}");
    }
}
