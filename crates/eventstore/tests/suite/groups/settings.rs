//! Groups themselves: created, changed, deleted, listed, restarted.

use super::{create, join, of_all, of_stream, put, round_robin};
use crate::support::{open, reopen};
use icecore_core::{
    Consume, Error, Group, GroupId, GroupProblem, GroupSettings, GroupStart, GroupStatus,
    NackAction, ParkedRange, Result,
};
use icecore_eventstore::StoreConfig;

fn problem<T: std::fmt::Debug>(result: Result<T>) -> GroupProblem {
    match result {
        Err(Error::Group { problem, .. }) => problem,
        other => panic!("it should be a problem of the group, but is {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn groups_are_there_once_and_over_a_restart() {
    let store = open().await;
    let (a, b) = (of_stream("s", "a"), of_all("b"));
    create(&store, &a, round_robin()).await;
    create(&store, &b, GroupSettings::default()).await;
    let again = store.create_group(Group::new(a.clone())).await;
    assert_eq!(problem(again), GroupProblem::Exists);
    // Another group whose streams would have the same names.
    let (tricky, same) = (of_stream("s::x", "y"), of_stream("s", "x::y"));
    create(&store, &tricky, round_robin()).await;
    let taken = store.create_group(Group::new(same.clone())).await;
    assert_eq!(problem(taken), GroupProblem::Exists);
    assert_eq!(
        problem(store.group_info(&same).await),
        GroupProblem::NotFound
    );
    let groups = store.list_groups().await.unwrap();
    store.stop().await.unwrap();
    let store = reopen(store.storage.clone(), StoreConfig::default()).await;
    assert_eq!(store.list_groups().await.unwrap(), groups);
    let ids: Vec<_> = groups
        .iter()
        .map(|info| info.group.id.to_string())
        .collect();
    assert_eq!(ids, ["$all::b", "s::a", "s::x::y"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_not_found() {
    let store = open().await;
    let id = of_all("none");
    let settings = GroupSettings::default();
    assert_eq!(problem(store.group_info(&id).await), GroupProblem::NotFound);
    assert_eq!(
        problem(store.delete_group(&id).await),
        GroupProblem::NotFound
    );
    assert_eq!(
        problem(store.update_group(&id, settings).await),
        GroupProblem::NotFound
    );
    assert_eq!(
        problem(store.restart_group(&id).await),
        GroupProblem::NotFound
    );
    let joined = store.consume(Consume::new(id, 1)).await;
    assert_eq!(problem(joined), GroupProblem::NotFound);
    assert!(store.list_groups().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_group_has_no_more_consumers_than_it_may() {
    let store = open().await;
    let group = of_all("g");
    create(
        &store,
        &group,
        GroupSettings {
            max_subscriber_count: 1,
            ..round_robin()
        },
    )
    .await;
    let first = join(&store, &group, 1).await;
    let second = store.consume(Consume::new(group.clone(), 1)).await;
    assert!(
        matches!(second, Err(Error::Exhausted { limit, .. }) if limit == "max_subscriber_count")
    );
    drop(first);
    join(&store, &group, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_drops_the_consumers_and_keeps_the_place() {
    let store = open().await;
    let group = of_all("g");
    put(&store, 1, &["s", "s"]).await;
    create(&store, &group, round_robin()).await;
    let mut member = join(&store, &group, 1).await;
    member.gets(&["s/0"]).await;
    member.ack().await;
    let settings = GroupSettings {
        start: GroupStart::Beginning,
        max_retry_count: 3,
        ..round_robin()
    };
    store.update_group(&group, settings.clone()).await.unwrap();
    member.gets(&["! its settings were changed", "end"]).await;
    let info = store.group_info(&group).await.unwrap();
    assert_eq!(
        (info.status, info.group.settings),
        (GroupStatus::Idle, settings)
    );
    join(&store, &group, 1).await.gets(&["s/1", "-"]).await;
    let bad = GroupSettings {
        read_batch_size: 0,
        ..round_robin()
    };
    let refused = store.update_group(&group, bad).await;
    assert!(
        matches!(refused, Err(Error::InvalidArgument { field, .. }) if field == "read_batch_size")
    );
}

#[tokio::test(start_paused = true)]
async fn a_deleted_group_leaves_nothing_and_may_be_created_anew() {
    let store = open().await;
    let group = of_all("g");
    put(&store, 1, &["s", "s"]).await;
    for _ in 0..2 {
        create(&store, &group, round_robin()).await;
        let mut member = join(&store, &group, 1).await;
        member.gets(&["s/0"]).await;
        member.nack(NackAction::Park).await;
        member.gets(&["s/1"]).await;
        member.ack().await;
        member.gets(&["-"]).await;
        store.delete_group(&group).await.unwrap();
        member.gets(&["! not found", "end"]).await;
        for stream in [group.checkpoint_stream(), group.parked_stream()] {
            let gone = store.revisions(stream.as_str()).await;
            assert!(
                matches!(gone, Err(Error::StreamNotFound { .. })),
                "{stream}"
            );
        }
        assert!(store.list_groups().await.unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_drops_the_consumers() {
    let store = open().await;
    let (a, b) = (of_all("a"), of_all("b"));
    create(&store, &a, round_robin()).await;
    create(&store, &b, round_robin()).await;
    let (mut one, mut two) = (join(&store, &a, 1).await, join(&store, &b, 1).await);
    store.restart_group(&a).await.unwrap();
    one.gets(&["! it was restarted"]).await;
    two.gets(&["-"]).await;
    store.restart_groups().await.unwrap();
    two.gets(&["! it was restarted"]).await;
    join(&store, &a, 1).await.gets(&["-"]).await;
}

#[tokio::test(start_paused = true)]
async fn somebody_else_may_write_to_the_list_of_groups() {
    let store = open().await;
    create(&store, &of_all("a"), round_robin()).await;
    let stream = GroupId::config_stream();
    let log = store.log().await;
    let list = log.iter().find(|event| event.stream == stream).unwrap();
    let copy = icecore_core::EventData {
        event_type: list.event_type.clone(),
        ..icecore_core::EventData::json(uuid::Uuid::from_u128(5), "T", list.data.clone()).unwrap()
    };
    let append = icecore_core::Append::to_stream(stream, crate::support::Any, vec![copy]).unwrap();
    store.append(append).await.unwrap();
    let first = store.create_group(Group::new(of_all("b"))).await;
    assert!(matches!(first, Err(Error::Refused(_))));
    create(&store, &of_all("b"), round_robin()).await;
    assert_eq!(store.list_groups().await.unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_group_tells_what_it_does() {
    let store = open().await;
    let group = of_stream("s", "g");
    put(&store, 1, &["s", "s", "s", "s", "s"]).await;
    create(
        &store,
        &group,
        GroupSettings {
            extra_statistics: true,
            ..round_robin()
        },
    )
    .await;
    let idle = store.group_info(&group).await.unwrap();
    assert_eq!(
        (idle.status, idle.last_checkpointed, idle.last_known),
        (GroupStatus::Idle, None, None)
    );
    let consume = Consume {
        address: "127.0.0.1:9".to_owned(),
        name: "worker".to_owned(),
        ..Consume::new(group.clone(), 3)
    };
    let (consumer, deliveries) = store.consume(consume).await.unwrap();
    let mut member = super::Member {
        consumer,
        deliveries,
        held: Vec::new(),
    };
    member.gets(&["s/0", "s/1", "s/2", "-"]).await;
    member.nack(NackAction::Park).await;
    member.ack().await;
    member.gets(&["s/3", "s/4", "-"]).await;
    let info = store.group_info(&group).await.unwrap();
    assert_eq!((info.status, info.last_known), (GroupStatus::Live, Some(4)));
    assert_eq!(
        (info.in_flight_count, info.parked_count, info.total_items),
        (3, 1, 5)
    );
    assert_eq!(info.count_since_last_measurement, 5);
    let worker = &info.consumers[0];
    assert_eq!(
        (worker.name.as_str(), worker.address.as_str()),
        ("worker", "127.0.0.1:9")
    );
    assert_eq!(
        (
            worker.available_slots,
            worker.in_flight_count,
            worker.total_items
        ),
        (0, 3, 5)
    );
    assert_eq!(
        worker
            .latencies
            .iter()
            .find(|(name, _)| name == "Mean")
            .unwrap()
            .1,
        50
    );
    let again = store.group_info(&group).await.unwrap();
    assert_eq!(again.count_since_last_measurement, 0);
}

#[tokio::test(start_paused = true)]
async fn a_change_leaves_the_start_where_it_was() {
    let store = open().await;
    let at_end = |retries| GroupSettings {
        start: GroupStart::End,
        max_retry_count: retries,
        ..round_robin()
    };
    for group in [of_all("g"), of_stream("s", "g")] {
        create(&store, &group, at_end(1)).await;
    }
    put(&store, 1, &["s"]).await;
    for group in [of_all("g"), of_stream("s", "g")] {
        store.update_group(&group, at_end(2)).await.unwrap();
        join(&store, &group, 1).await.gets(&["s/0"]).await;
    }
    // Another start counts from now.
    let group = of_all("from the beginning");
    create(&store, &group, round_robin()).await;
    store.update_group(&group, at_end(2)).await.unwrap();
    join(&store, &group, 1).await.gets(&["-"]).await;
}

#[tokio::test(start_paused = true)]
async fn links_are_not_resolved_otherwise_while_streams_wait() {
    let store = open().await;
    let group = of_all("g");
    put(&store, 1, &["s", "s"]).await;
    create(&store, &group, GroupSettings::default()).await;
    let mut member = join(&store, &group, 1).await;
    member.gets(&["s/0"]).await;
    // It is parked when the group ends, at the latest.
    member.nack(NackAction::Park).await;
    let resolved = || GroupSettings {
        resolve_links: true,
        ..GroupSettings::default()
    };
    let refused = store.update_group(&group, resolved()).await;
    assert!(
        matches!(&refused, Err(Error::InvalidArgument { field, .. }) if field == "resolve_links"),
        "{refused:?}"
    );
    join(&store, &group, 1).await.gets(&["-"]).await;
    store
        .discard_parked(&group, ParkedRange::All)
        .await
        .unwrap();
    assert_eq!(join(&store, &group, 1).await.process_all().await, ["s/1"]);
    store.update_group(&group, resolved()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_waits_goes_on_under_another_strategy() {
    let store = open().await;
    let group = of_all("g");
    put(&store, 1, &["s", "s", "s"]).await;
    create(&store, &group, GroupSettings::default()).await;
    let mut member = join(&store, &group, 10).await;
    member.gets(&["s/0"]).await;
    member.nack(NackAction::Park).await;
    member.gets(&["-"]).await;
    store.update_group(&group, round_robin()).await.unwrap();
    let mut member = join(&store, &group, 10).await;
    put(&store, 4, &["s", "t"]).await;
    member.gets(&["t/0", "-"]).await;
    store.replay_parked(&group, ParkedRange::All).await.unwrap();
    member.gets(&["s/0", "-"]).await;
    member.held.clear();
    tokio::time::sleep(std::time::Duration::from_secs(31)).await;
    let mut all = member.process_all().await;
    all.sort();
    let all: Vec<_> = all.iter().map(|word| &word[..3]).collect();
    assert_eq!(all, ["s/0", "s/1", "s/2", "s/3", "t/0"]);
    // It has caught up and is as the others.
    put(&store, 10, &["s", "s"]).await;
    member.gets(&["s/4", "s/5"]).await;

    // What was parked under another strategy is delivered under the strict one.
    member.nack(NackAction::Park).await;
    member.ack().await;
    member.gets(&["-"]).await;
    let ordered = GroupSettings::default();
    store.update_group(&group, ordered).await.unwrap();
    let mut member = join(&store, &group, 10).await;
    store.replay_parked(&group, ParkedRange::All).await.unwrap();
    assert_eq!(member.process_all().await, ["s/4"]);
    assert_eq!(store.group_info(&group).await.unwrap().parked_count, 0);
}
