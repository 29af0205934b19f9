//! Keeps sled's file as it is while sled opens it, where something in it is damaged.
//!
//! sled takes damage for the end of its log and clears what it cannot reach any more, so that a start
//! that fails would take away what can still be salvaged. A file without damage is not copied, and a
//! write that was cut off by a power failure is damage too: its copy is removed when everything that was
//! acknowledged is there.
//!
//! What was looked through is in memory when sled reads it. What the disk cannot read refuses the start:
//! sled would take that for the end of its log too, and an error that goes away again would cost all
//! later events.

use crate::OpenError;
use crate::directory::{DataDirectory, sync_directory};
use crate::opening::remove_snapshots;
use crate::raw;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Where the copy is, in the data directory.
const KEPT: &str = "db-before-start";
const KEPT_NEW: &str = "db-before-start.new";

/// What is copied at a time.
const COPY_BYTES: usize = 1 << 20;

/// A copy of sled's file, if one was needed.
#[derive(Debug)]
pub(crate) struct Safeguard {
    directory: PathBuf,
    sled: PathBuf,
    is_kept: bool,
}

impl Safeguard {
    /// Looks for damage before sled opens the file, and copies it if there is any. A copy that is
    /// there already is of a start that did not end; what it left is put back first.
    pub(crate) fn take(directory: &DataDirectory) -> Result<Self, OpenError> {
        let mut guard = Self {
            directory: directory.path().to_owned(),
            sled: directory.sled(),
            is_kept: false,
        };
        if guard.kept().exists() {
            guard.put_back()?;
        }
        let unfinished = guard.directory.join(KEPT_NEW);
        if unfinished.exists() {
            fs::remove_file(&unfinished).map_err(OpenError::io("remove", &unfinished))?;
        }
        let db = guard.sled.join("db");
        if !db.exists() {
            return Ok(guard);
        }
        let is_damaged = raw::is_damaged(&db, directory.identity());
        if is_damaged.map_err(OpenError::io("read", &db))? {
            tracing::warn!("sled/db is damaged; it is copied before it is opened");
            guard.copy()?;
        }
        Ok(guard)
    }

    fn kept(&self) -> PathBuf {
        self.directory.join(KEPT)
    }

    fn copy(&mut self) -> Result<(), OpenError> {
        let new = self.directory.join(KEPT_NEW);
        let copied =
            copy_file(&self.sled.join("db"), &new).and_then(|()| fs::rename(&new, self.kept()));
        if let Err(source) = copied {
            let _ = fs::remove_file(&new);
            return Err(OpenError::NotCopied {
                path: self.directory.clone(),
                source,
            });
        }
        self.is_kept = true;
        sync_directory(&self.directory)
    }

    /// Everything that was acknowledged is there: the copy is not needed. It must be gone for good
    /// before anything else is acknowledged, or the next start would put it back.
    pub(crate) fn release(self) -> Result<(), OpenError> {
        if !self.is_kept {
            return Ok(());
        }
        let kept = self.kept();
        fs::remove_file(&kept).map_err(OpenError::io("remove", &kept))?;
        sync_directory(&self.directory)
    }

    /// The start failed, and sled has let go of the file: it is again as it was before.
    pub(crate) fn put_back(&self) -> Result<(), OpenError> {
        let kept = self.kept();
        if !kept.exists() {
            return Ok(());
        }
        // What sled has written beside it goes by the file that it made.
        remove_snapshots(&self.sled)?;
        fs::rename(&kept, self.sled.join("db")).map_err(OpenError::io("move", &kept))?;
        sync_directory(&self.sled)?;
        sync_directory(&self.directory)
    }
}

/// Copies with plain reads and writes, so that every error of the disk is met here, and syncs.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let (mut from, mut to) = (File::open(from)?, File::create(to)?);
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        match from.read(&mut buffer)? {
            0 => return to.sync_all(),
            read => to.write_all(&buffer[..read])?,
        }
    }
}
