//! Every expectation against every state of a stream, written and only checked.

use crate::support::{
    Any, NoStream, SoftDeleted, StreamExists, TestStore, Tombstoned, append, append_to, exact,
    name, open, outcome,
};
use icecore_core::{Append, DeleteKind, Error, ExpectedRevision, Role, StreamState, limits};

const STATES: [&str; 5] = ["absent", "meta", "living", "soft", "closed"];

/// A store with a stream in each state; those with events have revisions 0 to 4.
async fn states() -> TestStore {
    let store = open().await;
    store.set_metadata(&name("meta"), Any, b"{}").await.unwrap();
    for (first, stream) in [(10, "living"), (20, "soft"), (30, "closed")] {
        let ids: Vec<_> = (first..first + 5).collect();
        store.put(stream, NoStream, &ids).await.unwrap();
    }
    let delete = |stream, kind| {
        let store = store.store.clone();
        async move { store.delete(&name(stream), Any, kind).await.unwrap() }
    };
    delete("soft", DeleteKind::Soft).await;
    delete("closed", DeleteKind::Tombstone).await;
    store
}

/// One letter for each state: the revision that the event got, `w` wrong, `d` deleted.
async fn check(expected: ExpectedRevision, row: &str) {
    let mut found = String::new();
    for stream in STATES {
        let store = states().await;
        let before = store.last_position();
        let result = store.put(stream, expected, &[99]).await;
        let word = outcome(&result);
        found.push_str(match word.as_str() {
            "wrong" => "w",
            "deleted" => "d",
            ok => &ok[3..4],
        });
        match result {
            Ok(appended) => {
                let last = store.log().await.pop().unwrap();
                assert_eq!(last.position, appended.last_position);
                assert_eq!(Some(last.revision), appended.streams[0].last_revision);
            }
            Err(_) => assert_eq!(store.last_position(), before, "a refusal writes nothing"),
        }
    }
    assert_eq!(found, row, "{expected}: {STATES:?}");
}

/// One letter for each state: `+` admitted, `w` wrong.
async fn check_unwritten(expected: ExpectedRevision, row: &str) {
    let store = states().await;
    let mut found = String::new();
    for (n, stream) in STATES.into_iter().enumerate() {
        let id = 500 + n as u128;
        let append = append_to(&[("other", Any, &[id]), (stream, expected, &[])]);
        let result = store.append(append.build().unwrap()).await;
        found.push_str(if result.is_ok() { "+" } else { "w" });
        let written = store.log().await.iter().any(|e| e.id.as_u128() == id);
        assert_eq!(written, result.is_ok());
    }
    assert_eq!(found, row, "{expected}: {STATES:?}");
}

/// One letter for each state: `+` admitted, `w` wrong, `d` deleted.
async fn check_written_under_a_check(expected: ExpectedRevision, row: &str) {
    let store = states().await;
    let mut found = String::new();
    for (n, stream) in STATES.into_iter().enumerate() {
        let id = 600 + n as u128;
        let mut append = append_to(&[(stream, expected, &[id])]);
        append.hold_as(0, Role::WrittenAndChecked);
        let result = store.append(append.build().unwrap()).await;
        found.push_str(match outcome(&result).as_str() {
            "wrong" => "w",
            "deleted" => "d",
            _ => "+",
        });
        let written = store.log().await.iter().any(|e| e.id.as_u128() == id);
        assert_eq!(written, result.is_ok());
    }
    assert_eq!(found, row, "{expected}: {STATES:?}");
}

#[tokio::test(start_paused = true)]
async fn written_streams_follow_the_append_table() {
    check(Any, "0055d").await;
    check(NoStream, "00w5d").await;
    check(StreamExists, "w05dd").await;
    check(exact(4), "ww55d").await;
    check(exact(3), "wwwwd").await;
    check(exact(5), "wwwwd").await;
    check(SoftDeleted, "www5d").await;
}

#[tokio::test(start_paused = true)]
async fn checked_streams_follow_the_consistency_table() {
    check_unwritten(NoStream, "++w++").await;
    check_unwritten(StreamExists, "ww+ww").await;
    check_unwritten(exact(4), "ww+ww").await;
    check_unwritten(exact(3), "wwwww").await;
    check_unwritten(SoftDeleted, "www+w").await;
    check_unwritten(Tombstoned, "wwww+").await;
}

#[tokio::test(start_paused = true)]
async fn streams_written_under_a_check_follow_both_tables() {
    check_written_under_a_check(Any, "++++d").await;
    check_written_under_a_check(NoStream, "++w+d").await;
    check_written_under_a_check(StreamExists, "ww+wd").await;
    check_written_under_a_check(exact(4), "ww+wd").await;
    check_written_under_a_check(exact(3), "wwwwd").await;
    check_written_under_a_check(SoftDeleted, "www+d").await;
    check_written_under_a_check(Tombstoned, "wwwwd").await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_under_a_check_is_one_also_where_the_check_would_not_hold_again() {
    let store = states().await;
    let under_a_check = |stream, expected, id| {
        let mut append = append_to(&[(stream, expected, &[id])]);
        append.hold_as(0, Role::WrittenAndChecked);
        store.append(append.build().unwrap())
    };
    for (stream, expected, id) in [
        ("absent", NoStream, 700),
        ("living", exact(4), 701),
        ("soft", SoftDeleted, 702),
    ] {
        let first = under_a_check(stream, expected, id).await.unwrap();
        let again = under_a_check(stream, expected, id).await.unwrap();
        assert_eq!(again, first, "{expected} of {stream}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_lists_every_violation_with_what_was_missed() {
    let store = states().await;
    let mut append = append_to(&[
        ("living", exact(2), &[900]),
        ("absent", StreamExists, &[901]),
        ("closed", Any, &[902]),
        ("new", NoStream, &[903]),
    ]);
    append.missed_limit(10);
    let refusal = crate::support::refusal(store.append(append.build().unwrap()).await);
    let found: Vec<_> = refusal
        .violations
        .iter()
        .map(|v| (v.stream.as_str(), v.state))
        .collect();
    let last = icecore_core::Revision::new(4);
    assert_eq!(
        found,
        [
            ("living", StreamState::Living { last }),
            ("absent", StreamState::Absent),
            ("closed", StreamState::Tombstoned),
        ]
    );
    let missed = &refusal.missed[0];
    let ids: Vec<_> = missed.events.iter().map(|e| e.id.as_u128()).collect();
    assert_eq!((ids, missed.end), (vec![13, 14], true));
}

#[tokio::test(start_paused = true)]
async fn missed_events_keep_to_the_limit_over_all_streams() {
    let store = states().await;
    store.put("second", Any, &[50, 51, 52]).await.unwrap();
    let mut append = append_to(&[("living", exact(2), &[900]), ("second", NoStream, &[901])]);
    append.missed_limit(3);
    let refusal = crate::support::refusal(store.append(append.build().unwrap()).await);
    let counts: Vec<_> = refusal
        .missed
        .iter()
        .map(|missed| (missed.events.len(), missed.end))
        .collect();
    assert_eq!(counts, [(2, true), (1, false)]);
}

#[tokio::test(start_paused = true)]
async fn an_append_without_events_tells_whether_its_expectation_holds() {
    let store = states().await;
    let before = store.last_position();
    assert_eq!(
        outcome(&store.put("living", exact(4), &[]).await),
        "ok 4@18"
    );
    assert_eq!(
        outcome(&store.put("absent", NoStream, &[]).await),
        "ok -@18"
    );
    assert_eq!(outcome(&store.put("living", exact(3), &[]).await), "wrong");
    assert_eq!(outcome(&store.put("soft", Any, &[]).await), "ok 4@18");
    assert_eq!(
        outcome(&store.put("absent", StreamExists, &[]).await),
        "wrong"
    );
    assert_eq!(store.last_position(), before);
}

#[tokio::test(start_paused = true)]
async fn several_streams_are_written_in_the_order_of_the_events() {
    let store = open().await;
    let mut append = icecore_core::AppendBuilder::default();
    let a = append.stream(name("a"), NoStream).unwrap();
    let b = append.stream(name("b"), NoStream).unwrap();
    for (id, stream) in [(1, a), (2, b), (3, a)] {
        append
            .event(stream, crate::support::event(id), None)
            .unwrap();
    }
    let appended = store.append(append.build().unwrap()).await.unwrap();
    let log = store.log().await;
    let found: Vec<_> = log
        .iter()
        .map(|e| (e.stream.as_str(), e.revision.get(), e.position.get()))
        .collect();
    assert_eq!(found, [("a", 0, 1), ("b", 0, 2), ("a", 1, 3)]);
    let last: Vec<_> = appended.streams.iter().map(|s| s.last_revision).collect();
    assert_eq!(
        last,
        [
            Some(icecore_core::Revision::new(1)),
            Some(icecore_core::Revision::FIRST)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_largest_appends_are_taken_and_larger_ones_are_not() {
    let store = open().await;
    let ids: Vec<u128> = (1..=limits::APPEND_EVENTS_MAX as u128).collect();
    store.append(append("many", NoStream, &ids)).await.unwrap();
    assert_eq!(store.last_position().get(), 10_000);

    let large = |id: u128, bytes: usize| {
        let mut event = crate::support::event(id);
        event.data = vec![b'1'; bytes].into();
        event
    };
    let quarter = limits::APPEND_BYTES_MAX / 4 - 100;
    let events: Vec<_> = (1..=4).map(|id| large(id, quarter)).collect();
    let append = Append::to_stream(name("large"), Any, events.clone()).unwrap();
    store.append(append).await.unwrap();
    let events = events.into_iter().chain([large(5, 1_000)]).collect();
    let error = Append::to_stream(name("large"), Any, events).unwrap_err();
    assert!(matches!(error, Error::InvalidArgument { .. }));
}

#[tokio::test(start_paused = true)]
async fn many_streams_in_one_append_are_remembered_by_a_small_cache() {
    let config = icecore_eventstore::StoreConfig {
        stream_states: 4,
        ..Default::default()
    };
    let store = crate::support::open_with(config).await;
    let names: Vec<_> = (0..50).map(|n| format!("s-{n}")).collect();
    store
        .set_metadata(&name("s-3"), Any, br#"{"$maxCount":2}"#)
        .await
        .unwrap();
    for round in 0..4u128 {
        let ids: Vec<_> = (0..50).map(|n| [1_000 * (round + 1) + n]).collect();
        let expected = match round {
            0 => NoStream,
            _ => exact(u64::try_from(round).unwrap() - 1),
        };
        let streams: Vec<_> = names
            .iter()
            .zip(&ids)
            .map(|(name, ids)| (name.as_str(), expected, &ids[..]))
            .collect();
        let append = append_to(&streams).build().unwrap();
        store.append(append).await.unwrap();
    }
    assert_eq!(store.revisions("s-3").await.unwrap(), [2, 3]);
    let metadata = store.set_metadata(&name("s-3"), exact(0), b"{}").await;
    assert_eq!(outcome(&metadata), "ok 1@202");
}
