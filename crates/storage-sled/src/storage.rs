//! The engine as the rest of the server sees it: opening, the trait, closing.

use crate::ballast::Ballast;
use crate::commit::{Command, Seal};
use crate::config::SledConfig;
use crate::directory::{DataDirectory, Identity};
use crate::index::{Index, Listed, NameQuery};
use crate::opening::open_engine;
use crate::read::{self, Access, Miss};
use crate::safeguard::Safeguard;
use crate::space::Room;
use crate::store::{Parts, Store};
use crate::threads::{Threads, sync};
use crate::upkeep::leave_out_damaged;
use crate::{OpenError, check, compaction, recovery, removal, roots, stats};
use async_trait::async_trait;
use icecore_core::{
    Category, Direction, Error, Hash, LogEntry, Page, PageLimit, Position, Result, Revision,
    StoreId, StreamName,
};
use icecore_storage::{
    CategoryPage, Committed, Health, IndexCheck, IndexTerm, Lease, LogPage, NumberedAppend,
    Removal, Removed, Stats, Storage, StreamNamePage, StreamTail,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

/// Groups that may wait for the writing thread.
const COMMANDS_MAX: usize = 16;

/// How long closing waits for reads that are under way.
const READERS_TRIES: u32 = 200;
const READERS_WAIT: Duration = Duration::from_millis(5);

/// A store on sled, in one data directory.
///
/// Dropping it closes it, which blocks for the last syncs; [`Storage::close`] does that elsewhere and
/// tells how it went.
pub struct SledStorage {
    store_id: StoreId,
    room: Arc<Room>,
    last_position: watch::Receiver<Position>,
    open: RwLock<Option<Opened>>,
    threads: Mutex<Option<Threads>>,
}

#[derive(Clone)]
struct Opened {
    store: Arc<Store>,
    commands: mpsc::Sender<Command>,
}

impl SledStorage {
    /// Opens the store in a data directory, or makes one there if the directory is empty. Blocks: it
    /// reads what was written since the index was last kept, and all of sled's own log.
    ///
    /// # Errors
    ///
    /// Everything that keeps a store from being opened, with what to do about it.
    pub fn open(config: SledConfig) -> Result<Self, OpenError> {
        let mut config = config.clamped();
        let new = Identity {
            store_id: config.new_store_id,
            segment_bytes: config.segment_bytes,
        };
        let directory = DataDirectory::open(&config.directory, new)?;
        config.segment_bytes = directory.identity().segment_bytes;
        let _held = directory.hold();
        let guard = Safeguard::take(&directory)?;
        let opened = Self::open_held(config.clamped(), directory);
        if opened.is_ok() {
            guard.release()?;
        } else {
            guard.put_back()?;
        }
        opened
    }

    /// Opens what this process holds.
    fn open_held(config: SledConfig, directory: DataDirectory) -> Result<Self, OpenError> {
        let identity = directory.identity();
        let room = Arc::new(Room::new(directory.path().to_owned(), &config));
        let ballast = Ballast::new(directory.ballast(), config.ballast_bytes);
        if let Some(space) = room.look() {
            ballast.make_room(space)?;
        }
        let (watermark, acknowledged) = directory.watermark()?;
        let engine = open_engine(&directory, &config)?;
        let fault = |fault: crate::engine::Fault| OpenError::Engine {
            path: directory.sled(),
            reason: fault.to_string(),
        };
        let next_run = recovery::next_run_id(&engine).map_err(fault)?;
        let index = Index::new(config.run_events, config.run_bytes, next_run);
        let parts = Parts {
            engine,
            index,
            watermark,
            config,
            directory,
            room: room.clone(),
            ballast,
        };
        let store = Arc::new(Store::new(parts));
        recovery::recover(&store, acknowledged)?;
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let threads = Threads::start(&store, receiver).map_err(|error| {
            // Those that did start end by themselves.
            store.closing.store(true, SeqCst);
            OpenError::io("start threads for", store.directory.path())(error)
        })?;
        Ok(Self {
            store_id: identity.store_id,
            room,
            last_position: store.log.announced(),
            open: RwLock::new(Some(Opened { store, commands })),
            threads: Mutex::new(Some(threads)),
        })
    }

    fn opened(&self) -> Result<Opened> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.clone()
            .ok_or_else(|| Error::unavailable("the store is closed"))
    }

    /// Answers from memory, or else on a blocking thread.
    async fn scan<T: Send + 'static>(
        &self,
        read: impl Fn(&Store, Access) -> Result<T, Miss> + Send + 'static,
    ) -> Result<T> {
        let store = self.opened()?.store;
        match read(&store, Access::Memory) {
            Err(Miss::NotResident) => {}
            other => return finish(other),
        }
        let read = move |store: &Store| finish(read(store, Access::Disk));
        blocking(store, |store| &store.scans, read).await
    }

    /// Answers at once what is in memory or takes a few reads of the disk, and everything else on a
    /// blocking thread.
    async fn look_up<T: Send + 'static>(
        &self,
        read: impl Fn(&Store, Access) -> Result<T, Miss> + Send + 'static,
    ) -> Result<T> {
        let store = self.opened()?.store;
        let brief = store
            .brief_reads
            .begin(Handle::current().metrics().num_workers());
        let access = brief.as_ref().map_or(Access::Memory, |_| Access::Brief);
        match caught(|| read(&store, access)) {
            Err(Miss::NotResident) => {}
            other => return finish(other),
        }
        drop(brief);
        let read = move |store: &Store| finish(read(store, Access::Disk));
        blocking(store, |store| &store.lookups, read).await
    }

    /// As if the disk had failed.
    #[cfg(test)]
    pub(crate) fn fail(&self, reason: &str) {
        self.opened().expect("the store is open").store.fail(reason);
    }

    /// What benchmarks look into.
    #[cfg(feature = "bench")]
    pub(crate) fn store(&self) -> Arc<Store> {
        self.opened().expect("the store is open").store
    }

    /// What [`shut`] needs; nothing the second time.
    fn take(&self) -> (Option<Opened>, Option<Threads>) {
        let opened = self
            .open
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let threads = self
            .threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        (opened, threads)
    }
}

/// Ends all threads, makes what is acknowledged safe and lets go of the files. Blocks.
fn shut((opened, threads): (Option<Opened>, Option<Threads>)) -> Result<()> {
    let (Some(Opened { store, commands }), Some(threads)) = (opened, threads) else {
        return Ok(());
    };
    drop(commands);
    threads.stop(&store);
    if store.check_writable().is_ok() {
        let last_writes = leave_out_damaged(&store).and_then(|()| store.engine.write().barrier());
        if let Err(fault) = last_writes {
            store.fail(&fault.0);
        }
        sync(&store);
    }
    let outcome = store.check_writable();
    let weak = Arc::downgrade(&store);
    // sled syncs when it is dropped, and panics if that fails.
    if catch_unwind(AssertUnwindSafe(|| drop(store))).is_err() {
        tracing::error!("the database could not be closed in order");
    }
    wait_for_readers(&weak);
    outcome
}

/// Reads that are under way keep the files open for a moment.
fn wait_for_readers(store: &Weak<Store>) {
    for _ in 0..READERS_TRIES {
        if store.strong_count() == 0 {
            return;
        }
        std::thread::sleep(READERS_WAIT);
    }
    tracing::warn!("a read is still under way; it keeps the data directory locked until it ends");
}

impl Drop for SledStorage {
    fn drop(&mut self) {
        // Nobody is left to tell; the reason is in the log.
        let _ = shut(self.take());
    }
}

fn finish<T>(outcome: Result<T, Miss>) -> Result<T> {
    outcome.map_err(|miss| match miss {
        Miss::Failed(error) => error,
        Miss::NotResident => Error::internal("a read with access to the disk did not use it"),
    })
}

/// Runs work on a blocking thread.
async fn blocking<T: Send + 'static>(
    store: Arc<Store>,
    permits: fn(&Store) -> &Arc<Semaphore>,
    work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
) -> Result<T> {
    let permit = permits(&store).clone().acquire_owned().await;
    let permit = permit.map_err(|_| Error::unavailable("the store is closed"))?;
    let task = tokio::task::spawn_blocking(move || {
        // Both are let go of when the work ends, also if nobody waits for it any more.
        let _permit = permit;
        caught(|| work(&store))
    });
    task.await
        .unwrap_or_else(|_| Err(Error::unavailable("the server is shutting down")))
}

/// A panic of the database means damaged data for this call alone.
fn caught<T, E: From<Error>>(read: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(Error::corrupted("the database panicked during a read").into()))
}

#[async_trait]
impl Storage for SledStorage {
    fn store_id(&self) -> StoreId {
        self.store_id
    }

    async fn lead(&self) -> Result<Lease> {
        let opened = self.opened()?;
        let (reply, answer) = oneshot::channel();
        let gone = || Error::unavailable("the store is closed");
        opened
            .commands
            .send(Command::Lead(reply))
            .await
            .map_err(|_| gone())?;
        drop(opened);
        answer.await.map_err(|_| gone())?
    }

    fn admits_writes(&self) -> Result<()> {
        self.room.check()
    }

    async fn commit(
        &self,
        lease: &Lease,
        after: Position,
        appends: Vec<NumberedAppend>,
    ) -> Committed {
        let epoch = lease.epoch;
        self.write(|reply| Command::Commit {
            epoch,
            after,
            appends,
            reply,
        })
        .await
    }

    async fn read_all(
        &self,
        from: Position,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<Page> {
        self.scan(move |store, access| read::all(store, access, from, direction, limit))
            .await
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Revision,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<Page<Revision>> {
        let stream = stream.clone();
        self.look_up(move |store, access| {
            read::stream(store, access, &stream, from, direction, limit)
        })
        .await
    }

    async fn read_term(
        &self,
        term: &IndexTerm,
        from: Position,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<Page> {
        let term = term.clone();
        self.look_up(move |store, access| read::term(store, access, &term, from, direction, limit))
            .await
    }

    async fn stream_tails(&self, streams: &[StreamName]) -> Result<Vec<Option<StreamTail>>> {
        let streams = streams.to_vec();
        self.look_up(move |store, access| read::tails(store, access, &streams))
            .await
    }

    async fn stream_names(
        &self,
        prefix: &str,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<StreamNamePage> {
        let (prefix, after) = (prefix.to_owned(), after.cloned());
        let parse = |name| StreamName::derived(name).ok();
        let (names, end) = self
            .names(
                Listed::Streams,
                prefix,
                after.map(StreamName::into_inner),
                limit,
                parse,
            )
            .await?;
        Ok(StreamNamePage { names, end })
    }

    async fn categories(&self, after: Option<&Category>, limit: usize) -> Result<CategoryPage> {
        let after = after.cloned().map(Category::into_inner);
        let parse = |name| Category::new(name).ok();
        let (categories, end) = self
            .names(Listed::Categories, String::new(), after, limit, parse)
            .await?;
        Ok(CategoryPage { categories, end })
    }

    async fn read_log(&self, from: Position, limit: PageLimit) -> Result<LogPage> {
        let store = self.opened()?.store;
        blocking(
            store,
            |store| &store.scans,
            move |store| Ok(check::read_log(store, from, limit)),
        )
        .await
    }

    async fn check_index(&self, from: Position) -> Result<IndexCheck> {
        let store = self.opened()?.store;
        blocking(
            store,
            |store| &store.scans,
            move |store| Ok(check::check_index(store, from)),
        )
        .await
    }

    async fn remove(&self, lease: &Lease, removals: Vec<Removal>) -> Result<Removed> {
        self.seal(lease, Seal::Chunk).await?;
        let store = self.opened()?.store;
        blocking(
            store,
            |store| &store.removals,
            move |store| removal::remove(store, &removals),
        )
        .await
    }

    async fn compact(&self, lease: &Lease, first: Position, last: Position) -> Result<()> {
        self.seal(lease, Seal::Index).await?;
        let store = self.opened()?.store;
        blocking(
            store,
            |store| &store.removals,
            move |store| compaction::compact(store, first.get(), last.get()),
        )
        .await
    }

    async fn restore(&self, lease: &Lease, after: Position, entries: Vec<LogEntry>) -> Committed {
        let epoch = lease.epoch;
        self.write(|reply| Command::Restore {
            epoch,
            after,
            entries,
            reply,
        })
        .await
    }

    async fn subtree_roots(&self, from: u64) -> Result<Vec<Hash>> {
        let store = self.opened()?.store;
        blocking(
            store,
            |store| &store.lookups,
            move |store| roots::read(store, from),
        )
        .await
    }

    async fn keep_roots(&self, lease: &Lease, group: u64, roots: Vec<Hash>) -> Result<()> {
        self.seal(lease, Seal::Nothing).await?;
        let store = self.opened()?.store;
        blocking(
            store,
            |store| &store.lookups,
            move |store| roots::keep(store, group, &roots),
        )
        .await
    }

    fn last_position(&self) -> watch::Receiver<Position> {
        self.last_position.clone()
    }

    fn health(&self) -> Health {
        match self.opened() {
            Ok(opened) => opened.store.health(),
            Err(error) => Health::Failed(error.to_string()),
        }
    }

    async fn stats(&self) -> Result<Stats> {
        blocking(self.opened()?.store, |store| &store.lookups, stats::stats).await
    }

    async fn close(&self) -> Result<()> {
        let parts = self.take();
        tokio::task::spawn_blocking(move || shut(parts))
            .await
            .unwrap_or_else(|_| Err(Error::internal("the store could not be closed in order")))
    }
}

impl SledStorage {
    /// Lets the writing thread write, and waits for its answer.
    async fn write(
        &self,
        command: impl FnOnce(oneshot::Sender<Committed>) -> Command,
    ) -> Committed {
        let Ok(opened) = self.opened() else {
            return Committed::Fenced;
        };
        let (reply, answer) = oneshot::channel();
        if opened.commands.send(command(reply)).await.is_err() {
            return Committed::Unknown(Error::unavailable("the writing thread has ended"));
        }
        drop(opened);
        answer
            .await
            .unwrap_or_else(|_| Committed::Unknown(Error::internal("the writing thread ended")))
    }

    /// Checks the lease, and keeps the next commit from changing what is to be written anew.
    async fn seal(&self, lease: &Lease, what: Seal) -> Result<()> {
        let opened = self.opened()?;
        let (reply, answer) = oneshot::channel();
        let gone = || Error::unavailable("the store is closed");
        let epoch = lease.epoch;
        let command = Command::Seal { epoch, what, reply };
        opened.commands.send(command).await.map_err(|_| gone())?;
        drop(opened);
        answer.await.map_err(|_| gone())?
    }

    /// Names of one kind, and whether there are no more.
    async fn names<T: Send + 'static>(
        &self,
        listed: Listed,
        prefix: String,
        after: Option<bytestring::ByteString>,
        limit: usize,
        parse: fn(String) -> Option<T>,
    ) -> Result<(Vec<T>, bool)> {
        let store = self.opened()?.store;
        blocking(
            store,
            |store| &store.lookups,
            move |store| {
                let query = NameQuery {
                    listed,
                    prefix: &prefix,
                    after: after.as_deref(),
                    take: limit.saturating_add(1),
                };
                let found = finish(store.index.names(store.run_reader(), query))?;
                let end = found.len() <= limit;
                let damaged = || Error::corrupted("the index holds a name that is none");
                let parsed = found.into_iter().take(limit).map(|name| {
                    String::from_utf8(name)
                        .ok()
                        .and_then(parse)
                        .ok_or_else(damaged)
                });
                Ok((parsed.collect::<Result<_>>()?, end))
            },
        )
        .await
    }
}
