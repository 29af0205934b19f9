//! What goes wrong around a group: consumers that leave or take nothing, callers that break off, answers
//! that are too large, a full disk.

use super::{Member, create, join, of_all, of_stream, put, round_robin};
use crate::support::{Any, TestStore, append, open, reopen, settle};
use icecore_core::limits::{GROUP_CONSUMER_BUFFER_MAX, GROUP_REASON_BYTES_MAX};
use icecore_core::{
    DeliveryNumber, Error, Finish, GroupId, GroupProblem, GroupSettings, NackAction, ParkedRange,
    Revision, Settled,
};
use icecore_eventstore::{Room, StoreConfig};
use std::time::Duration;

/// Writes a checkpoint for each event that is done, and waits for its consumers.
fn eager() -> GroupSettings {
    GroupSettings {
        message_timeout: Duration::ZERO,
        min_checkpoint_count: 1,
        max_checkpoint_count: 1,
        ..round_robin()
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_in_order_has_tried_nothing() {
    let store = open().await;
    let group = of_all("g");
    put(&store, 1, &["s", "s", "s"]).await;
    create(&store, &group, round_robin()).await;
    let mut leaves = join(&store, &group, 2).await;
    leaves.gets(&["s/0", "s/1", "-"]).await;
    let mut other = join(&store, &group, 10).await;
    other.gets(&["s/2"]).await;
    leaves.ack().await;
    leaves.consumer.leave().await;
    other.gets(&["s/1", "-"]).await;
    let Member { mut deliveries, .. } = leaves;
    assert!(futures::StreamExt::next(&mut deliveries).await.is_none());

    // A stop is an orderly end, too.
    let mut stops = join(&store, &group, 10).await;
    put(&store, 4, &["s", "s"]).await;
    stops.gets(&["s/3"]).await;
    other.gets(&["s/4"]).await;
    stops.nack(NackAction::Stop).await;
    other.gets(&["s/3", "-"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_takes_nothing_is_not_sent_more() {
    let store = open().await;
    let group = of_all("g");
    create(&store, &group, round_robin()).await;
    let mut stuck = join(&store, &group, 100).await;
    let mut other = join(&store, &group, 100).await;
    for id in 1..=20 {
        put(&store, id, &["s"]).await;
        other.process_all().await;
        tokio::time::sleep(Duration::from_secs(31)).await;
        other.process_all().await;
    }
    let mut stale = 0;
    while stuck.next().await != "-" {
        stale += 1;
    }
    assert_eq!(stale, 1, "what it has lost stands there until it is taken");
    // Now it takes part again.
    put(&store, 100, &["s", "s"]).await;
    let both = [stuck.next().await, other.next().await];
    assert!(both.iter().all(|word| word.starts_with("s/2")), "{both:?}");
}

#[tokio::test(start_paused = true)]
async fn answers_have_a_limit_and_of_reasons_the_beginning_is_kept() {
    let store = open().await;
    let group = of_stream("s", "g");
    put(&store, 1, &["s"]).await;
    create(&store, &group, round_robin()).await;
    let mut member = join(&store, &group, 1).await;
    member.gets(&["s/0"]).await;
    let too_many = vec![DeliveryNumber(1); GROUP_CONSUMER_BUFFER_MAX as usize + 1];
    let refused = member.consumer.settle(too_many, Settled::Ack).await;
    assert!(matches!(refused, Err(Error::InvalidArgument { field, .. }) if field == "deliveries"));
    let reason = "a".repeat(GROUP_REASON_BYTES_MAX - 1) + "ñ and more";
    let action = NackAction::Park;
    member
        .answer(Settled::Nack { action, reason })
        .await
        .unwrap();
    member.gets(&["-"]).await;
    let parked = store.parked_events(&group, Revision::FIRST, 0).await;
    let reason = &parked.unwrap().events[0].reason;
    assert_eq!(*reason, "a".repeat(GROUP_REASON_BYTES_MAX - 1));
}

/// Begins something and breaks it off once it waits for the storage.
async fn break_off<T>(change: impl Future<Output = T>) {
    let begun = tokio::time::timeout(Duration::from_millis(1), change).await;
    assert!(begun.is_err(), "it was not held up");
}

/// A group with a consumer that has done an event, of which the checkpoint is not written.
async fn with_something_to_write() -> (TestStore, GroupId, Member) {
    let store = open().await;
    let group = of_all("g");
    put(&store, 1, &["s", "s"]).await;
    create(&store, &group, round_robin()).await;
    let mut member = join(&store, &group, 1).await;
    member.gets(&["s/0"]).await;
    member.ack().await;
    member.gets(&["s/1"]).await;
    store.storage.hold();
    (store, group, member)
}

#[tokio::test(start_paused = true)]
async fn a_change_goes_to_its_end_without_its_caller() {
    let (store, group, _member) = with_something_to_write().await;
    break_off(store.delete_group(&group)).await;
    store.storage.release_all();
    settle().await;
    let gone = store.group_info(&group).await;
    let not_found = GroupProblem::NotFound;
    assert!(matches!(gone, Err(Error::Group { problem, .. }) if problem == not_found));

    let (store, group, _member) = with_something_to_write().await;
    // The new settings are written; then what the group has done waits.
    store.storage.release_one();
    let settings = GroupSettings {
        max_retry_count: 3,
        ..round_robin()
    };
    break_off(store.update_group(&group, settings.clone())).await;
    store.storage.release_all();
    settle().await;
    assert_eq!(
        store.group_info(&group).await.unwrap().group.settings,
        settings
    );
    join(&store, &group, 1).await.gets(&["s/1", "-"]).await;

    let (store, group, mut member) = with_something_to_write().await;
    break_off(store.restart_group(&group)).await;
    store.storage.release_all();
    settle().await;
    member.gets(&["! it was restarted"]).await;
    join(&store, &group, 1).await.gets(&["s/1", "-"]).await;
}

#[tokio::test(start_paused = true)]
async fn on_a_full_disk_consumers_go_on_and_it_is_told() {
    let store = open().await;
    let group = of_all("g");
    put(&store, 1, &["s", "s", "s", "s"]).await;
    create(&store, &group, eager()).await;
    let mut member = join(&store, &group, 1).await;
    member.gets(&["s/0"]).await;
    store.storage.set_full(true);
    member.ack().await;
    member.gets(&["s/1"]).await;
    member.nack(NackAction::Park).await;
    member.gets(&["s/2"]).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let info = store.group_info(&group).await.unwrap();
    let trouble = info.trouble.expect("it tells");
    assert!(trouble.contains("the disk is full"), "{trouble}");
    let attempts = trouble.split("after ").nth(1).unwrap();
    let attempts: u32 = attempts.split(' ').next().unwrap().parse().unwrap();
    assert!((20..40).contains(&attempts), "{trouble}");
    assert_eq!((info.last_checkpointed, info.parked_count), (None, 0));

    // Who wants something written is turned away until then.
    let replay = store.replay_parked(&group, ParkedRange::All).await;
    assert!(
        matches!(replay, Err(Error::Unavailable { .. })),
        "{replay:?}"
    );
    let finish = Finish {
        group: group.clone(),
        consumer: member.consumer.id(),
        deliveries: member.numbers(),
    };
    let out = append("out", Any, &[100]);
    let finished = store.append_finishing(out, finish, Room::default()).await;
    assert!(
        matches!(finished, Err(Error::Unavailable { .. })),
        "{finished:?}"
    );

    store.storage.set_full(false);
    tokio::time::sleep(Duration::from_secs(30)).await;
    let info = store.group_info(&group).await.unwrap();
    assert_eq!((info.trouble, info.parked_count), (None, 1));
    let copy = reopen(store.storage.clone(), StoreConfig::default()).await;
    let mut other = join(&copy, &group, 1).await;
    other.gets(&["s/2"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_group_whose_consumers_leave_on_a_full_disk_falls_asleep() {
    let store = open().await;
    let group = of_all("g");
    put(&store, 1, &["s"]).await;
    create(&store, &group, eager()).await;
    let mut member = join(&store, &group, 1).await;
    member.gets(&["s/0"]).await;
    store.storage.set_full(true);
    member.ack().await;
    member.gets(&["-"]).await;
    drop(member);
    settle().await;
    let info = store.group_info(&group).await.unwrap();
    assert_eq!((info.trouble, info.consumers.len()), (None, 0));
    // What it could not write is delivered again, and the store stops in order.
    join(&store, &group, 1).await.gets(&["s/0"]).await;
    store.stop().await.unwrap();
}
