//! Random clients and subscribers against a store whose storage is slow and fails, and that is stopped,
//! killed and started again. What they hear is recorded and held to the log in the end, by the model.
//!
//! A failure prints its seed. `ICECORE_SIMULATION_SEED=N` runs that one alone,
//! `ICECORE_SIMULATION_SEEDS=N` runs so many. A seed gives the same choices of clients and faults, but not
//! the same order in which tasks wake, so a failure may take a few runs of its seed to come again.

mod engine;
mod medium;
mod world;

use crate::support::settle;
use fastrand::Rng;
use icecore_eventstore::StoreConfig;
use icecore_model::{Model, Outcome, Recorder, Workload, check, follow, run_client};
use medium::{Medium, Weather};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use world::{Ending, World};

/// How many seeds an ordinary run tries.
const SEEDS: u64 = 200;

/// How large a run is.
struct Size {
    clients: u64,
    steps: usize,
    streams: usize,
    followers: u64,
}

#[test]
fn whatever_fails_histories_are_as_promised() {
    let number = |name| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let seeds = match number("ICECORE_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("ICECORE_SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    let mut total = Tally::default();
    for seed in seeds {
        let run = std::panic::catch_unwind(AssertUnwindSafe(|| {
            paused_runtime().block_on(simulate(seed))
        }));
        let Ok(tally) = run else {
            panic!("seed {seed}: set ICECORE_SIMULATION_SEED={seed} to see it alone");
        };
        total.add(&tally);
    }
    println!("{total:?}");
    // A run in which nothing happens shows nothing.
    if total.runs >= SEEDS {
        let Tally {
            faults, restarts, ..
        } = total;
        assert!(faults > total.runs && restarts > total.runs, "{total:?}");
        assert!(total.appended > 20 * total.runs, "{total:?}");
        assert!(total.refused > 5 * total.runs, "{total:?}");
        assert!(total.unknown > total.runs, "{total:?}");
    }
}

#[test]
fn histories_of_several_threads_are_as_promised() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build();
    let runtime = runtime.expect("a runtime can be had");
    for seed in 0..20 {
        let weather = Weather {
            slowness: Duration::from_millis(1),
            ..Weather::CALM
        };
        let medium = Medium::new(seed, weather);
        let world = World::new(Arc::clone(&medium), config(&mut Rng::with_seed(seed)));
        let size = Size {
            clients: 6,
            steps: 40,
            streams: 4,
            followers: 4,
        };
        let tally = runtime.block_on(run(seed, &medium, &world, &size));
        assert!(tally.appended > 20, "seed {seed}: {tally:?}");
    }
}

/// A runtime of one thread whose time stands still unless everybody waits.
fn paused_runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let built = builder.enable_time().start_paused(true).build();
    built.expect("a runtime can be had")
}

/// What has happened, in numbers.
#[derive(Debug, Default)]
struct Tally {
    runs: u64,
    events: u64,
    appended: u64,
    refused: u64,
    unknown: u64,
    connections: u64,
    faults: u64,
    restarts: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.runs += 1;
        self.events += other.events;
        self.appended += other.appended;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.connections += other.connections;
        self.faults += other.faults;
        self.restarts += other.restarts;
    }
}

async fn simulate(seed: u64) -> Tally {
    let mut random = Rng::with_seed(seed);
    let weather = Weather {
        bad_commits: [0, 5, 12, 30][random.usize(0..4)],
        bad_reads: [0, 0, 40, 150][random.usize(0..4)],
        slowness: Duration::from_millis([0, 1, 8][random.usize(0..3)]),
    };
    let medium = Medium::new(seed, weather);
    let world = World::new(Arc::clone(&medium), config(&mut random));
    let size = Size {
        clients: random.u64(2..6),
        steps: 40,
        streams: random.usize(1..7),
        followers: 4,
    };
    let limit = Duration::from_secs(3_600);
    let run = tokio::time::timeout(limit, run(seed, &medium, &world, &size));
    run.await.expect("nobody waits for ever")
}

fn config(random: &mut Rng) -> StoreConfig {
    let mut pick = |choices: &[usize]| choices[random.usize(0..choices.len())];
    StoreConfig {
        ring_bytes: pick(&[0, 600, 3_000, 1 << 20]),
        stream_states: pick(&[1, 4, 1_000]),
        group_appends: pick(&[1, 3, 1_000]),
        group_bytes: pick(&[1, 1 << 20]),
        queue_appends: pick(&[1, 100]),
        checkpoint_events: pick(&[1, 7, 1_000]) as u64,
        ..StoreConfig::default()
    }
}

/// Lets clients, followers and the one who restarts the store go at it, then checks what they heard.
async fn run(seed: u64, medium: &Arc<Medium>, world: &World, size: &Size) -> Tally {
    world.start().await;
    let recorder = Recorder::default();
    let followers: Vec<_> = (0..size.followers)
        .map(|number| Follower::start(seed, number, world, size.streams, &recorder))
        .collect();
    let clients: Vec<_> = (0..size.clients)
        .map(|client| {
            let workload = Workload::new(seed, client, size.streams);
            let workload = workload.with_checks_of_what_it_writes();
            let client = run_client(world.clone(), workload, size.steps, recorder.clone());
            tokio::spawn(client)
        })
        .collect();
    let keeper = tokio::spawn(keep(world.clone(), Rng::with_seed(!seed)));
    for client in clients {
        client.await.expect("a client does not panic");
    }
    medium.set_weather(Weather::CALM);
    keeper.abort();
    drop(keeper.await);
    world.end(Ending::Stopped).await;
    world.start().await;
    let complaints = medium.complaints();
    assert!(complaints.is_empty(), "{complaints:?}");
    let log = medium.log().await;
    let model = Model::of(&log);
    for follower in followers {
        follower.finish(&model).await;
    }
    let history = recorder.history();
    let violations = check(&history, &log);
    assert!(
        violations.is_empty(),
        "seed {seed}:\n{}",
        all_of(&violations)
    );
    let count = |is: fn(&Outcome) -> bool| {
        let outcomes = history.writes.iter().map(|write| &write.outcome);
        outcomes.filter(|outcome| is(outcome)).count() as u64
    };
    Tally {
        runs: 1,
        events: log.len() as u64,
        appended: count(|outcome| matches!(outcome, Outcome::Appended(_))),
        refused: count(|outcome| matches!(outcome, Outcome::Refused(_))),
        unknown: count(|outcome| matches!(outcome, Outcome::Unknown)),
        connections: history.connections.len() as u64,
        faults: medium.faults.load(Ordering::Relaxed).into(),
        restarts: world.starts() - 1,
    }
}

fn all_of(violations: &[icecore_model::Violation]) -> String {
    let lines = violations.iter().map(ToString::to_string);
    lines.collect::<Vec<_>>().join("\n")
}

/// Sets the clock, and starts the store again when it has failed, and now and then when it has not.
async fn keep(world: World, mut random: Rng) {
    let is_unrest = random.bool();
    loop {
        tokio::time::sleep(Duration::from_millis(random.u64(1..20))).await;
        world.set_clock(&mut random);
        let ending = match random.u32(0..6) {
            _ if !world.is_well() => Ending::Killed,
            0 if is_unrest => Ending::Stopped,
            1 if is_unrest => Ending::Killed,
            _ => continue,
        };
        world.end(ending).await;
        world.start().await;
    }
}

/// Somebody who follows, and how far he is.
struct Follower {
    request: icecore_core::Subscribe,
    place: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Follower {
    fn start(seed: u64, number: u64, world: &World, streams: usize, recorder: &Recorder) -> Self {
        let random = Rng::with_seed(seed ^ (number + 1) << 32);
        let mut workload = Workload::new(seed, 1_000 + number, streams);
        let request = match number {
            0 => {
                let mut all = icecore_core::Subscribe::all();
                all.filter = icecore_core::Filter::everything();
                all
            }
            _ => workload.subscribe(),
        };
        let place = Arc::new(AtomicU64::new(0));
        let (world, recorder) = (world.clone(), recorder.clone());
        let task = {
            let (request, place) = (request.clone(), Arc::clone(&place));
            tokio::spawn(async move { follow(world, request, random, recorder, &place).await })
        };
        Self {
            request,
            place,
            task,
        }
    }

    /// Waits until the follower has what it has to get.
    async fn finish(self, model: &Model) {
        let last = model.last_delivered(&self.request);
        while self.place.load(Ordering::SeqCst) < last && !self.task.is_finished() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        settle().await;
        self.task.abort();
        if let Err(error) = self.task.await {
            assert!(error.is_cancelled(), "a follower does not panic: {error}");
        }
    }
}
