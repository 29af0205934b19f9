//! What can be set about a store on sled, with the values that were measured as defaults.

use crate::system::{RealSystem, System};
use icecore_core::StoreId;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const KIB: usize = 1_024;
const MIB: usize = 1_024 * KIB;

/// How to open a store.
#[derive(Clone, Debug)]
pub struct SledConfig {
    /// The data directory; it is created when it is not there.
    pub directory: PathBuf,
    /// Identity of the store if the directory is empty; not used otherwise.
    pub new_store_id: StoreId,
    /// What sled's page cache may hold, in bytes. It overshoots, see the operator's manual.
    pub cache_bytes: usize,
    /// What the cache of decoded chunks may hold, in bytes.
    pub chunk_cache_bytes: usize,
    /// Segment size of sled, in bytes: a power of two from 512 KiB to 16 MiB. It is fixed when the
    /// store is created; later the stored value counts.
    pub segment_bytes: usize,
    /// About how large a chunk of the log gets before compression, in bytes: at most 32 KiB, and
    /// less with small segments. An event that is larger is a chunk of its own.
    pub chunk_bytes: usize,
    /// From this size before compression, in bytes, the open chunk is sealed. Small commits rewrite
    /// the open chunk, so a larger value writes more per commit and leaves fewer chunks to merge.
    pub open_chunk_bytes: usize,
    /// Most bytes of the log, before compression, between two syncs.
    pub sync_budget_bytes: usize,
    /// An index run is cut when its events reach this number.
    pub run_events: usize,
    /// An index run is cut when its terms and postings reach this size in memory, in bytes.
    pub run_bytes: usize,
    /// New events are refused while less of the file system is free, in bytes. `None` is a twentieth
    /// of it or 1 GiB, whatever is more, but no more than a quarter; 0 refuses nothing.
    pub free_bytes_min: Option<u64>,
    /// Size of the file that is deleted when the disk is too full to open the store, in bytes; less
    /// on a small file system. 0 for none.
    pub ballast_bytes: u64,
    /// A barrier that takes longer is told as [`icecore_storage::Health::Stalled`].
    pub barrier_age_max: Duration,
    /// A barrier that takes longer is taken for one that never ends: the store has failed.
    pub stall_timeout: Duration,
    /// What answers for the operating system; tests put in their own.
    pub system: Arc<dyn System>,
}

impl SledConfig {
    /// The defaults for a store in `directory`.
    pub fn new(directory: impl Into<PathBuf>, new_store_id: StoreId) -> Self {
        Self {
            directory: directory.into(),
            new_store_id,
            cache_bytes: 384 * MIB,
            chunk_cache_bytes: 16 * MIB,
            segment_bytes: 8 * MIB,
            chunk_bytes: 8 * KIB,
            open_chunk_bytes: 2 * KIB,
            sync_budget_bytes: MIB,
            run_events: 262_144,
            run_bytes: 32 * MIB,
            free_bytes_min: None,
            ballast_bytes: 64 * MIB as u64,
            barrier_age_max: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(120),
            system: Arc::new(RealSystem),
        }
    }

    /// The settings with everything inside its limits.
    pub(crate) fn clamped(mut self) -> Self {
        self.segment_bytes = self
            .segment_bytes
            .clamp(512 * KIB, 16 * MIB)
            .next_power_of_two();
        // A chunk of several events is one value, so that rewriting it is one step.
        let chunk_bytes_max = (value_bytes_max(self.segment_bytes) - KIB).min(32 * KIB);
        self.chunk_bytes = self.chunk_bytes.clamp(64, chunk_bytes_max);
        self.open_chunk_bytes = self.open_chunk_bytes.min(self.chunk_bytes);
        self.sync_budget_bytes = self.sync_budget_bytes.clamp(KIB, 4 * MIB);
        self.run_events = self.run_events.clamp(1, 16 * 1_024 * KIB);
        self.run_bytes = self.run_bytes.max(1);
        self
    }
}

/// Largest value that is given to sled, in bytes. A leaf splits by count, not by size, and holds up
/// to 17 values; a page over a quarter of a segment would go to a file that is never synced.
pub(crate) fn value_bytes_max(segment_bytes: usize) -> usize {
    (segment_bytes / 4 / 20).min(48 * KIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_leaf_fits_a_page_for_every_segment_size() {
        for segment in (19..=24).map(|bits| 1_usize << bits) {
            assert!(
                17 * (value_bytes_max(segment) + 64) < segment / 4,
                "{segment}"
            );
        }
    }
}
