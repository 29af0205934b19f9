//! A disk without room: what is refused, what goes on, and how a store opens all the same.

use crate::stores::{commit, config, figure, open};
use crate::system::TestSystem;
use icecore_core::{Error, Position};
use icecore_storage::contract::generate::{Generator, Numbering};
use icecore_storage::{Committed, Health, Removal, RemovalKind, Storage};
use icecore_storage_sled::SledConfig;
use std::sync::Arc;
use std::time::Duration;

const MIB: u64 = 1 << 20;
const LIMIT: u64 = 100 * MIB;
const BALLAST: u64 = MIB;

fn config_on(directory: &tempfile::TempDir, system: &Arc<TestSystem>) -> SledConfig {
    SledConfig {
        free_bytes_min: Some(LIMIT),
        ballast_bytes: BALLAST,
        system: system.clone(),
        ..config(directory.path())
    }
}

/// Waits for what a thread of the store does by and by.
async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    for _ in 0..3_000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not seen: {what}");
}

#[tokio::test]
async fn new_events_are_refused_below_the_limit_until_there_is_room_again() {
    let directory = tempfile::tempdir().unwrap();
    let system = TestSystem::new(LIMIT);
    let storage = open(&config_on(&directory, &system));
    storage.admits_writes().unwrap();
    assert_eq!(storage.health(), Health::Healthy);
    system.set_free(LIMIT - 1);
    until("a refusal", async || storage.admits_writes().is_err()).await;
    let Err(Error::Unavailable { reason }) = storage.admits_writes() else {
        panic!("nothing was written");
    };
    let path = directory.path().display().to_string();
    for part in [
        &path,
        "104857599 bytes",
        "below 104857600",
        "free some space",
    ] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    assert_eq!(storage.health(), Health::Degraded(reason));
    assert_eq!(figure(&storage, "disk_free_bytes").await, LIMIT - 1);
    assert_eq!(figure(&storage, "disk_free_bytes_min").await, LIMIT);
    system.set_free(LIMIT);
    until("room", async || storage.admits_writes().is_ok()).await;
    assert_eq!(storage.health(), Health::Healthy);
}

#[tokio::test]
async fn what_frees_space_goes_on_below_the_limit() {
    let directory = tempfile::tempdir().unwrap();
    let storage = open(&config_on(&directory, &TestSystem::new(0)));
    assert!(storage.admits_writes().is_err());
    let mut numbering = Numbering::default();
    let lease = storage.lead().await.unwrap();
    // What was taken while there was room is written.
    let group = vec![numbering.append("a-1", 3)];
    let outcome = storage.commit(&lease, Position::START, group).await;
    assert!(matches!(outcome, Committed::Done), "{outcome:?}");
    let removal = Removal {
        position: Position::FIRST,
        kind: RemovalKind::Event,
    };
    let removed = storage.remove(&lease, vec![removal]).await.unwrap();
    assert_eq!(removed.positions, 1);
    let compacted = storage.compact(&lease, Position::FIRST, Position::new(3));
    compacted.await.unwrap();
}

#[tokio::test]
async fn a_limit_of_nothing_refuses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let system = TestSystem::new(0);
    let storage = open(&SledConfig {
        free_bytes_min: Some(0),
        ..config_on(&directory, &system)
    });
    storage.admits_writes().unwrap();
    assert_eq!(storage.health(), Health::Healthy);
}

#[tokio::test]
async fn the_ballast_goes_when_a_full_disk_is_opened_and_comes_back_with_the_room() {
    let directory = tempfile::tempdir().unwrap();
    let system = TestSystem::new(LIMIT + 2 * BALLAST);
    let config = config_on(&directory, &system);
    let ballast = directory.path().join("ballast");
    let storage = open(&config);
    commit(&[&storage], &mut Generator::new(3), 2).await;
    until("the ballast", async || ballast.exists()).await;
    assert_eq!(figure(&storage, "ballast_bytes").await, BALLAST);
    system.set_free(BALLAST - 1);
    until("a refusal", async || storage.admits_writes().is_err()).await;
    assert!(ballast.exists(), "nobody else gets it");
    storage.close().await.unwrap();

    let storage = open(&config);
    assert!(!ballast.exists());
    assert!(storage.admits_writes().is_err());
    assert!(*storage.last_position().borrow() > Position::START);
    system.set_free(LIMIT + 2 * BALLAST);
    until("the ballast", async || ballast.exists()).await;
    storage.admits_writes().unwrap();
    storage.close().await.unwrap();
    open(&config).close().await.unwrap();
    assert!(ballast.exists(), "there was room");
}
