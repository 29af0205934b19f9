//! An operating system that does what a test says: disks that are full, syncs that fail, hang, or are
//! not what they seem.

use icecore_storage_sled::{Space, System};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// Which syncs, by the name of the thread that asks.
const WRITER: &str = "icecore-write";

#[derive(Debug)]
pub(crate) struct TestSystem {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    free_bytes: u64,
    sled_syncs: bool,
    /// Syncs of the writing thread.
    syncs: u64,
    writer_hangs: bool,
    others_fail: bool,
}

impl TestSystem {
    /// Everything is well, and nothing is free but what is said.
    pub(crate) fn new(free_bytes: u64) -> Arc<Self> {
        let state = State {
            free_bytes,
            sled_syncs: true,
            syncs: 0,
            writer_hangs: false,
            others_fail: false,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        })
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    pub(crate) fn set_free(&self, bytes: u64) {
        self.change(|state| state.free_bytes = bytes);
    }

    /// sled's own sync is none, so that each flush is followed by one of ours.
    pub(crate) fn leave_syncs_to_us(&self) {
        self.change(|state| state.sled_syncs = false);
    }

    /// Whether syncs of the writing thread do not end.
    pub(crate) fn hang(&self, hangs: bool) {
        self.change(|state| state.writer_hangs = hangs);
    }

    /// Syncs of the other threads fail from now on.
    pub(crate) fn fail_others(&self) {
        self.change(|state| state.others_fail = true);
    }

    /// How often the writing thread has synced.
    pub(crate) fn syncs(&self) -> u64 {
        self.state.lock().unwrap().syncs
    }
}

impl System for TestSystem {
    fn space(&self, _: &Path) -> io::Result<Space> {
        Ok(Space {
            total_bytes: 100 << 30,
            free_bytes: self.state.lock().unwrap().free_bytes,
        })
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        if thread::current().name() == Some(WRITER) {
            state = self
                .changed
                .wait_while(state, |state| state.writer_hangs)
                .unwrap();
            state.syncs += 1;
        } else if state.others_fail {
            return Err(io::Error::other("the disk is gone"));
        }
        drop(state);
        file.sync_data()
    }

    fn sled_syncs(&self) -> bool {
        self.state.lock().unwrap().sled_syncs
    }
}
