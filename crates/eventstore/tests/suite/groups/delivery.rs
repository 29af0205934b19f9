//! What a group delivers, to whom, and how often.

use super::{Member, create, join, of_all, of_stream, put, round_robin};
use crate::support::{Any, Fault, NoStream, exact, name, open, reopen};
use icecore_core::{
    Append, ConsumerStrategy, EventData, EventType, Filter, Group, GroupSettings, GroupStart,
    GroupStatus, NackAction, Settled,
};
use icecore_eventstore::StoreConfig;
use std::time::Duration;
use uuid::Uuid;

#[tokio::test(start_paused = true)]
async fn what_is_stored_comes_first_and_then_what_is_appended() {
    let store = open().await;
    let group = of_all("g");
    put(&store, 1, &["a-1", "b-1"]).await;
    create(&store, &group, round_robin()).await;
    let mut member = join(&store, &group, 10).await;
    member.gets(&["a-1/0", "b-1/0", "-"]).await;
    put(&store, 3, &["a-1"]).await;
    member.gets(&["a-1/1", "-"]).await;
    assert_eq!(
        store.group_info(&group).await.unwrap().status,
        GroupStatus::Live
    );
}

#[tokio::test(start_paused = true)]
async fn a_group_begins_where_it_is_told() {
    let store = open().await;
    put(&store, 1, &["s", "t", "s", "s"]).await;
    for (start, of_s, of_everything) in [
        (
            GroupStart::Beginning,
            vec!["s/0", "s/1", "s/2", "s/3"],
            vec!["s/0", "t/0", "s/1", "s/2", "s/3"],
        ),
        (
            GroupStart::From(2),
            vec!["s/2", "s/3"],
            vec!["t/0", "s/1", "s/2", "s/3"],
        ),
        (GroupStart::End, vec!["s/3"], vec!["s/3"]),
    ] {
        let store = open().await;
        put(&store, 1, &["s", "t", "s", "s"]).await;
        let settings = GroupSettings {
            start,
            ..round_robin()
        };
        let (one, all) = (of_stream("s", "g"), of_all("g"));
        create(&store, &one, settings.clone()).await;
        create(&store, &all, settings).await;
        put(&store, 5, &["s"]).await;
        assert_eq!(
            join(&store, &one, 9).await.process_all().await,
            of_s,
            "{start:?}"
        );
        assert_eq!(
            join(&store, &all, 9).await.process_all().await,
            of_everything,
            "{start:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_takes_the_links_of_a_category_and_goes_on_where_it_was() {
    for (start, wanted) in [
        (GroupStart::Beginning, vec!["c-1/0", "c-2/0", "c-1/1"]),
        (GroupStart::End, vec!["c-1/1"]),
    ] {
        let store = open().await;
        put(&store, 1, &["c-1", "d-1", "c-2"]).await;
        let group = of_stream("$ce-c", "g");
        let settings = GroupSettings {
            start,
            resolve_links: true,
            ..round_robin()
        };
        create(&store, &group, settings).await;
        put(&store, 4, &["c-1", "d-1"]).await;
        let taken = join(&store, &group, 9).await.process_all().await;
        assert_eq!(taken, wanted, "{start:?}");
        put(&store, 6, &["c-3", "d-1"]).await;
        let taken = join(&store, &group, 9).await.process_all().await;
        assert_eq!(taken, ["c-3/0"], "{start:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_waits_for_a_stream_that_is_not_there_and_for_a_revision_beyond_its_end() {
    let store = open().await;
    let group = of_stream("s", "g");
    let start = GroupStart::From(2);
    create(
        &store,
        &group,
        GroupSettings {
            start,
            ..round_robin()
        },
    )
    .await;
    let mut member = join(&store, &group, 10).await;
    put(&store, 1, &["s", "s", "s"]).await;
    member.gets(&["s/2", "-"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_after_what_was_done() {
    let store = open().await;
    let group = of_all("g");
    put(&store, 1, &["s", "s", "s", "s"]).await;
    create(&store, &group, round_robin()).await;
    let mut member = join(&store, &group, 10).await;
    member.gets(&["s/0", "s/1", "s/2", "s/3"]).await;
    let second = member.held.remove(1);
    for _ in 0..3 {
        member.ack().await;
    }
    store.stop().await.unwrap();
    assert_eq!(member.next().await, "! unavailable");
    let store = reopen(store.storage.clone(), StoreConfig::default()).await;
    put(&store, 5, &["s"]).await;
    let mut member = join(&store, &group, 10).await;
    assert_eq!(word_of(&second), "s/1");
    assert_eq!(member.process_all().await, ["s/1", "s/4"]);
}

fn word_of(delivery: &icecore_core::GroupDelivery) -> String {
    super::word(delivery)
}

#[tokio::test(start_paused = true)]
async fn no_group_gets_what_groups_write() {
    let store = open().await;
    let group = of_all("g");
    let everything = Group {
        filter: Filter::everything(),
        settings: round_robin(),
        ..Group::new(group.clone())
    };
    store.create_group(everything).await.unwrap();
    put(&store, 1, &["$mine", "s"]).await;
    let mut member = join(&store, &group, 10).await;
    member.gets(&["$mine/0", "s/0", "-"]).await;
    member.nack(NackAction::Park).await;
    member.ack().await;
    drop(member);
    let mut member = join(&store, &group, 10).await;
    put(&store, 3, &["s"]).await;
    member.gets(&["s/1", "-"]).await;
    let own = store.log().await;
    let own = own
        .iter()
        .filter(|event| event.stream.as_str().contains("$persistent"));
    assert!(own.count() >= 3, "there is something to leave out");
}

#[tokio::test(start_paused = true)]
async fn a_consumer_has_no_more_than_its_buffer() {
    let store = open().await;
    let group = of_all("g");
    put(&store, 1, &["s", "s", "s", "s"]).await;
    create(&store, &group, round_robin()).await;
    let mut member = join(&store, &group, 2).await;
    member.gets(&["s/0", "s/1", "-"]).await;
    member.ack().await;
    member.gets(&["s/2", "-"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_answered_in_time_comes_again() {
    let store = open().await;
    let group = of_all("g");
    put(&store, 1, &["s", "s"]).await;
    create(&store, &group, round_robin()).await;
    let mut member = join(&store, &group, 1).await;
    member.gets(&["s/0", "-"]).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    member.gets(&["s/0 again 1", "-"]).await;
    // The answer to the first delivery comes too late.
    member.ack().await;
    member.gets(&["-"]).await;
    member.ack().await;
    member.gets(&["s/1"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_consumer_leaves_behind_goes_to_others_and_counts_for_the_first() {
    let store = open().await;
    let group = of_all("g");
    put(&store, 1, &["s", "s", "s"]).await;
    create(&store, &group, round_robin()).await;
    let mut dies = join(&store, &group, 2).await;
    dies.gets(&["s/0", "s/1", "-"]).await;
    let mut other = join(&store, &group, 10).await;
    other.gets(&["s/2"]).await;
    drop(dies);
    other.gets(&["s/0 again 1", "s/1", "-"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_kills_its_consumer_is_parked_at_last() {
    let store = open().await;
    let group = of_all("g");
    put(&store, 1, &["s", "s"]).await;
    let settings = GroupSettings {
        max_retry_count: 2,
        ..round_robin()
    };
    create(&store, &group, settings).await;
    for word in ["s/0", "s/0 again 1", "s/0 again 2"] {
        let mut dies = join(&store, &group, 5).await;
        dies.gets(&[word]).await;
    }
    let mut member = join(&store, &group, 5).await;
    assert_eq!(member.process_all().await, ["s/1"]);
    assert_eq!(store.group_info(&group).await.unwrap().parked_count, 1);
}

#[tokio::test(start_paused = true)]
async fn answers_also_go_by_the_ids_of_events() {
    let store = open().await;
    let group = of_all("g");
    put(&store, 7, &["s", "s"]).await;
    create(&store, &group, round_robin()).await;
    let mut member = join(&store, &group, 1).await;
    member.gets(&["s/0", "-"]).await;
    let ids = vec![Uuid::from_u128(7), Uuid::from_u128(999)];
    member
        .consumer
        .settle_events(ids, Settled::Ack)
        .await
        .unwrap();
    member.gets(&["s/1"]).await;
}

#[tokio::test(start_paused = true)]
async fn skip_is_done_retry_comes_again_and_stop_ends_the_consumer() {
    let store = open().await;
    let group = of_all("g");
    put(&store, 1, &["s", "s"]).await;
    create(&store, &group, round_robin()).await;
    let mut member = join(&store, &group, 1).await;
    member.gets(&["s/0"]).await;
    member.nack(NackAction::Retry).await;
    member.gets(&["s/0 again 1"]).await;
    member.nack(NackAction::Skip).await;
    member.gets(&["s/1"]).await;
    let mut other = join(&store, &group, 1).await;
    member.nack(NackAction::Stop).await;
    member.gets(&["! it asked to stop", "end"]).await;
    other.gets(&["s/1", "-"]).await;
}

/// How many of the events each of three consumers gets.
async fn shares(strategy: ConsumerStrategy, metadata: &'static str) -> Vec<Vec<String>> {
    let store = open().await;
    let group = of_all("g");
    create(
        &store,
        &group,
        GroupSettings {
            strategy,
            ..GroupSettings::default()
        },
    )
    .await;
    let mut members: Vec<Member> = Vec::new();
    for _ in 0..3 {
        members.push(join(&store, &group, 100).await);
    }
    for id in 0..12_u128 {
        let event = EventData {
            metadata: metadata.into(),
            event_type: EventType::new("T").unwrap(),
            ..EventData::json(Uuid::from_u128(id + 1), "T", "{}").unwrap()
        };
        let stream = name(&format!("s-{}", id % 4));
        store
            .append(Append::to_stream(stream, Any, vec![event]).unwrap())
            .await
            .unwrap();
    }
    let mut shares = Vec::new();
    for member in &mut members {
        let mut share = Vec::new();
        loop {
            match member.next().await.as_str() {
                "-" => break,
                word => share.push(word.split('/').next().unwrap().to_owned()),
            }
        }
        shares.push(share);
    }
    shares
}

#[tokio::test(start_paused = true)]
async fn each_strategy_shares_in_its_way() {
    let count = |shares: Vec<Vec<String>>| shares.iter().map(Vec::len).collect::<Vec<_>>();
    let round_robin = shares(ConsumerStrategy::RoundRobin, "").await;
    assert_eq!(count(round_robin), [4, 4, 4]);
    let single = shares(ConsumerStrategy::DispatchToSingle, "").await;
    assert_eq!(count(single), [12, 0, 0]);
    let pinned = shares(ConsumerStrategy::Pinned, "").await;
    for stream in ["s-0", "s-1", "s-2", "s-3"] {
        let owners = pinned
            .iter()
            .filter(|share| share.iter().any(|of| of == stream));
        assert_eq!(owners.count(), 1, "{stream} goes to one consumer");
    }
    let correlated = r#"{"$correlationId":"one"}"#;
    let by_correlation = shares(ConsumerStrategy::PinnedByCorrelation, correlated).await;
    let mut by_correlation = count(by_correlation);
    by_correlation.sort_unstable();
    assert_eq!(by_correlation, [0, 0, 12]);
}

#[tokio::test(start_paused = true)]
async fn links_are_resolved_when_that_is_wanted() {
    let store = open().await;
    put(&store, 1, &["s"]).await;
    let link = |id: u128, to: &'static str| EventData {
        event_type: EventType::new("$>").unwrap(),
        data: to.into(),
        ..EventData::json(Uuid::from_u128(id), "T", "").unwrap()
    };
    let links = vec![link(11, "0@s"), link(12, "9@s"), link(13, "0@gone")];
    store
        .append(Append::to_stream(name("links"), NoStream, links).unwrap())
        .await
        .unwrap();
    let resolving = of_stream("links", "resolving");
    create(
        &store,
        &resolving,
        GroupSettings {
            resolve_links: true,
            ..round_robin()
        },
    )
    .await;
    let mut member = join(&store, &resolving, 10).await;
    member
        .gets(&["s/0", "nothing by links/1", "nothing by links/2", "-"])
        .await;
    assert_eq!(
        member.held[0].link.as_ref().unwrap().id,
        Uuid::from_u128(11)
    );
    // Answers name the link.
    member
        .consumer
        .settle_events(vec![Uuid::from_u128(11)], Settled::Ack)
        .await
        .unwrap();
    drop(member);
    let mut member = join(&store, &resolving, 10).await;
    member.gets(&["nothing by links/1 again 1"]).await;
    let plain = of_stream("links", "plain");
    create(&store, &plain, round_robin()).await;
    join(&store, &plain, 10)
        .await
        .gets(&["links/0", "links/1", "links/2", "-"])
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_whose_fate_is_unknown_makes_the_group_begin_anew() {
    for (fault, comes) in [(Fault::UnknownPresent, "-"), (Fault::UnknownAbsent, "s/0")] {
        let store = open().await;
        let group = of_all("g");
        put(&store, 1, &["s"]).await;
        create(
            &store,
            &group,
            GroupSettings {
                max_checkpoint_count: 1,
                min_checkpoint_count: 1,
                ..round_robin()
            },
        )
        .await;
        let mut member = join(&store, &group, 10).await;
        member.gets(&["s/0"]).await;
        store.storage.fail_next([Some(fault)]);
        member.ack().await;
        member.gets(&["! unavailable"]).await;
        join(&store, &group, 10).await.gets(&[comes]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn checkpoints_are_written_by_count_and_by_time() {
    let store = open().await;
    let group = of_stream("s", "g");
    put(&store, 1, &["s", "s", "s", "s", "s", "s"]).await;
    let settings = GroupSettings {
        min_checkpoint_count: 2,
        max_checkpoint_count: 3,
        ..round_robin()
    };
    create(&store, &group, settings).await;
    let mut member = join(&store, &group, 10).await;
    member
        .gets(&["s/0", "s/1", "s/2", "s/3", "s/4", "s/5"])
        .await;
    let written = async || store.group_info(&group).await.unwrap().last_checkpointed;
    member.ack().await;
    member.ack().await;
    assert_eq!(written().await, None, "two are done, but it is too soon");
    member.ack().await;
    member.gets(&["-"]).await;
    assert_eq!(
        written().await,
        Some(2),
        "three are as many as there may be"
    );
    member.ack().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(written().await, Some(2), "one is too few");
    member.ack().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(written().await, Some(4));
    let checkpoints = store
        .revisions("$persistentsubscription-s::g-checkpoint")
        .await
        .unwrap();
    assert!(checkpoints.len() <= 2, "older ones are hidden");
}

#[tokio::test(start_paused = true)]
async fn a_closed_stream_ends_its_group_quietly() {
    let store = open().await;
    let group = of_stream("s", "g");
    put(&store, 1, &["s"]).await;
    create(&store, &group, round_robin()).await;
    let mut member = join(&store, &group, 10).await;
    store
        .delete(&name("s"), exact(0), icecore_core::DeleteKind::Tombstone)
        .await
        .unwrap();
    member.gets(&["s/0", "-"]).await;
    member.ack().await;
    drop(member);
    join(&store, &group, 10).await.gets(&["-"]).await;
}
