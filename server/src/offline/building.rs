//! A store that is made of the log of another one: it gets an id of its own, and is a store only once
//! it is complete.

use super::{OfflineError, Result};
use icecore_core::{LogEntry, Position, RecordedEvent, StoreId};
use icecore_eventstore::Ids;
use icecore_storage::{Committed, Lease, Storage};
use icecore_storage_sled::{SledConfig, SledStorage, UnfinishedStore};
use std::path::Path;

/// Appends are written together up to about this size.
const GROUP_BYTES: usize = 4 << 20;

/// What an entry counts beside its event.
const ENTRY_BYTES: usize = 64;

/// A store that is being filled.
pub(super) struct Building {
    unfinished: UnfinishedStore,
    storage: SledStorage,
    lease: Lease,
    group: Vec<LogEntry>,
    group_bytes: usize,
    last: Position,
}

impl Building {
    /// Begins a store in a directory that must be empty or not there.
    pub(super) async fn begin(directory: &Path) -> Result<Self> {
        let unfinished = UnfinishedStore::begin(directory)?;
        let store_id = StoreId::new(Ids::random().next());
        let config = SledConfig::new(unfinished.path(), store_id);
        let storage = tokio::task::spawn_blocking(move || SledStorage::open(config))
            .await
            .map_err(|error| OfflineError::new(format!("opening the new store: {error}")))??;
        let lease = storage.lead().await?;
        Ok(Self {
            unfinished,
            storage,
            lease,
            group: Vec::new(),
            group_bytes: 0,
            last: Position::START,
        })
    }

    /// The last position that was taken.
    pub(super) fn last(&self) -> Position {
        self.group.last().map_or(self.last, |entry| entry.position)
    }

    /// Adds a whole append.
    pub(super) async fn append(&mut self, append: Vec<LogEntry>) -> Result<()> {
        let bytes = |entry: &LogEntry| ENTRY_BYTES + entry.event().map_or(0, RecordedEvent::size);
        self.group_bytes += append.iter().map(bytes).sum::<usize>();
        self.group.extend(append);
        if self.group_bytes >= GROUP_BYTES {
            self.write().await?;
        }
        Ok(())
    }

    async fn write(&mut self) -> Result<()> {
        let Some(last) = self.group.last().map(|entry| entry.position) else {
            return Ok(());
        };
        let group = std::mem::take(&mut self.group);
        self.group_bytes = 0;
        match self.storage.restore(&self.lease, self.last, group).await {
            Committed::Done => {
                self.last = last;
                Ok(())
            }
            Committed::Fenced => Err(OfflineError::new("the new store was closed")),
            Committed::Unknown(error) => Err(error.into()),
        }
    }

    /// Closes the store and makes it one; returns its id and its last position.
    pub(super) async fn finish(mut self) -> Result<(StoreId, Position)> {
        self.write().await?;
        let store_id = self.storage.store_id();
        self.storage.close().await?;
        drop(self.storage);
        self.unfinished.finish()?;
        Ok((store_id, self.last))
    }
}
