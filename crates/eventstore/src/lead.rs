//! How the writer begins, and begins again: it takes the lease and learns from the storage what it
//! must know before its first decision.

use crate::clock::{Clock, Ids};
use crate::config::StoreConfig;
use crate::ledger::Ledger;
use crate::state::StateCache;
use crate::window::IdWindow;
use futures::future::BoxFuture;
use icecore_core::{Direction, Error, Page, PageLimit, Position, RecordedEvent, Result, Timestamp};
use icecore_storage::{Lease, Storage};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::{JoinError, JoinHandle};

/// What it takes to become the writer.
#[derive(Clone)]
pub(crate) struct Leadership {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
    pub(crate) states: Arc<Mutex<StateCache>>,
    id_window_events: usize,
    id_window_bytes: usize,
    id_window_read_bytes: usize,
}

/// What the new writer has.
pub(crate) struct Led {
    pub(crate) lease: Lease,
    /// Where the store ends.
    pub(crate) last: Position,
    pub(crate) ledger: BoxFuture<'static, Result<Ledger>>,
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
            id_window_events: config.id_window_events,
            id_window_bytes: config.id_window_bytes,
            id_window_read_bytes: config.id_window_read_bytes,
        }
    }

    pub(crate) fn storage(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.storage)
    }

    /// Takes the lease. Readers are served from here on; appends wait for the ledger.
    pub(crate) async fn lead(&self) -> Result<Led> {
        let lease = self.storage.lead().await?;
        let last = *self.storage.last_position().borrow();
        self.states
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear(last);
        let ledger = Box::pin(self.clone().ledger(last));
        Ok(Led {
            lease,
            last,
            ledger,
        })
    }

    /// Reads the newest events, which the ledger needs for its first decision.
    async fn ledger(self, last: Position) -> Result<Ledger> {
        let (window, last_recorded_at) = self.read_newest(last).await?;
        Ok(Ledger::new(
            self.storage.store_id(),
            self.clock,
            self.ids,
            self.states,
            window,
            (last, last_recorded_at),
        ))
    }

    /// The ids of the newest events, and when the last one was recorded: the next one may not be
    /// older, so the last event is always read. While a page is taken in, the next one is read.
    async fn read_newest(&self, last: Position) -> Result<(IdWindow, Timestamp)> {
        let mut window = IdWindow::new(self.id_window_events, self.id_window_bytes, last);
        let mut recorded_at = Timestamp::from_nanos(i64::MIN);
        let mut bytes_left = self.id_window_read_bytes;
        let mut next = (bytes_left > 0).then(|| self.read_back(last, bytes_left));
        while let Some(page) = next.take() {
            let page = page.await.map_err(broke_off)??;
            let events = &page.events[..page.events.len().min(window.room())];
            let bytes = events.iter().map(RecordedEvent::size).sum();
            bytes_left = bytes_left.saturating_sub(bytes);
            if !page.end && bytes_left > 0 && events.len() < window.room() {
                next = Some(self.read_back(page.next, bytes_left));
            }
            for event in events {
                window.add_before(event);
                recorded_at = recorded_at.max(event.recorded_at);
            }
        }
        Ok((window, recorded_at))
    }

    /// Reads the page that ends with `from`, of at most so many bytes, in a task of its own.
    fn read_back(&self, from: Position, bytes_left: usize) -> JoinHandle<Result<Page>> {
        let storage = self.storage();
        let limit = PageLimit {
            bytes: PageLimit::MAX.bytes.min(bytes_left),
            ..PageLimit::MAX
        };
        tokio::spawn(async move { storage.read_all(from, Direction::Backwards, limit).await })
    }
}

fn broke_off(error: JoinError) -> Error {
    Error::internal_from("reading the newest events broke off", error)
}
