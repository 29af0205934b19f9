//! Erasing one event: what goes, what stays, who is told, and what a restart finishes.

use crate::support::{
    Any, TestStore, append, condition, event, events, name, next_word, open, outcome, refusal,
    reopen, typed,
};
use icecore_core::{
    Append, AppendBuilder, DeleteKind, EventData, EventType, Position, Read, RecordedEvent,
    Revision, Subscribe,
};
use icecore_eventstore::StoreConfig;
use serde_json::json;
use uuid::Uuid;

async fn erase(store: &TestStore, stream: &str, revision: u64) -> String {
    match store
        .erase(&name(stream), Revision::new(revision), "asked for")
        .await
    {
        Ok(erased) if erased.was_erased => format!("again {}", erased.position),
        Ok(erased) => format!("erased {}", erased.position),
        Err(error) => outcome(&Err(error)),
    }
}

async fn read(store: &TestStore, stream: &str) -> Vec<RecordedEvent> {
    events(store, Read::stream(name(stream))).await.unwrap()
}

fn rich(id: u128) -> EventData {
    EventData {
        data: "secret".into(),
        metadata: "who".into(),
        ..typed(id, "Told", &["person:7"])
    }
}

#[tokio::test]
async fn payload_goes_and_place_stays() {
    let store = open().await;
    let append = Append::to_stream(name("s-1"), Any, vec![event(1), rich(2), event(3)]).unwrap();
    store.append(append).await.unwrap();
    let before = read(&store, "s-1").await;
    assert_eq!(erase(&store, "s-1", 1).await, "erased 2");
    let after = read(&store, "s-1").await;
    assert_eq!(after[1], before[1].clone().into_erased());
    assert_eq!((&after[0], &after[2]), (&before[0], &before[2]));
    assert_eq!(erase(&store, "s-1", 1).await, "again 2");

    let acts = events(&store, Read::stream(name("$erasures")))
        .await
        .unwrap();
    let types: Vec<_> = acts.iter().map(|act| act.event_type.as_str()).collect();
    assert_eq!(types, ["$eventErased", "$erasureCompleted"]);
    let act: serde_json::Value = serde_json::from_slice(&acts[0].data).unwrap();
    assert_eq!(act["stream"], "s-1");
    assert_eq!(act["revision"], 1);
    assert_eq!(act["reason"], "asked for");
    assert_eq!(act["store_id"], store.store_id().to_string());
}

#[tokio::test]
async fn hidden_events_can_be_erased_and_what_cannot_says_why() {
    let store = open().await;
    for stream in ["s-1", "s-2"] {
        store.put(stream, Any, &[1, 2]).await.unwrap();
    }
    store
        .delete(&name("s-1"), Any, DeleteKind::Soft)
        .await
        .unwrap();
    store
        .delete(&name("s-2"), Any, DeleteKind::Tombstone)
        .await
        .unwrap();
    assert_eq!(erase(&store, "s-1", 0).await, "erased 1");
    assert_eq!(erase(&store, "s-2", 1).await, "erased 4");
    assert_eq!(
        erase(&store, "s-2", Revision::TOMBSTONE.get()).await,
        "invalid revision"
    );
    assert_eq!(erase(&store, "s-1", 2).await, "invalid revision");
    assert_eq!(erase(&store, "s-9", 0).await, "not found");
    assert_eq!(erase(&store, "$$s-1", 0).await, "invalid stream");
    assert_eq!(erase(&store, "$erasures", 0).await, "invalid stream");
    let long = "x".repeat(5_000);
    let refused = store.erase(&name("s-1"), Revision::new(1), &long).await;
    assert!(refused.unwrap_err().to_string().contains("reason"));
}

#[tokio::test]
async fn subscribers_that_come_later_get_the_erased_event() {
    let store = open().await;
    store.put("s-1", Any, &[1, 2]).await.unwrap();
    erase(&store, "s-1", 0).await;
    let mut subscription = Box::pin(store.subscribe(Subscribe::stream(name("s-1"))));
    assert_eq!(next_word(&mut subscription).await, "confirmed");
    assert_eq!(next_word(&mut subscription).await, "0 1");
    assert!(read(&store, "s-1").await[0].erased);
}

#[tokio::test]
async fn a_condition_on_tags_from_before_an_erasure_is_refused() {
    let store = open().await;
    let first = Append::to_stream(name("s-1"), Any, vec![rich(1), typed(2, "Other", &[])]);
    store.append(first.unwrap()).await.unwrap();
    erase(&store, "s-1", 0).await;
    let last = store.last_position().get();
    let attempt = |after: u64, event_type: &str, tags: &[&str]| {
        let mut builder = AppendBuilder::default();
        let stream = builder.stream(name("s-2"), Any).unwrap();
        builder
            .event(stream, event(u128::from(after) + 100), None)
            .unwrap();
        builder.condition(condition(event_type, tags, after));
        builder.build().unwrap()
    };
    // It carried the tag, and nobody can see that any more.
    let refused = refusal(store.append(attempt(0, "", &["person:7"])).await);
    assert_eq!(refused.condition, Some(Position::new(1)));
    // Its type is still there.
    let refused = refusal(store.append(attempt(0, "Told", &[])).await);
    assert_eq!(refused.condition, Some(Position::new(1)));
    let passed = store.append(attempt(last, "", &["person:7"])).await;
    assert!(passed.is_ok(), "{passed:?}");
    let other = store.append(attempt(1, "Unknown", &["person:7"])).await;
    assert!(other.is_ok(), "{other:?}");

    let again = reopen(store.storage.clone(), StoreConfig::default()).await;
    refusal(again.append(attempt(0, "", &["person:8"])).await);
}

#[tokio::test]
async fn a_restart_finishes_an_interrupted_erasure_of_this_store_only() {
    let mut store = open().await;
    store.put("s-1", Any, &[1, 2]).await.unwrap();
    let other = Uuid::from_u128(99).to_string();
    let own = store.store_id().to_string();
    for (id, store_id, position, expected) in [
        (50, &other, 2, [false, false]),
        (51, &own, 1, [true, false]),
        // One of another store does not hide our own ones.
        (52, &other, 2, [true, false]),
    ] {
        let data = json!({
            "store_id": store_id,
            "stream": "s-1",
            "position": position,
            "removals": {"types": {"Told": 40}},
        });
        let act = EventData {
            event_type: EventType::new("$eventErased").unwrap(),
            data: data.to_string().into(),
            ..event(id)
        };
        let act = Append::to_stream(name("$erasures"), Any, vec![act]).unwrap();
        assert_eq!(
            outcome(&store.append(act.clone()).await),
            "invalid events.type"
        );
        store.import(act).await.unwrap();
        store = reopen(store.storage.clone(), StoreConfig::default()).await;
        let events = read(&store, "s-1").await;
        let erased: Vec<_> = events.iter().map(|event| event.erased).collect();
        assert_eq!(erased, expected);
    }
    let mut builder = AppendBuilder::default();
    let stream = builder.stream(name("s-2"), Any).unwrap();
    builder.event(stream, event(60), None).unwrap();
    // A store that was restored has the acts of the one before it; they count up to where they stand.
    builder.condition(condition("Told", &[], 3));
    let refused = refusal(store.append(builder.build().unwrap()).await);
    assert!(refused.condition.unwrap() <= store.last_position());
}

#[tokio::test]
async fn the_same_ids_are_a_retry_after_an_erasure_too() {
    let store = open().await;
    let whole = append("s-1", crate::support::NoStream, &[1, 2]);
    store.append(whole.clone()).await.unwrap();
    erase(&store, "s-1", 0).await;
    assert_eq!(outcome(&store.append(whole).await), "ok 1@2");
}
