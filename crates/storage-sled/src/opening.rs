//! Opens sled's files with everything around it that sled leaves open: cut-off snapshots, missing
//! syncs of directories, damaged settings, errors that it takes for the end, the check of the barrier.

use crate::OpenError;
use crate::barrier::Barrier;
use crate::config::SledConfig;
use crate::directory::{DataDirectory, sync_directory};
use crate::engine::Engine;
use crate::handle::{Alarm, Handle};
use sled::Db;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often sled collects its garbage, which happens only in its flusher thread.
const FLUSH_EVERY_MS: u64 = 500;

/// The files of a database that was just closed in this process may be held for a moment by sled's
/// threads; other processes are kept out by our own lock.
const LOCK_TRIES: u32 = 500;
const LOCK_WAIT: Duration = Duration::from_millis(10);

/// Opens the database below a data directory that this process holds.
pub(crate) fn open_engine(
    directory: &DataDirectory,
    settings: &SledConfig,
) -> Result<Engine, OpenError> {
    let path = directory.sled();
    fs::create_dir_all(&path).map_err(OpenError::io("create", &path))?;
    remove_unfinished_snapshots(&path)?;
    refuse_blobs(&path)?;
    let segment_bytes = directory.identity().segment_bytes;
    remove_damaged_settings(&path, segment_bytes)?;
    let config = sled::Config::new()
        .path(&path)
        .cache_capacity(settings.cache_bytes as u64)
        .flush_every_ms(Some(FLUSH_EVERY_MS))
        .segment_size(segment_bytes);
    let db = match open_db(&config) {
        Err(Failure::Damaged(reason)) if has_snapshots(&path)? => {
            tracing::warn!(path = %path.display(), reason, "opening again without snapshots");
            set_snapshots_aside(&path, &directory.set_aside())?;
            open_db(&config)
        }
        other => other,
    };
    let engine = |reason| OpenError::Engine {
        path: path.clone(),
        reason,
    };
    let db = db.map_err(|failure| match failure {
        Failure::Damaged(reason) | Failure::Other(reason) => engine(reason),
    })?;
    let file = sync_files(&path, directory.path())?;
    let alarm = Alarm::start((*db).clone(), config);
    let alarm = alarm.map_err(OpenError::io("start a thread for", &path))?;
    let system = settings.system.clone();
    let opened = Engine::new(db, alarm, file, system, settings.sync_budget_bytes)
        .map_err(|fault| engine(fault.to_string()))?;
    if opened.barrier() == Barrier::OwnSync {
        tracing::warn!(
            "sled's own sync is not durable in this program; every flush is followed by another one"
        );
    }
    Ok(opened)
}

enum Failure {
    Damaged(String),
    Other(String),
}

fn open_db(config: &sled::Config) -> Result<Handle<Db>, Failure> {
    for _ in 0..LOCK_TRIES {
        match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(Ok(db)) => return Ok(Handle::new(db)),
            Ok(Err(sled::Error::Io(error)))
                if error.to_string().contains("could not acquire lock") =>
            {
                std::thread::sleep(LOCK_WAIT);
            }
            Ok(Err(error @ (sled::Error::Corruption { .. } | sled::Error::ReportableBug(_)))) => {
                return Err(Failure::Damaged(error.to_string()));
            }
            Ok(Err(error)) => return Err(Failure::Other(error.to_string())),
            Err(_) => {
                return Err(Failure::Damaged(
                    "it panicked while it was opened".to_owned(),
                ));
            }
        }
    }
    Err(Failure::Other("its file stays locked".to_owned()))
}

/// sled syncs neither its settings nor any directory. Returns a descriptor of the data file.
fn sync_files(sled: &Path, data_directory: &Path) -> Result<File, OpenError> {
    let conf = sled.join("conf");
    File::open(&conf)
        .and_then(|file| file.sync_all())
        .map_err(OpenError::io("sync", &conf))?;
    let path = sled.join("db");
    let file = File::options()
        .read(true)
        .write(true)
        .open(&path)
        .map_err(OpenError::io("open", &path))?;
    file.sync_all().map_err(OpenError::io("sync", &path))?;
    sync_directory(sled)?;
    sync_directory(data_directory)?;
    Ok(file)
}

fn snapshots(sled: &Path) -> Result<Vec<PathBuf>, OpenError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(sled).map_err(OpenError::io("list", sled))? {
        let entry = entry.map_err(OpenError::io("list", sled))?;
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn has_snapshots(sled: &Path) -> Result<bool, OpenError> {
    Ok(!snapshots(sled)?.is_empty())
}

/// Removes all snapshots; sled reads its whole file instead.
pub(crate) fn remove_snapshots(sled: &Path) -> Result<(), OpenError> {
    for path in snapshots(sled)? {
        fs::remove_file(&path).map_err(OpenError::io("remove", &path))?;
    }
    Ok(())
}

/// A snapshot that was being written when the process died makes sled fail.
fn remove_unfinished_snapshots(sled: &Path) -> Result<(), OpenError> {
    for path in snapshots(sled)? {
        if path
            .extension()
            .is_some_and(|extension| extension == "generating")
        {
            fs::remove_file(&path).map_err(OpenError::io("remove", &path))?;
        }
    }
    Ok(())
}

/// sled writes its settings without a sync, believes them even if their checksum is wrong, and refuses
/// those that are cut off. They say nothing that we do not know, so sled may write them again.
fn remove_damaged_settings(sled: &Path, segment_bytes: usize) -> Result<(), OpenError> {
    const CHECKSUM_BYTES: usize = 4;
    let path = sled.join("conf");
    let found = match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found.map_err(OpenError::io("read", &path))?,
    };
    let sound = format!("segment_size: {segment_bytes}\nuse_compression: false\nversion: 0.34\n");
    let body = found.strip_prefix(sound.as_bytes());
    if body.is_none_or(|checksum| checksum.len() != CHECKSUM_BYTES) {
        tracing::warn!(path = %path.display(), "the settings of the database are written again");
        fs::remove_file(&path).map_err(OpenError::io("remove", &path))?;
    }
    Ok(())
}

/// Snapshots only shorten the start; without them sled reads its whole log.
fn set_snapshots_aside(sled: &Path, aside: &Path) -> Result<(), OpenError> {
    fs::create_dir_all(aside).map_err(OpenError::io("create", aside))?;
    for path in snapshots(sled)? {
        if let Some(name) = path.file_name() {
            fs::rename(&path, aside.join(name)).map_err(OpenError::io("move", &path))?;
        }
    }
    sync_directory(sled)
}

fn refuse_blobs(sled: &Path) -> Result<(), OpenError> {
    let path = sled.join("blobs");
    match fs::read_dir(&path).map(|mut entries| entries.next().is_some()) {
        Ok(true) => Err(OpenError::ForeignBlobs { path }),
        _ => Ok(()),
    }
}
