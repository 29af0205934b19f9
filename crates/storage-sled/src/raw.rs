//! A data directory as its files show it, for those who verify, diagnose or salvage it. Nothing is
//! opened in sled, which would write; the log is put together from the raw file (`scan`, `replay`).
//! While a directory is looked at, no server can open it.

mod messages;
mod replay;
mod scan;
mod torn;

use crate::OpenError;
use crate::directory::{self, Identity};
use crate::watermark;
use icecore_core::{Finding, LogEntry, Position, StoreId};
use scan::Scan;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// A data directory that is only read.
#[derive(Debug)]
pub struct RawStore {
    directory: PathBuf,
    identity: Result<Identity, OpenError>,
    acknowledged: Result<Position, OpenError>,
    file: File,
    scan: Scan,
    /// sled's own messages are torn.
    is_torn: bool,
    /// Kept as long as somebody looks; `None` where the lock file is missing.
    _lock: Option<File>,
}

impl RawStore {
    /// Reads all of `sled/db` once. `progress` hears how many bytes of how many are done. Blocks.
    ///
    /// # Errors
    ///
    /// `InUse` while a server has the store open; `Io` when its file cannot be read. What is damaged
    /// is no error.
    pub fn scan(
        directory: impl Into<PathBuf>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, OpenError> {
        let directory = directory.into();
        let lock = lock_shared(&directory.join(directory::LOCK))?;
        let identity = directory::read_identity(&directory.join(directory::IDENTITY));
        let known_id = identity.as_ref().ok().map(|identity| identity.store_id);
        let path = directory.join(directory::SLED).join("db");
        let mut file = File::open(&path).map_err(OpenError::io("open", &path))?;
        let total = file.metadata().map_err(OpenError::io("read", &path))?.len();
        let scan = Scan::read(&mut file, known_id, &mut |done| progress(done, total))
            .map_err(OpenError::io("read", &path))?;
        let is_torn = match &identity {
            Ok(identity) => torn::look(&file, *identity).map(|look| look.is_torn),
            Err(_) => Ok(false),
        };
        let is_torn = is_torn.map_err(OpenError::io("read", &path))?;
        let watermark = directory.join(directory::WATERMARK);
        let acknowledged = match scan.store_id {
            Some(id) => watermark::read(&watermark, id).map(|slot| Position::new(slot.last)),
            None => Err(OpenError::WatermarkUnreadable {
                path: watermark,
                reason: "nothing says whose it is",
            }),
        };
        Ok(Self {
            directory,
            identity,
            acknowledged,
            file,
            scan,
            is_torn,
            _lock: lock,
        })
    }

    /// The store: what its identity says, else what its values say. `None` when there is neither.
    pub fn store_id(&self) -> Option<StoreId> {
        self.scan.store_id
    }

    /// Why the identity cannot be read.
    pub fn identity_error(&self) -> Option<&OpenError> {
        self.identity.as_ref().err()
    }

    /// The last position that was acknowledged.
    ///
    /// # Errors
    ///
    /// Why the watermark cannot be read.
    pub fn acknowledged(&self) -> Result<Position, &OpenError> {
        self.acknowledged.as_ref().copied()
    }

    /// Calls `visit` for the log, append by append, until it fails or the log ends: before the first
    /// position that is missing. Returns the last position. Blocks.
    pub fn read_log<E>(
        &self,
        visit: impl FnMut(Vec<LogEntry>) -> Result<(), E>,
    ) -> Result<Position, E> {
        replay::replay(self, visit).map(|end| Position::new(end.last))
    }

    /// Calls `visit` for everything that is whole in the file, older versions and what was cut
    /// included, in no order that can be relied on. Blocks.
    pub fn read_every_version(&self, visit: impl FnMut(&LogEntry)) {
        replay::every_version(self, visit);
    }

    /// What is wrong with the files, for a log that ends at `last`: what belongs to it and is
    /// damaged, what is missing behind it.
    pub fn findings(&self, last: Position) -> Vec<Finding> {
        let mut findings = Vec::new();
        findings.extend(self.identity_error().map(general));
        match self.acknowledged() {
            Err(error) => findings.push(general(error)),
            Ok(acknowledged) if last < acknowledged => findings.push(Finding::at(
                last.next(),
                acknowledged,
                "missing in the log, and they were acknowledged",
            )),
            Ok(_) => {}
        }
        // What was being written when the process ended may be torn; nobody was told that it is there.
        let known = self
            .acknowledged()
            .unwrap_or(Position::new(u64::MAX))
            .max(last);
        let counts = |damaged: &&scan::Damaged| match damaged.positions {
            Some((first, _)) => first <= known.get(),
            None => true,
        };
        let damaged = self.scan.damaged.iter().filter(counts);
        findings.extend(damaged.map(|damaged| {
            let mut finding = damaged.finding.clone();
            if damaged
                .positions
                .is_some_and(|range| replay::covers(last.get(), range))
            {
                finding.reason.push_str("; another copy of them is whole");
            }
            finding
        }));
        if self.is_torn {
            findings.push(Finding::general(
                "a message of sled in sled/db is torn and others follow it: damage, or a power cut \
                 after which the store was not started yet",
            ));
        }
        if let Ok(mut blobs) = fs::read_dir(self.directory.join(directory::SLED).join("blobs"))
            && blobs.next().is_some()
        {
            findings.push(Finding::general(
                "sled/blobs is not empty: Icecore never writes there",
            ));
        }
        findings
    }

    /// Files that sled only keeps to start faster.
    pub fn snapshots(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.directory.join(directory::SLED));
        let paths = entries
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        paths.filter(|path| is_snapshot(path)).collect()
    }

    /// Versions of chunks in the file, older ones included.
    pub fn chunk_versions(&self) -> usize {
        self.scan
            .parts
            .iter()
            .filter(|part| part.number == 0)
            .count()
    }
}

/// Whether something in sled's file is not what was written and sled would mind: its own messages, and
/// values that are in none. Reads all of it. Blocks.
pub(crate) fn is_damaged(db: &Path, identity: Identity) -> io::Result<bool> {
    let look = torn::look(&File::open(db)?, identity)?;
    Ok(look.is_torn || look.is_damaged)
}

fn is_snapshot(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with("snap."))
}

fn general(error: &OpenError) -> Finding {
    Finding::general(error.to_string())
}

/// Keeps servers out without writing anything.
fn lock_shared(path: &Path) -> Result<Option<File>, OpenError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OpenError::io("open", path)(error)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(OpenError::io("lock", path)(error)),
    }
}

#[cfg(test)]
mod tests;
