//! A run of `backup`: takes entries behind what the backup holds, and leaves files and a manifest.
//!
//! Erasures are followed: an act of erasure among the new entries rewrites the file with the event it
//! is about before the manifest names the act. The payload hash can be computed from what the backup
//! holds, so nothing is asked of the store for that.

use super::each;
use super::file::{FileReader, FileWriter};
use super::manifest::{FileEntry, Manifest};
use crate::offline::erasures::Erasures;
use crate::offline::{OfflineError, Result};
use icecore_core::{GrowingTree, Hash, LogBatch, LogEntry, Mark, Position, StoreId, Timestamp};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

const LOCK: &str = "LOCK";

/// A file is closed when its entries reach this size before compression; a smaller one is gone on
/// with by the next run.
const FILE_BYTES: usize = 64 << 20;

/// Most entries of a file, so that little is written again for an erasure.
const FILE_ENTRIES: u64 = 262_144;

/// What a backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupInfo {
    /// The store.
    pub store_id: StoreId,
    /// The last position.
    pub last_position: Position,
    /// The root of the tree over all events.
    pub tree: Hash,
    /// Files.
    pub files: usize,
    /// Bytes of these files.
    pub bytes: u64,
}

/// A backup that is being written. Whenever it ends, the directory is a whole backup up to some
/// position.
pub struct BackupRun {
    directory: PathBuf,
    manifest: Manifest,
    /// The leaf of the last entry that the backup held at the beginning.
    last_leaf: Option<Hash>,
    /// The tree over everything that was taken.
    tree: GrowingTree,
    /// The tree before the file that is being written.
    before_file: GrowingTree,
    writer: Option<FileWriter>,
    /// Entries of an append that is not whole yet.
    append: Vec<LogEntry>,
    erasures: Erasures,
    recorded_at: Timestamp,
    /// The last file is small and is written again with what follows.
    reopen_last: bool,
    /// Kept as long as the run lasts.
    _lock: File,
}

impl BackupRun {
    /// Goes on with the backup in a directory, or begins one if it is empty or not there.
    ///
    /// # Errors
    ///
    /// When it is the backup of another store, holds something else, is damaged at its end, or is
    /// being written by somebody else.
    pub fn open(directory: impl Into<PathBuf>, store_id: StoreId) -> Result<Self> {
        let directory = directory.into();
        fs::create_dir_all(&directory).map_err(OfflineError::io("create", &directory))?;
        let manifest = if let Some(manifest) = Manifest::load(&directory)? {
            check_store(&directory, &manifest, store_id)?;
            manifest
        } else {
            refuse_foreign(&directory)?;
            Manifest::new(store_id)
        };
        let lock = lock(&directory)?;
        let mut run = Self {
            tree: manifest.before_last.clone(),
            before_file: manifest.before_last.clone(),
            manifest,
            last_leaf: None,
            writer: None,
            append: Vec::new(),
            erasures: Erasures::default(),
            recorded_at: Timestamp::from_nanos(i64::MIN),
            reopen_last: false,
            directory,
            _lock: lock,
        };
        run.read_last_file()?;
        run.remove_left_over()?;
        Ok(run)
    }

    /// The last position that the backup holds durably.
    pub fn last(&self) -> Position {
        self.manifest.last()
    }

    /// Takes the next batch of the log, the first of which begins at [`Self::last`] or, if that is 0,
    /// at 1. What the backup holds already must be the same.
    pub fn take(&mut self, batch: LogBatch) -> Result<()> {
        check_store(&self.directory, &self.manifest, batch.store_id)?;
        if batch.last_position < self.last() {
            return Err(self.another_history());
        }
        for entry in batch.entries {
            if entry.position <= self.last() {
                let is_known = entry.position < self.last();
                if !is_known && self.last_leaf != Some(entry.leaf_hash()) {
                    return Err(self.another_history());
                }
                continue;
            }
            let is_end = entry.mark == Mark::End;
            self.append.push(entry);
            if is_end {
                self.take_append()?;
            }
        }
        match batch.damage {
            Some(damage) => Err(OfflineError::new(format!(
                "the store is damaged, {damage}; the backup ends at position {}. Ask the server with \
                 icecore verify",
                self.last()
            ))),
            None => Ok(()),
        }
    }

    /// Makes everything that was taken part of the backup.
    pub fn finish(mut self) -> Result<BackupInfo> {
        self.end_file()?;
        if self.manifest.files.is_empty() {
            self.manifest.save(&self.directory)?;
        }
        let files = &self.manifest.files;
        Ok(BackupInfo {
            store_id: self.manifest.store_id,
            last_position: self.manifest.last(),
            tree: self.manifest.tree,
            files: files.len(),
            bytes: files.iter().map(|file| file.bytes).sum(),
        })
    }

    fn take_append(&mut self) -> Result<()> {
        for entry in std::mem::take(&mut self.append) {
            self.erasures.note(&entry);
            if self.writer.is_none() {
                self.begin_file(entry.position)?;
            }
            self.tree.push(entry.leaf_hash());
            if let Some(writer) = &mut self.writer {
                writer.push(entry)?;
            }
        }
        let taken = self.tree.size() - self.before_file.size();
        let is_full = |writer: &FileWriter| writer.raw_bytes >= FILE_BYTES || taken >= FILE_ENTRIES;
        if self.writer.as_ref().is_some_and(is_full) {
            self.end_file()?;
        }
        Ok(())
    }

    /// Begins a file, with what a last one holds that was not full.
    fn begin_file(&mut self, next: Position) -> Result<()> {
        let store_id = self.manifest.store_id;
        let last = self.manifest.files.last().filter(|_| self.reopen_last);
        let first = last.map_or(next, |file| file.first);
        let mut writer = FileWriter::create(&self.directory, store_id, first, self.recorded_at)?;
        match last {
            Some(file) => each(&self.directory, &self.manifest, file, |entry| {
                writer.push(entry)
            })?,
            None => self.before_file = self.tree.clone(),
        }
        self.writer = Some(writer);
        Ok(())
    }

    /// Ends the file that is being written, follows the erasures, and saves the manifest.
    fn end_file(&mut self) -> Result<()> {
        let Some(writer) = self.writer.take() else {
            return Ok(());
        };
        let file = writer.finish()?;
        self.recorded_at = file.recorded_at;
        if std::mem::take(&mut self.reopen_last) {
            self.manifest.files.pop();
        }
        self.manifest.files.push(file);
        self.manifest.before_last = self.before_file.clone();
        self.manifest.tree = self.tree.root();
        self.follow_erasures()?;
        self.manifest.save(&self.directory)?;
        self.remove_left_over()
    }

    fn follow_erasures(&mut self) -> Result<()> {
        let erasures = std::mem::take(&mut self.erasures);
        if erasures.is_empty() {
            return Ok(());
        }
        let mut before = Timestamp::from_nanos(i64::MIN);
        for at in 0..self.manifest.files.len() {
            let file = &self.manifest.files[at];
            if erasures.any_within(file.first, file.last) {
                self.manifest.files[at] = self.erase_in(file, before, &erasures)?;
            }
            before = self.manifest.files[at].recorded_at;
        }
        Ok(())
    }

    fn erase_in(
        &self,
        file: &FileEntry,
        before: Timestamp,
        erasures: &Erasures,
    ) -> Result<FileEntry> {
        let store_id = self.manifest.store_id;
        let mut writer = FileWriter::create(&self.directory, store_id, file.first, before)?;
        each(&self.directory, &self.manifest, file, |mut entry| {
            erasures.apply(&mut entry);
            writer.push(entry)
        })?;
        writer.finish()
    }

    /// Checks the last file and learns from it what the next one needs.
    fn read_last_file(&mut self) -> Result<()> {
        let Some(file) = self.manifest.files.last().cloned() else {
            return Ok(());
        };
        let mut reader = FileReader::open(&self.directory, self.manifest.store_id, &file)?;
        while let Some(entry) = reader.next()? {
            let leaf = entry.leaf_hash();
            self.tree.push(leaf);
            self.last_leaf = Some(leaf);
        }
        if self.tree.root() != self.manifest.tree {
            return Err(OfflineError::new(format!(
                "the backup in {} is damaged: its events do not give the root of the tree that its \
                 manifest names. Look at it with icecore verify --backup, and back up into a new \
                 directory",
                self.directory.display()
            )));
        }
        self.recorded_at = file.recorded_at;
        let entries = file.last.get() - file.first.get() + 1;
        // What is compressed is no larger than before.
        self.reopen_last = entries < FILE_ENTRIES / 2 && file.bytes < FILE_BYTES as u64 / 2;
        Ok(())
    }

    /// Removes files that no manifest names any more, or that a killed run has left.
    fn remove_left_over(&self) -> Result<()> {
        let directory = &self.directory;
        for entry in fs::read_dir(directory).map_err(OfflineError::io("list", directory))? {
            let name = entry
                .map_err(OfflineError::io("list", directory))?
                .file_name();
            let name = name.to_string_lossy();
            if is_ours(&name) && name != LOCK && !self.manifest.names(&name) {
                let path = directory.join(&*name);
                fs::remove_file(&path).map_err(OfflineError::io("remove", &path))?;
            }
        }
        Ok(())
    }

    fn another_history(&self) -> OfflineError {
        OfflineError::new(format!(
            "the store has the id of the backup in {}, but not its events: the backup goes to position \
             {}, and what the store holds there is something else or missing. It may be an older copy of \
             the store. Back up into a new directory",
            self.directory.display(),
            self.last()
        ))
    }
}

fn check_store(directory: &Path, manifest: &Manifest, store_id: StoreId) -> Result<()> {
    if manifest.store_id == store_id {
        return Ok(());
    }
    Err(OfflineError::new(format!(
        "{} is a backup of the store {}, and the server has the store {store_id}. A restored store \
         has an id of its own; back it up into a new directory",
        directory.display(),
        manifest.store_id
    )))
}

fn is_ours(name: &str) -> bool {
    let (_, extension) = name.rsplit_once('.').unwrap_or_default();
    let is_file = name.starts_with("events-") && matches!(extension, "icb" | "part");
    is_file || matches!(name, LOCK | "manifest" | "manifest.new")
}

/// Nothing is written into a directory of somebody else.
fn refuse_foreign(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory).map_err(OfflineError::io("list", directory))? {
        let name = entry
            .map_err(OfflineError::io("list", directory))?
            .file_name();
        let name = name.to_string_lossy();
        if !is_ours(&name) && name != "lost+found" {
            return Err(OfflineError::new(format!(
                "{} is not empty and holds no backup (found `{name}`); choose another directory",
                directory.display()
            )));
        }
    }
    Ok(())
}

fn lock(directory: &Path) -> Result<File> {
    let path = directory.join(LOCK);
    let file = File::create(&path).map_err(OfflineError::io("create", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OfflineError::new(format!(
            "another backup into {} is under way",
            directory.display()
        ))),
        Err(TryLockError::Error(error)) => Err(OfflineError::io("lock", &path)(error)),
    }
}
