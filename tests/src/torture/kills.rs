//! How often a server is killed, and what came of it.

use super::check::{Compared, Faults};
use super::life::live;
use super::subscriber::Handed;
use crate::process::{Icecore, ServerProcess};
use anyhow::{Context, Result};
use std::fmt;

/// Kills that one store goes through before it is compared and the next one begins. Every start reads
/// the whole log, so one store for all kills would take longer and longer.
const KILLS_PER_STORE: u64 = 50;

/// kill -9 under load: how often, and the seed of the moments and of what is written.
#[derive(Clone, Copy, Debug)]
pub struct Kills {
    /// How often.
    pub kills: u64,
    /// Decides what is written and when a server is killed, as far as processes can be told.
    pub seed: u64,
}

/// What stores went through, all of it as it was promised.
#[derive(Clone, Copy, Debug, Default)]
pub struct Survived {
    /// Servers that were killed.
    pub kills: u64,
    /// Stores that were compared.
    pub stores: u64,
    /// Appends that were acknowledged, all of them there once.
    pub acknowledged: u64,
    /// Appends that broke off after they were sent; most of them were sent again.
    pub unknown: u64,
    /// Appends that were given up without an answer and are there, whole.
    pub whole: u64,
    /// Appends that were given up without an answer and are not there.
    pub absent: u64,
    /// Events that were compared.
    pub events: u64,
    /// Events that subscribers were handed, each once.
    pub delivered: u64,
    /// How often subscribers connected again.
    pub reconnections: u64,
    losses: usize,
    doubles: usize,
    /// Most memory that a server took, in bytes; 0 where the system does not tell.
    pub memory: u64,
}

impl Kills {
    /// Kills servers and compares every event. Calls `told` after each store.
    ///
    /// # Errors
    ///
    /// At the first store that is not as it was promised; its data is kept.
    pub async fn run(self, icecore: &Icecore, told: impl Fn(&Survived)) -> Result<Survived> {
        let Self { kills, seed } = self;
        let mut all = Survived::default();
        while all.kills < kills {
            let directory = tempfile::tempdir().context("make a temporary directory")?;
            let kills = KILLS_PER_STORE.min(kills - all.kills);
            // Boxed, since the future holds all writers and subscribers.
            let life = Box::pin(live(icecore, directory.path(), kills, seed + all.stores));
            match life.await {
                Ok(survived) => all.add(survived),
                Err(error) => {
                    let (data, store) = (directory.keep(), all.stores);
                    let data = data.display();
                    return Err(
                        error.context(format!("seed {seed}, store {store}, kept in {data}"))
                    );
                }
            }
            told(&all);
        }
        Ok(all)
    }
}

impl Survived {
    fn add(&mut self, other: Self) {
        self.kills += other.kills;
        self.stores += 1;
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        self.whole += other.whole;
        self.absent += other.absent;
        self.events += other.events;
        self.delivered += other.delivered;
        self.reconnections += other.reconnections;
        self.losses += other.losses;
        self.doubles += other.doubles;
        self.memory = self.memory.max(other.memory);
    }

    pub(super) fn compared(&mut self, compared: Compared) {
        self.acknowledged += compared.acknowledged;
        self.whole += compared.whole;
        self.absent += compared.absent;
        self.events += compared.events;
    }

    pub(super) fn followed(&mut self, handed: &Handed) {
        self.delivered += handed.events.len() as u64;
        self.reconnections += handed.connections.saturating_sub(1);
    }

    pub(super) fn faults(&mut self, faults: &Faults) {
        self.losses += faults.lost;
        self.doubles += faults.doubled;
    }

    pub(super) fn memory(&mut self, server: &ServerProcess) {
        self.memory = self.memory.max(server.memory_max().unwrap_or_default());
    }
}

impl fmt::Display for Survived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "kills={} stores={} acknowledged_appends={} unknown_outcomes={} given_up_whole={} \
             given_up_absent={} events_compared={} events_delivered={} reconnections={} losses={} \
             doubles={} memory_max_mib={}",
            self.kills,
            self.stores,
            self.acknowledged,
            self.unknown,
            self.whole,
            self.absent,
            self.events,
            self.delivered,
            self.reconnections,
            self.losses,
            self.doubles,
            self.memory / (1_024 * 1_024),
        )
    }
}
