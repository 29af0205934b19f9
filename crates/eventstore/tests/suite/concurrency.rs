//! Many writers at once, on several threads.

use crate::support::{
    Any, NoStream, TestStore, append, exact, name, open, open_with, outcome, settle,
};
use icecore_core::{
    Append, Appended, DeleteKind, Error, EventData, ExpectedRevision, Result, Revision,
};
use icecore_eventstore::StoreConfig;
use std::sync::Arc;
use tokio::sync::Barrier;
use tokio::task::JoinHandle;
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_writers_exactly_one_wins_each_revision() {
    let store = open().await;
    for revision in 0..30u64 {
        let barrier = Arc::new(Barrier::new(64));
        let expected = match revision.checked_sub(1) {
            None => ExpectedRevision::NoStream,
            Some(last) => exact(last),
        };
        let writers: Vec<_> = (0..64u128)
            .map(|writer| {
                let (store, barrier) = (store.store.clone(), Arc::clone(&barrier));
                let id = u128::from(revision) * 1_000 + writer;
                tokio::spawn(async move {
                    barrier.wait().await;
                    (id, store.append(append("s", expected, &[id])).await)
                })
            })
            .collect();
        let mut winners = Vec::new();
        for writer in writers {
            match writer.await.unwrap() {
                (id, Ok(appended)) => {
                    assert_eq!(appended.streams[0].last_revision.unwrap().get(), revision);
                    winners.push(id);
                }
                (_, Err(Error::Refused(_))) => {}
                (_, Err(error)) => panic!("{error}"),
            }
        }
        let log = store.log().await;
        assert_eq!(winners, [log.last().unwrap().id.as_u128()]);
        assert_eq!(log.len() as u64, revision + 1);
    }
}

/// A cache of a few streams is forgotten all the time, while what it forgets is in flight.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_small_cache_forgets_nothing_that_matters() {
    let config = StoreConfig {
        stream_states: 2,
        id_window_events: 1,
        ..StoreConfig::default()
    };
    let store = open_with(config).await;
    let writers: Vec<_> = (0..8u128)
        .map(|writer| {
            let store = store.store.clone();
            tokio::spawn(async move {
                let mut lasts = [None; 5];
                for n in 0..100u128 {
                    let place = usize::try_from(n % 5).unwrap();
                    let expected = lasts[place].map_or(ExpectedRevision::NoStream, exact);
                    let stream = format!("s-{place}");
                    let id = writer * 1_000 + n;
                    match store.append(append(&stream, expected, &[id])).await {
                        Ok(appended) => {
                            lasts[place] = appended.streams[0].last_revision.map(Revision::get);
                        }
                        Err(Error::Refused(refusal)) => {
                            let state = refusal.violations[0].state;
                            lasts[place] = state.last_revision().map(Revision::get);
                        }
                        Err(Error::Unavailable { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                    if n == 50 && writer == 0 {
                        let soft = DeleteKind::Soft;
                        store.delete(&name("s-0"), Any, soft).await.unwrap();
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    crate::support::check_log(&store.log().await);
}

/// Sends the append and lets it go as far as it can.
async fn send(store: &TestStore, append: Append) -> JoinHandle<Result<Appended>> {
    let store = store.store.clone();
    let task = tokio::spawn(async move { store.append(append).await });
    settle().await;
    task
}

/// The writer takes one append at a time, one waits in its queue, and the others wait for that; it
/// remembers two streams and one id.
async fn open_narrow() -> TestStore {
    let config = StoreConfig {
        stream_states: 1,
        id_window_events: 1,
        group_appends: 1,
        queue_appends: 1,
        ..StoreConfig::default()
    };
    open_with(config).await
}

#[tokio::test(start_paused = true)]
async fn what_was_read_before_the_cache_forgot_is_not_believed() {
    let store = open_narrow().await;
    store.storage.hold();
    let mut sent = Vec::new();
    // The last one reads that there is no stream, waits, and is decided when the stream is there
    // and has been forgotten.
    let streams = ["in-flight", "gathered", "s", "t", "u", "v", "s"];
    for (stream, id) in streams.into_iter().zip(1..) {
        sent.push(send(&store, append(stream, NoStream, &[id])).await);
    }
    store.storage.release_all();
    let mut found = Vec::new();
    for task in sent {
        found.push(outcome(&task.await.unwrap()));
    }
    let wanted = ["ok 0@1", "ok 0@2", "ok 0@3", "ok 0@4", "ok 0@5", "ok 0@6"];
    assert_eq!(found[..6], wanted);
    assert_eq!(found[6], "wrong");
    crate::support::check_log(&store.log().await);
}

#[tokio::test(start_paused = true)]
async fn ids_that_were_read_before_the_last_of_them_was_written_are_read_again() {
    let store = open_narrow().await;
    store.put("s", NoStream, &[1]).await.unwrap();
    store.put("other", NoStream, &[50]).await.unwrap();
    store.storage.hold();
    let first = send(&store, append("in-flight", NoStream, &[60])).await;
    let second = send(&store, append("gathered", NoStream, &[61])).await;
    let retry = send(&store, append("s", NoStream, &[1, 2])).await;
    let missing = send(&store, append("s", exact(0), &[2])).await;
    let third = send(&store, append("other", Any, &[51])).await;
    store.storage.release_one();
    settle().await;
    store.storage.release_all();
    for task in [first, second, missing, third] {
        task.await.unwrap().unwrap();
    }
    assert_eq!(outcome(&retry.await.unwrap()), "ok 1@5");
}

#[tokio::test(start_paused = true)]
async fn a_small_append_does_not_wait_for_all_large_ones() {
    const LARGE: usize = 100_000;
    let config = StoreConfig {
        queue_bytes: LARGE,
        ..StoreConfig::default()
    };
    let store = open_with(config).await;
    let large = |id| {
        let data = vec![b'1'; LARGE];
        let event = EventData::json(Uuid::from_u128(id), "T", data).unwrap();
        Append::to_stream(name("large"), Any, vec![event]).unwrap()
    };
    store.storage.hold();
    // The first one is in flight, the others wait until it is answered.
    let mut sent = Vec::new();
    for id in 1..=5 {
        sent.push(send(&store, large(id)).await);
    }
    let small = send(&store, append("small", NoStream, &[10])).await;
    store.storage.release_all();
    assert_eq!(outcome(&small.await.unwrap()), "ok 0@2");
    for (task, at) in sent.into_iter().zip([1, 3, 4, 5, 6]) {
        let appended = task.await.unwrap().unwrap();
        assert_eq!(
            appended.last_position.get(),
            at,
            "large ones keep their order"
        );
    }
}
