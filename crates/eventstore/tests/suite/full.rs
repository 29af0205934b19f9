//! A storage without room for new events: nothing is written, and everything else goes on.

use crate::support::{Any, NoStream, append, exact, name, open, outcome, settle};
use icecore_core::{DeleteKind, Error, Result, Revision, ScavengeMode};
use icecore_storage::{Health, Storage};
use std::time::Duration;

fn is_full<T>(result: &Result<T>) -> bool {
    matches!(result, Err(Error::Unavailable { reason }) if reason == "the disk is full")
}

#[tokio::test(start_paused = true)]
async fn whatever_would_write_is_refused_until_there_is_room_again() {
    let store = open().await;
    let s = name("s");
    store.put("s", NoStream, &[1, 2]).await.unwrap();
    store.storage.set_full(true);
    assert!(is_full(&store.put("s", Any, &[3]).await));
    assert!(is_full(&store.import(append("s", Any, &[3])).await));
    assert!(is_full(&store.truncate(&s, Revision::new(1)).await));
    for kind in [DeleteKind::Soft, DeleteKind::Tombstone] {
        assert!(is_full(&store.delete(&s, Any, kind).await));
    }
    assert_eq!(*store.storage.commits.lock().unwrap(), 1);
    assert_eq!(store.revisions("s").await.unwrap(), [0, 1]);
    store.storage.set_full(false);
    assert_eq!(outcome(&store.put("s", exact(1), &[3]).await), "ok 2@3");
}

#[tokio::test(start_paused = true)]
async fn what_writes_nothing_is_answered_as_ever() {
    let store = open().await;
    store.put("s", NoStream, &[1, 2]).await.unwrap();
    store.storage.set_full(true);
    let retry = store.put("s", NoStream, &[1, 2]).await;
    assert_eq!(outcome(&retry), "ok 1@2");
    assert_eq!(outcome(&store.put("s", NoStream, &[3]).await), "wrong");
    assert_eq!(outcome(&store.put("s", exact(1), &[]).await), "ok 1@2");
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_before_is_written() {
    let store = open().await;
    store.storage.hold();
    let (first, second) = (store.store.clone(), store.store.clone());
    let first = tokio::spawn(async move { first.append(append("s", Any, &[1])).await });
    settle().await;
    let second = tokio::spawn(async move { second.append(append("s", Any, &[2])).await });
    settle().await;
    store.storage.set_full(true);
    store.storage.release_all();
    assert_eq!(outcome(&first.await.unwrap()), "ok 0@1");
    assert_eq!(outcome(&second.await.unwrap()), "ok 1@2");
    assert!(is_full(&store.put("s", Any, &[3]).await));
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_fails_in_the_background_is_noticed() {
    let store = open().await;
    store.put("s", NoStream, &[1]).await.unwrap();
    store.storage.fail();
    let why = store.failed().await.to_string();
    assert!(why.contains("a sync failed"), "{why}");
    assert!(matches!(store.health(), Health::Failed(_)));
    assert_eq!(store.revisions("s").await.unwrap(), [0]);
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_is_closed_has_not_failed() {
    let store = open().await;
    store.close().await.unwrap();
    assert!(matches!(store.storage.health(), Health::Failed(_)));
    let failed = tokio::time::timeout(Duration::from_secs(60), store.failed());
    assert!(failed.await.is_err());
}

#[tokio::test]
async fn what_gives_room_back_goes_on() {
    let store = open().await;
    store.put("s", NoStream, &[1, 2, 3]).await.unwrap();
    store.truncate(&name("s"), Revision::new(1)).await.unwrap();
    store.storage.set_full(true);
    let done = store.scavenge(ScavengeMode::Remove, |_| true).await;
    assert_eq!(done.unwrap().removed_events, 1);
    let erased = store.erase(&name("s"), Revision::new(1), "").await;
    assert_eq!(erased.unwrap().position.get(), 2);
}
