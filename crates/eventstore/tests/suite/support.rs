//! What all files share: a store with a clock that stands still, short names for events and appends,
//! and a storage that can be held up and made to fail.

use async_trait::async_trait;
use futures::{Stream, StreamExt};
use icecore_core::{
    Append, AppendBuilder, Appended, Category, Condition, Direction, Error, EventData, EventType,
    ExpectedRevision, Hash, LogEntry, Page, PageLimit, Position, Query, QueryItem, Read,
    RecordedEvent, Refusal, Result, Revision, StoreId, StreamName, SubscriptionMessage, Tag,
    Timestamp,
};
use icecore_eventstore::{Clock, EventStore, Ids, ManualClock, StoreConfig};
use icecore_storage::{
    CategoryPage, Committed, Damage, Health, IndexCheck, IndexTerm, Lease, LogPage, MemoryStorage,
    NumberedAppend, Removal, Removed, Stats, Storage, StreamNamePage, StreamTail,
};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

pub(crate) use ExpectedRevision::{Any, NoStream, SoftDeleted, StreamExists, Tombstoned};

/// When every test begins.
pub(crate) const BEGIN: Timestamp = Timestamp::from_nanos(1_700_000_000_000_000_000);
pub(crate) const SECOND: i64 = 1_000_000_000;

/// A store over a storage that can fail.
pub(crate) struct TestStore {
    pub(crate) store: EventStore,
    pub(crate) clock: ManualClock,
    pub(crate) storage: Arc<FaultyStorage>,
}

impl std::ops::Deref for TestStore {
    type Target = EventStore;

    fn deref(&self) -> &EventStore {
        &self.store
    }
}

pub(crate) async fn open() -> TestStore {
    open_with(StoreConfig::default()).await
}

pub(crate) async fn open_with(config: StoreConfig) -> TestStore {
    reopen(FaultyStorage::new(), config).await
}

/// Opens another store over the same storage, as a restart does.
pub(crate) async fn reopen(storage: Arc<FaultyStorage>, config: StoreConfig) -> TestStore {
    let (clock, manual) = Clock::manual(BEGIN);
    let first_id = 1_000_000_000 + 1_000_000 * storage.last().get();
    let shared = Arc::clone(&storage) as Arc<dyn Storage>;
    let store = EventStore::open(shared, config, clock, Ids::counting(first_id)).await;
    TestStore {
        store: store.unwrap(),
        clock: manual,
        storage,
    }
}

impl TestStore {
    /// Appends events with these ids.
    pub(crate) async fn put(
        &self,
        stream: &str,
        expected: ExpectedRevision,
        ids: &[u128],
    ) -> Result<Appended> {
        self.append(append(stream, expected, ids)).await
    }

    /// Everything, system streams too.
    pub(crate) async fn log(&self) -> Vec<RecordedEvent> {
        let mut read = Read::all();
        read.filter = icecore_core::Filter::everything();
        events(&self.store, read).await.unwrap()
    }

    /// Revisions that readers of a stream see.
    pub(crate) async fn revisions(&self, stream: &str) -> Result<Vec<u64>> {
        let events = events(&self.store, Read::stream(name(stream))).await?;
        Ok(events.iter().map(|event| event.revision.get()).collect())
    }
}

/// Everything that a read gives.
pub(crate) async fn events(store: &EventStore, read: Read) -> Result<Vec<RecordedEvent>> {
    let mut found = Vec::new();
    let mut batches = Box::pin(store.read(read));
    while let Some(batch) = batches.next().await {
        found.extend(batch?.events);
    }
    Ok(found)
}

pub(crate) fn name(stream: &str) -> StreamName {
    StreamName::new(stream.to_owned()).unwrap()
}

pub(crate) fn exact(revision: u64) -> ExpectedRevision {
    ExpectedRevision::Exact(Revision::new(revision))
}

pub(crate) fn event(id: u128) -> EventData {
    EventData::json(Uuid::from_u128(id), "T", "{}").unwrap()
}

pub(crate) fn typed(id: u128, event_type: &str, tags: &[&str]) -> EventData {
    let tags = tags.iter().map(|tag| Tag::new((*tag).to_owned()).unwrap());
    EventData {
        event_type: EventType::new(event_type.to_owned()).unwrap(),
        tags: tags.collect(),
        ..event(id)
    }
}

pub(crate) fn append(stream: &str, expected: ExpectedRevision, ids: &[u128]) -> Append {
    let events = ids.iter().map(|id| event(*id)).collect();
    Append::to_stream(name(stream), expected, events).unwrap()
}

/// An append to several streams; one without ids is only checked.
pub(crate) fn append_to(streams: &[(&str, ExpectedRevision, &[u128])]) -> AppendBuilder {
    let mut append = AppendBuilder::default();
    for (stream, expected, ids) in streams {
        let stream = append.stream(name(stream), *expected).unwrap();
        for id in *ids {
            append.event(stream, event(*id), None).unwrap();
        }
    }
    append
}

/// No event of this type (empty: any) and with these tags after the position.
pub(crate) fn condition(event_type: &str, tags: &[&str], after: u64) -> Condition {
    let types = (!event_type.is_empty()).then(|| EventType::new(event_type.to_owned()).unwrap());
    let tags = tags.iter().map(|tag| Tag::new((*tag).to_owned()).unwrap());
    let item = QueryItem {
        types: types.into_iter().collect(),
        tags: tags.collect(),
    };
    Condition {
        query: Query::new(vec![item]).unwrap(),
        after: Position::new(after),
    }
}

/// The refusal that an append got.
#[track_caller]
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T>) -> Refusal {
    match result {
        Err(Error::Refused(refusal)) => *refusal,
        other => panic!("it should be refused, but is {other:?}"),
    }
}

/// An outcome in a word or two: `ok REVISION@POSITION`, `wrong`, `deleted`, `partly`, `condition`.
pub(crate) fn outcome(result: &Result<Appended>) -> String {
    use icecore_core::ViolationKind::{PartlyWritten, StreamDeleted, WrongExpectedRevision};
    match result {
        Ok(appended) => {
            let revision = appended.streams.first().and_then(|s| s.last_revision);
            let revision = revision.map_or("-".to_owned(), |revision| revision.to_string());
            format!("ok {revision}@{}", appended.last_position)
        }
        Err(Error::Refused(refusal)) => match refusal.violations.first().map(|v| v.kind) {
            Some(WrongExpectedRevision) => "wrong".to_owned(),
            Some(StreamDeleted) => "deleted".to_owned(),
            Some(PartlyWritten) => "partly".to_owned(),
            None => "condition".to_owned(),
        },
        Err(Error::OutcomeUnknown { .. }) => "unknown".to_owned(),
        Err(Error::Unavailable { .. }) => "unavailable".to_owned(),
        Err(Error::InvalidArgument { field, .. }) => format!("invalid {field}"),
        Err(Error::StreamNotFound { .. }) => "not found".to_owned(),
        Err(Error::Exhausted { .. }) => "exhausted".to_owned(),
        Err(error) => format!("{error:?}"),
    }
}

/// What a subscription says next, in a word or two.
pub(crate) async fn next_word(
    subscription: &mut (impl Stream<Item = Result<SubscriptionMessage>> + Unpin),
) -> String {
    match subscription.next().await {
        Some(Ok(SubscriptionMessage::Confirmed { .. })) => "confirmed".to_owned(),
        Some(Ok(SubscriptionMessage::Events(events))) => {
            let revisions = events.iter().map(|event| event.revision.to_string());
            revisions.collect::<Vec<_>>().join(" ")
        }
        Some(Ok(SubscriptionMessage::Checkpoint(position))) => format!("checkpoint {position}"),
        Some(Ok(SubscriptionMessage::CaughtUp { position })) => format!("caught up {position}"),
        Some(Err(Error::StreamDeleted { .. })) => "deleted".to_owned(),
        Some(Err(Error::Unavailable { .. })) => "unavailable".to_owned(),
        Some(Err(Error::WrongStore { .. })) => "wrong store".to_owned(),
        Some(Err(Error::InvalidArgument { field, .. })) => format!("invalid {field}"),
        Some(Err(error)) => format!("{error:?}"),
        None => "end".to_owned(),
    }
}

/// Lets every task go on until it waits.
pub(crate) async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// What goes wrong with a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// All of it is written, but nobody can say so.
    UnknownPresent,
    /// Nothing of it is written, and nobody can say so.
    UnknownAbsent,
    /// So many appends of it are written, and nobody can say so.
    UnknownPart(usize),
    /// All of it is written; that is said when a second permit is there.
    Late,
    /// Somebody else leads.
    Fenced,
    /// The engine panics.
    Panic,
}

/// The in-memory engine, with commits that wait for a permit and fail as told.
pub(crate) struct FaultyStorage {
    memory: MemoryStorage,
    gate: Semaphore,
    /// Reads of the newest events wait for a permit.
    newest: Semaphore,
    faults: Mutex<VecDeque<Option<Fault>>>,
    refuses_leases: Mutex<bool>,
    full: Mutex<bool>,
    failed: Mutex<bool>,
    pub(crate) commits: Mutex<usize>,
    /// What cannot be read of the log.
    pub(crate) rotten: Mutex<Option<Damage>>,
    /// What the index is said to have wrong.
    pub(crate) rotten_index: Mutex<Option<Damage>>,
}

impl FaultyStorage {
    pub(crate) fn new() -> Arc<Self> {
        Self::with_id(7)
    }

    pub(crate) fn with_id(store_id: u128) -> Arc<Self> {
        Arc::new(Self {
            memory: MemoryStorage::new(StoreId::new(Uuid::from_u128(store_id))),
            gate: Semaphore::new(Semaphore::MAX_PERMITS / 2),
            newest: Semaphore::new(1),
            faults: Mutex::default(),
            refuses_leases: Mutex::default(),
            full: Mutex::default(),
            failed: Mutex::default(),
            commits: Mutex::default(),
            rotten: Mutex::default(),
            rotten_index: Mutex::default(),
        })
    }

    pub(crate) fn last(&self) -> Position {
        *self.memory.last_position().borrow()
    }

    /// Commits wait from now on.
    pub(crate) fn hold(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// Lets one commit go on.
    pub(crate) fn release_one(&self) {
        self.gate.add_permits(1);
    }

    /// Commits no longer wait.
    pub(crate) fn release_all(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    /// The newest events cannot be read before [`Self::release_newest`].
    pub(crate) fn hold_newest(&self) {
        self.newest.forget_permits(1);
    }

    pub(crate) fn release_newest(&self) {
        self.newest.add_permits(1);
    }

    /// What the next commits do; `None` is a good one.
    pub(crate) fn fail_next(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.faults.lock().unwrap().extend(faults);
    }

    /// Whether there is no room for new events.
    pub(crate) fn set_full(&self, full: bool) {
        *self.full.lock().unwrap() = full;
    }

    /// The engine fails in the background: no commit tells.
    pub(crate) fn fail(&self) {
        *self.failed.lock().unwrap() = true;
    }

    pub(crate) fn refuse_leases(&self) {
        *self.refuses_leases.lock().unwrap() = true;
    }
}

#[async_trait]
impl Storage for FaultyStorage {
    fn store_id(&self) -> StoreId {
        self.memory.store_id()
    }

    async fn lead(&self) -> Result<Lease> {
        if *self.refuses_leases.lock().unwrap() {
            return Err(Error::unavailable("no lease"));
        }
        self.memory.lead().await
    }

    fn admits_writes(&self) -> Result<()> {
        if *self.full.lock().unwrap() {
            return Err(Error::unavailable("the disk is full"));
        }
        Ok(())
    }

    async fn commit(
        &self,
        lease: &Lease,
        after: Position,
        mut appends: Vec<NumberedAppend>,
    ) -> Committed {
        self.gate.acquire().await.unwrap().forget();
        *self.commits.lock().unwrap() += 1;
        let fault = self.faults.lock().unwrap().pop_front().flatten();
        let unknown = Committed::Unknown(Error::internal("the disk is gone"));
        match fault {
            None => self.memory.commit(lease, after, appends).await,
            Some(Fault::UnknownPresent) => {
                self.memory.commit(lease, after, appends).await;
                unknown
            }
            Some(Fault::UnknownPart(count)) => {
                appends.truncate(count);
                self.memory.commit(lease, after, appends).await;
                unknown
            }
            Some(Fault::UnknownAbsent) => unknown,
            Some(Fault::Late) => {
                let committed = self.memory.commit(lease, after, appends).await;
                self.gate.acquire().await.unwrap().forget();
                committed
            }
            Some(Fault::Fenced) => Committed::Fenced,
            Some(Fault::Panic) => panic!("the engine panics, as the test wants it"),
        }
    }

    async fn read_all(&self, from: Position, way: Direction, limit: PageLimit) -> Result<Page> {
        if way == Direction::Backwards {
            drop(self.newest.acquire().await.unwrap());
        }
        self.memory.read_all(from, way, limit).await
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Revision,
        way: Direction,
        limit: PageLimit,
    ) -> Result<Page<Revision>> {
        self.memory.read_stream(stream, from, way, limit).await
    }

    async fn read_term(
        &self,
        term: &IndexTerm,
        from: Position,
        way: Direction,
        limit: PageLimit,
    ) -> Result<Page> {
        self.memory.read_term(term, from, way, limit).await
    }

    async fn stream_tails(&self, streams: &[StreamName]) -> Result<Vec<Option<StreamTail>>> {
        self.memory.stream_tails(streams).await
    }

    async fn stream_names(
        &self,
        prefix: &str,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<StreamNamePage> {
        self.memory.stream_names(prefix, after, limit).await
    }

    async fn categories(&self, after: Option<&Category>, limit: usize) -> Result<CategoryPage> {
        self.memory.categories(after, limit).await
    }

    async fn read_log(&self, from: Position, limit: PageLimit) -> Result<LogPage> {
        let mut page = self.memory.read_log(from, limit).await?;
        let rotten = self.rotten.lock().unwrap().clone();
        let reached = |damage: &Damage| from <= damage.last && page.next > damage.first;
        if let Some(damage) = rotten.filter(reached) {
            page.entries.retain(|entry| entry.position < damage.first);
            (page.next, page.end) = (damage.last.next(), false);
            page.damage = Some(damage);
        }
        Ok(page)
    }

    async fn check_index(&self, from: Position) -> Result<IndexCheck> {
        let mut check = self.memory.check_index(from).await?;
        check
            .damage
            .extend(self.rotten_index.lock().unwrap().clone());
        Ok(check)
    }

    async fn remove(&self, lease: &Lease, removals: Vec<Removal>) -> Result<Removed> {
        self.memory.remove(lease, removals).await
    }

    async fn compact(&self, lease: &Lease, first: Position, last: Position) -> Result<()> {
        self.memory.compact(lease, first, last).await
    }

    async fn restore(&self, lease: &Lease, after: Position, entries: Vec<LogEntry>) -> Committed {
        self.memory.restore(lease, after, entries).await
    }

    async fn subtree_roots(&self, from: u64) -> Result<Vec<Hash>> {
        self.memory.subtree_roots(from).await
    }

    async fn keep_roots(&self, lease: &Lease, group: u64, roots: Vec<Hash>) -> Result<()> {
        self.memory.keep_roots(lease, group, roots).await
    }

    fn last_position(&self) -> watch::Receiver<Position> {
        self.memory.last_position()
    }

    fn health(&self) -> Health {
        if *self.failed.lock().unwrap() {
            return Health::Failed("a sync failed".to_owned());
        }
        self.memory.health()
    }

    async fn stats(&self) -> Result<Stats> {
        self.memory.stats().await
    }

    async fn close(&self) -> Result<()> {
        self.memory.close().await
    }
}

/// Positions are dense, revisions are dense in each stream but for a tombstone, times never decrease,
/// and no id stands twice in a stream.
#[track_caller]
pub(crate) fn check_log(log: &[RecordedEvent]) {
    let mut next = std::collections::HashMap::new();
    let mut ids = std::collections::HashSet::new();
    let mut time = Timestamp::from_nanos(i64::MIN);
    for (event, position) in log.iter().zip(1..) {
        assert_eq!(event.position.get(), position, "positions are dense");
        let revision = next.entry(&event.stream).or_insert(Revision::FIRST);
        let is_next = event.revision == *revision;
        let is_closed = *revision > Revision::TOMBSTONE;
        assert!(!is_closed && (is_next || event.is_tombstone()), "{event:?}");
        *revision = event.revision.next();
        assert!(event.recorded_at >= time, "times never decrease");
        time = event.recorded_at;
        assert!(
            ids.insert((&event.stream, event.id)),
            "{event:?} is there twice"
        );
    }
}
