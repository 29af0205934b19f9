//! How the writer begins, and begins again: it takes the lease and learns from the storage what it
//! must know before its first decision.

use crate::clock::{Clock, Ids};
use crate::config::StoreConfig;
use crate::ledger::Ledger;
use crate::state::StateCache;
use crate::window::IdWindow;
use icecore_core::{Direction, PageLimit, Position, Result, Timestamp};
use icecore_storage::{Lease, Storage};
use std::sync::{Arc, Mutex, PoisonError};

/// What it takes to become the writer.
#[derive(Clone)]
pub(crate) struct Leadership {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
    pub(crate) states: Arc<Mutex<StateCache>>,
    pub(crate) id_window_events: usize,
}

impl Leadership {
    /// Over this storage, with empty caches.
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        clock: Clock,
        ids: Ids,
        config: &StoreConfig,
    ) -> Self {
        let states = Arc::new(Mutex::new(StateCache::new(config.stream_states)));
        Self {
            storage,
            clock,
            ids,
            states,
            // The last event is always read: its time is the least that the next one may have.
            id_window_events: config.id_window_events.max(1),
        }
    }

    pub(crate) fn storage(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.storage)
    }

    /// Takes the lease and reads the newest events.
    pub(crate) async fn lead(&self) -> Result<(Lease, Ledger)> {
        let lease = self.storage.lead().await?;
        let last = *self.storage.last_position().borrow();
        self.states
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear(last);
        let (window, last_recorded_at) = self.read_newest(last).await?;
        let ledger = Ledger::new(
            self.storage.store_id(),
            self.clock.clone(),
            self.ids.clone(),
            Arc::clone(&self.states),
            window,
            (last, last_recorded_at),
        );
        Ok((lease, ledger))
    }

    /// The ids of the newest events, and when the last one was recorded.
    async fn read_newest(&self, last: Position) -> Result<(IdWindow, Timestamp)> {
        let before = Position::new(last.get().saturating_sub(self.id_window_events as u64));
        let mut window = IdWindow::new(self.id_window_events, before);
        let mut recorded_at = Timestamp::from_nanos(i64::MIN);
        let mut next = before.next();
        while next <= last {
            let page = self
                .storage
                .read_all(next, Direction::Forwards, PageLimit::MAX)
                .await?;
            for event in &page.events {
                window.add(event);
                recorded_at = event.recorded_at;
            }
            if page.end {
                break;
            }
            next = page.next;
        }
        Ok((window, recorded_at))
    }
}
