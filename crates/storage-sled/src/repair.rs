//! Copies of a store that leave out what can be made again: sled's snapshots, the index. The original
//! is only read. A copy keeps the store's id, since it holds the same history.

use crate::OpenError;
use crate::config::SledConfig;
use crate::directory::{DataDirectory, Identity, SLED, read_identity, sync_directory};
use crate::directory::{IDENTITY, LOCK, WATERMARK};
use crate::index::SectionKey;
use crate::opening::open_engine;
use std::fs::{self, File};
use std::path::Path;

/// Copies a store into an empty directory without sled's snapshots; the next start reads all of
/// sled's file instead. Blocks.
pub fn copy_without_snapshots(from: &Path, to: &Path) -> Result<(), OpenError> {
    let (from_sled, to_sled) = (from.join(SLED), to.join(SLED));
    fs::create_dir_all(&to_sled).map_err(OpenError::io("create", &to_sled))?;
    for name in ["conf", "db"] {
        copy_file(&from_sled.join(name), &to_sled.join(name))?;
    }
    sync_directory(&to_sled)?;
    let lock = to.join(LOCK);
    File::create(&lock).map_err(OpenError::io("create", &lock))?;
    for name in [WATERMARK, IDENTITY] {
        copy_file(&from.join(name), &to.join(name))?;
    }
    sync_directory(to)
}

/// Copies a store into an empty directory without its index; the next start makes it from the log.
/// Blocks.
pub fn copy_without_indexes(from: &Path, to: &Path) -> Result<(), OpenError> {
    copy_without_snapshots(from, to)?;
    let identity: Identity = read_identity(&to.join(IDENTITY))?;
    let config = SledConfig::new(to, identity.store_id);
    let directory = DataDirectory::open(to, identity)?;
    let engine = open_engine(&directory, &config)?;
    // What the manifest does not name does not count.
    let mut writing = engine.write();
    let key = SectionKey::MANIFEST.to_bytes();
    let cut = writing.delete_run(&key, 0).and_then(|()| writing.barrier());
    cut.map_err(|fault| OpenError::Engine {
        path: directory.sled(),
        reason: fault.to_string(),
    })
}

fn copy_file(from: &Path, to: &Path) -> Result<(), OpenError> {
    fs::copy(from, to).map_err(OpenError::io("copy", from))?;
    File::open(to)
        .and_then(|file| file.sync_all())
        .map_err(OpenError::io("sync", to))
}
