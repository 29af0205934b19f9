//! Bits that change by themselves, in every file of a closed store.
//!
//! Afterwards the store is opened and everything is read: all of it is equal, or what is damaged is
//! named. Never other data, never less without a word.

use super::history::{self, Promised};
use super::image::Image;
use super::parallel;
use super::process::{recorded, unrecorded};
use super::tracer::Exit;
use super::work::{REFUSED, Work};
use anyhow::{Context, Result, ensure};
use clap::Args;
use icecore_storage::contract::generate::Random;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use tempfile::TempDir;

/// Which bits change.
#[derive(Args, Debug)]
pub(crate) struct Flips {
    /// The first seed, which decides about settings and contents
    #[arg(long, default_value_t = 5)]
    seed: u64,
    /// How many seeds, each with a store of its own
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// How many bits, each in a copy of the store
    #[arg(long, default_value_t = 200)]
    trials: u64,
    /// Only this trial
    #[arg(long)]
    trial: Option<u64>,
    /// How many at the same time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

/// What came of the flips in one file.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    flips: u64,
    equal: u64,
    named: u64,
    bad: u64,
}

/// A closed store.
struct Store {
    seed: u64,
    image: Image,
    /// Where it ends.
    promised: Promised,
}

impl Flips {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let place = TempDir::new().context("create a directory")?;
        let place = place.path().canonicalize().context("find a directory")?;
        let counts: Mutex<BTreeMap<String, Counts>> = Mutex::default();
        for seed in self.seed..self.seed + self.seeds {
            let store = make(&place.join(format!("store-{seed}")), seed)?;
            let trials: Vec<_> = match self.trial {
                Some(trial) => vec![trial],
                None => (0..self.trials).collect(),
            };
            parallel::for_each(self.jobs, &trials, |trial| {
                let directory = place.join(format!("flip-{seed}-{trial}"));
                let (file, found) = try_one(&store, *trial, &directory)?;
                let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
                let known = counts.entry(file).or_default();
                known.flips += 1;
                known.equal += found.equal;
                known.named += found.named;
                known.bad += found.bad;
                Ok(())
            })?;
        }
        let counts = counts.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(conclude(&counts))
    }
}

fn conclude(counts: &BTreeMap<String, Counts>) -> ExitCode {
    let (mut flips, mut all_bad) = (0, 0);
    for (file, found) in counts {
        let Counts {
            flips: of_file,
            equal,
            named,
            bad,
        } = found;
        println!("{file:12} {of_file:5} flips: {equal} without harm, {named} named, {bad} bad");
        flips += of_file;
        all_bad += bad;
    }
    println!("{flips} flips: {all_bad} bad");
    if all_bad > 0 || flips == 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Makes a store, which is opened twice so that it has a snapshot of sled, and closes it.
fn make(directory: &Path, seed: u64) -> Result<Store> {
    std::fs::create_dir(directory).context("create a directory")?;
    let work = Work {
        directory: directory.to_owned(),
        seed,
        promised: Promised::default(),
        groups: history::groups(seed) / 2,
        rounds: 2,
        traced: true,
    };
    let (outcome, whole) = recorded(&work, None)?;
    ensure!(outcome.is_done(), "before any flip: {}", outcome.describe());
    Ok(Store {
        seed,
        image: Image::of(directory)?,
        promised: whole.recording.promised(whole.recording.steps.len()),
    })
}

/// Flips one bit of a copy. Returns in which file, and how it went.
fn try_one(store: &Store, trial: u64, directory: &Path) -> Result<(String, Counts)> {
    let mut random = Random::new(store.seed.wrapping_mul(1_000_003).wrapping_add(trial));
    let mut image = store.image.clone();
    let (path, at, bit) = choose(&image, &mut random)?;
    if let Some(byte) = image.files.get_mut(&path).and_then(|file| file.get_mut(at)) {
        *byte ^= 1 << bit;
    }
    image.write_to(directory)?;
    let outcome = unrecorded(&Work {
        directory: directory.to_owned(),
        seed: store.seed,
        promised: store.promised,
        groups: 0,
        rounds: 1,
        traced: false,
    })?;
    std::fs::remove_dir_all(directory).context("remove a store")?;
    let mut counts = Counts::default();
    if outcome.is_done() {
        counts.equal = 1;
    } else if outcome.exit == Exit::Code(REFUSED) {
        counts.named = 1;
    } else {
        counts.bad = 1;
        println!(
            "BAD: --seed {} --seeds 1 --trial {trial}, bit {bit} of byte {at} of {}: {}",
            store.seed,
            path.display(),
            outcome.describe()
        );
    }
    let name = path.to_string_lossy();
    // A snapshot is named after a place in the log.
    let name = match name.split_once("snap.") {
        Some((before, _)) => format!("{before}snap"),
        None => name.into_owned(),
    };
    Ok((name, counts))
}

/// A bit: in the database half of the time, and there not among zeros, else in any of the files.
fn choose(image: &Image, random: &mut Random) -> Result<(PathBuf, usize, usize)> {
    const TRIES: usize = 64;
    let files = image.files.iter().filter(|(_, file)| !file.is_empty());
    let files: Vec<_> = files.collect();
    ensure!(!files.is_empty(), "a store without files");
    let database = files.iter().find(|(path, _)| path.ends_with("sled/db"));
    let (path, bytes) = match database {
        Some(database) if random.below(2) == 0 => database,
        _ => &files[random.below(files.len())],
    };
    let mut at = random.below(bytes.len());
    for _ in 0..TRIES {
        if bytes[at] != 0 {
            break;
        }
        at = random.below(bytes.len());
    }
    Ok(((*path).clone(), at, random.below(8)))
}
