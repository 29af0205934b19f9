//! Appends with a condition: a dynamic consistency boundary.

use crate::support::{
    Any, NoStream, TestStore, append_to, condition, name, open, open_with, outcome, refusal,
    settle, typed,
};
use icecore_core::{Append, AppendBuilder, Appended, Condition, Position, Query, Result};
use icecore_eventstore::StoreConfig;

async fn put(store: &TestStore, id: u128, event_type: &str, tags: &[&str]) {
    let event = typed(id, event_type, tags);
    let append = Append::to_stream(name("seed"), Any, vec![event]).unwrap();
    store.append(append).await.unwrap();
}

fn append(id: u128, event_type: &str, tags: &[&str], condition: Condition) -> Append {
    let mut append = AppendBuilder::default();
    let stream = append.stream(name(&format!("own-{id}")), Any).unwrap();
    let event = typed(id, event_type, tags);
    append.event(stream, event, None).unwrap();
    append.condition(condition);
    append.build().unwrap()
}

/// Where the condition fails on a store of `A x:1`, `B x:1 y:2`, `A y:2`; `None` when it holds.
async fn check(condition: Condition, wanted: Option<u64>) {
    let store = open().await;
    put(&store, 1, "A", &["x:1"]).await;
    put(&store, 2, "B", &["x:1", "y:2"]).await;
    put(&store, 3, "A", &["y:2"]).await;
    let result = store.append(append(9, "C", &[], condition.clone())).await;
    match wanted {
        None => assert_eq!(outcome(&result), "ok 0@4", "{condition:?}"),
        Some(position) => {
            let found = refusal(result).condition;
            assert_eq!(found, Some(Position::new(position)), "{condition:?}");
            assert_eq!(store.last_position().get(), 3);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_condition_fails_at_the_first_event_after_it_that_matches() {
    check(condition("A", &[], 0), Some(1)).await;
    check(condition("A", &[], 1), Some(3)).await;
    check(condition("A", &[], 3), None).await;
    check(condition("", &["x:1"], 1), Some(2)).await;
    check(condition("", &["x:1"], 2), None).await;
    check(condition("", &["x:1", "y:2"], 0), Some(2)).await;
    check(condition("A", &["x:1", "y:2"], 0), None).await;
    check(condition("", &[], 2), Some(3)).await;
    check(condition("", &[], 3), None).await;
    let everything = Condition {
        query: Query::default(),
        after: Position::new(1),
    };
    check(everything, Some(2)).await;
}

#[tokio::test(start_paused = true)]
async fn the_alternatives_of_a_query_are_all_looked_at() {
    let alternatives = |first: &Condition, second: &Condition| Condition {
        query: Query::new([first.query.items(), second.query.items()].concat()).unwrap(),
        after: first.after,
    };
    let (b, a) = (condition("B", &[], 0), condition("A", &["y:2"], 0));
    check(alternatives(&b, &a), Some(2)).await;
    check(alternatives(&a, &b), Some(2)).await;
    let none = condition("Z", &[], 0);
    check(alternatives(&none, &a), Some(3)).await;
    check(alternatives(&none, &none), None).await;
}

#[tokio::test(start_paused = true)]
async fn hidden_events_count() {
    let store = open().await;
    put(&store, 1, "A", &[]).await;
    let soft = icecore_core::DeleteKind::Soft;
    store.delete(&name("seed"), Any, soft).await.unwrap();
    let refused = store.append(append(9, "B", &[], condition("A", &[], 0)));
    assert_eq!(refusal(refused.await).condition, Some(Position::FIRST));
}

#[tokio::test(start_paused = true)]
async fn a_condition_beyond_the_end_is_refused_as_input() {
    let store = open().await;
    put(&store, 1, "A", &[]).await;
    let result = store
        .append(append(9, "B", &[], condition("A", &[], 2)))
        .await;
    assert_eq!(outcome(&result), "invalid condition.after");
}

#[tokio::test(start_paused = true)]
async fn a_condition_alone_writes_nothing_and_tells() {
    let store = open().await;
    put(&store, 1, "A", &[]).await;
    let ask = |after| {
        let mut append = AppendBuilder::default();
        append.condition(condition("A", &[], after));
        append.build().unwrap()
    };
    assert_eq!(outcome(&store.append(ask(0)).await), "condition");
    assert_eq!(outcome(&store.append(ask(1)).await), "ok -@1");
}

#[tokio::test(start_paused = true)]
async fn a_condition_and_an_expectation_may_fail_together() {
    let store = open().await;
    put(&store, 1, "A", &[]).await;
    let mut append = append_to(&[("seed", NoStream, &[5])]);
    append.condition(condition("A", &[], 0));
    let refused = refusal(store.append(append.build().unwrap()).await);
    assert_eq!(refused.violations.len(), 1);
    assert_eq!(refused.condition, Some(Position::FIRST));
}

#[tokio::test(start_paused = true)]
async fn a_budget_bounds_the_check() {
    let config = StoreConfig {
        condition_events: 100,
        ..StoreConfig::default()
    };
    let store = open_with(config).await;
    for id in 1..=400 {
        put(&store, id, "A", &["x:1"]).await;
    }
    let tagged = |after| append(9_000, "C", &[], condition("B", &["x:1"], after));
    assert_eq!(outcome(&store.append(tagged(0)).await), "exhausted");
    assert_eq!(outcome(&store.append(tagged(299)).await), "exhausted");
    assert_eq!(outcome(&store.append(tagged(300)).await), "ok 0@401");
}

async fn race(store: &TestStore, blocked: bool) -> Vec<Result<Appended>> {
    if blocked {
        store.storage.hold();
    }
    let tasks: Vec<_> = (1..=20)
        .map(|id| {
            let store = store.store.clone();
            let append = append(
                100 + id,
                "Taken",
                &["seat:7"],
                condition("Taken", &["seat:7"], 0),
            );
            tokio::spawn(async move { store.append(append).await })
        })
        .collect();
    settle().await;
    store.storage.release_all();
    let mut found = Vec::new();
    for task in tasks {
        found.push(task.await.unwrap());
    }
    found
}

#[tokio::test(start_paused = true)]
async fn of_many_that_exclude_each_other_one_wins() {
    for blocked in [false, true] {
        let store = open().await;
        let found = race(&store, blocked).await;
        assert_eq!(found.iter().filter(|found| found.is_ok()).count(), 1);
        assert_eq!(store.last_position().get(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_that_has_grown_old_is_made_again() {
    let store = open().await;
    put(&store, 1, "A", &[]).await;
    store.storage.hold();
    // More than the writer keeps in memory, all of it in flight.
    let mut waiting = Vec::new();
    for n in 0..3u128 {
        let ids: Vec<_> = (0..10_000).map(|id| 1_000_000 * (n + 1) + id).collect();
        let append = crate::support::append("bulk", Any, &ids);
        let store = store.store.clone();
        waiting.push(tokio::spawn(async move { store.append(append).await }));
        settle().await;
    }
    let excluded = append(9, "C", &[], condition("T", &[], 1));
    let holds = append(10, "C", &[], condition("U", &[], 1));
    let [excluded, holds] = [excluded, holds].map(|append| {
        let store = store.store.clone();
        tokio::spawn(async move { store.append(append).await })
    });
    settle().await;
    store.storage.release_all();
    let excluded = refusal(excluded.await.unwrap()).condition;
    assert_eq!(excluded, Some(Position::new(2)));
    holds.await.unwrap().unwrap();
    for append in waiting {
        append.await.unwrap().unwrap();
    }
}
