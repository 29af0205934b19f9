//! An append that is sent again: the original answer, nothing written.

use crate::support::{
    Any, NoStream, StreamExists, TestStore, append, append_to, condition, event, exact, name, open,
    open_with, outcome, reopen, settle, typed,
};
use icecore_core::{Append, AppendBuilder, Appended, DeleteKind, ExpectedRevision, Result};
use icecore_eventstore::StoreConfig;
use std::sync::Arc;

/// A store that remembers the ids of so few events that almost every retry is late.
async fn open_forgetful() -> TestStore {
    let config = StoreConfig {
        id_window_events: 1,
        ..StoreConfig::default()
    };
    open_with(config).await
}

/// Appends and checks the outcome; nothing is written unless it is said so.
async fn check(
    store: &TestStore,
    (stream, expected, ids): (&str, ExpectedRevision, &[u128]),
    wanted: &str,
) {
    let before = store.last_position();
    let found = outcome(&store.put(stream, expected, ids).await);
    assert_eq!(found, wanted, "{stream} {expected} {ids:?}");
    assert_eq!(store.last_position(), before, "{stream} {expected} {ids:?}");
}

/// The scenario of `KurrentDB`'s Python client: events appended one by one, then sent again.
async fn replays(store: TestStore) {
    store.put("s", NoStream, &[1]).await.unwrap();
    store.put("s", exact(0), &[2]).await.unwrap();
    store.put("s", exact(1), &[3]).await.unwrap();
    store.put("other", Any, &[9]).await.unwrap();
    check(&store, ("s", NoStream, &[1]), "ok 0@1").await;
    check(&store, ("s", exact(0), &[2]), "ok 1@2").await;
    check(&store, ("s", exact(1), &[3]), "ok 2@3").await;
    check(&store, ("s", NoStream, &[1, 2]), "ok 1@2").await;
    check(&store, ("s", exact(0), &[2, 3]), "ok 2@3").await;
    check(&store, ("s", NoStream, &[1, 2, 3]), "ok 2@3").await;
    check(&store, ("s", exact(0), &[2, 3, 4]), "partly").await;
    check(&store, ("s", NoStream, &[1, 3]), "partly").await;
    check(&store, ("s", NoStream, &[2]), "wrong").await;
    check(&store, ("s", exact(0), &[1]), "wrong").await;
    check(&store, ("s", exact(1), &[3, 4]), "partly").await;
    check(&store, ("s", exact(1), &[4, 3]), "wrong").await;
    check(&store, ("other", NoStream, &[1]), "wrong").await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_at_its_place_gets_the_original_answer() {
    replays(open().await).await;
}

#[tokio::test(start_paused = true)]
async fn a_late_retry_at_its_place_gets_the_original_answer() {
    replays(open_forgetful().await).await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_a_restart_gets_the_original_answer() {
    for id_window_events in [0, 1, 100] {
        let config = StoreConfig {
            id_window_events,
            ..StoreConfig::default()
        };
        let store = open_with(config.clone()).await;
        store.put("s", NoStream, &[1, 2]).await.unwrap();
        store.put("other", Any, &[8]).await.unwrap();
        let store = crate::support::reopen(store.storage.clone(), config).await;
        check(&store, ("s", NoStream, &[1, 2]), "ok 1@2").await;
        if id_window_events == 100 {
            check(&store, ("s", Any, &[1, 2]), "ok 1@2").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn any_and_exists_know_the_newest_ids_of_the_stream() {
    let store = open().await;
    store.put("s", Any, &[1, 2]).await.unwrap();
    store.put("s", Any, &[3]).await.unwrap();
    for expected in [Any, StreamExists] {
        check(&store, ("s", expected, &[1, 2]), "ok 1@2").await;
        check(&store, ("s", expected, &[2]), "ok 1@2").await;
        check(&store, ("s", expected, &[3]), "ok 2@3").await;
        check(&store, ("s", expected, &[3, 4]), "partly").await;
        check(&store, ("s", expected, &[4, 3]), "partly").await;
    }
    let other = store.put("t", Any, &[1, 2]).await;
    assert_eq!(outcome(&other), "ok 1@5", "ids count per stream");
}

#[tokio::test(start_paused = true)]
async fn the_window_of_ids_has_exactly_its_size() {
    let config = StoreConfig {
        id_window_events: 3,
        ..StoreConfig::default()
    };
    let store = open_with(config).await;
    store.put("s", Any, &[1]).await.unwrap();
    store.put("t", Any, &[2, 3]).await.unwrap();
    check(&store, ("s", Any, &[1]), "ok 0@1").await;
    store.put("t", Any, &[4]).await.unwrap();
    assert_eq!(outcome(&store.put("s", Any, &[1]).await), "ok 1@5");
}

#[tokio::test(start_paused = true)]
async fn a_start_reads_no_more_for_the_window_than_it_may() {
    for (read_bytes, oldest) in [(0, 9), (1, 8), (20_000, 6), (1_000_000, 0)] {
        let config = StoreConfig {
            id_window_read_bytes: read_bytes,
            ..StoreConfig::default()
        };
        let store = open().await;
        for id in 1..=8 {
            let mut large = event(id);
            large.data = format!("\"{}\"", "x".repeat(8_000)).into();
            let append = Append::to_stream(name("s"), Any, vec![large]).unwrap();
            store.append(append).await.unwrap();
        }
        let store = crate::support::reopen(store.storage.clone(), config).await;
        for id in oldest.max(1)..=8 {
            let wanted = format!("ok {}@{id}", id - 1);
            check(&store, ("s", Any, &[id]), &wanted).await;
        }
        let Some(older) = oldest.checked_sub(1) else {
            continue;
        };
        let again = outcome(&store.put("s", Any, &[older]).await);
        assert_eq!(again, "ok 8@9", "{read_bytes} bytes cover no more");
    }
}

#[tokio::test(start_paused = true)]
async fn the_window_of_ids_takes_no_more_memory_than_it_may() {
    let config = StoreConfig {
        id_window_bytes: 20_000,
        ..StoreConfig::default()
    };
    let store = open_with(config).await;
    store.put("s", Any, &[1]).await.unwrap();
    check(&store, ("s", Any, &[1]), "ok 0@1").await;
    let others: Vec<_> = (2..1_000).collect();
    store.put("other", Any, &others).await.unwrap();
    check(&store, ("other", Any, &[999]), "ok 997@999").await;
    let again = outcome(&store.put("s", Any, &[1]).await);
    assert_eq!(again, "ok 1@1000", "it has left the window");
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_has_half_left_the_window_is_still_whole() {
    let config = StoreConfig {
        id_window_events: 2,
        ..StoreConfig::default()
    };
    let store = open_with(config).await;
    store.put("s", Any, &[1, 2, 3]).await.unwrap();
    check(&store, ("s", Any, &[1, 2, 3]), "ok 2@3").await;
    check(&store, ("s", Any, &[9, 2, 3]), "partly").await;
}

fn both(first: &[u128], second: &[u128]) -> Append {
    append_to(&[("a", NoStream, first), ("b", NoStream, second)])
        .build()
        .unwrap()
}

async fn retries_of_several_streams(store: TestStore) {
    let original = store.append(both(&[1, 2], &[3, 4])).await.unwrap();
    store.put("c", Any, &[5, 6]).await.unwrap();
    store.put("a", Any, &[7]).await.unwrap();
    store.put("b", Any, &[8]).await.unwrap();
    let before = store.last_position();
    assert_eq!(
        store.append(both(&[1, 2], &[3, 4])).await.unwrap(),
        original
    );
    assert_eq!(outcome(&store.append(both(&[1, 2], &[9])).await), "partly");
    assert_eq!(
        outcome(&store.append(both(&[1, 9], &[3, 4])).await),
        "partly"
    );
    assert_eq!(outcome(&store.append(both(&[9], &[10])).await), "wrong");
    assert_eq!(store.last_position(), before);
}

#[tokio::test(start_paused = true)]
async fn a_retry_of_several_streams_is_whole_or_refused() {
    retries_of_several_streams(open().await).await;
}

#[tokio::test(start_paused = true)]
async fn a_late_retry_of_several_streams_is_whole_or_refused() {
    retries_of_several_streams(open_forgetful().await).await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_does_not_ask_checked_streams_or_conditions_again() {
    let store = open().await;
    let append = || {
        let mut append = append_to(&[("a", NoStream, &[1]), ("checked", NoStream, &[])]);
        append.condition(condition("Paid", &[], 0));
        append.build().unwrap()
    };
    store.append(append()).await.unwrap();
    store.put("checked", NoStream, &[2]).await.unwrap();
    let paid = Append::to_stream(name("p"), Any, vec![typed(3, "Paid", &[])]).unwrap();
    store.append(paid).await.unwrap();
    assert_eq!(outcome(&store.append(append()).await), "ok 0@1");
    let mut fresh = append_to(&[("b", NoStream, &[5])]);
    fresh.condition(condition("Paid", &[], 0));
    assert_eq!(
        outcome(&store.append(fresh.build().unwrap()).await),
        "condition"
    );
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_recognised_though_its_condition_can_no_longer_be_checked() {
    let config = StoreConfig {
        condition_events: 10,
        ..StoreConfig::default()
    };
    let store = open_with(config).await;
    let append = |id| {
        let mut append = append_to(&[("a", Any, &[id])]);
        append.condition(condition("T", &["x:1"], 0));
        append.build().unwrap()
    };
    assert_eq!(outcome(&store.append(append(1)).await), "ok 0@1");
    for id in 0..600u128 {
        let event = typed(1_000 + id, "Other", &["x:1"]);
        let append = Append::to_stream(name("noise"), Any, vec![event]).unwrap();
        store.append(append).await.unwrap();
    }
    assert_eq!(outcome(&store.append(append(1)).await), "ok 0@1");
    assert_eq!(outcome(&store.append(append(2)).await), "exhausted");
}

/// Sends the append twice while commits are held, so that both are decided before any is durable.
async fn twice(store: &TestStore, append: Append) -> [Result<Appended>; 2] {
    let first = tokio::spawn(sent(store, append.clone()));
    settle().await;
    let second = tokio::spawn(sent(store, append));
    settle().await;
    assert!(!first.is_finished() && !second.is_finished());
    store.storage.release_all();
    [first.await.unwrap(), second.await.unwrap()]
}

fn sent(store: &TestStore, append: Append) -> impl Future<Output = Result<Appended>> + use<> {
    let store = store.store.clone();
    async move { store.append(append).await }
}

#[tokio::test(start_paused = true)]
async fn a_retry_waits_for_the_group_in_flight() {
    for expected in [NoStream, Any] {
        for store in [open().await, open_forgetful().await] {
            store.storage.hold();
            let found = twice(&store, append("s", expected, &[1])).await;
            assert_eq!(found.map(|found| outcome(&found)), ["ok 0@1", "ok 0@1"]);
            assert_eq!(store.last_position().get(), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_in_the_same_group_is_written_once() {
    for expected in [NoStream, Any] {
        for store in [open().await, open_forgetful().await] {
            store.storage.hold();
            let blocker = tokio::spawn(sent(&store, append("blocker", Any, &[100])));
            settle().await;
            let found = twice(&store, append("s", expected, &[1])).await;
            assert_eq!(found.map(|found| outcome(&found)), ["ok 0@2", "ok 0@2"]);
            blocker.await.unwrap().unwrap();
            assert_eq!(store.last_position().get(), 2);
            assert_eq!(*store.storage.commits.lock().unwrap(), 2);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_retry_of_the_creation_is_known_after_truncation_and_deletion() {
    for store in [open().await, open_forgetful().await] {
        let stream = name("s");
        store.put("s", NoStream, &[1, 2]).await.unwrap();
        store.put("s", exact(1), &[3]).await.unwrap();
        let first = icecore_core::Revision::new(2);
        store.truncate(&stream, first).await.unwrap();
        check(&store, ("s", NoStream, &[1, 2]), "ok 1@2").await;
        store.delete(&stream, Any, DeleteKind::Soft).await.unwrap();
        check(&store, ("s", NoStream, &[1, 2]), "ok 1@2").await;
        let reopened = outcome(&store.put("s", NoStream, &[4]).await);
        assert_eq!(reopened, "ok 3@7");
        check(&store, ("s", NoStream, &[4]), "ok 3@7").await;
        check(&store, ("s", NoStream, &[1, 2]), "ok 1@2").await;
        check(&store, ("s", NoStream, &[5]), "wrong").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_reopening_append_is_known_after_another_deletion() {
    let store = open().await;
    let stream = name("s");
    store.put("s", NoStream, &[1]).await.unwrap();
    store.delete(&stream, Any, DeleteKind::Soft).await.unwrap();
    assert_eq!(outcome(&store.put("s", NoStream, &[2]).await), "ok 1@4");
    store.delete(&stream, Any, DeleteKind::Soft).await.unwrap();
    check(&store, ("s", NoStream, &[2]), "ok 1@4").await;
}

#[tokio::test(start_paused = true)]
async fn metadata_and_events_in_one_append_are_known_again_when_they_reopened_the_stream() {
    for store in [open().await, open_forgetful().await] {
        store.put("s", NoStream, &[1]).await.unwrap();
        let soft = DeleteKind::Soft;
        store.delete(&name("s"), Any, soft).await.unwrap();
        let append = || {
            let mut append = AppendBuilder::default();
            let s = append.stream(name("s"), NoStream).unwrap();
            let m = append.stream(name("$$s"), exact(0)).unwrap();
            let mut metadata = event(3);
            metadata.data = r#"{"owner":"me"}"#.into();
            append.event(s, event(2), None).unwrap();
            append.event(m, metadata, None).unwrap();
            append.build().unwrap()
        };
        let original = store.append(append()).await.unwrap();
        store.put("other", Any, &[8, 9]).await.unwrap();
        let before = store.last_position();
        assert_eq!(store.append(append()).await.unwrap(), original);
        assert_eq!(store.last_position(), before);
        assert_eq!(store.revisions("s").await.unwrap(), [1]);
        let info = store.stream_info(&name("s")).await.unwrap();
        assert_eq!(&info.metadata[..], br#"{"$tb":1,"owner":"me"}"#);
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_stream_knows_no_retries() {
    let store = open().await;
    store.put("s", NoStream, &[1]).await.unwrap();
    let closed = DeleteKind::Tombstone;
    store.delete(&name("s"), Any, closed).await.unwrap();
    check(&store, ("s", NoStream, &[1]), "deleted").await;
    check(&store, ("s", Any, &[1]), "deleted").await;
}

#[tokio::test(start_paused = true)]
async fn a_store_serves_readers_before_it_knows_the_newest_ids_and_appends_wait_for_them() {
    let store = open().await;
    store.put("s", Any, &[1, 2]).await.unwrap();
    let storage = Arc::clone(&store.storage);
    drop(store);
    storage.hold_newest();
    let store = reopen(Arc::clone(&storage), StoreConfig::default()).await;
    assert_eq!(store.revisions("s").await.unwrap(), [0, 1]);
    let retry = tokio::spawn({
        let store = store.store.clone();
        async move { store.append(append("s", Any, &[1, 2])).await }
    });
    settle().await;
    assert!(!retry.is_finished(), "without the ids it is no retry");
    storage.release_newest();
    assert_eq!(outcome(&retry.await.unwrap()), "ok 1@2");
    assert_eq!(store.revisions("s").await.unwrap(), [0, 1]);
}
