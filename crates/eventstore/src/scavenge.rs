//! Scavenging: events that truncation, age, count or deletion have hidden for ever are removed from
//! the storage; numbers and hashes stay.
//!
//! It looks through the log twice. The first pass says what can go; that is written to `$scavenges`
//! before anything goes, since conditions depend on it. The second pass removes, in steps, what is
//! hidden and was announced. Interrupted anywhere, it loses nothing: what is left goes the next time.
//!
//! The last event of a stream always stays, so that its revisions go on, and so does a tombstone.

use crate::maintenance::Removals;
use crate::state::base;
use crate::store::EventStore;
use crate::visibility::Visibility;
use icecore_core::{
    Error, LogEntry, PageLimit, Position, RecordedEvent, Result, Revision, ScavengeMode,
    ScavengePhase, ScavengeProgress, StreamName, StreamState, Timestamp, event_types,
    system_streams,
};
use icecore_storage::{Removal, RemovalKind};
use serde_json::json;
use std::collections::HashMap;

/// Entries of the log that are looked at in one step.
const STEP_EVENTS: usize = 1_024;

/// Streams whose visibility is remembered within a pass.
const STREAMS_MAX: usize = 65_536;

impl EventStore {
    /// Removes what is hidden, or says what it would remove. `tell` learns of the progress and may
    /// end it by answering `false`. Waits for an erasure or another scavenge that is under way.
    ///
    /// # Errors
    ///
    /// `Unavailable`, also when the store stops or `tell` ends it; `Corrupted`, naming what cannot be
    /// read.
    pub async fn scavenge(
        &self,
        mode: ScavengeMode,
        mut tell: impl FnMut(ScavengeProgress) -> bool + Send,
    ) -> Result<ScavengeProgress> {
        let _alone = self.maintenance().at_work.lock().await;
        let mut pass = Pass::new(self);
        let mut removals = self.maintenance().removals();
        pass.run(&mut tell, |event| removals.add(event)).await?;
        if mode == ScavengeMode::Remove && pass.progress.removable_events > 0 {
            self.announce_scavenge(&pass.progress, &removals).await?;
            pass.begin(ScavengePhase::Removing);
            pass.remove(&mut tell, &removals).await?;
            pass.begin(ScavengePhase::Compacting);
            if !tell(pass.progress) {
                return Err(ended());
            }
            let (lease, last) = (self.lease(), pass.progress.up_to);
            self.storage()
                .compact(&lease, Position::FIRST, last)
                .await?;
            self.complete_scavenge(&pass.progress, &removals).await?;
        }
        pass.progress.phase = ScavengePhase::Done;
        pass.progress.position = pass.progress.up_to;
        tell(pass.progress);
        Ok(pass.progress)
    }

    async fn announce_scavenge(
        &self,
        progress: &ScavengeProgress,
        removals: &Removals,
    ) -> Result<()> {
        let act = json!({
            "up_to": progress.up_to.get(),
            "events": progress.removable_events,
            "removals": removals.to_json(),
        });
        self.write_act(
            system_streams::SCAVENGES,
            event_types::SCAVENGE_STARTED,
            act,
        )
        .await?;
        self.maintenance().note(removals);
        Ok(())
    }

    async fn complete_scavenge(
        &self,
        progress: &ScavengeProgress,
        removals: &Removals,
    ) -> Result<()> {
        let act = json!({
            "up_to": progress.up_to.get(),
            "events": progress.removed_events,
            "bytes": progress.removed_bytes,
            "removals": removals.to_json(),
        });
        self.write_act(
            system_streams::SCAVENGES,
            event_types::SCAVENGE_COMPLETED,
            act,
        )
        .await?;
        Ok(())
    }
}

fn ended() -> Error {
    Error::unavailable("the scavenge was ended; what is left goes the next time")
}

/// What may go of one stream, by the metadata of this moment.
#[derive(Clone, Copy, Debug)]
struct Hidden {
    visibility: Visibility,
    all: bool,
    last: Revision,
}

impl Hidden {
    fn covers(&self, event: &RecordedEvent) -> bool {
        let stays = event.is_tombstone() || event.revision >= self.last;
        !stays && (self.all || !self.visibility.shows(event))
    }
}

/// A walk over the log.
struct Pass<'a> {
    store: &'a EventStore,
    now: Timestamp,
    streams: HashMap<StreamName, Option<Hidden>>,
    progress: ScavengeProgress,
}

impl<'a> Pass<'a> {
    fn new(store: &'a EventStore) -> Self {
        Self {
            store,
            now: store.now(),
            streams: HashMap::new(),
            progress: ScavengeProgress {
                up_to: store.last_position(),
                ..ScavengeProgress::default()
            },
        }
    }

    /// Begins the next phase; metadata is read again for it.
    fn begin(&mut self, phase: ScavengePhase) {
        self.streams.clear();
        self.progress.phase = phase;
        self.progress.position = Position::START;
    }

    /// Looks through the log and shows what is hidden.
    async fn run(
        &mut self,
        tell: &mut (impl FnMut(ScavengeProgress) -> bool + Send),
        mut hidden: impl FnMut(&RecordedEvent),
    ) -> Result<()> {
        while let Some(events) = self.step().await? {
            for event in &events {
                hidden(event);
                self.progress.removable_events += 1;
                self.progress.removable_bytes += event.size() as u64;
            }
            self.tell(tell)?;
        }
        Ok(())
    }

    /// Removes what is hidden and was announced.
    async fn remove(
        &mut self,
        tell: &mut (impl FnMut(ScavengeProgress) -> bool + Send),
        announced: &Removals,
    ) -> Result<()> {
        while let Some(events) = self.step().await? {
            let removals: Vec<_> = events
                .iter()
                .filter(|event| announced.covers(event))
                .map(|event| Removal {
                    position: event.position,
                    kind: RemovalKind::Event,
                })
                .collect();
            if !removals.is_empty() {
                let lease = self.store.lease();
                let removed = self.store.storage().remove(&lease, removals).await?;
                self.progress.removed_events += removed.positions;
                self.progress.removed_bytes += removed.bytes;
                self.store.ring().forget(self.progress.position);
            }
            self.tell(tell)?;
        }
        Ok(())
    }

    fn tell(&self, tell: &mut (impl FnMut(ScavengeProgress) -> bool + Send)) -> Result<()> {
        if *self.store.watch_stopping().borrow() || !tell(self.progress) {
            return Err(ended());
        }
        Ok(())
    }

    /// The hidden events of the next stretch; `None` at the end.
    async fn step(&mut self) -> Result<Option<Vec<RecordedEvent>>> {
        let next = self.progress.position.next();
        if next > self.progress.up_to {
            return Ok(None);
        }
        let limit = PageLimit::events(STEP_EVENTS);
        let page = self.store.storage().read_log(next, limit).await?;
        if let Some(damage) = page.damage {
            return Err(Error::corrupted(format!(
                "positions {} to {}: {}; see `icecore verify`",
                damage.first, damage.last, damage.reason
            )));
        }
        let mut hidden = Vec::new();
        for event in page.entries.iter().filter_map(LogEntry::event) {
            let in_range = event.position <= self.progress.up_to;
            if in_range && self.is_hidden(event).await? {
                hidden.push(event.clone());
            }
        }
        self.progress.position = page.next.previous().min(self.progress.up_to);
        Ok(Some(hidden))
    }

    async fn is_hidden(&mut self, event: &RecordedEvent) -> Result<bool> {
        if !self.streams.contains_key(&event.stream) {
            let hidden = self.hidden_of(&event.stream).await?;
            if self.streams.len() >= STREAMS_MAX {
                self.streams.clear();
            }
            self.streams.insert(event.stream.clone(), hidden);
        }
        let hidden = self.streams.get(&event.stream).copied().flatten();
        Ok(hidden.is_some_and(|hidden| hidden.covers(event)))
    }

    async fn hidden_of(&self, stream: &StreamName) -> Result<Option<Hidden>> {
        let record = self.store.record(&base(stream)).await?;
        let Some(tail) = record.tail_of(stream) else {
            return Ok(None);
        };
        let state = record.state_of(stream);
        let all = matches!(
            state,
            StreamState::Tombstoned | StreamState::SoftDeleted { .. }
        );
        let visibility = Visibility::of(stream, &record, self.now);
        Ok(Some(Hidden {
            visibility,
            all,
            last: tail.last_revision,
        }))
    }
}
