//! What the store does by itself from time to time: it extends the tree over its events, and scavenges
//! when that is worth it. Slowly, since appends and reads come first.

use crate::maintenance::Act;
use crate::store::{EventStore, WeakStore};
use icecore_core::{Result, ScavengeMode, system_streams};
use icecore_storage::{ROOTS_PER_GROUP, SUBTREE_LEAVES};
use std::time::Duration;
use tokio::sync::watch;

/// How often the keeper looks.
const TICK: Duration = Duration::from_millis(500);

/// Roots that are computed in one go.
const ROOTS_PER_TICK: u64 = 64;

/// A scavenge is worth it when this many bytes of events can go ...
const WORTH_BYTES: u64 = 64 * 1_024 * 1_024;

/// ... or one event in as many.
const WORTH_SHARE: u64 = 10;

/// Works until the store stops or nobody has it any more.
pub(crate) async fn keep(store: WeakStore, mut stopping: watch::Receiver<bool>) {
    let mut scavenger = None;
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => return,
            () = tokio::time::sleep(TICK) => {}
        }
        let Some(store) = store.upgrade() else {
            return;
        };
        if let Err(error) = extend_tree(&store).await {
            tracing::debug!(%error, "the tree over all events cannot be extended");
        }
        if scavenger.is_none() {
            scavenger = Some(Scavenger::new(&store).await);
        }
        if let Some(scavenger) = scavenger.as_mut().and_then(Scavenger::due) {
            scavenger.work(&store).await;
        }
    }
}

/// Computes some roots once a whole group of them is missing.
async fn extend_tree(store: &EventStore) -> Result<()> {
    let group = ROOTS_PER_GROUP as u64;
    let whole = store.last_position().get() / SUBTREE_LEAVES / group * group;
    let mut tree = store.tree().lock().await;
    store.extend_tree(&mut tree, whole, ROOTS_PER_TICK).await
}

/// Decides when to scavenge.
struct Scavenger {
    interval: Option<Duration>,
    wait: Duration,
    since: Duration,
}

impl Scavenger {
    async fn new(store: &EventStore) -> Self {
        let interval = store.config().scavenge_interval;
        let last = store
            .last_act(system_streams::SCAVENGES)
            .await
            .ok()
            .flatten();
        let wait = match (interval, last) {
            // What was interrupted goes on soon.
            (Some(_), Some(act)) if act.is_unfinished() => Duration::ZERO,
            (Some(interval), Some(act)) => interval.saturating_sub(age(store, &act)),
            (interval, _) => interval.unwrap_or_default(),
        };
        Self {
            interval,
            wait,
            since: Duration::ZERO,
        }
    }

    fn due(&mut self) -> Option<&mut Self> {
        self.since += TICK;
        let due = self.interval.is_some() && self.since >= self.wait;
        due.then_some(self)
    }

    async fn work(&mut self, store: &EventStore) {
        self.since = Duration::ZERO;
        self.wait = self.interval.unwrap_or_default();
        match scavenge_if_worth_it(store).await {
            Ok(Some(removed)) => tracing::info!(removed, "scavenged"),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the scavenge broke off"),
        }
    }
}

fn age(store: &EventStore, act: &Act) -> Duration {
    let nanos = store.now().nanos().saturating_sub(act.recorded_at.nanos());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

async fn scavenge_if_worth_it(store: &EventStore) -> Result<Option<u64>> {
    let last = store.last_act(system_streams::SCAVENGES).await?;
    let unfinished = last.is_some_and(|act| act.is_unfinished());
    let found = store.scavenge(ScavengeMode::DryRun, |_| true).await?;
    let share = found.removable_events.saturating_mul(WORTH_SHARE) >= found.up_to.get();
    let worth = found.removable_bytes >= WORTH_BYTES || share;
    if found.removable_events == 0 || !(worth || unfinished) {
        return Ok(None);
    }
    let done = store.scavenge(ScavengeMode::Remove, |_| true).await?;
    Ok(Some(done.removed_events))
}
