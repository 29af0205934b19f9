//! The store: what everybody above talks to. It starts the writer, hands out what the other modules
//! of this crate need, and stops in order.

use crate::clock::{Clock, Ids};
use crate::config::StoreConfig;
use crate::group::Groups;
use crate::keeper::keep;
use crate::lead::{Leadership, Led};
use crate::maintenance::Maintenance;
use crate::metadata::StreamMetadata;
use crate::metrics::Metrics;
use crate::request::Request;
use crate::ring::Ring;
use crate::state::{StateCache, StreamRecord};
use crate::subscription::Subscribers;
use crate::tree::Tree;
use crate::writer::Writer;
use icecore_core::{
    Direction, Error, PageLimit, Position, Result, StoreId, StoreStats, StreamName, Timestamp,
};
use icecore_storage::{Health, Lease, Storage};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

/// How often the storage is asked whether it has failed.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// An event store over a storage. Cheap to clone; all clones are the same store.
#[derive(Clone)]
pub struct EventStore {
    inner: Arc<Inner>,
}

/// A store that does not keep itself open.
pub(crate) struct WeakStore {
    inner: Weak<Inner>,
}

impl WeakStore {
    /// The store, while somebody else has it.
    pub(crate) fn upgrade(&self) -> Option<EventStore> {
        let inner = self.inner.upgrade()?;
        Some(EventStore { inner })
    }
}

struct Inner {
    storage: Arc<dyn Storage>,
    last_position: watch::Receiver<Position>,
    ring: Arc<Ring>,
    states: Arc<Mutex<StateCache>>,
    config: StoreConfig,
    metrics: Arc<Metrics>,
    clock: Clock,
    ids: Ids,
    requests: mpsc::Sender<Request>,
    admission: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
    leads: watch::Receiver<u64>,
    lease: watch::Receiver<Arc<Lease>>,
    maintenance: Maintenance,
    tree: AsyncMutex<Tree>,
    groups: Groups,
    failed: watch::Receiver<Option<Error>>,
    subscribers: Arc<Subscribers>,
    /// `None` when the store is closed.
    writer: AsyncMutex<Option<JoinHandle<()>>>,
}

impl EventStore {
    /// Becomes the writer of this storage and starts to take appends. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// What the storage says when it gives no lease or cannot be read.
    pub async fn open(
        storage: Arc<dyn Storage>,
        config: StoreConfig,
        clock: Clock,
        ids: Ids,
    ) -> Result<Self> {
        let leadership = Leadership::new(Arc::clone(&storage), clock.clone(), ids.clone(), &config);
        let Led {
            lease,
            last,
            ledger,
        } = leadership.lead().await?;
        let ring = Arc::new(Ring::new(config.ring_bytes, last));
        let metrics = Arc::new(Metrics::default());
        let (requests, waiting) = mpsc::channel(config.queue_appends.max(1));
        let (stopping, stop) = watch::channel(false);
        let (led, leads) = watch::channel(0);
        let (give_up, failed) = watch::channel(None);
        let states = Arc::clone(&leadership.states);
        let (lease, leases) = watch::channel(Arc::new(lease));
        let writer = Writer {
            leadership,
            lease,
            ring: Arc::clone(&ring),
            config: config.clone(),
            metrics: Arc::clone(&metrics),
            requests: waiting,
            stopping: stop,
            leads: led,
            failed: give_up,
        };
        let inner = Inner {
            last_position: ring.last_position(),
            storage,
            ring,
            states,
            admission: Arc::new(Semaphore::new(config.in_flight_bytes())),
            turns: Arc::new(Semaphore::new(config.queue_bytes)),
            subscribers: Arc::new(Subscribers::new(
                config.subscriptions_max,
                metrics.subscriptions.clone(),
            )),
            config,
            metrics,
            clock,
            ids,
            requests,
            stopping,
            leads,
            lease: leases,
            maintenance: Maintenance::default(),
            tree: AsyncMutex::default(),
            groups: Groups::default(),
            failed,
            writer: AsyncMutex::new(Some(tokio::spawn(writer.run(ledger)))),
        };
        let store = Self {
            inner: Arc::new(inner),
        };
        store.resume_maintenance().await;
        tokio::spawn(keep(store.downgrade(), store.watch_stopping()));
        Ok(store)
    }

    /// Stops in order: lets the groups write what they have to, takes no further append, makes durable
    /// and answers what was taken, ends the subscriptions with `Unavailable`. Reads go on until [`Self::close`].
    pub async fn stop(&self) -> Result<()> {
        self.stop_groups().await;
        self.inner.stopping.send_replace(true);
        let mut writer = self.inner.writer.lock().await;
        match writer.as_mut() {
            Some(task) if !task.is_finished() => task
                .await
                .map_err(|error| Error::internal_from("the writer broke off", error)),
            _ => Ok(()),
        }
    }

    /// Stops and closes the storage. A second call waits for the first and does nothing more; when
    /// the first was dropped, it goes on where that one was.
    pub async fn close(&self) -> Result<()> {
        self.stop().await?;
        let mut writer = self.inner.writer.lock().await;
        if writer.is_some() {
            self.inner.storage.close().await?;
            *writer = None;
        }
        Ok(())
    }

    /// Which history of events this is.
    pub fn store_id(&self) -> StoreId {
        self.inner.storage.store_id()
    }

    /// The last position that readers see.
    pub fn last_position(&self) -> Position {
        *self.inner.last_position.borrow()
    }

    /// The store's counters.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// What the store tells about itself.
    pub async fn stats(&self) -> Result<StoreStats> {
        let stats = self.inner.storage.stats().await?;
        let details = stats
            .details
            .iter()
            .map(|stat| (stat.name.to_owned(), stat.value));
        Ok(StoreStats {
            store_id: self.store_id(),
            last_position: self.last_position(),
            streams: stats.streams,
            disk_bytes: stats.disk_bytes,
            subscriptions: self.inner.subscribers.count(),
            details: details.collect(),
        })
    }

    /// How far the slowest subscription is behind, in events; 0 without subscriptions.
    pub fn subscription_lag_events_max(&self) -> u64 {
        self.inner.subscribers.lag_max(self.last_position())
    }

    /// Whether the store can do its work.
    pub fn health(&self) -> Health {
        match &*self.inner.failed.borrow() {
            Some(error) => Health::Failed(error.to_string()),
            None => self.inner.storage.health(),
        }
    }

    /// Waits until the writer or the storage has given up, and says why. Then only a restart helps.
    pub async fn failed(&self) -> Error {
        tokio::select! {
            error = self.writer_failed() => error,
            error = self.storage_failed() => error,
        }
    }

    /// The writer learns of a failure only from a commit, and one that never ends tells it nothing.
    async fn storage_failed(&self) -> Error {
        loop {
            tokio::time::sleep(HEALTH_INTERVAL).await;
            let stops = *self.inner.stopping.borrow();
            match self.inner.storage.health() {
                Health::Failed(reason) if !stops => return Error::unavailable(reason),
                _ => {}
            }
        }
    }

    pub(crate) async fn writer_failed(&self) -> Error {
        let mut failed = self.inner.failed.clone();
        loop {
            if let Some(error) = failed.borrow_and_update().clone() {
                return error;
            }
            if failed.changed().await.is_err() {
                // The writer ended in order and will never fail.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Bytes of appends that may be in flight: whoever receives an append takes its size from here
    /// before reading its body, and gives it back with the answer.
    pub fn admission(&self) -> Arc<Semaphore> {
        Arc::clone(&self.inner.admission)
    }

    fn downgrade(&self) -> WeakStore {
        let inner = Arc::downgrade(&self.inner);
        WeakStore { inner }
    }

    pub(crate) fn maintenance(&self) -> &Maintenance {
        &self.inner.maintenance
    }

    pub(crate) fn groups(&self) -> &Groups {
        &self.inner.groups
    }

    pub(crate) fn tree(&self) -> &AsyncMutex<Tree> {
        &self.inner.tree
    }

    /// The right to take something out of the storage, as long as this store leads.
    pub(crate) fn lease(&self) -> Arc<Lease> {
        Arc::clone(&self.inner.lease.borrow())
    }

    /// Bytes of large appends that may stand before the writer.
    pub(crate) fn turns(&self) -> Arc<Semaphore> {
        Arc::clone(&self.inner.turns)
    }

    pub(crate) fn storage(&self) -> &dyn Storage {
        &*self.inner.storage
    }

    pub(crate) fn storage_handle(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.inner.storage)
    }

    pub(crate) fn ring(&self) -> &Ring {
        &self.inner.ring
    }

    pub(crate) fn config(&self) -> &StoreConfig {
        &self.inner.config
    }

    pub(crate) fn subscribers(&self) -> &Arc<Subscribers> {
        &self.inner.subscribers
    }

    pub(crate) fn watch_last_position(&self) -> watch::Receiver<Position> {
        self.inner.last_position.clone()
    }

    /// Changes each time the writer leads again, and nothing is true any more that it had decided
    /// and that did not become durable.
    pub(crate) fn watch_leads(&self) -> watch::Receiver<u64> {
        let mut leads = self.inner.leads.clone();
        leads.mark_unchanged();
        leads
    }

    /// Waits until the store stops: then calls that stay open have to end.
    pub async fn stopping(&self) {
        // The sender is the store's own, so the wait ends with a value.
        drop(self.watch_stopping().wait_for(|stopping| *stopping).await);
    }

    pub(crate) fn watch_stopping(&self) -> watch::Receiver<bool> {
        self.inner.stopping.subscribe()
    }

    pub(crate) fn requests(&self) -> &mpsc::Sender<Request> {
        &self.inner.requests
    }

    /// What time it is by the store's clock.
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// An id that nobody has yet.
    pub fn next_id(&self) -> uuid::Uuid {
        self.inner.ids.next()
    }

    /// Which of these streams (each the base of its record) the writer does not know.
    pub(crate) fn unknown_records(&self, bases: &[StreamName]) -> Vec<StreamName> {
        let states = self
            .inner
            .states
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        bases
            .iter()
            .filter(|base| states.get(base).is_none())
            .cloned()
            .collect()
    }

    /// The durable record of a stream and its metadata.
    pub(crate) async fn record(&self, base: &StreamName) -> Result<StreamRecord> {
        let durable = self.last_position();
        let cached = {
            let states = self
                .inner
                .states
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            states
                .get(base)
                .filter(|record| record.changed_at() <= durable)
                .cloned()
        };
        match cached {
            Some(record) => Ok(record),
            None => self.read_record(base).await,
        }
    }

    /// The durable record of a stream and its metadata, from the storage.
    pub(crate) async fn read_record(&self, base: &StreamName) -> Result<StreamRecord> {
        let metadata_stream = base.metadata_stream();
        let mut names = vec![base.clone()];
        names.extend(metadata_stream.clone());
        let tails = self.storage().stream_tails(&names).await?;
        let tail = tails.first().copied().flatten();
        let metadata_tail = tails.get(1).copied().flatten();
        let mut metadata = StreamMetadata::default();
        if let (Some(stream), Some(last)) = (metadata_stream, metadata_tail) {
            let (from, limit) = (last.last_revision, PageLimit::events(1));
            let page = self
                .storage()
                .read_stream(&stream, from, Direction::Backwards, limit)
                .await?;
            if let Some(event) = page.events.first() {
                metadata = StreamMetadata::read(&event.data);
            }
        }
        Ok(StreamRecord {
            tail,
            metadata_tail,
            metadata: Arc::new(metadata),
        })
    }
}
