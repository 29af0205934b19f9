//! The log as it is stored, and what a verification says about it.

use crate::support::{Any, NoStream, TestStore, open};
use futures::TryStreamExt;
use icecore_core::{Error, Finding, Hash, LogBatch, Position, Verified, VerifyMessage, VerifyStep};
use icecore_storage::{Damage, ROOTS_PER_GROUP, Storage};

fn position(position: u64) -> Position {
    Position::new(position)
}

fn damage(first: u64, last: u64) -> Damage {
    Damage {
        first: position(first),
        last: position(last),
        reason: "rotten".to_owned(),
    }
}

async fn verify(store: &TestStore) -> (Vec<String>, Verified) {
    let messages: Vec<_> = store.verify().try_collect().await.unwrap();
    let findings = messages.iter().filter_map(|message| match message {
        VerifyMessage::Finding(finding) => Some(finding.to_string()),
        _ => None,
    });
    let Some(VerifyMessage::Verified(verified)) = messages.last() else {
        panic!("it broke off: {messages:?}");
    };
    let reached = |step| {
        let mut progress = messages.iter().filter_map(|message| match message {
            VerifyMessage::Progress(progress) if progress.step == step => Some(progress),
            _ => None,
        });
        progress
            .next_back()
            .is_some_and(|last| last.done == last.total)
    };
    let is_empty = verified.last_position == Position::START;
    assert!(is_empty || reached(VerifyStep::Log));
    assert!(reached(VerifyStep::Indexes));
    (findings.collect(), verified.clone())
}

async fn filled() -> TestStore {
    let store = open().await;
    let ids: Vec<_> = (1..=400).collect();
    store.put("a", NoStream, &ids).await.unwrap();
    store.put("b", NoStream, &[1_001, 1_002]).await.unwrap();
    store
}

#[tokio::test]
async fn a_sound_store_has_no_findings_and_the_head_of_its_tree() {
    let store = filled().await;
    let (findings, verified) = verify(&store).await;
    assert_eq!(findings, Vec::<String>::new());
    assert_eq!(verified.store_id, store.store_id());
    assert_eq!(
        (verified.whole, verified.last_position),
        (402, position(402))
    );
    let head = store.tree_head(None).await.unwrap();
    assert_eq!(verified.tree, Some(head.root));
}

#[tokio::test]
async fn what_cannot_be_read_is_named_and_the_rest_is_read_on() {
    let store = filled().await;
    *store.storage.rotten.lock().unwrap() = Some(damage(7, 9));
    let (findings, verified) = verify(&store).await;
    assert_eq!(findings, ["positions 7 to 9: rotten"]);
    assert_eq!((verified.whole, verified.tree), (399, None));
    let batches: Vec<_> = store.read_log(Position::FIRST).try_collect().await.unwrap();
    let named: Vec<_> = batches
        .iter()
        .filter_map(|batch| batch.damage.clone())
        .collect();
    assert_eq!(named, [Finding::at(position(7), position(9), "rotten")]);
    let read = batches.iter().flat_map(|batch| &batch.entries);
    let positions: Vec<_> = read.map(|entry| entry.position.get()).collect();
    assert!((1..=402).filter(|at| !(7..=9).contains(at)).eq(positions));
}

#[tokio::test]
async fn an_index_that_says_something_else_is_named() {
    let store = filled().await;
    *store.storage.rotten_index.lock().unwrap() = Some(damage(1, 400));
    let (findings, verified) = verify(&store).await;
    assert_eq!(findings, ["positions 1 to 400: rotten"]);
    assert!(verified.tree.is_some());
}

#[tokio::test]
async fn a_kept_hash_that_is_another_one_is_named() {
    let store = filled().await;
    let lease = store.storage.lead().await.unwrap();
    let wrong = vec![Hash([9; 32]); ROOTS_PER_GROUP];
    store.storage.keep_roots(&lease, 0, wrong).await.unwrap();
    let (findings, _) = verify(&store).await;
    assert_eq!(
        findings,
        ["positions 1 to 256: the hash that was kept of them is not theirs"]
    );
}

#[tokio::test]
async fn the_log_is_read_to_where_it_ended_at_the_beginning() {
    let store = filled().await;
    let reading = store.read_log(position(401));
    store.put("b", Any, &[1_003]).await.unwrap();
    let batches: Vec<LogBatch> = reading.try_collect().await.unwrap();
    let read: Vec<_> = batches.iter().flat_map(|batch| &batch.entries).collect();
    assert_eq!(read.len(), 2);
    assert!(
        batches
            .iter()
            .all(|batch| batch.last_position == position(402))
    );

    let at_end: Vec<_> = store.read_log(position(404)).try_collect().await.unwrap();
    assert!(at_end.len() == 1 && at_end[0].entries.is_empty());
    let beyond: Result<Vec<_>, _> = store.read_log(position(405)).try_collect().await;
    let Err(Error::InvalidArgument { field, .. }) = beyond else {
        panic!("{beyond:?}");
    };
    assert_eq!(field, "from_position");
}

#[tokio::test]
async fn an_empty_store_is_sound() {
    let store = open().await;
    let (findings, verified) = verify(&store).await;
    assert_eq!(
        (findings.len(), verified.last_position),
        (0, Position::START)
    );
    let batches: Vec<_> = store.read_log(Position::START).try_collect().await.unwrap();
    assert!(batches.len() == 1 && batches[0].entries.is_empty());
}
