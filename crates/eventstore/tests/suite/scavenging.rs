//! Scavenging: what is hidden goes, everything else stays as it was.

use crate::support::{
    Any, BEGIN, SECOND, TestStore, append, condition, event, events, name, next_word, open,
    outcome, refusal, reopen, typed,
};
use icecore_core::{
    Append, AppendBuilder, DeleteKind, Direction, ExpectedRevision, LogEntry, PageLimit, Position,
    Read, Revision, ScavengeMode, ScavengePhase, ScavengeProgress, Subscribe,
};
use icecore_eventstore::StoreConfig;
use icecore_storage::Storage;

async fn scavenge(store: &TestStore) -> ScavengeProgress {
    store
        .scavenge(ScavengeMode::Remove, |_| true)
        .await
        .unwrap()
}

async fn positions(store: &TestStore) -> Vec<u64> {
    let log = store.log().await;
    log.iter().map(|event| event.position.get()).collect()
}

async fn hashes(store: &TestStore) -> Vec<icecore_core::Hash> {
    let page = store
        .storage
        .read_log(Position::FIRST, PageLimit::MAX)
        .await
        .unwrap();
    page.entries.iter().map(LogEntry::leaf_hash).collect()
}

#[tokio::test]
async fn what_truncation_hides_goes_and_numbers_stay() {
    let store = open().await;
    store.put("s-1", Any, &[1, 2, 3]).await.unwrap();
    store.put("s-2", Any, &[4, 5]).await.unwrap();
    store
        .truncate(&name("s-1"), Revision::new(2))
        .await
        .unwrap();
    let before = hashes(&store).await;
    let done = scavenge(&store).await;
    assert_eq!((done.removed_events, done.phase), (2, ScavengePhase::Done));
    // 6 is the metadata, 7 and 8 are the acts.
    assert_eq!(positions(&store).await, [3, 4, 5, 6, 7, 8]);
    assert_eq!(hashes(&store).await[..6], before[..]);
    assert_eq!(store.revisions("s-1").await.unwrap(), [2]);
    assert_eq!(
        outcome(&store.put("s-1", crate::support::exact(2), &[9]).await),
        "ok 3@9"
    );
    assert_eq!(scavenge(&store).await.removed_events, 0);
}

#[tokio::test]
async fn a_dry_run_says_what_would_go_and_writes_nothing() {
    let store = open().await;
    store.put("s-1", Any, &[1, 2, 3]).await.unwrap();
    store
        .truncate(&name("s-1"), Revision::new(3))
        .await
        .unwrap();
    let found = store
        .scavenge(ScavengeMode::DryRun, |_| true)
        .await
        .unwrap();
    // The last event stays, so that the stream goes on.
    assert_eq!((found.removable_events, found.removed_events), (2, 0));
    assert!(found.removable_bytes > 0);
    assert_eq!(positions(&store).await, [1, 2, 3, 4]);
}

#[tokio::test]
async fn deleted_streams_keep_what_their_state_needs() {
    let store = open().await;
    for (at, stream) in ["soft", "closed"].iter().enumerate() {
        let ids = [
            10 * at as u128 + 1,
            10 * at as u128 + 2,
            10 * at as u128 + 3,
        ];
        store.put(stream, Any, &ids).await.unwrap();
    }
    store
        .delete(&name("soft"), Any, DeleteKind::Soft)
        .await
        .unwrap();
    store
        .delete(&name("closed"), Any, DeleteKind::Tombstone)
        .await
        .unwrap();
    let done = scavenge(&store).await;
    assert_eq!(done.removed_events, 5, "one event and one tombstone stay");
    let again = reopen(store.storage.clone(), StoreConfig::default()).await;
    assert_eq!(outcome(&again.put("closed", Any, &[50]).await), "deleted");
    assert!(again.revisions("soft").await.is_err());
    let reopened = again
        .put("soft", ExpectedRevision::NoStream, &[51])
        .await
        .unwrap();
    assert_eq!(reopened.streams[0].last_revision, Some(Revision::new(3)));
    assert_eq!(again.revisions("soft").await.unwrap(), [3]);
    // What the resurrection hides goes too.
    assert_eq!(scavenge(&again).await.removed_events, 1);
}

#[tokio::test]
async fn age_and_count_hide_what_goes() {
    let store = open().await;
    let metadata = |json: &'static str| json.as_bytes();
    store
        .set_metadata(&name("old"), Any, metadata(r#"{"$maxAge":60}"#))
        .await
        .unwrap();
    store
        .set_metadata(&name("few"), Any, metadata(r#"{"$maxCount":2}"#))
        .await
        .unwrap();
    store.put("old", Any, &[1, 2]).await.unwrap();
    store.put("few", Any, &[11, 12, 13, 14]).await.unwrap();
    store.clock.set(BEGIN.plus_nanos(61 * SECOND));
    store.put("old", Any, &[3]).await.unwrap();
    assert_eq!(scavenge(&store).await.removed_events, 4);
    assert_eq!(store.revisions("old").await.unwrap(), [2]);
    assert_eq!(store.revisions("few").await.unwrap(), [2, 3]);
}

#[tokio::test]
async fn subscribers_and_readers_go_on() {
    let store = open().await;
    store.put("s-1", Any, &[1, 2, 3, 4]).await.unwrap();
    store.put("s-2", Any, &[5]).await.unwrap();
    let mut live = Box::pin(store.subscribe(Subscribe::stream(name("s-2"))));
    assert_eq!(next_word(&mut live).await, "confirmed");
    assert_eq!(next_word(&mut live).await, "0");
    assert_eq!(next_word(&mut live).await, "caught up 5");
    store
        .truncate(&name("s-1"), Revision::new(3))
        .await
        .unwrap();
    scavenge(&store).await;
    store.put("s-2", Any, &[6]).await.unwrap();
    assert_eq!(next_word(&mut live).await, "1");
    let backwards = Read {
        direction: Direction::Backwards,
        ..Read::stream(name("s-1"))
    };
    let found = events(&store, backwards).await.unwrap();
    assert_eq!(found.len(), 1);
}

#[tokio::test]
async fn a_condition_from_before_a_removal_in_its_scope_is_refused() {
    let store = open().await;
    let events = vec![typed(1, "Seen", &["a:1"]), typed(2, "Kept", &[])];
    store
        .append(Append::to_stream(name("s-1"), Any, events).unwrap())
        .await
        .unwrap();
    store
        .truncate(&name("s-1"), Revision::new(1))
        .await
        .unwrap();
    scavenge(&store).await;
    let attempt = |id: u128, event_type: &str, tags: &[&str], after: u64| {
        let mut builder = AppendBuilder::default();
        let stream = builder.stream(name("s-2"), Any).unwrap();
        builder.event(stream, event(id), None).unwrap();
        builder.condition(condition(event_type, tags, after));
        builder.build().unwrap()
    };
    let refused = refusal(store.append(attempt(20, "Seen", &[], 0)).await);
    assert_eq!(refused.condition, Some(Position::new(1)));
    refusal(store.append(attempt(21, "", &["a:9"], 0)).await);
    for (id, event_type, tags, after) in [(22, "Never", &[][..], 0), (23, "Seen", &["a:1"], 1)] {
        let passed = store.append(attempt(id, event_type, tags, after)).await;
        assert!(passed.is_ok(), "{passed:?}");
    }
    let again = reopen(store.storage.clone(), StoreConfig::default()).await;
    refusal(again.append(attempt(30, "Seen", &[], 0)).await);
}

#[tokio::test]
async fn ended_early_it_loses_nothing_and_the_rest_goes_the_next_time() {
    let store = open().await;
    for stream in 0..40_u128 {
        let ids: Vec<_> = (0..100).map(|n| 1_000 * stream + n).collect();
        let stream = format!("s-{stream}");
        store.append(append(&stream, Any, &ids)).await.unwrap();
        store
            .truncate(&name(&stream), Revision::new(99))
            .await
            .unwrap();
    }
    let before = hashes(&store).await;
    let in_steps = |progress: ScavengeProgress| {
        progress.phase == ScavengePhase::Looking || progress.removed_events < 1_500
    };
    let ended = store.scavenge(ScavengeMode::Remove, in_steps).await;
    assert!(ended.unwrap_err().to_string().contains("next time"));
    let gone = 40 * 101 + 1 - store.log().await.len();
    assert!((1_500..40 * 99).contains(&gone), "{gone}");
    assert_eq!(hashes(&store).await[..before.len()], before[..]);

    store.stop().await.unwrap();
    let again = reopen(store.storage.clone(), StoreConfig::default()).await;
    let done = scavenge(&again).await;
    assert_eq!(done.removed_events + gone as u64, 40 * 99);
    for stream in 0..40 {
        assert_eq!(again.revisions(&format!("s-{stream}")).await.unwrap(), [99]);
    }
}

#[tokio::test(start_paused = true)]
async fn it_runs_by_itself_when_it_is_worth_it() {
    let config = StoreConfig {
        scavenge_interval: Some(std::time::Duration::from_secs(60)),
        ..StoreConfig::default()
    };
    let store = crate::support::open_with(config).await;
    store
        .put("s-1", Any, &[1, 2, 3, 4, 5, 6, 7, 8])
        .await
        .unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(130)).await;
    assert_eq!(positions(&store).await.len(), 8, "nothing is hidden");
    store
        .truncate(&name("s-1"), Revision::new(6))
        .await
        .unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(70)).await;
    assert_eq!(positions(&store).await, [7, 8, 9, 10, 11]);
    store.stop().await.unwrap();
}
