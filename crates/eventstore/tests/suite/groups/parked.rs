//! What is parked, and what becomes of it.

use super::{create, join, of_all, of_stream, put, round_robin};
use crate::support::{event, name, open, reopen, settle};
use icecore_core::{
    AppendBuilder, ConsumerStrategy, DeleteKind, Error, ExpectedRevision, GroupSettings,
    NackAction, ParkedRange, Revision, Settled,
};
use icecore_eventstore::StoreConfig;

const PARKED: &str = "$persistentsubscription-s::g-parked";

#[tokio::test(start_paused = true)]
async fn what_was_tried_too_often_is_parked_with_its_reason() {
    let store = open().await;
    let group = of_stream("s", "g");
    put(&store, 1, &["s", "s"]).await;
    create(
        &store,
        &group,
        GroupSettings {
            max_retry_count: 1,
            ..round_robin()
        },
    )
    .await;
    let mut member = join(&store, &group, 1).await;
    member.gets(&["s/0"]).await;
    member.nack(NackAction::Retry).await;
    member.gets(&["s/0 again 1"]).await;
    member.nack(NackAction::Retry).await;
    member.gets(&["s/1", "-"]).await;
    let parked = store
        .parked_events(&group, Revision::FIRST, 0)
        .await
        .unwrap();
    let first = &parked.events[0];
    assert_eq!(first.reason, "Reached retry count: cannot");
    assert_eq!((first.stream.as_str(), first.revision.get()), ("s", 0));
    assert_eq!(first.event.as_ref().unwrap().revision, Revision::FIRST);
    assert_eq!(parked.next, None);
    let links = store.log().await;
    let link = links
        .iter()
        .find(|event| event.stream.as_str() == PARKED)
        .unwrap();
    assert_eq!(
        (link.event_type.as_str(), &link.data[..]),
        ("$>", &b"0@s"[..])
    );
    let metadata: serde_json::Value = serde_json::from_slice(&link.metadata).unwrap();
    assert_eq!(metadata["subscriptionEventNumber"], 0);
    assert!(metadata["added"].is_string());
}

#[tokio::test(start_paused = true)]
async fn a_replayed_event_stays_parked_until_it_is_done() {
    let store = open().await;
    let group = of_stream("s", "g");
    put(&store, 1, &["s", "s", "s"]).await;
    create(&store, &group, round_robin()).await;
    let mut member = join(&store, &group, 10).await;
    member.gets(&["s/0", "s/1", "s/2"]).await;
    for _ in 0..3 {
        member.nack(NackAction::Park).await;
    }
    member.gets(&["-"]).await;
    let before = ParkedRange::Before(Revision::new(2));
    assert_eq!(store.count_parked(&group, before).await.unwrap(), 2);
    assert_eq!(store.replay_parked(&group, before).await.unwrap(), 2);
    member.gets(&["s/0", "s/1", "-"]).await;
    member.ack().await;
    member.nack(NackAction::Park).await;
    member.gets(&["-"]).await;
    let parked = store
        .parked_events(&group, Revision::FIRST, 1)
        .await
        .unwrap();
    assert_eq!(parked.events[0].revision.get(), 2);
    let next = parked.next.unwrap();
    let parked = store.parked_events(&group, next, 0).await.unwrap();
    assert_eq!(
        parked.events[0].revision.get(),
        1,
        "parked again, so at the end"
    );
    assert_eq!(store.group_info(&group).await.unwrap().parked_count, 2);

    // A crash loses nothing of it.
    store.replay_parked(&group, ParkedRange::All).await.unwrap();
    member.gets(&["s/2", "s/1"]).await;
    store.stop().await.unwrap();
    let store = reopen(store.storage.clone(), StoreConfig::default()).await;
    let mut member = join(&store, &group, 10).await;
    assert_eq!(member.process_all().await, ["s/2", "s/1"]);
    drop(member);
    settle().await;
    let visible = store.revisions(PARKED).await;
    assert!(visible.unwrap().is_empty(), "what is over is truncated");
}

#[tokio::test(start_paused = true)]
async fn what_is_discarded_does_not_come_again() {
    let store = open().await;
    let group = of_all("g");
    put(&store, 1, &["a", "b"]).await;
    create(&store, &group, round_robin()).await;
    let mut member = join(&store, &group, 10).await;
    member.gets(&["a/0", "b/0"]).await;
    member.nack(NackAction::Park).await;
    member.nack(NackAction::Park).await;
    member.gets(&["-"]).await;
    let one = ParkedRange::One(Revision::FIRST);
    assert_eq!(store.discard_parked(&group, one).await.unwrap(), 1);
    for none in [one, ParkedRange::One(Revision::new(99))] {
        let error = store.discard_parked(&group, none).await.unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { ref field, .. } if field == "revision"));
    }
    assert_eq!(
        store.replay_parked(&group, ParkedRange::All).await.unwrap(),
        1
    );
    assert_eq!(member.process_all().await, ["b/0"]);
    assert_eq!(
        store.replay_parked(&group, ParkedRange::All).await.unwrap(),
        0
    );
}

#[tokio::test(start_paused = true)]
async fn a_parked_event_that_is_gone_is_over_when_it_is_replayed() {
    let store = open().await;
    let group = of_all("g");
    put(&store, 1, &["s"]).await;
    create(&store, &group, GroupSettings::default()).await;
    let mut member = join(&store, &group, 10).await;
    member.gets(&["s/0"]).await;
    member.nack(NackAction::Park).await;
    member.gets(&["-"]).await;
    let any = ExpectedRevision::Any;
    store
        .delete(&name("s"), any, DeleteKind::Soft)
        .await
        .unwrap();
    put(&store, 2, &["s"]).await;
    let parked = store
        .parked_events(&group, Revision::FIRST, 0)
        .await
        .unwrap();
    assert_eq!(parked.events[0].event, None);
    store.replay_parked(&group, ParkedRange::All).await.unwrap();
    member.gets(&["s/1", "-"]).await;
    drop(member);
    join(&store, &group, 10).await.gets(&["s/1 again 1"]).await;
    assert_eq!(store.group_info(&group).await.unwrap().parked_count, 0);
}

#[tokio::test(start_paused = true)]
async fn two_replays_at_once_deliver_an_event_once() {
    let store = open().await;
    let group = of_stream("s", "g");
    put(&store, 1, &["s"]).await;
    create(&store, &group, round_robin()).await;
    let mut member = join(&store, &group, 10).await;
    member.gets(&["s/0"]).await;
    member.nack(NackAction::Park).await;
    member.gets(&["-"]).await;
    let replay = || store.replay_parked(&group, ParkedRange::All);
    let (one, two) = tokio::join!(replay(), replay());
    assert_eq!(one.unwrap() + two.unwrap(), 1);
    member.gets(&["s/0", "-"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_replay_does_not_wait_until_the_group_has_caught_up() {
    for strategy in [ConsumerStrategy::Ordered, ConsumerStrategy::RoundRobin] {
        let store = open().await;
        let group = of_all("g");
        put(&store, 1, &["a", "a"]).await;
        let settings = GroupSettings {
            history_buffer_size: 2,
            live_buffer_size: 2,
            read_batch_size: 2,
            strategy,
            ..GroupSettings::default()
        };
        create(&store, &group, settings).await;
        let mut member = join(&store, &group, 1).await;
        member.gets(&["a/0"]).await;
        member.nack(NackAction::Park).await;
        put(&store, 10, &["b"; 100]).await;
        if strategy == ConsumerStrategy::RoundRobin {
            member.gets(&["a/1"]).await;
            member.ack().await;
        }
        member.gets(&["b/0"]).await;
        store.replay_parked(&group, ParkedRange::All).await.unwrap();
        member.ack().await;
        let (mut between, mut wanted) = (0, vec!["a/0"]);
        if strategy == ConsumerStrategy::Ordered {
            wanted.push("a/1");
        }
        while !wanted.is_empty() {
            let word = member.next().await;
            if word == wanted[0] {
                wanted.remove(0);
            } else {
                assert!(word.starts_with("b/"), "{word}");
                between += 1;
            }
            member.ack().await;
        }
        assert!(between <= 10, "{between} events came before, {strategy}");
    }
}

#[tokio::test(start_paused = true)]
async fn however_long_the_names_of_their_streams_all_can_be_given_up() {
    const PARKED_EVENTS: u64 = 8_500;
    let store = open().await;
    let group = of_all("g");
    let mut append = AppendBuilder::default();
    for number in 0..PARKED_EVENTS {
        let long = format!("{number}{}", "\"".repeat(1_000));
        let stream = append.stream(name(&long), ExpectedRevision::NoStream);
        let event = event(u128::from(number) + 1);
        append.event(stream.unwrap(), event, None).unwrap();
    }
    store.append(append.build().unwrap()).await.unwrap();
    let settings = GroupSettings {
        history_buffer_size: 10_000,
        live_buffer_size: 10_000,
        ..GroupSettings::default()
    };
    create(&store, &group, settings).await;
    let mut member = join(&store, &group, 10_000).await;
    for _ in 0..PARKED_EVENTS {
        member.next().await;
    }
    let settled = Settled::Nack {
        action: NackAction::Park,
        reason: String::new(),
    };
    let numbers = member.numbers();
    member.consumer.settle(numbers, settled).await.unwrap();
    member.gets(&["-"]).await;
    let parked = async || store.group_info(&group).await.unwrap().parked_count;
    assert_eq!(parked().await, PARKED_EVENTS);
    let given_up = store.discard_parked(&group, ParkedRange::All).await;
    assert_eq!(given_up.unwrap(), PARKED_EVENTS);
    assert_eq!(parked().await, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_done_in_a_replay_cannot_be_given_up_before_that_is_written() {
    let store = open().await;
    let group = of_stream("s", "g");
    put(&store, 1, &["s"]).await;
    create(&store, &group, round_robin()).await;
    let mut member = join(&store, &group, 10).await;
    member.gets(&["s/0"]).await;
    member.nack(NackAction::Park).await;
    member.gets(&["-"]).await;
    store.replay_parked(&group, ParkedRange::All).await.unwrap();
    member.gets(&["s/0"]).await;
    member.ack().await;
    member.gets(&["-"]).await;
    let first = ParkedRange::One(Revision::FIRST);
    let gone = store.discard_parked(&group, first).await;
    assert!(
        matches!(gone, Err(Error::InvalidArgument { .. })),
        "{gone:?}"
    );
}
