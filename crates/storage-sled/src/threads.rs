//! The threads of an open store: one writes, one keeps the index, one syncs the watermark
//! and looks at the room on the disk.

use crate::commit::{Command, Writer};
use crate::index::Halt;
use crate::store::Store;
use crate::upkeep;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long a commit may go without the watermark being synced.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// How long the index sleeps when nobody wakes it.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The running threads of a store.
pub(crate) struct Threads {
    handles: Vec<JoinHandle<()>>,
    upkeep: Arc<Bell>,
    sync: Arc<Bell>,
}

/// Wakes a thread, also when it is not asleep yet.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    fn wait(&self, at_most: Duration) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut rung, _) = self
            .changed
            .wait_timeout_while(rung, at_most, |rung| !*rung)
            .unwrap_or_else(PoisonError::into_inner);
        *rung = false;
    }
}

impl Threads {
    /// Starts them. The writing one ends when `commands` is closed.
    pub(crate) fn start(
        store: &Arc<Store>,
        mut commands: mpsc::Receiver<Command>,
    ) -> io::Result<Self> {
        let (upkeep, sync) = (Arc::new(Bell::default()), Arc::new(Bell::default()));
        let mut threads = Self {
            handles: Vec::new(),
            upkeep: upkeep.clone(),
            sync: sync.clone(),
        };
        let (writer, bell) = (Writer::new(store.clone()), upkeep.clone());
        threads.spawn("icecore-write", move || {
            writer.run(&mut commands, &|| bell.ring());
        })?;
        let for_upkeep = store.clone();
        threads.spawn("icecore-index", move || keep_index(&for_upkeep, &upkeep))?;
        let for_sync = store.clone();
        threads.spawn("icecore-sync", move || keep_synced(&for_sync, &sync))?;
        Ok(threads)
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let handle = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(work)?;
        self.handles.push(handle);
        Ok(())
    }

    /// Ends them, when the sender of commands is gone. Blocks until what is under way is done.
    pub(crate) fn stop(self, store: &Store) {
        store.closing.store(true, SeqCst);
        self.upkeep.ring();
        self.sync.ring();
        for handle in self.handles {
            if handle.join().is_err() {
                store.fail("a thread of the store panicked");
            }
        }
    }
}

fn keep_index(store: &Store, bell: &Bell) {
    let closing = || store.closing.load(SeqCst);
    let mut first = true;
    while !closing() {
        let work = catch_unwind(AssertUnwindSafe(|| {
            if std::mem::take(&mut first) {
                upkeep::delete_orphans(store)?;
            }
            while !closing() && upkeep::step(store)? {}
            Ok::<(), Halt>(())
        }));
        match work {
            Ok(Ok(()) | Err(Halt::Stopped)) => {}
            Ok(Err(Halt::Failed(fault))) => return store.fail(&fault.0),
            Ok(Err(Halt::Damaged(run, _))) => store.index.mark_damaged(run),
            Err(_) => return store.fail("the index thread panicked"),
        }
        if !closing() {
            bell.wait(UPKEEP_INTERVAL);
        }
    }
}

fn keep_synced(store: &Store, bell: &Bell) {
    while !store.closing.load(SeqCst) {
        if let Some(space) = store.room.look() {
            store.ballast.keep(space, store.room.limit());
        }
        bell.wait(SYNC_INTERVAL);
        if store.dirty.swap(false, Relaxed) {
            sync(store);
        }
    }
}

/// Makes the watermark durable, and learns of errors that sled's own thread only logs.
pub(crate) fn sync(store: &Store) {
    if let Err(fault) = store.engine.sync() {
        store.fail(&fault.0);
    }
    if let Err(error) = store.watermark.sync() {
        store.fail(&format!("the watermark cannot be synced: {error}"));
    }
}
