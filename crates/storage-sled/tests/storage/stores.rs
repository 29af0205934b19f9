//! Stores for tests: small caches and segments, and sizes so tiny that a few events make chunks,
//! parts, runs and merges.

use icecore_core::StoreId;
use icecore_storage::contract::generate::Generator;
use icecore_storage::{Committed, Storage};
use icecore_storage_sled::{OpenError, SledConfig, SledStorage};
use std::path::Path;
use uuid::Uuid;

/// The defaults, but for memory, and whatever room the disk has.
pub(crate) fn config(directory: &Path) -> SledConfig {
    SledConfig {
        free_bytes_min: Some(0),
        ballast_bytes: 0,
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

/// The error of an open that must fail.
pub(crate) fn open_error(config: &SledConfig) -> OpenError {
    match SledStorage::open(config.clone()) {
        Ok(_) => panic!("the store opened"),
        Err(error) => error,
    }
}

/// Commits groups of a history to several stores, which then hold the same.
pub(crate) async fn commit(stores: &[&dyn Storage], generator: &mut Generator, groups: usize) {
    for _ in 0..groups {
        let after = generator.last_position();
        let group = generator.group();
        for store in stores {
            let lease = store.lead().await.unwrap();
            let outcome = store.commit(&lease, after, group.clone()).await;
            assert!(matches!(outcome, Committed::Done), "{outcome:?}");
        }
    }
}

/// One of the figures of a store.
pub(crate) async fn figure(store: &dyn Storage, name: &str) -> u64 {
    let stats = store.stats().await.unwrap();
    stats
        .details
        .iter()
        .find(|detail| detail.name == name)
        .unwrap()
        .value
}

/// Waits until the index has nothing more to do in the background.
pub(crate) async fn index_at_rest(store: &dyn Storage, run_events: u64) {
    let mut seen = (0, 0);
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let now = (
            figure(store, "index_runs").await,
            figure(store, "index_merges").await,
        );
        let tail = figure(store, "index_tail_events").await;
        if now == seen && tail < 2 * run_events {
            return;
        }
        seen = now;
    }
}

/// The database of a store that is closed, for looking into it and for damaging it.
pub(crate) fn database(config: &SledConfig) -> sled::Db {
    for _ in 0..500 {
        let opened = sled::Config::new()
            .path(config.directory.join("sled"))
            .segment_size(config.segment_bytes)
            .open();
        match opened {
            Ok(database) => return database,
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(10)),
        }
    }
    panic!("the database stays locked");
}
