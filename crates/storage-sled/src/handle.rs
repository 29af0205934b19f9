//! Handles of sled that do no harm when sled fails: closing does not panic, and nobody waits for ever.

use sled::Db;
use std::io;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often somebody looks for an error of which sled has told nobody.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// A handle of sled. Whichever goes last closes the database, and sled panics when its last sync
/// fails; that is caught here.
pub(crate) struct Handle<T>(Option<T>);

impl<T> Handle<T> {
    pub(crate) fn new(handle: T) -> Self {
        Self(Some(handle))
    }
}

impl<T> Deref for Handle<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("only dropping takes it")
    }
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        let handle = self.0.take();
        if catch_unwind(AssertUnwindSafe(|| drop(handle))).is_err() {
            tracing::error!("the database could not be closed in order");
        }
    }
}

/// A thread that wakes those whom sled has forgotten: when a write of its own flusher fails, it notes
/// the error, but whoever waits in `flush()` for that write sleeps on. The next one who asks for a
/// flush gets the error at once and wakes them.
pub(crate) struct Alarm {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Alarm {
    /// Watches over a database, which was opened with these settings.
    pub(crate) fn start(db: Db, config: sled::Config) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let db = Handle::new(db);
        let thread = std::thread::Builder::new()
            .name("icecore-alarm".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(LOOK_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    // Without an error a flush would wait as well.
                    if config.global_error().is_err() {
                        let _ = catch_unwind(AssertUnwindSafe(|| db.flush()));
                    }
                }
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.stop.take();
        // It catches its panics.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
