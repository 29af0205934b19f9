//! Imports: history with its own times, taken as it is.

use crate::support::{
    Any, BEGIN, NoStream, SECOND, TestStore, event, events, exact, name, open, outcome, typed,
};
use icecore_core::{
    Append, AppendBuilder, DeleteKind, EventData, ExpectedRevision, ImportTimes, Read, Timestamp,
};

fn at(seconds: i64) -> Timestamp {
    BEGIN.plus_nanos(seconds * SECOND)
}

fn import(stream: &str, events: Vec<(EventData, Option<i64>)>) -> Append {
    let mut append = AppendBuilder::default();
    let stream = append.stream(name(stream), Any).unwrap();
    for (event, seconds) in events {
        let times = seconds.map(|seconds| ImportTimes {
            recorded_at: at(seconds),
            created_at: None,
        });
        append.event(stream, event, times).unwrap();
    }
    append.build().unwrap()
}

/// Imports events with these times and says what they got: recorded, created, clamped.
async fn check(store: &TestStore, times: &[i64], wanted: &[(i64, Option<i64>)], clamped: u64) {
    let first = u128::from(store.last_position().get()) + 1;
    let given = times.iter().zip(first..);
    let given = given.map(|(seconds, id)| (event(id), Some(*seconds)));
    let imported = store.import(import("s", given.collect())).await.unwrap();
    let log = store.log().await;
    let found: Vec<_> = log[log.len() - times.len()..]
        .iter()
        .map(|e| (e.recorded_at, e.created_at))
        .collect();
    let wanted: Vec<_> = wanted.iter().map(|(r, c)| (at(*r), c.map(at))).collect();
    assert_eq!(found, wanted);
    assert_eq!(
        (imported.clamped, imported.last_position),
        (clamped, store.last_position())
    );
}

#[tokio::test(start_paused = true)]
async fn an_import_keeps_its_times_and_clamps_what_lies_before_the_last() {
    let store = open().await;
    check(&store, &[-50, -40], &[(-50, None), (-40, None)], 0).await;
    let clamped = [(-30, None), (-30, Some(-45)), (-30, None), (-20, None)];
    check(&store, &[-30, -45, -30, -20], &clamped, 1).await;
    store.put("s", Any, &[100]).await.unwrap();
    assert_eq!(store.log().await.pop().unwrap().recorded_at, at(0));
    check(&store, &[-10], &[(0, Some(-10))], 1).await;
    check(&store, &[60], &[(60, None)], 0).await;
}

#[tokio::test(start_paused = true)]
async fn recorded_times_never_decrease() {
    let store = open().await;
    store
        .import(import("s", vec![(event(1), Some(30))]))
        .await
        .unwrap();
    store.put("s", Any, &[2]).await.unwrap();
    store.clock.set(at(-100));
    store.put("s", Any, &[3]).await.unwrap();
    for id_window_events in [0, 1, 100] {
        let config = icecore_eventstore::StoreConfig {
            id_window_events,
            ..Default::default()
        };
        let store = crate::support::reopen(store.storage.clone(), config).await;
        store.clock.set(at(-100));
        let id = 10 + id_window_events as u128;
        store.put("s", Any, &[id]).await.unwrap();
    }
    let read = events(&store.store, Read::all()).await;
    let stale = read.unwrap().len();
    let store = crate::support::reopen(
        store.storage.clone(),
        icecore_eventstore::StoreConfig::default(),
    )
    .await;
    let times: Vec<_> = store.log().await.iter().map(|e| e.recorded_at).collect();
    assert_eq!(times, [at(30); 6]);
    assert_eq!(
        stale, 3,
        "a store that no longer leads does not know what others write"
    );
}

#[tokio::test(start_paused = true)]
async fn a_time_more_than_a_minute_ahead_is_refused_whole() {
    let store = open().await;
    let late = vec![(event(1), Some(0)), (event(2), Some(61))];
    let error = store.import(import("s", late)).await.unwrap_err();
    assert!(
        error.to_string().contains("more than a minute ahead"),
        "{error}"
    );
    assert_eq!(store.last_position().get(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_ordinary_append_brings_no_times() {
    let store = open().await;
    let append = import("s", vec![(event(1), Some(0))]);
    assert_eq!(outcome(&store.append(append).await), "invalid events.times");
}

#[tokio::test(start_paused = true)]
async fn metadata_and_deletions_are_imported_as_they_are() {
    let store = open().await;
    let metadata = |id, json: &'static str| {
        let mut event = typed(id, "$metadata", &[]);
        event.data = json.into();
        event
    };
    let take =
        async |stream: &str, event| store.import(import(stream, vec![(event, Some(-60))])).await;
    take("s", event(1)).await.unwrap();
    take("$$s", metadata(2, r#"{"$tb":9223372036854775807}"#))
        .await
        .unwrap();
    take("s", event(3)).await.unwrap();
    assert_eq!(store.last_position().get(), 3, "nothing is added");
    assert!(store.revisions("s").await.is_err(), "it is still deleted");
    take("$$s", metadata(4, r#"{"$tb":1}"#)).await.unwrap();
    assert_eq!(store.revisions("s").await.unwrap(), [1]);
    take("s", typed(5, "$streamDeleted", &[])).await.unwrap();
    assert!(store.log().await.pop().unwrap().is_tombstone());
    assert_eq!(outcome(&store.put("s", Any, &[6]).await), "deleted");
    let closed = take("$$t", typed(7, "$streamDeleted", &[])).await;
    assert!(closed.unwrap_err().to_string().starts_with("events.type"));
}

#[tokio::test(start_paused = true)]
async fn nothing_follows_a_tombstone_in_the_same_import() {
    let store = open().await;
    let after = vec![(typed(1, "$streamDeleted", &[]), None), (event(2), None)];
    assert!(store.import(import("s", after)).await.is_err());
    let mut append = AppendBuilder::default();
    let s = append.stream(name("s"), Any).unwrap();
    let metadata = append.stream(name("$$s"), Any).unwrap();
    append
        .event(s, typed(1, "$streamDeleted", &[]), None)
        .unwrap();
    append
        .event(metadata, typed(2, "$metadata", &[]), None)
        .unwrap();
    assert!(store.import(append.build().unwrap()).await.is_err());
    assert_eq!(store.last_position().get(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_import_that_is_sent_again_is_written_once() {
    let store = open().await;
    let history = || import("s", vec![(event(1), Some(-9)), (event(2), Some(-8))]);
    let first = store.import(history()).await.unwrap();
    assert_eq!(store.import(history()).await.unwrap(), first);
    assert_eq!(store.last_position().get(), 2);
    store
        .delete(&name("s"), exact(1), DeleteKind::Soft)
        .await
        .unwrap();
    assert_eq!(outcome(&store.put("s", NoStream, &[3]).await), "ok 2@5");
}

/// A part of a history in which streams may have an id twice, with the progress that it makes.
fn part(events: &[(&str, u128)], progress: (ExpectedRevision, u128), is_last: bool) -> Append {
    let mut append = AppendBuilder::for_import();
    let progress_stream = append.stream(name("progress"), progress.0).unwrap();
    let mut places = std::collections::HashMap::new();
    if !is_last {
        append
            .event(progress_stream, event(progress.1), None)
            .unwrap();
    }
    for (stream, id) in events {
        let place = *places
            .entry(*stream)
            .or_insert_with(|| append.stream(name(stream), Any).unwrap());
        append.event(place, event(*id), None).unwrap();
    }
    if is_last {
        append
            .event(progress_stream, event(progress.1), None)
            .unwrap();
    }
    append.build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_stream_that_says_where_it_stands_decides_whether_an_import_is_a_retry() {
    for is_last in [true, false] {
        let store = open().await;
        let parts = [
            part(&[("s", 1), ("s", 1), ("t", 2)], (NoStream, 10), is_last),
            part(&[("s", 1)], (exact(0), 11), is_last),
            part(&[("s", 1), ("s", 3), ("t", 2)], (exact(1), 12), is_last),
        ];
        let mut answers = Vec::new();
        for part in &parts {
            answers.push(store.import(part.clone()).await.unwrap());
        }
        let ends: Vec<_> = answers.iter().map(|a| a.last_position.get()).collect();
        assert_eq!(ends, [4, 6, 10]);
        let ids: Vec<_> = events(&store.store, Read::stream(name("s"))).await.unwrap();
        let ids: Vec<_> = ids.iter().map(|event| event.id.as_u128()).collect();
        assert_eq!(ids, [1, 1, 1, 1, 3]);
        for (part, answer) in parts.iter().zip(&answers) {
            assert_eq!(store.import(part.clone()).await.unwrap(), *answer);
        }
        assert_eq!(store.last_position().get(), 10, "nothing was written twice");
        let late = part(&[("u", 9)], (exact(0), 99), is_last);
        assert!(store.import(late).await.is_err(), "somebody else was there");
        assert_eq!(store.last_position().get(), 10);
    }
}

#[tokio::test(start_paused = true)]
async fn a_history_with_an_id_twice_in_a_stream_comes_back_the_same() {
    let from = open().await;
    for (expected, ids) in [
        (NoStream, &[1, 2][..]),
        (exact(1), &[1]),
        (exact(2), &[2, 1]),
    ] {
        from.put("s", expected, ids).await.unwrap();
    }
    let history = from.log().await;
    for size in 1..=history.len() {
        let to = open().await;
        for (n, events) in (0_u64..).zip(history.chunks(size)) {
            let events: Vec<_> = events.iter().map(|e| ("s", e.id.as_u128())).collect();
            let expected = n.checked_sub(1).map_or(NoStream, exact);
            let part = part(&events, (expected, 100 + u128::from(n)), true);
            to.import(part.clone()).await.unwrap();
            to.import(part).await.unwrap();
        }
        let copy = events(&to.store, Read::stream(name("s"))).await.unwrap();
        let places = |events: &[icecore_core::RecordedEvent]| -> Vec<_> {
            events.iter().map(|e| (e.id, e.revision)).collect()
        };
        assert_eq!(places(&copy), places(&history), "in parts of {size}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_without_a_time_goes_with_the_one_before_it() {
    let store = open().await;
    let batch = vec![(event(1), None), (event(2), None)];
    store.import(import("s", batch)).await.unwrap();
    let times: Vec<_> = store.log().await.iter().map(|e| e.recorded_at).collect();
    assert_eq!(times, [at(0), at(0)], "the first one takes the clock's");

    let store = open().await;
    let batch = vec![(event(1), Some(-50)), (event(2), None)];
    store.import(import("s", batch)).await.unwrap();
    check(&store, &[-40], &[(-40, None)], 0).await;
}

#[tokio::test(start_paused = true)]
async fn metadata_that_is_too_large_is_refused() {
    let store = open().await;
    let mut large = event(1);
    large.data = vec![b' '; 65_537].into();
    let append = Append::to_stream(name("$$s"), Any, vec![large.clone()]).unwrap();
    assert_eq!(outcome(&store.append(append).await), "invalid events.data");
    assert!(
        store
            .import(import("$$s", vec![(large, None)]))
            .await
            .is_err()
    );
    assert!(store.log().await.is_empty());
}
