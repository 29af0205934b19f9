//! Commits that fail: who hears what, and who goes on.

use crate::support::{
    Any, Fault, NoStream, TestStore, append, events, exact, open, open_with, outcome, settle,
};
use icecore_core::{Append, Appended, Error, Read, Result};
use icecore_eventstore::StoreConfig;
use icecore_storage::{Health, Storage};
use tokio::task::JoinHandle;

fn send(store: &TestStore, append: Append) -> JoinHandle<Result<Appended>> {
    let store = store.store.clone();
    tokio::spawn(async move { store.append(append).await })
}

/// Appends `first` alone, then the others while it is in flight, then lets the commits go.
async fn check(fault: Fault, appends: &[Append], wanted: &[&str]) -> TestStore {
    let store = open().await;
    store.put("old", NoStream, &[1_000]).await.unwrap();
    store.storage.hold();
    store.storage.fail_next([Some(fault)]);
    let mut sent = Vec::new();
    for append in appends {
        sent.push(send(&store, append.clone()));
        settle().await;
    }
    store.storage.release_all();
    let mut found = Vec::new();
    for append in sent {
        found.push(outcome(&append.await.unwrap()));
    }
    assert_eq!(found, wanted, "{fault:?}");
    store
}

#[tokio::test(start_paused = true)]
async fn an_unknown_commit_is_there_or_not_and_a_retry_tells() {
    for (fault, retried) in [
        (Fault::UnknownPresent, "ok 0@2"),
        (Fault::UnknownAbsent, "ok 0@2"),
    ] {
        for expected in [NoStream, Any] {
            let store = check(fault, &[append("s", expected, &[1])], &["unknown"]).await;
            let retry = store.put("s", expected, &[1]).await;
            assert_eq!(outcome(&retry), retried);
            assert_eq!(store.revisions("s").await.unwrap(), [0]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_failed_commit_hears_that_nothing_was_written_only_if_that_is_so() {
    let appends = [
        append("s", NoStream, &[1]),
        append("s", NoStream, &[1]), // a retry of what is in flight
        append("s", NoStream, &[2]), // refused because of what is in flight
        append("t", NoStream, &[3]), // never given to the storage
    ];
    let unknown = ["unknown", "unknown", "unavailable", "unavailable"];
    check(Fault::UnknownPresent, &appends, &unknown).await;
    check(Fault::UnknownAbsent, &appends, &unknown).await;
    let fenced = ["unavailable", "unknown", "unavailable", "unavailable"];
    let store = check(Fault::Fenced, &appends, &fenced).await;
    assert_eq!(store.last_position().get(), 1);
    assert_eq!(outcome(&store.put("s", NoStream, &[5]).await), "ok 0@2");
}

#[tokio::test(start_paused = true)]
async fn a_group_may_be_there_in_part_but_an_append_may_not() {
    let store = open().await;
    store.storage.hold();
    let blocker = send(&store, append("blocker", Any, &[100]));
    settle().await;
    let first = send(&store, append("s", NoStream, &[1, 2]));
    let second = send(&store, append("t", NoStream, &[3, 4]));
    settle().await;
    store.storage.fail_next([None, Some(Fault::UnknownPart(1))]);
    store.storage.release_all();
    blocker.await.unwrap().unwrap();
    assert_eq!(outcome(&first.await.unwrap()), "unknown");
    assert_eq!(outcome(&second.await.unwrap()), "unknown");
    assert_eq!(outcome(&store.put("s", NoStream, &[1, 2]).await), "ok 1@3");
    assert_eq!(outcome(&store.put("t", NoStream, &[3, 4]).await), "ok 1@5");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_position_that_is_never_written_asks_again() {
    let config = StoreConfig {
        id_window_events: 1,
        ..StoreConfig::default()
    };
    let store = open_with(config).await;
    store.put("s", NoStream, &[1, 2]).await.unwrap();
    store.storage.hold();
    store.storage.fail_next([Some(Fault::UnknownAbsent)]);
    let lost = send(&store, append("s", exact(1), &[3, 4]));
    settle().await;
    // It must read what stands there, and waits for the events in flight.
    let late = send(&store, append("s", NoStream, &[1, 2]));
    settle().await;
    store.storage.release_all();
    assert_eq!(outcome(&lost.await.unwrap()), "unknown");
    assert_eq!(outcome(&late.await.unwrap()), "ok 1@2");
}

#[tokio::test(start_paused = true)]
async fn a_late_retry_of_what_is_in_flight_is_answered_when_it_is_durable() {
    let config = StoreConfig {
        id_window_events: 1,
        ..StoreConfig::default()
    };
    let store = open_with(config).await;
    store.storage.hold();
    let first = send(&store, append("s", NoStream, &[1, 2, 3]));
    settle().await;
    let other = send(&store, append("t", NoStream, &[9]));
    settle().await;
    let retry = send(&store, append("s", NoStream, &[1, 2, 3]));
    settle().await;
    assert!(!retry.is_finished());
    store.storage.release_all();
    for (append, wanted) in [(first, "ok 2@3"), (other, "ok 0@4"), (retry, "ok 2@3")] {
        assert_eq!(outcome(&append.await.unwrap()), wanted);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_answered_or_shown_before_it_is_durable() {
    let store = open().await;
    store.put("s", NoStream, &[1]).await.unwrap();
    store.storage.hold();
    let write = send(&store, append("s", exact(0), &[2]));
    settle().await;
    let refused = send(&store, append("s", exact(0), &[3]));
    let empty = send(&store, append("s", exact(1), &[]));
    settle().await;
    assert!(!write.is_finished() && !refused.is_finished() && !empty.is_finished());
    assert_eq!(store.revisions("s").await.unwrap(), [0]);
    assert_eq!(store.last_position().get(), 1);
    let info = store.stream_info(&crate::support::name("s")).await.unwrap();
    assert_eq!(info.state.to_string(), "0");
    store.storage.release_all();
    assert_eq!(outcome(&write.await.unwrap()), "ok 1@2");
    assert_eq!(outcome(&refused.await.unwrap()), "wrong");
    assert_eq!(outcome(&empty.await.unwrap()), "ok 1@2");
}

#[tokio::test(start_paused = true)]
async fn without_a_new_lease_the_writer_takes_no_more_and_readers_go_on() {
    let store = open().await;
    store.put("s", NoStream, &[1]).await.unwrap();
    store.storage.refuse_leases();
    store.storage.fail_next([Some(Fault::UnknownAbsent)]);
    assert_eq!(outcome(&store.put("s", Any, &[2]).await), "unknown");
    let why = store.failed().await;
    assert!(why.to_string().contains("the disk is gone"), "{why}");
    assert!(matches!(store.health(), Health::Failed(_)));
    assert_eq!(outcome(&store.put("s", Any, &[3]).await), "unavailable");
    assert_eq!(store.revisions("s").await.unwrap(), [0]);
    store.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_writer_is_a_failure_like_others() {
    let store = open().await;
    store.put("s", NoStream, &[1]).await.unwrap();
    store.storage.hold();
    store.storage.fail_next([Some(Fault::Panic)]);
    let in_flight = send(&store, append("s", Any, &[2]));
    settle().await;
    let waiting = send(&store, append("s", Any, &[3]));
    settle().await;
    store.storage.release_all();
    assert_eq!(outcome(&in_flight.await.unwrap()), "unknown");
    assert_eq!(outcome(&waiting.await.unwrap()), "unknown");
    assert!(matches!(store.failed().await, Error::Internal { .. }));
    assert!(matches!(store.health(), Health::Failed(_)));
    assert_eq!(outcome(&store.put("s", Any, &[4]).await), "unavailable");
    assert_eq!(store.revisions("s").await.unwrap(), [0]);
    store.close().await.unwrap();
    assert!(
        matches!(store.storage.health(), Health::Failed(_)),
        "it is closed"
    );
}

#[tokio::test(start_paused = true)]
async fn close_answers_what_was_taken_and_refuses_the_rest() {
    let store = open().await;
    store.storage.hold();
    let first = send(&store, append("s", NoStream, &[1]));
    settle().await;
    let second = send(&store, append("s", exact(0), &[2]));
    settle().await;
    let closing = {
        let store = store.store.clone();
        tokio::spawn(async move { store.close().await })
    };
    settle().await;
    assert_eq!(outcome(&store.put("s", Any, &[3]).await), "unavailable");
    assert!(!closing.is_finished());
    store.storage.release_all();
    assert_eq!(outcome(&first.await.unwrap()), "ok 0@1");
    assert_eq!(outcome(&second.await.unwrap()), "ok 1@2");
    closing.await.unwrap().unwrap();
    store.close().await.unwrap();
    let read = events(&store.store, Read::all()).await.unwrap();
    assert_eq!(read.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_dropped_is_finished_by_the_next_one() {
    let store = open().await;
    store.storage.hold();
    let write = send(&store, append("s", NoStream, &[1]));
    settle().await;
    tokio::select! {
        biased;
        _ = store.close() => panic!("a commit is in flight"),
        () = settle() => {}
    }
    store.storage.release_all();
    store.close().await.unwrap();
    assert_eq!(outcome(&write.await.unwrap()), "ok 0@1");
    assert!(
        matches!(store.storage.health(), Health::Failed(_)),
        "it is closed"
    );
}

#[tokio::test(start_paused = true)]
async fn an_append_whose_caller_is_gone_is_whole() {
    let store = open().await;
    store.storage.hold();
    let gone = send(&store, append("s", NoStream, &[1, 2]));
    settle().await;
    gone.abort();
    settle().await;
    store.storage.release_all();
    assert_eq!(outcome(&store.put("s", exact(1), &[3]).await), "ok 2@3");
}

#[tokio::test(start_paused = true)]
async fn what_waits_becomes_durable_together() {
    let store = open().await;
    store.storage.hold();
    let appends: Vec<_> = (1..=100)
        .map(|id| send(&store, append("s", Any, &[id])))
        .collect();
    settle().await;
    store.storage.release_all();
    for append in appends {
        append.await.unwrap().unwrap();
    }
    assert!(*store.storage.commits.lock().unwrap() <= 2);
    assert_eq!(
        store.revisions("s").await.unwrap(),
        (0..100).collect::<Vec<_>>()
    );
}
