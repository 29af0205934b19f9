//! After an error nothing is written until a restart; what is acknowledged stays readable.

use super::unknown;
use crate::engine::Fault;
use crate::{SledConfig, SledStorage};
use icecore_core::{Direction, Error, PageLimit, Position, StoreId};
use icecore_storage::contract::generate::Numbering;
use icecore_storage::{Committed, Health, Storage};
use uuid::Uuid;

#[tokio::test]
async fn a_failed_sync_ends_writing_until_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let config = SledConfig {
        segment_bytes: 512 << 10,
        free_bytes_min: Some(0),
        ballast_bytes: 0,
        ..SledConfig::new(directory.path(), StoreId::new(Uuid::from_u128(1)))
    };
    let storage = SledStorage::open(config.clone()).unwrap();
    let mut numbering = Numbering::default();
    let lease = storage.lead().await.unwrap();
    let group = vec![numbering.append("a-1", 2)];
    let outcome = storage.commit(&lease, Position::START, group).await;
    assert!(matches!(outcome, Committed::Done));

    storage.fail("the disk is gone");
    let group = vec![numbering.append("a-1", 1)];
    let outcome = storage
        .commit(&lease, Position::new(2), group.clone())
        .await;
    assert!(
        matches!(outcome, Committed::Unknown(Error::Unavailable { .. })),
        "{outcome:?}"
    );
    let error = storage.lead().await.unwrap_err().to_string();
    assert!(
        error.contains("restart") && error.contains("the disk is gone"),
        "{error}"
    );
    assert!(matches!(storage.health(), Health::Failed(_)));
    let page = storage
        .read_all(Position::FIRST, Direction::Forwards, PageLimit::MAX)
        .await;
    assert_eq!(page.unwrap().events.len(), 2);
    assert!(storage.close().await.is_err());

    let storage = SledStorage::open(config).unwrap();
    assert_eq!(storage.health(), Health::Healthy);
    let lease = storage.lead().await.unwrap();
    let outcome = storage.commit(&lease, Position::new(2), group).await;
    assert!(matches!(outcome, Committed::Done));
}

#[tokio::test]
async fn numbers_with_a_gap_are_refused_before_anything_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let config = SledConfig::new(directory.path(), StoreId::new(Uuid::from_u128(1)));
    let storage = SledStorage::open(config).unwrap();
    let mut numbering = Numbering::default();
    let sound = numbering.clone().append("a-1", 1);
    numbering.event("a-1");
    let lease = storage.lead().await.unwrap();
    let late = vec![numbering.append("a-1", 1)];
    let outcome = storage.commit(&lease, Position::START, late).await;
    assert!(
        matches!(outcome, Committed::Unknown(Error::Internal { .. })),
        "{outcome:?}"
    );
    let outcome = storage.commit(&lease, Position::START, vec![sound]).await;
    assert!(matches!(outcome, Committed::Done));
}

#[test]
fn a_failed_write_gives_its_bare_reason() {
    let Committed::Unknown(error) = unknown(Fault("the disk is gone".to_owned())) else {
        panic!("nobody knows what is on disk");
    };
    assert_eq!(error.to_string(), "internal error: the disk is gone");
}
