//! Stores for tests: small caches and segments, and sizes so tiny that a few events make chunks,
//! parts, runs and merges.

use icecore_core::StoreId;
use icecore_storage_sled::{SledConfig, SledStorage};
use std::path::Path;
use uuid::Uuid;

/// The defaults, but for memory.
pub(crate) fn config(directory: &Path) -> SledConfig {
    SledConfig {
        cache_bytes: 8 << 20,
        chunk_cache_bytes: 1 << 20,
        segment_bytes: 1 << 20,
        ..SledConfig::new(directory, StoreId::new(Uuid::from_u128(1)))
    }
}

/// Everything happens often.
pub(crate) fn tiny(directory: &Path) -> SledConfig {
    SledConfig {
        chunk_cache_bytes: 16 << 10,
        segment_bytes: 512 << 10,
        chunk_bytes: 1_024,
        open_chunk_bytes: 400,
        sync_budget_bytes: 16 << 10,
        run_events: 20,
        run_bytes: 1 << 20,
        ..config(directory)
    }
}

pub(crate) fn open(config: &SledConfig) -> SledStorage {
    SledStorage::open(config.clone()).unwrap()
}
