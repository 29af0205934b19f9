//! Syncs that fail, hang, or that sled only pretends to make.

use crate::stores::{config, figure, open};
use crate::system::TestSystem;
use icecore_core::{Direction, PageLimit, Position};
use icecore_storage::contract::generate::Numbering;
use icecore_storage::{Committed, Health, NumberedAppend, Storage};
use icecore_storage_sled::{SledConfig, SledStorage};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

fn config_on(directory: &tempfile::TempDir, system: &Arc<TestSystem>) -> SledConfig {
    SledConfig {
        system: system.clone(),
        ..config(directory.path())
    }
}

/// Waits until the health of the store is as it shall be.
async fn until(storage: &SledStorage, is_so: impl Fn(&Health) -> bool) {
    for _ in 0..3_000 {
        if is_so(&storage.health()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the store is {:?}", storage.health());
}

fn begin(
    storage: &Arc<SledStorage>,
    after: u64,
    group: Vec<NumberedAppend>,
) -> JoinHandle<Committed> {
    let storage = storage.clone();
    tokio::spawn(async move {
        let lease = storage.lead().await.unwrap();
        storage.commit(&lease, Position::new(after), group).await
    })
}

async fn readable(storage: &SledStorage) -> usize {
    let (from, limit) = (Position::FIRST, PageLimit::MAX);
    let page = storage.read_all(from, Direction::Forwards, limit).await;
    page.unwrap().events.len()
}

#[tokio::test]
async fn where_sled_does_not_sync_each_flush_is_followed_by_a_sync_of_our_own() {
    let directory = tempfile::tempdir().unwrap();
    let system = TestSystem::new(0);
    system.leave_syncs_to_us();
    let storage = Arc::new(open(&SledConfig {
        sync_budget_bytes: 16 << 10,
        ..config_on(&directory, &system)
    }));
    let Health::Degraded(reason) = storage.health() else {
        panic!("nobody is told");
    };
    assert!(reason.contains("own sync is not durable"), "{reason}");
    let mut numbering = Numbering::default();
    let mut after = 0;
    // The last append takes more than one barrier.
    for count in [1, 1, 3_000] {
        let (syncs, flushes) = (system.syncs(), figure(&*storage, "flushes").await);
        let group = vec![numbering.append("a-1", count)];
        let outcome = begin(&storage, after, group).await.unwrap();
        assert!(matches!(outcome, Committed::Done), "{outcome:?}");
        let passed = figure(&*storage, "flushes").await - flushes;
        assert_eq!(system.syncs() - syncs, passed);
        assert!(passed > u64::from(count > 1));
        after += count as u64;
    }
}

#[tokio::test]
async fn where_sled_syncs_nothing_is_synced_twice() {
    let directory = tempfile::tempdir().unwrap();
    let system = TestSystem::new(0);
    let storage = Arc::new(open(&config_on(&directory, &system)));
    assert_eq!(storage.health(), Health::Healthy);
    let group = vec![Numbering::default().append("a-1", 3)];
    let outcome = begin(&storage, 0, group).await.unwrap();
    assert!(matches!(outcome, Committed::Done), "{outcome:?}");
    assert_eq!(system.syncs(), 0);
}

/// A store whose next commit does not end, and that commit.
async fn hanging(
    directory: &tempfile::TempDir,
    limits: (Duration, Duration),
) -> (Arc<TestSystem>, Arc<SledStorage>, JoinHandle<Committed>) {
    let system = TestSystem::new(0);
    system.leave_syncs_to_us();
    let storage = Arc::new(open(&SledConfig {
        barrier_age_max: limits.0,
        stall_timeout: limits.1,
        ..config_on(directory, &system)
    }));
    let mut numbering = Numbering::default();
    let first = vec![numbering.append("a-1", 2)];
    let outcome = begin(&storage, 0, first).await.unwrap();
    assert!(matches!(outcome, Committed::Done), "{outcome:?}");
    system.hang(true);
    let next = begin(&storage, 2, vec![numbering.append("a-1", 1)]);
    (system, storage, next)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_barrier_that_does_not_end_is_told_and_reads_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let (system, storage, commit) = hanging(&directory, (Duration::ZERO, Duration::MAX)).await;
    let is_stalled = |health: &Health| matches!(health, Health::Stalled(reason) if reason.contains("not finished a sync"));
    until(&storage, is_stalled).await;
    assert_eq!(readable(&storage).await, 2);
    assert!(!commit.is_finished(), "nothing is acknowledged");
    system.hang(false);
    let outcome = commit.await.unwrap();
    assert!(matches!(outcome, Committed::Done), "{outcome:?}");
    until(&storage, |health| matches!(health, Health::Degraded(_))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_barrier_that_does_not_end_in_time_is_a_failure() {
    let directory = tempfile::tempdir().unwrap();
    let (system, storage, commit) = hanging(&directory, (Duration::ZERO, Duration::ZERO)).await;
    until(&storage, |health| matches!(health, Health::Failed(_))).await;
    assert!(!commit.is_finished(), "nothing is acknowledged");
    system.hang(false);
    commit.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_sync_not_even_the_commit_under_way_is_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let (system, storage, commit) = hanging(&directory, (Duration::MAX, Duration::MAX)).await;
    system.fail_others();
    until(&storage, |health| matches!(health, Health::Failed(_))).await;
    system.hang(false);
    let outcome = commit.await.unwrap();
    assert!(matches!(outcome, Committed::Unknown(_)), "{outcome:?}");
    assert_eq!(*storage.last_position().borrow(), Position::new(2));
    assert_eq!(readable(&storage).await, 2);
    assert!(storage.lead().await.is_err());
    assert!(storage.close().await.is_err());
}
