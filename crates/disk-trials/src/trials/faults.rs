//! Calls of the engine that fail: a full disk, errors of the disk, reads and writes that do only half.
//!
//! Afterwards the store is opened without faults, and everything that was acknowledged is there. After
//! a failed sync it must also be there on a disk that never got what the failed sync was about.

use super::history::Promised;
use super::image::{Cut, Image, Loss};
use super::parallel;
use super::process::{Outcome, recorded, unrecorded};
use super::recorder::{Effect, Fault, Target};
use super::tracer::Exit;
use super::work::{REFUSED, Work};
use anyhow::{Context, Result, ensure};
use clap::Args;
use icecore_storage::contract::generate::Random;
use nix::errno::Errno;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use tempfile::TempDir;

/// Groups of the small workload, each of the two times that the store is opened.
const GROUPS: usize = 14;

/// Everything that goes wrong, with the name by which it is asked for.
const KINDS: [(&str, Target, Effect); 10] = [
    (
        "write-full-once",
        Target::Writes,
        Effect::Error(Errno::ENOSPC),
    ),
    (
        "write-full",
        Target::Writes,
        Effect::ErrorFromNowOn(Errno::ENOSPC),
    ),
    (
        "write-error-once",
        Target::Writes,
        Effect::Error(Errno::EIO),
    ),
    (
        "write-error",
        Target::Writes,
        Effect::ErrorFromNowOn(Errno::EIO),
    ),
    ("write-short", Target::Writes, Effect::Short),
    ("sync-error-once", Target::Syncs, Effect::Error(Errno::EIO)),
    (
        "sync-error",
        Target::Syncs,
        Effect::ErrorFromNowOn(Errno::EIO),
    ),
    (
        "sync-full-once",
        Target::Syncs,
        Effect::Error(Errno::ENOSPC),
    ),
    ("read-error-once", Target::Reads, Effect::Error(Errno::EIO)),
    ("read-short", Target::Reads, Effect::Short),
];

/// Which calls fail.
#[derive(Args, Debug)]
pub(crate) struct Faults {
    /// Decides about settings and contents; a multiple of 5 makes everything happen often
    #[arg(long, default_value_t = 5)]
    seed: u64,
    /// Try every one of so many calls: 1 tries each
    #[arg(long, default_value_t = 1)]
    every: usize,
    /// Only faults of this kind
    #[arg(long, value_parser = KINDS.map(|(name, ..)| name))]
    kind: Option<String>,
    /// Only this call
    #[arg(long)]
    nth: Option<usize>,
    /// How many at the same time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

/// What has been found so far.
#[derive(Debug, Default)]
struct Findings {
    /// By kind: faults that happened, processes that went on regardless, that refused, bad ones.
    kinds: BTreeMap<&'static str, Counts>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    faults: u64,
    unharmed: u64,
    refused: u64,
    bad: u64,
}

/// A closed store.
struct Ready {
    image: Image,
    /// Where it ends.
    promised: Promised,
}

/// One fault that is tried.
#[derive(Clone, Copy, Debug)]
struct Trial {
    kind: &'static str,
    fault: Fault,
}

impl Faults {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let place = TempDir::new().context("create a directory")?;
        let place = place.path().canonicalize().context("find a directory")?;
        let (outcome, whole) = recorded(&self.work(&place, "whole")?, None)?;
        ensure!(
            outcome.is_done(),
            "without any fault: {}",
            outcome.describe()
        );
        // What a process has written it finds in memory, so reads fail in a later one.
        let ready = Ready {
            image: Image::of(&place.join("whole"))?,
            promised: whole.recording.promised(whole.recording.steps.len()),
        };
        let (outcome, later) = recorded(&self.later(&place, "later", &ready)?, None)?;
        ensure!(outcome.is_done(), "again: {}", outcome.describe());
        let mut calls = whole.calls;
        calls.insert(
            Target::Reads,
            later.calls.get(&Target::Reads).copied().unwrap_or(0),
        );
        println!("calls that can fail: {calls:?}");
        let trials = self.trials(&calls);
        let findings = Mutex::new(Findings::default());
        parallel::for_each(self.jobs, &trials, |trial| {
            let counts = self.try_one(&place, &ready, *trial)?;
            let mut findings = findings.lock().unwrap_or_else(PoisonError::into_inner);
            findings.kinds.entry(trial.kind).or_default().add(counts);
            Ok(())
        })?;
        let findings = findings
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(findings.conclude())
    }

    fn trials(&self, calls: &HashMap<Target, usize>) -> Vec<Trial> {
        let mut trials = Vec::new();
        for (kind, target, effect) in KINDS {
            if self.kind.as_deref().is_some_and(|wanted| wanted != kind) {
                continue;
            }
            let calls = calls.get(&target).copied().unwrap_or(0);
            let calls = match self.nth {
                Some(nth) => nth..nth + 1,
                None => 0..calls,
            };
            trials.extend(calls.step_by(self.every).map(|nth| Trial {
                kind,
                fault: Fault {
                    target,
                    nth,
                    effect,
                },
            }));
        }
        trials
    }

    fn work(&self, place: &Path, name: &str) -> Result<Work> {
        let directory = place.join(name);
        std::fs::create_dir(&directory).context("create a directory")?;
        Ok(Work {
            directory,
            seed: self.seed,
            promised: Promised::default(),
            groups: GROUPS,
            rounds: 2,
            traced: true,
        })
    }

    /// The work of a process that finds a store.
    fn later(&self, place: &Path, name: &str, ready: &Ready) -> Result<Work> {
        let work = Work {
            promised: ready.promised,
            rounds: 1,
            ..self.work(place, name)?
        };
        ready.image.write_to(&work.directory)?;
        Ok(work)
    }

    fn try_one(&self, place: &Path, ready: &Ready, trial: Trial) -> Result<Counts> {
        let Trial { kind, fault } = trial;
        let name = format!("{kind}-{}", fault.nth);
        let work = match fault.target {
            Target::Reads => self.later(place, &name, ready)?,
            Target::Writes | Target::Syncs => self.work(place, &name)?,
        };
        let (outcome, seen) = recorded(&work, Some(fault))?;
        let promised = seen.recording.promised(seen.recording.steps.len());
        let mut complaints = Vec::new();
        if !outcome.is_done() && outcome.exit != Exit::Code(REFUSED) {
            complaints.push(format!("the process ended with {}", outcome.describe()));
        }
        let again = Work {
            promised: promised.and(work.promised),
            groups: 2,
            rounds: 2,
            traced: false,
            ..work.clone()
        };
        complain(&mut complaints, "opened again", &unrecorded(&again)?);
        std::fs::remove_dir_all(&work.directory).context("remove a store")?;
        if fault.target == Target::Syncs {
            let cut = Cut {
                at: seen.recording.steps.len(),
                loss: Loss::Everything,
                unsynced: None,
            };
            let image = Image::after(&seen.recording, cut, &mut Random::new(0));
            image.write_to(&work.directory)?;
            complain(&mut complaints, "after a power cut", &unrecorded(&again)?);
            std::fs::remove_dir_all(&work.directory).context("remove an image")?;
        }
        for complaint in &complaints {
            println!(
                "BAD: --seed {} --kind {kind} --nth {}, acknowledged up to {}: {complaint}",
                self.seed, fault.nth, again.promised.acknowledged
            );
        }
        Ok(Counts {
            faults: u64::from(seen.hit),
            unharmed: u64::from(seen.hit && outcome.is_done()),
            refused: u64::from(seen.hit && outcome.exit == Exit::Code(REFUSED)),
            bad: u64::from(!complaints.is_empty()),
        })
    }
}

fn complain(complaints: &mut Vec<String>, when: &str, outcome: &Outcome) {
    if !outcome.is_done() {
        complaints.push(format!("{when}: {}", outcome.describe()));
    }
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.faults += other.faults;
        self.unharmed += other.unharmed;
        self.refused += other.refused;
        self.bad += other.bad;
    }
}

impl Findings {
    fn conclude(&self) -> ExitCode {
        let mut all = Counts::default();
        for (kind, counts) in &self.kinds {
            let Counts {
                faults,
                unharmed,
                refused,
                bad,
            } = counts;
            println!(
                "{kind:18} {faults:5} faults: {unharmed} unharmed, {refused} refused, {bad} bad"
            );
            all.add(*counts);
        }
        println!("{} faults: {} bad", all.faults, all.bad);
        if all.bad > 0 || all.faults == 0 {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }
}
