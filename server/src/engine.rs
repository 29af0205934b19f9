//! Picks the engine. A further one is a match arm here and a crate of its own.

use crate::config::Engine;
use icecore_core::{Error, Result, StoreId};
use icecore_storage::{MemoryStorage, Storage};
use icecore_storage_sled::{SledConfig, SledStorage};
use std::sync::Arc;

/// Opens the engine. `new_store_id` is the identity that a store gets that is created now.
pub(crate) async fn open(engine: Engine, new_store_id: StoreId) -> Result<Arc<dyn Storage>> {
    match engine {
        Engine::Memory => Ok(Arc::new(MemoryStorage::new(new_store_id))),
        Engine::Sled {
            directory,
            cache_bytes,
            chunk_cache_bytes,
            index_run_events,
            free_bytes_min,
            ballast_bytes,
            stall_timeout,
            system,
        } => {
            let config = SledConfig {
                cache_bytes,
                chunk_cache_bytes,
                run_events: index_run_events,
                free_bytes_min,
                ballast_bytes,
                stall_timeout,
                system,
                ..SledConfig::new(directory, new_store_id)
            };
            let opened = tokio::task::spawn_blocking(move || SledStorage::open(config)).await;
            let opened = opened.map_err(|error| {
                Error::internal_from("opening the data directory broke off", error)
            })?;
            Ok(Arc::new(opened?))
        }
    }
}
