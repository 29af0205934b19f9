//! The contract of every engine, with the usual sizes and with tiny ones.

use crate::stores;
use icecore_storage::{Storage, contract};
use icecore_storage_sled::SledConfig;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

async fn check(config: fn(&Path) -> SledConfig) {
    let directory = tempfile::tempdir().unwrap();
    let stores = AtomicU32::new(0);
    contract::run_all(|| async {
        let number = stores.fetch_add(1, Relaxed).to_string();
        Arc::new(stores::open(&config(&directory.path().join(number)))) as Arc<dyn Storage>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_keeps_the_contract() {
    check(stores::config).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_keeps_the_contract_with_tiny_chunks_and_runs() {
    check(stores::tiny).await;
}
