//! The simulator of power cuts: records the engine at work, cuts at random places, and lets the engine
//! open what a disk may hold then, go on, and be cut a second time.

use super::history::{self, Promised};
use super::image::{Cut, Image, Loss};
use super::parallel;
use super::process::{Outcome, recorded, unrecorded};
use super::recording::Recording;
use super::work::Work;
use anyhow::{Context, Result, ensure};
use clap::Args;
use icecore_storage::contract::generate::Random;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use tempfile::TempDir;

/// Where sled keeps everything, below a data directory.
const DATABASE: &str = "sled/db";

/// sled's log must be synced before this much of it waits: near a whole segment a cut destroys what was
/// acknowledged long ago.
const WINDOW_BYTES_MAX: usize = 4 * 1_024 * 1_024;

/// Groups that are written after the first cut, each time the store is opened.
const GROUPS_AFTER_CUT: usize = 5;

/// How power is cut.
///
/// Each seed gives one recording, each trial two images: one of the recording, and one of what the
/// engine does with the first.
#[derive(Args, Debug)]
pub(crate) struct PowerCut {
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds, each with a recording of its own
    #[arg(long, default_value_t = 10)]
    seeds: u64,
    /// How many trials with each recording
    #[arg(long, default_value_t = 25)]
    trials: u64,
    /// Only this trial
    #[arg(long)]
    trial: Option<u64>,
    /// Ignore the syncs of the database: must show losses, or the simulator is broken
    #[arg(long)]
    control: bool,
    /// How many at the same time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

/// What has been found so far.
#[derive(Debug, Default)]
struct Findings {
    images: u64,
    bad: u64,
    largest_window: usize,
    /// Steps and bytes of the recordings.
    steps: usize,
}

impl PowerCut {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let findings = Mutex::new(Findings::default());
        let seeds: Vec<_> = (self.seed..self.seed + self.seeds).collect();
        parallel::for_each(self.jobs, &seeds, |seed| {
            self.try_seed(*seed, &findings)
                .with_context(|| format!("seed {seed}"))
        })?;
        let findings = findings
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(self.conclude(&findings))
    }

    fn conclude(&self, findings: &Findings) -> ExitCode {
        let Findings {
            images,
            bad,
            largest_window,
            steps,
        } = findings;
        println!(
            "{images} images of {} recordings with {steps} steps: {bad} bad; at most {} KiB of \
             sled's log between two syncs",
            self.seeds,
            largest_window / 1_024
        );
        let broken = self.control && *bad == 0;
        if broken {
            println!("nothing was lost although no sync counted: the simulator is broken");
        }
        let too_much = *largest_window >= WINDOW_BYTES_MAX;
        if too_much {
            println!(
                "that is too much: the limit is {} KiB",
                WINDOW_BYTES_MAX / 1_024
            );
        }
        if broken || too_much || (*bad > 0 && !self.control) {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }

    fn try_seed(&self, seed: u64, findings: &Mutex<Findings>) -> Result<()> {
        let lock = || findings.lock().unwrap_or_else(PoisonError::into_inner);
        let place = TempDir::new().context("create a directory")?;
        let place = place.path().canonicalize().context("find a directory")?;
        let store = place.join("store");
        std::fs::create_dir(&store).context("create a directory")?;
        let work = Work {
            directory: store,
            seed,
            promised: Promised::default(),
            groups: history::groups(seed) / 2,
            rounds: 2,
            traced: true,
        };
        let (outcome, whole) = recorded(&work, None)?;
        ensure!(outcome.is_done(), "without any cut: {}", outcome.describe());
        let window = whole.recording.largest_window(Path::new(DATABASE));
        println!(
            "seed {seed}: {} steps, at most {} KiB between two syncs",
            whole.recording.steps.len(),
            window / 1_024
        );
        {
            let mut findings = lock();
            findings.largest_window = findings.largest_window.max(window);
            findings.steps += whole.recording.steps.len();
        }
        let trials = self.trial.map_or(0..self.trials, |trial| trial..trial + 1);
        for number in trials {
            let trial = Trial {
                seed,
                number,
                control: self.control,
                place: &place,
            };
            let report = trial.run(&whole.recording)?;
            let mut findings = lock();
            findings.images += report.images;
            findings.bad += u64::from(report.bad);
            findings.largest_window = findings.largest_window.max(report.window);
        }
        Ok(())
    }
}

/// One cut, and one more of what follows it.
struct Trial<'a> {
    seed: u64,
    number: u64,
    control: bool,
    place: &'a Path,
}

/// What a trial has shown.
#[derive(Default)]
struct Report {
    images: u64,
    bad: bool,
    window: usize,
}

impl Trial<'_> {
    fn run(&self, recording: &Recording) -> Result<Report> {
        let mut random = Random::new(self.seed.wrapping_mul(1_000_003).wrapping_add(self.number));
        let (first, promised) = self.cut(recording, 0, &mut random);
        let directory = self.place.join("first");
        let mut work = Work {
            directory: directory.clone(),
            seed: self.seed,
            promised,
            groups: GROUPS_AFTER_CUT,
            rounds: 2,
            traced: true,
        };
        let mut report = Report::default();
        first.write_to(&directory)?;
        report.images += 1;
        if self.control {
            work.groups = 0;
            work.rounds = 1;
            work.traced = false;
            let outcome = unrecorded(&work)?;
            report.bad = !outcome.is_done();
            std::fs::remove_dir_all(&directory).context("remove an image")?;
            return Ok(report);
        }
        let (outcome, second) = recorded(&work, None)?;
        std::fs::remove_dir_all(&directory).context("remove an image")?;
        report.window = second.recording.largest_window(Path::new(DATABASE));
        if !outcome.is_done() {
            report.bad = true;
            self.complain("first", &first, &work, &outcome)?;
            return Ok(report);
        }
        let (second, later) = self.cut(&second.recording, 1, &mut random);
        work.promised = later.and(promised);
        work.groups = 0;
        work.rounds = 1;
        work.traced = false;
        second.write_to(&directory)?;
        report.images += 1;
        let outcome = unrecorded(&work)?;
        std::fs::remove_dir_all(&directory).context("remove an image")?;
        if !outcome.is_done() {
            report.bad = true;
            self.complain("second", &second, &work, &outcome)?;
        }
        Ok(report)
    }

    /// Cuts power somewhere in a recording; also says what had been promised by then.
    fn cut(&self, recording: &Recording, which: u32, random: &mut Random) -> (Image, Promised) {
        let losses = Loss::ALL.len() as u64;
        let loss = self.number / losses.pow(which) % losses;
        let cut = Cut {
            at: random.below(recording.steps.len() + 1),
            loss: Loss::ALL[usize::try_from(loss).unwrap_or(0)],
            unsynced: self.control.then_some(Path::new(DATABASE)),
        };
        let promised = recording.promised(cut.at);
        (Image::after(recording, cut, random), promised)
    }

    /// Says what went wrong and keeps the image.
    fn complain(&self, which: &str, image: &Image, work: &Work, outcome: &Outcome) -> Result<()> {
        let kept: PathBuf = TempDir::new().context("create a directory")?.keep();
        image.write_to(&kept)?;
        println!(
            "BAD: the {which} cut of --seed {} --seeds 1 --trial {}, acknowledged up to {}: {}\n  \
             the image is kept in {}",
            self.seed,
            self.number,
            work.promised.acknowledged,
            outcome.describe(),
            kept.display()
        );
        Ok(())
    }
}
