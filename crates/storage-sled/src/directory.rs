//! The data directory: who holds it, whose it is, which format it has.
//!
//! ```text
//! LOCK        held while the store is open
//! store       identity: format, store id, segment size
//! watermark   what has been acknowledged (crate::watermark)
//! sled/       the database (crate::engine)
//! ballast     space for a start on a full disk (crate::ballast)
//! ```
//!
//! The identity file is written after the watermark and before the database, so a directory without
//! it holds no event.

use crate::OpenError;
use crate::watermark::{self, Watermark};
use icecore_core::StoreId;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// The format of everything below the data directory.
pub(crate) const FORMAT: u8 = 1;

pub(crate) const LOCK: &str = "LOCK";
pub(crate) const IDENTITY: &str = "store";
const IDENTITY_NEW: &str = "store.new";
pub(crate) const WATERMARK: &str = "watermark";
pub(crate) const SLED: &str = "sled";
/// Where a store is put together before it is one ([`crate::UnfinishedStore`]).
pub(crate) const BUILDING: &str = "unfinished";
const IDENTITY_TITLE: &str = "icecore store";

/// A data directory that this process holds. Dropping it lets go.
#[derive(Debug)]
pub(crate) struct DataDirectory {
    path: PathBuf,
    identity: Identity,
    /// The lock lasts as long as the file is open.
    lock: Arc<File>,
}

/// What the identity file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) store_id: StoreId,
    pub(crate) segment_bytes: usize,
}

impl DataDirectory {
    /// Takes the directory, and makes it a new store if it is empty.
    pub(crate) fn open(path: &Path, new: Identity) -> Result<Self, OpenError> {
        fs::create_dir_all(path).map_err(OpenError::io("create", path))?;
        // Nothing of ours is put into a directory of somebody else, not even the lock.
        look_into(path)?;
        let lock = lock(&path.join(LOCK))?;
        Self::take(path, new, lock)
    }

    /// Goes on under the lock, and looks again: what was seen before may have changed until then.
    fn take(path: &Path, new: Identity, lock: File) -> Result<Self, OpenError> {
        let identity = if look_into(path)? == Found::Store {
            read_identity(&path.join(IDENTITY))?
        } else {
            Watermark::create(&path.join(WATERMARK), new.store_id)?;
            write_identity(path, new)?;
            new
        };
        Ok(Self {
            path: path.to_owned(),
            identity,
            lock: Arc::new(lock),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// Keeps the directory held beyond the life of this value.
    pub(crate) fn hold(&self) -> Arc<File> {
        self.lock.clone()
    }

    pub(crate) fn sled(&self) -> PathBuf {
        self.path.join(SLED)
    }

    pub(crate) fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }

    /// Where damaged snapshots of sled are kept for diagnosis.
    pub(crate) fn set_aside(&self) -> PathBuf {
        self.path.join("snapshots-set-aside")
    }

    pub(crate) fn watermark(&self) -> Result<(Watermark, u64), OpenError> {
        watermark::Watermark::open(&self.path.join(WATERMARK), self.identity.store_id)
    }
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_directory(path: &Path) -> Result<(), OpenError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(OpenError::io("sync", path))
}

/// What a directory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Store,
    Nothing,
}

/// Says whether a directory holds a store; it must hold nothing else.
fn look_into(path: &Path) -> Result<Found, OpenError> {
    // In this order: a store that is being made has foreign files only once it has its identity.
    let foreign = foreign_file(path)?;
    let identity = path.join(IDENTITY);
    let exists = identity
        .try_exists()
        .map_err(OpenError::io("look for", &identity))?;
    match (exists, foreign) {
        (true, _) => Ok(Found::Store),
        (false, None) => Ok(Found::Nothing),
        (false, Some(found)) if found == BUILDING => Err(OpenError::Unfinished {
            path: path.to_owned(),
        }),
        (false, Some(found)) => Err(OpenError::NotAStore {
            path: path.to_owned(),
            found,
        }),
    }
}

/// A file that does not belong to a store that is still being made; what a mount point has by
/// itself does not count.
fn foreign_file(path: &Path) -> Result<Option<String>, OpenError> {
    let known = [LOCK, WATERMARK, IDENTITY_NEW, "lost+found"];
    for entry in fs::read_dir(path).map_err(OpenError::io("list", path))? {
        let name = entry.map_err(OpenError::io("list", path))?.file_name();
        let name = name.to_string_lossy();
        if !known.contains(&&*name) {
            return Ok(Some(name.into_owned()));
        }
    }
    Ok(None)
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(OpenError::io("open", path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(OpenError::io("lock", path)(error)),
    }
}

fn write_identity(directory: &Path, identity: Identity) -> Result<(), OpenError> {
    let new = directory.join(IDENTITY_NEW);
    let mut file = File::create(&new).map_err(OpenError::io("create", &new))?;
    file.write_all(identity_text(identity).as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(OpenError::io("write", &new))?;
    let path = directory.join(IDENTITY);
    fs::rename(&new, &path).map_err(OpenError::io("create", &path))?;
    sync_directory(directory)?;
    // The directory itself may be new too.
    match directory.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_directory(Path::new(".")),
        Some(parent) => sync_directory(parent),
        None => Ok(()),
    }
}

pub(crate) fn identity_text(identity: Identity) -> String {
    let Identity {
        store_id,
        segment_bytes,
    } = identity;
    let body = format!(
        "{IDENTITY_TITLE}\nformat {FORMAT}\nstore_id {store_id}\nsegment_bytes {segment_bytes}\n"
    );
    let checksum = crc32c::crc32c(body.as_bytes());
    format!("{body}crc32c {checksum:08x}\n")
}

pub(crate) fn read_identity(path: &Path) -> Result<Identity, OpenError> {
    let text = fs::read(path).map_err(OpenError::io("read", path))?;
    parse_identity(path, &text)
}

/// What the identity file at `path` says, which holds this text.
pub(crate) fn parse_identity(path: &Path, text: &[u8]) -> Result<Identity, OpenError> {
    let damaged = |reason| OpenError::IdentityUnreadable {
        path: path.to_owned(),
        reason,
    };
    let text = std::str::from_utf8(text).map_err(|_| damaged("not a text"))?;
    // The first two lines are the same in every format to come.
    let mut lines = text.lines();
    if lines.next() != Some(IDENTITY_TITLE) {
        return Err(damaged("its first line is not `icecore store`"));
    }
    let mut field = |name: &'static str| {
        lines
            .next()
            .and_then(|line| line.strip_prefix(name)?.strip_prefix(' '))
    };
    let format: u32 = field("format")
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| damaged("it has no format"))?;
    if format > u32::from(FORMAT) {
        let path = path.to_owned();
        return Err(OpenError::NewerFormat {
            path,
            found: format,
            known: FORMAT.into(),
        });
    }
    let store_id = field("store_id").and_then(|value| Uuid::parse_str(value).ok());
    let segment_bytes = field("segment_bytes").and_then(|value| value.parse().ok());
    let (Some(store_id), Some(segment_bytes)) = (store_id, segment_bytes) else {
        return Err(damaged("a line is missing"));
    };
    let identity = Identity {
        store_id: StoreId::new(store_id),
        segment_bytes,
    };
    if identity_text(identity) != text {
        return Err(damaged("its checksum does not match"));
    }
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            store_id: StoreId::new(Uuid::from_u128(7)),
            segment_bytes: 1 << 20,
        }
    }

    #[test]
    fn identity_is_kept_and_every_damaged_byte_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        drop(DataDirectory::open(directory.path(), identity()).unwrap());
        let other = Identity {
            segment_bytes: 2 << 20,
            ..identity()
        };
        let opened = DataDirectory::open(directory.path(), other).unwrap();
        assert_eq!(opened.identity(), identity());
        drop(opened);

        let path = directory.path().join(IDENTITY);
        let text = fs::read(&path).unwrap();
        for at in 0..text.len() {
            let mut damaged = text.clone();
            damaged[at] ^= 0x01;
            fs::write(&path, damaged).unwrap();
            assert!(
                DataDirectory::open(directory.path(), identity()).is_err(),
                "byte {at}"
            );
        }
    }

    #[test]
    fn a_store_that_was_made_before_the_lock_was_taken_stays_the_same() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(look_into(directory.path()).unwrap(), Found::Nothing);
        drop(DataDirectory::open(directory.path(), identity()).unwrap());
        let late = Identity {
            store_id: StoreId::new(Uuid::from_u128(8)),
            ..identity()
        };
        let lock = lock(&directory.path().join(LOCK)).unwrap();
        let opened = DataDirectory::take(directory.path(), late, lock).unwrap();
        assert_eq!(opened.identity(), identity());
    }

    #[test]
    fn an_unfinished_creation_is_finished() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(LOCK), "").unwrap();
        fs::write(directory.path().join(WATERMARK), "half").unwrap();
        fs::write(directory.path().join(IDENTITY_NEW), "half").unwrap();
        let opened = DataDirectory::open(directory.path(), identity()).unwrap();
        assert_eq!(opened.watermark().unwrap().1, 0);
    }
}
