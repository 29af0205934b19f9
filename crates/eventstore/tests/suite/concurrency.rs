//! Many writers at once, on several threads.

use crate::support::{Any, append, exact, name, open, open_with};
use icecore_core::{DeleteKind, Error, ExpectedRevision, Revision};
use icecore_eventstore::StoreConfig;
use std::sync::Arc;
use tokio::sync::Barrier;

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
