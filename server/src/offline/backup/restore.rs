//! Makes a new store of a backup, whole or up to a position or a time.

use super::file::FileReader;
use super::{Manifest, load};
use crate::offline::building::Building;
use crate::offline::{OfflineError, Result};
use icecore_core::{GrowingTree, LogEntry, Mark, Position, StoreId, Timestamp};
use std::path::Path;

/// How far a restore goes. Only whole appends are restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Everything.
    End,
    /// Up to this position (inclusive).
    Position(Position),
    /// What had been recorded by then (inclusive).
    Time(Timestamp),
}

/// What was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The id of the new store.
    pub store_id: StoreId,
    /// The store that the backup is of.
    pub from_store_id: StoreId,
    /// The last position of the new store.
    pub last_position: Position,
    /// The last position of the backup.
    pub backup_position: Position,
}

/// Makes a store of a backup in a directory that is empty or not there. Positions, revisions, ids,
/// times and hashes stay; the id of the store is a new one. Until it is complete, the directory is
/// no store. `progress` hears how many positions of how many are done.
///
/// # Errors
///
/// When the backup is damaged before the point that was asked for, and as of writing anywhere.
pub async fn restore(
    from: &Path,
    to: &Path,
    until: Until,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Restored> {
    let manifest = load(from)?;
    if let Until::Position(position) = until
        && position > manifest.last()
    {
        return Err(OfflineError::new(format!(
            "the backup in {} ends at position {}, it has no position {position}",
            from.display(),
            manifest.last()
        )));
    }
    let mut building = Building::begin(to).await?;
    let mut tree = GrowingTree::default();
    let mut append = Vec::new();
    'files: for file in &manifest.files {
        let mut reader = FileReader::open(from, manifest.store_id, file)?;
        while let Some(entry) = reader.next()? {
            if until.is_passed_by(&entry) {
                break 'files;
            }
            tree.push(entry.leaf_hash());
            let is_end = entry.mark == Mark::End;
            append.push(entry);
            if is_end {
                building.append(std::mem::take(&mut append)).await?;
            }
        }
        progress(building.last().get(), manifest.last().get());
    }
    check_tree(from, &manifest, &tree)?;
    let (store_id, last_position) = building.finish().await?;
    Ok(Restored {
        store_id,
        from_store_id: manifest.store_id,
        last_position,
        backup_position: manifest.last(),
    })
}

/// What was read as a whole must be what was backed up.
fn check_tree(from: &Path, manifest: &Manifest, tree: &GrowingTree) -> Result<()> {
    if tree.size() < manifest.last().get() || tree.root() == manifest.tree {
        return Ok(());
    }
    Err(OfflineError::new(format!(
        "the backup in {} is damaged: its events do not give the root of the tree that its manifest \
         names",
        from.display()
    )))
}

impl Until {
    /// Whether an entry lies beyond. What has lost its time belongs to what is before it.
    fn is_passed_by(self, entry: &LogEntry) -> bool {
        match self {
            Self::End => false,
            Self::Position(position) => entry.position > position,
            Self::Time(time) => entry.event().is_some_and(|event| event.recorded_at > time),
        }
    }
}
