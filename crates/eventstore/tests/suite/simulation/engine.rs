//! The engine of a simulated store over what survives it: slow, failing and mortal, as the random numbers
//! of the medium say.

use crate::simulation::medium::Medium;
use async_trait::async_trait;
use icecore_core::{
    Category, Direction, Error, Hash, LogEntry, Page, PageLimit, Position, Result, Revision,
    StoreId, StreamName,
};
use icecore_storage::{
    CategoryPage, Committed, Health, IndexCheck, IndexTerm, Lease, LogPage, MemoryStorage,
    NumberedAppend, Removal, Removed, Stats, Storage, StreamNamePage, StreamTail,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// An engine over the medium, until it is killed.
pub(crate) struct Incarnation {
    medium: Arc<Medium>,
    is_dead: watch::Sender<bool>,
    commits: AtomicBool,
}

impl Incarnation {
    pub(crate) fn new(medium: &Arc<Medium>) -> Arc<Self> {
        Arc::new(Self {
            medium: Arc::clone(medium),
            is_dead: watch::Sender::new(false),
            commits: AtomicBool::new(false),
        })
    }

    /// Nothing reaches the medium from here any more, and whoever waits waits for ever.
    pub(crate) fn kill(&self) {
        self.is_dead.send_replace(true);
    }

    /// Turns true with the death of the engine.
    pub(crate) fn death(&self) -> watch::Receiver<bool> {
        self.is_dead.subscribe()
    }

    fn is_dead(&self) -> bool {
        *self.is_dead.borrow()
    }

    /// What goes before each read: some time, and now and then an error.
    async fn read(&self) -> Result<&MemoryStorage> {
        self.medium.take_time().await;
        let bad_reads = self.medium.weather().bad_reads;
        if self.is_dead() {
            return Err(Error::unavailable("the engine is dead"));
        }
        if self.medium.happens(bad_reads) {
            return Err(match self.medium.random(2) {
                0 => Error::corrupted("as the simulation wants it"),
                _ => Error::unavailable("as the simulation wants it"),
            });
        }
        Ok(&self.medium.memory)
    }

    /// A commit that goes wrong: another writer has taken over; nobody knows whether all of it was
    /// written, or a part, or nothing; or the engine dies before it can say.
    async fn fail(
        &self,
        lease: &Lease,
        after: Position,
        appends: Vec<NumberedAppend>,
    ) -> Committed {
        let count = appends.len();
        match self.medium.random(5) {
            0 => {
                drop(self.medium.memory.lead().await);
                return Committed::Fenced;
            }
            1 => {}
            2 => drop(self.write(lease, after, appends, count).await),
            3 => {
                let part = self.medium.random(u32::try_from(count).unwrap_or(u32::MAX));
                drop(self.write(lease, after, appends, part as usize).await);
            }
            _ => {
                drop(self.write(lease, after, appends, count).await);
                self.kill();
                std::future::pending::<()>().await;
            }
        }
        Committed::Unknown(Error::internal("as the simulation wants it"))
    }

    /// Writes so many of the appends, unless the engine dies before.
    async fn write(
        &self,
        lease: &Lease,
        after: Position,
        mut appends: Vec<NumberedAppend>,
        count: usize,
    ) -> Committed {
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
        appends.truncate(count);
        let committed = self
            .medium
            .memory
            .commit(lease, after, appends.clone())
            .await;
        if matches!(committed, Committed::Done) {
            self.medium.keep(&appends);
        }
        committed
    }
}

#[async_trait]
impl Storage for Incarnation {
    fn store_id(&self) -> StoreId {
        self.medium.memory.store_id()
    }

    async fn lead(&self) -> Result<Lease> {
        self.read().await?.lead().await
    }

    async fn commit(
        &self,
        lease: &Lease,
        after: Position,
        appends: Vec<NumberedAppend>,
    ) -> Committed {
        if self.commits.swap(true, Ordering::SeqCst) {
            self.medium
                .complain("a commit while another is in flight".to_owned());
        }
        self.medium.inspect(after, &appends);
        self.medium.take_time().await;
        let bad_commits = self.medium.weather().bad_commits;
        let committed = if self.medium.happens(bad_commits) {
            self.fail(lease, after, appends).await
        } else {
            let count = appends.len();
            self.write(lease, after, appends, count).await
        };
        self.commits.store(false, Ordering::SeqCst);
        self.medium.take_time().await;
        committed
    }

    async fn read_all(&self, from: Position, way: Direction, limit: PageLimit) -> Result<Page> {
        self.read().await?.read_all(from, way, limit).await
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Revision,
        way: Direction,
        limit: PageLimit,
    ) -> Result<Page<Revision>> {
        let memory = self.read().await?;
        memory.read_stream(stream, from, way, limit).await
    }

    async fn read_term(
        &self,
        term: &IndexTerm,
        from: Position,
        way: Direction,
        limit: PageLimit,
    ) -> Result<Page> {
        self.read().await?.read_term(term, from, way, limit).await
    }

    async fn stream_tails(&self, streams: &[StreamName]) -> Result<Vec<Option<StreamTail>>> {
        self.read().await?.stream_tails(streams).await
    }

    async fn stream_names(
        &self,
        prefix: &str,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<StreamNamePage> {
        let memory = self.read().await?;
        memory.stream_names(prefix, after, limit).await
    }

    async fn categories(&self, after: Option<&Category>, limit: usize) -> Result<CategoryPage> {
        self.read().await?.categories(after, limit).await
    }

    async fn read_log(&self, from: Position, limit: PageLimit) -> Result<LogPage> {
        self.read().await?.read_log(from, limit).await
    }

    async fn check_index(&self, from: Position) -> Result<IndexCheck> {
        self.read().await?.check_index(from).await
    }

    async fn remove(&self, lease: &Lease, removals: Vec<Removal>) -> Result<Removed> {
        self.read().await?.remove(lease, removals).await
    }

    async fn compact(&self, lease: &Lease, first: Position, last: Position) -> Result<()> {
        self.read().await?.compact(lease, first, last).await
    }

    async fn restore(&self, lease: &Lease, after: Position, entries: Vec<LogEntry>) -> Committed {
        self.medium.memory.restore(lease, after, entries).await
    }

    async fn subtree_roots(&self, from: u64) -> Result<Vec<Hash>> {
        self.read().await?.subtree_roots(from).await
    }

    async fn keep_roots(&self, lease: &Lease, group: u64, roots: Vec<Hash>) -> Result<()> {
        self.read().await?.keep_roots(lease, group, roots).await
    }

    fn last_position(&self) -> watch::Receiver<Position> {
        self.medium.memory.last_position()
    }

    fn health(&self) -> Health {
        Health::Healthy
    }

    async fn stats(&self) -> Result<Stats> {
        self.medium.memory.stats().await
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
