//! Subscriptions: catch-up, then live, each event once and in order.

use crate::support::{
    Any, Fault, NoStream, TestStore, append, exact, name, next_word, open, open_with, settle, typed,
};
use futures::StreamExt;
use icecore_core::{
    Append, DeleteKind, Delivery, Error, Filter, NameMatch, Position, RecordedEvent, Revision,
    Start, StoreId, Subscribe, SubscribeFrom, SubscriptionMessage,
};
use icecore_eventstore::{EventStore, StoreConfig};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};

fn all(start: Start<Position>) -> Subscribe {
    Subscribe {
        from: SubscribeFrom::All(start),
        ..Subscribe::all()
    }
}

fn stream(stream: &str, start: Start<Revision>) -> Subscribe {
    Subscribe {
        from: SubscribeFrom::Stream(name(stream), start),
        ..Subscribe::all()
    }
}

type Words<'a> = &'a [&'a str];
type Messages =
    Pin<Box<dyn futures::Stream<Item = icecore_core::Result<SubscriptionMessage>> + Send>>;

/// A subscription that may also be dropped.
struct Subscription(Messages);

/// Subscribes and checks what comes.
async fn check(store: &TestStore, subscribe: Subscribe, wanted: Words<'_>) -> Subscription {
    let mut subscription = Subscription(Box::pin(store.subscribe(subscribe)));
    says(&mut subscription, wanted).await;
    subscription
}

async fn says(subscription: &mut Subscription, wanted: Words<'_>) {
    for wanted in wanted {
        assert_eq!(next_word(&mut subscription.0).await, *wanted);
    }
}

/// A ring that holds nothing, so that everything comes from the log.
fn without_ring() -> StoreConfig {
    StoreConfig {
        ring_bytes: 0,
        ..StoreConfig::default()
    }
}

async fn stores() -> [TestStore; 2] {
    [open().await, open_with(without_ring()).await]
}

#[tokio::test(start_paused = true)]
async fn a_subscription_catches_up_and_follows() {
    for store in stores().await {
        store.put("s", NoStream, &[1, 2]).await.unwrap();
        let first = ["confirmed", "0 1", "caught up 2"];
        let mut of_all = check(&store, all(Start::Beginning), &first).await;
        let mut of_one = check(&store, stream("s", Start::Beginning), &first).await;
        let mut after = check(
            &store,
            stream("s", Start::After(Revision::FIRST)),
            &["confirmed", "1", "caught up 2"],
        )
        .await;
        let mut from_end = check(&store, all(Start::End), &["confirmed", "caught up 2"]).await;
        store.put("s", exact(1), &[3]).await.unwrap();
        for subscription in [&mut of_all, &mut of_one, &mut after, &mut from_end] {
            says(subscription, &["2"]).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_stream_is_where_readers_see_it() {
    let store = open().await;
    store.put("s", NoStream, &[1]).await.unwrap();
    store.storage.hold();
    store.storage.fail_next([Some(Fault::Late)]);
    let writer = store.store.clone();
    let written = tokio::spawn(async move { writer.append(append("s", Any, &[2])).await });
    store.storage.release_one();
    settle().await;
    assert_eq!(
        store.storage.last().get(),
        2,
        "it is there and not yet shown"
    );
    let from_end = stream("s", Start::End);
    let mut subscription = check(&store, from_end, &["confirmed", "caught up 1"]).await;
    store.storage.release_all();
    written.await.unwrap().unwrap();
    settle().await;
    store.put("s", exact(1), &[3]).await.unwrap();
    says(&mut subscription, &["1 2"]).await;
}

#[tokio::test(start_paused = true)]
async fn who_follows_the_ring_hears_caught_up_once() {
    let store = open().await;
    let first = ["confirmed", "caught up 0"];
    let mut subscription = check(&store, all(Start::Beginning), &first).await;
    for id in 1..=5u64 {
        let task = tokio::spawn(async move {
            let word = next_word(&mut subscription.0).await;
            (subscription, word)
        });
        settle().await;
        store.put("s", Any, &[id.into()]).await.unwrap();
        let word;
        (subscription, word) = task.await.unwrap();
        assert_eq!(word, (id - 1).to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn caught_up_comes_again_after_falling_behind() {
    let store = open_with(without_ring()).await;
    let first = ["confirmed", "caught up 0"];
    let mut subscription = check(&store, all(Start::Beginning), &first).await;
    store.put("s", Any, &[1]).await.unwrap();
    store.put("s", Any, &[2]).await.unwrap();
    says(&mut subscription, &["0 1", "caught up 2"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_subscription_sees_no_hidden_events() {
    for store in stores().await {
        store.put("s", NoStream, &[1, 2, 3]).await.unwrap();
        store.truncate(&name("s"), Revision::new(2)).await.unwrap();
        let seen = ["confirmed", "2", "caught up 4"];
        check(&store, stream("s", Start::Beginning), &seen).await;
        let soft = DeleteKind::Soft;
        store.delete(&name("s"), Any, soft).await.unwrap();
        let seen = ["confirmed", "caught up 5"];
        let mut gone = check(&store, stream("s", Start::Beginning), &seen).await;
        store.put("s", Any, &[9]).await.unwrap();
        says(&mut gone, &["3"]).await;
        let seen = ["confirmed", "3", "caught up 7"];
        check(&store, stream("s", Start::Beginning), &seen).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_tombstone_is_delivered_and_ends_the_subscription() {
    let tombstone = Revision::TOMBSTONE.to_string();
    for store in stores().await {
        store.put("s", NoStream, &[1]).await.unwrap();
        let first = ["confirmed", "0", "caught up 1"];
        let mut live = check(&store, stream("s", Start::Beginning), &first).await;
        let kind = DeleteKind::Tombstone;
        store.delete(&name("s"), Any, kind).await.unwrap();
        says(&mut live, &[&tombstone, "deleted", "end"]).await;
        let late = ["confirmed", &format!("0 {tombstone}"), "deleted"];
        check(&store, stream("s", Start::Beginning), &late).await;
        for start in [Start::End, Start::After(Revision::FIRST)] {
            let late = ["confirmed", &tombstone, "deleted"];
            check(&store, stream("s", start), &late).await;
        }
        check(&store, stream("$$s", Start::Beginning), &["deleted"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_to_a_closed_stream_gets_what_was_missed() {
    for store in stores().await {
        store.put("s", NoStream, &[1, 2, 3]).await.unwrap();
        let kind = DeleteKind::Tombstone;
        store.delete(&name("s"), Any, kind).await.unwrap();
        let missed = format!("1 2 {}", Revision::TOMBSTONE);
        let after = stream("s", Start::After(Revision::FIRST));
        check(&store, after, &["confirmed", &missed, "deleted"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_beyond_the_end_or_in_another_store_is_refused() {
    let store = open().await;
    store.put("s", NoStream, &[1]).await.unwrap();
    let beyond = ["invalid after", "end"];
    check(&store, all(Start::After(Position::new(2))), &beyond).await;
    check(&store, stream("s", Start::After(Revision::new(1))), &beyond).await;
    check(
        &store,
        stream("none", Start::After(Revision::FIRST)),
        &beyond,
    )
    .await;
    let last = ["confirmed", "caught up 1"];
    check(&store, all(Start::After(Position::new(1))), &last).await;
    check(&store, stream("s", Start::After(Revision::FIRST)), &last).await;
    let mut other = all(Start::Beginning);
    other.store_id = Some(StoreId::new(uuid::Uuid::from_u128(99)));
    check(&store, other.clone(), &["wrong store", "end"]).await;
    other.store_id = Some(store.store_id());
    check(&store, other, &["confirmed"]).await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_store_ends_subscriptions() {
    let store = open().await;
    let first = ["confirmed", "caught up 0"];
    let mut subscription = check(&store, all(Start::Beginning), &first).await;
    let waiting = tokio::spawn(async move { next_word(&mut subscription.0).await });
    settle().await;
    store.close().await.unwrap();
    assert_eq!(waiting.await.unwrap(), "unavailable");
}

#[tokio::test(start_paused = true)]
async fn there_are_no_more_subscriptions_than_allowed() {
    let store = open_with(StoreConfig {
        subscriptions_max: 2,
        ..StoreConfig::default()
    })
    .await;
    let first = ["confirmed", "caught up 0"];
    let one = check(&store, all(Start::Beginning), &first).await;
    let _two = check(&store, stream("s", Start::Beginning), &first).await;
    let mut third = Box::pin(store.subscribe(all(Start::End)));
    let refused = third.next().await.unwrap().unwrap_err();
    assert!(
        matches!(&refused, Error::Exhausted { limit, .. } if limit == "subscriptions_max"),
        "{refused:?}"
    );
    assert!(third.next().await.is_none());
    drop(one);
    check(&store, all(Start::End), &first).await;
}

#[tokio::test(start_paused = true)]
async fn what_several_follow_is_encoded_once_for_each_append() {
    let store = open().await;
    let encodings = AtomicUsize::new(0);
    let encode = |events: &[RecordedEvent]| {
        encodings.fetch_add(1, Ordering::Relaxed);
        vec![b'x'; events.len()].into()
    };
    let mut followers = Vec::new();
    for _ in 0..3 {
        let mut deliveries = Box::pin(store.deliver(all(Start::End)));
        for _ in ["confirmed", "caught up"] {
            let begun = deliveries.next().await.unwrap().unwrap();
            assert!(matches!(begun, Delivery::Own(_)), "{begun:?}");
        }
        followers.push(deliveries);
    }
    store.put("s", Any, &[1, 2]).await.unwrap();
    store.put("s", Any, &[3]).await.unwrap();
    for deliveries in &mut followers {
        let mut heard = Vec::new();
        while heard.len() < 2 {
            match deliveries.next().await.unwrap().unwrap() {
                Delivery::Shared(appends) => {
                    heard.extend(appends.iter().map(|events| events.encoded(encode).len()));
                }
                Delivery::Own(message) => panic!("{message:?} is not shared"),
            }
        }
        assert_eq!(heard, [2, 1]);
    }
    assert_eq!(encodings.into_inner(), 2);
}

#[tokio::test(start_paused = true)]
async fn filters_deliver_what_matches_and_checkpoints() {
    for ring_bytes in [0, 1 << 20] {
        let config = StoreConfig {
            checkpoint_events: 3,
            ring_bytes,
            ..StoreConfig::default()
        };
        let store = open_with(config).await;
        let mut subscribe = all(Start::Beginning);
        subscribe.filter = Filter {
            event_type: Some(NameMatch::Regex("^Paid$".into())),
            ..Filter::default()
        };
        let first = ["confirmed", "caught up 0"];
        let mut subscription = check(&store, subscribe.clone(), &first).await;
        let paid = Append::to_stream(name("p"), Any, vec![typed(99, "Paid", &[])]).unwrap();
        store.put("s", Any, &[1, 2, 3, 4]).await.unwrap();
        says(&mut subscription, &["checkpoint 4"]).await;
        store.append(paid).await.unwrap();
        store.put("s", Any, &[5]).await.unwrap();
        if ring_bytes == 0 {
            says(&mut subscription, &["0", "caught up 6"]).await;
        } else {
            says(&mut subscription, &["0"]).await;
        }
        check(&store, subscribe, &["confirmed", "0", "caught up 6"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_append_comes_in_messages_of_bounded_size() {
    for store in stores().await {
        let first = ["confirmed", "caught up 0"];
        let mut subscription = check(&store, all(Start::Beginning), &first).await;
        let ids: Vec<u128> = (1..=5_000).collect();
        store.append(append("s", Any, &ids)).await.unwrap();
        let mut seen = 0;
        while seen < 5_000 {
            match subscription.0.next().await.unwrap().unwrap() {
                SubscriptionMessage::Events(events) => {
                    assert!(events.len() <= 1_024, "{}", events.len());
                    for event in events {
                        seen += 1;
                        assert_eq!(event.position.get(), seen);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn subscriptions_go_on_after_a_failed_commit() {
    for fault in [Fault::UnknownPresent, Fault::UnknownAbsent, Fault::Fenced] {
        let store = open().await;
        let first = ["confirmed", "caught up 0"];
        let mut subscription = check(&store, all(Start::Beginning), &first).await;
        store.storage.fail_next([Some(fault)]);
        store.put("s", Any, &[1]).await.unwrap_err();
        store.put("s", Any, &[1]).await.unwrap();
        store.put("s", Any, &[2]).await.unwrap();
        let mut seen = Vec::new();
        while seen.len() < 2 {
            if let SubscriptionMessage::Events(events) =
                subscription.0.next().await.unwrap().unwrap()
            {
                seen.extend(events.iter().map(|e| e.id.as_u128()));
            }
        }
        assert_eq!(seen, [1, 2], "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn subscriptions_are_counted_while_they_live() {
    let store = open().await;
    store.put("s", NoStream, &[1, 2, 3]).await.unwrap();
    let subscription = check(&store, all(Start::Beginning), &["confirmed"]).await;
    assert_eq!(store.stats().await.unwrap().subscriptions, 1);
    assert_eq!(store.subscription_lag_events_max(), 3);
    drop(subscription);
    assert_eq!(store.stats().await.unwrap().subscriptions, 0);
    assert_eq!(store.subscription_lag_events_max(), 0);
}

/// Follows until it has seen so many events, each in its place.
async fn follow(store: EventStore, subscribe: Subscribe, count: u64, slow: bool) {
    let mut subscription = Box::pin(store.subscribe(subscribe));
    let mut seen = 0;
    while seen < count {
        match subscription.next().await.unwrap().unwrap() {
            SubscriptionMessage::Events(events) => {
                for event in events {
                    seen += 1;
                    assert_eq!(event.position.get(), seen);
                }
                if slow {
                    for _ in 0..50 {
                        tokio::task::yield_now().await;
                    }
                }
            }
            SubscriptionMessage::CaughtUp { position } => assert_eq!(position.get(), seen),
            SubscriptionMessage::Confirmed { .. } => {}
            SubscriptionMessage::Checkpoint(_) => panic!("nothing is filtered"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_or_doubled_between_log_and_ring() {
    for ring_bytes in [0, 2_000, 1 << 20] {
        let config = StoreConfig {
            ring_bytes,
            ..StoreConfig::default()
        };
        let store = open_with(config).await;
        let mut tasks = Vec::new();
        for writer in 0..4u128 {
            let writing = store.store.clone();
            tasks.push(tokio::spawn(async move {
                for n in 0..200 {
                    let id = writer * 10_000 + n * 2;
                    let stream = format!("s-{}", n % 7);
                    let append = append(&stream, Any, &[id, id + 1]);
                    writing.append(append).await.unwrap();
                }
            }));
            let (store, slow) = (store.store.clone(), writer % 2 == 0);
            let subscribe = all(Start::Beginning);
            tasks.push(tokio::spawn(follow(store, subscribe, 1_600, slow)));
        }
        for task in tasks {
            task.await.unwrap();
        }
    }
}
