//! The in-memory engine keeps the contract.

use icecore_core::StoreId;
use icecore_storage::{MemoryStorage, Storage, contract};
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_the_contract() {
    contract::run_all(|| async {
        Arc::new(MemoryStorage::new(StoreId::new(uuid::Uuid::nil()))) as Arc<dyn Storage>
    })
    .await;
}
