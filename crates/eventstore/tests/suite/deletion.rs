//! Deletion, tombstones, reopening, truncation, count and age, and metadata.

use crate::support::{
    Any, BEGIN, NoStream, SECOND, SoftDeleted, StreamExists, TestStore, append_to, event, events,
    exact, name, open, outcome, typed,
};
use icecore_core::{
    Append, DeleteKind, Error, ExpectedRevision, Read, Result, Revision, StreamState,
};

async fn delete(
    store: &TestStore,
    stream: &str,
    expected: ExpectedRevision,
    kind: DeleteKind,
) -> String {
    outcome(&store.delete(&name(stream), expected, kind).await)
}

/// What readers of the stream see, in a word or its revisions.
async fn check(store: &TestStore, stream: &str, wanted: &[u64]) {
    assert_eq!(store.revisions(stream).await.unwrap(), wanted, "{stream}");
}

fn word<T>(result: &Result<T>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(Error::StreamNotFound { .. }) => "not found",
        Err(Error::StreamDeleted { .. }) => "deleted",
        Err(_) => "other",
    }
}

async fn with_events() -> TestStore {
    let store = open().await;
    store.put("s", NoStream, &[1, 2, 3]).await.unwrap();
    store
}

#[tokio::test(start_paused = true)]
async fn a_soft_deletion_is_an_event_of_the_metadata_stream() {
    let store = with_events().await;
    assert_eq!(
        delete(&store, "s", exact(1), DeleteKind::Soft).await,
        "wrong"
    );
    assert_eq!(
        delete(&store, "s", exact(2), DeleteKind::Soft).await,
        "ok 0@4"
    );
    let last = store.log().await.pop().unwrap();
    assert_eq!((last.stream.as_str(), last.position.get()), ("$$s", 4));
    assert_eq!(&last.data[..], br#"{"$tb":9223372036854775807}"#);
    assert_eq!(word(&store.revisions("s").await), "not found");
    check(&store, "$$s", &[0]).await;
    let info = store.stream_info(&name("s")).await.unwrap();
    let last = Revision::new(2);
    assert_eq!(info.state, StreamState::SoftDeleted { last });
    assert_eq!((info.first, info.last), (None, None));
}

#[tokio::test(start_paused = true)]
async fn deletion_follows_the_table() {
    for kind in [DeleteKind::Soft, DeleteKind::Tombstone] {
        for (expected, soft, tombstone) in [
            (Any, "wrong", "ok 9223372036854775807@1"),
            (NoStream, "wrong", "ok 9223372036854775807@1"),
            (StreamExists, "wrong", "wrong"),
            (exact(0), "wrong", "wrong"),
        ] {
            let wanted = if kind == DeleteKind::Soft {
                soft
            } else {
                tombstone
            };
            assert_eq!(delete(&open().await, "s", expected, kind).await, wanted);
        }
    }
    // A soft-deleted stream.
    for (expected, wanted) in [
        (Any, "ok 1@5"),
        (exact(2), "ok 1@5"),
        (NoStream, "ok 1@5"),
        (SoftDeleted, "ok 1@5"),
        (StreamExists, "deleted"),
        (exact(1), "wrong"),
    ] {
        let store = with_events().await;
        delete(&store, "s", Any, DeleteKind::Soft).await;
        let found = delete(&store, "s", expected, DeleteKind::Soft).await;
        assert_eq!(found, wanted, "{expected}");
        assert_eq!(word(&store.revisions("s").await), "not found");
    }
    // A closed one.
    for expected in [Any, NoStream, StreamExists, exact(2), SoftDeleted] {
        let store = with_events().await;
        delete(&store, "s", Any, DeleteKind::Tombstone).await;
        for kind in [DeleteKind::Soft, DeleteKind::Tombstone] {
            assert_eq!(delete(&store, "s", expected, kind).await, "deleted");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_append_reopens_a_soft_deleted_stream_and_hides_what_was_there() {
    for expected in [Any, NoStream, exact(2)] {
        let store = with_events().await;
        store
            .set_metadata(&name("s"), Any, br#"{"owner":"me"}"#)
            .await
            .unwrap();
        delete(&store, "s", Any, DeleteKind::Soft).await;
        assert_eq!(outcome(&store.put("s", expected, &[7, 8]).await), "ok 4@8");
        check(&store, "s", &[3, 4]).await;
        check(&store, "$$s", &[0, 1, 2]).await;
        let info = store.stream_info(&name("s")).await.unwrap();
        assert_eq!(&info.metadata[..], br#"{"$tb":3,"owner":"me"}"#);
        assert_eq!(info.metadata_revision, Some(Revision::new(2)));
        assert_eq!(outcome(&store.put("s", exact(4), &[9]).await), "ok 5@9");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_reopened_by_an_append_that_does_not_write_to_the_stream() {
    let store = with_events().await;
    delete(&store, "s", Any, DeleteKind::Soft).await;
    let append = append_to(&[("other", Any, &[9]), ("s", SoftDeleted, &[])]);
    store.append(append.build().unwrap()).await.unwrap();
    store.put("s", Any, &[]).await.unwrap();
    assert_eq!(word(&store.revisions("s").await), "not found");
    check(&store, "$$s", &[0]).await;
    delete(&store, "s", Any, DeleteKind::Tombstone).await;
    assert_eq!(
        store.last_position().get(),
        6,
        "a tombstone reopens nothing"
    );
}

#[tokio::test(start_paused = true)]
async fn new_metadata_reopens_a_soft_deleted_stream_and_hides_what_was_there() {
    let store = with_events().await;
    delete(&store, "s", Any, DeleteKind::Soft).await;
    store
        .set_metadata(&name("s"), exact(0), br#"{"$maxCount":9}"#)
        .await
        .unwrap();
    check(&store, "s", &[]).await;
    let info = store.stream_info(&name("s")).await.unwrap();
    assert_eq!(&info.metadata[..], br#"{"$maxCount":9,"$tb":3}"#);
    store.put("s", exact(2), &[7]).await.unwrap();
    check(&store, "s", &[3]).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_can_be_done_with_a_closed_stream_nor_with_its_metadata() {
    let store = with_events().await;
    store.set_metadata(&name("s"), Any, b"{}").await.unwrap();
    delete(&store, "s", Any, DeleteKind::Tombstone).await;
    let last = store.log().await.pop().unwrap();
    assert_eq!(last.event_type.as_str(), "$streamDeleted");
    assert!(last.is_tombstone() && last.stream.as_str() == "s");
    for stream in ["s", "$$s"] {
        assert_eq!(word(&store.revisions(stream).await), "deleted", "{stream}");
        for expected in [Any, NoStream, StreamExists, exact(0), exact(2)] {
            assert_eq!(outcome(&store.put(stream, expected, &[9]).await), "deleted");
        }
    }
    let metadata = store.set_metadata(&name("s"), Any, b"{}").await;
    assert_eq!(outcome(&metadata), "deleted");
    let truncated = store.truncate(&name("s"), Revision::new(1)).await;
    assert_eq!(word(&truncated), "deleted");
    let info = store.stream_info(&name("s")).await.unwrap();
    assert_eq!(info.state, StreamState::Tombstoned);
}

#[tokio::test(start_paused = true)]
async fn only_a_deletion_writes_a_tombstone() {
    let store = open().await;
    let closes = Append::to_stream(name("s"), Any, vec![typed(1, "$streamDeleted", &[])]);
    let found = outcome(&store.append(closes.unwrap()).await);
    assert_eq!(found, "invalid events.type");
    assert_eq!(
        delete(&store, "$$s", Any, DeleteKind::Soft).await,
        "invalid stream"
    );
    assert_eq!(
        delete(&store, "$$s", Any, DeleteKind::Tombstone).await,
        "invalid stream"
    );
}

#[tokio::test(start_paused = true)]
async fn truncation_hides_and_never_brings_back() {
    let store = with_events().await;
    let truncate = async |before| outcome(&store.truncate(&name("s"), Revision::new(before)).await);
    assert_eq!(truncate(2).await, "ok 0@4");
    check(&store, "s", &[2]).await;
    truncate(1).await;
    check(&store, "s", &[2]).await;
    truncate(3).await;
    check(&store, "s", &[]).await;
    assert_eq!(truncate(4).await, "invalid before");
    assert_eq!(
        word(&store.truncate(&name("none"), Revision::FIRST).await),
        "not found"
    );
    store.put("s", exact(2), &[9]).await.unwrap();
    check(&store, "s", &[3]).await;
    let all = events(&store.store, Read::all()).await.unwrap();
    assert_eq!(all.len(), 4, "reads of all see hidden events");
    let mut typed = Read::all();
    let wanted = vec!["T".into()];
    typed.filter.event_type = Some(icecore_core::NameMatch::AnyOf(wanted));
    assert_eq!(events(&store.store, typed).await.unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn count_and_age_hide_from_reads_of_the_stream() {
    let store = open().await;
    for id in 1..=5 {
        store.put("s", Any, &[id]).await.unwrap();
        let seconds = i64::try_from(id).unwrap();
        store.clock.set(BEGIN.plus_nanos(seconds * SECOND));
    }
    let set = async |metadata: &str| {
        let metadata = metadata.as_bytes();
        store.set_metadata(&name("s"), Any, metadata).await.unwrap();
    };
    set(r#"{"$maxCount":2}"#).await;
    check(&store, "s", &[3, 4]).await;
    let mut backwards = Read::stream(name("s"));
    backwards.direction = icecore_core::Direction::Backwards;
    let found = events(&store.store, backwards.clone()).await.unwrap();
    let found: Vec<_> = found.iter().map(|e| e.revision.get()).collect();
    assert_eq!(found, [4, 3]);
    set(r#"{"$maxAge":3}"#).await;
    check(&store, "s", &[2, 3, 4]).await;
    store.clock.set(BEGIN.plus_nanos(60 * SECOND));
    check(&store, "s", &[]).await;
    assert!(events(&store.store, backwards).await.unwrap().is_empty());
    let info = store.stream_info(&name("s")).await.unwrap();
    assert_eq!((info.first, info.last), (None, None));
    set("{}").await;
    check(&store, "s", &[0, 1, 2, 3, 4]).await;
}

#[tokio::test(start_paused = true)]
async fn metadata_has_its_own_revisions() {
    let store = with_events().await;
    let set = async |expected, metadata: &[u8]| {
        outcome(&store.set_metadata(&name("s"), expected, metadata).await)
    };
    assert_eq!(set(exact(0), b"{}").await, "wrong");
    assert_eq!(set(NoStream, b"{}").await, "ok 0@4");
    assert_eq!(set(NoStream, b"{}").await, "wrong");
    assert_eq!(set(exact(0), b"{}").await, "ok 1@5");
    assert_eq!(set(Any, b"[]").await, "invalid metadata");
    assert_eq!(set(Any, br#"{"$maxCount":0}"#).await, "invalid metadata");
    let user = store.append(
        Append::to_stream(name("$$s"), exact(1), vec![typed(9, "$metadata", &[])]).unwrap(),
    );
    assert_eq!(outcome(&user.await), "ok 2@6");
    let nonsense = Append::to_stream(
        name("$$s"),
        Any,
        vec![{
            let mut event = event(10);
            event.data = "not json".into();
            event
        }],
    );
    store.append(nonsense.unwrap()).await.unwrap();
    check(&store, "s", &[0, 1, 2]).await;
}

#[tokio::test(start_paused = true)]
async fn concurrent_changes_of_metadata_are_tried_again() {
    let store = with_events().await;
    let tasks: Vec<_> = (0..8)
        .map(|n| {
            let store = store.store.clone();
            tokio::spawn(async move { store.truncate(&name("s"), Revision::new(n % 4)).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    check(&store, "s", &[]).await;
}
