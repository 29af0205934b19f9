//! Strict order: the strategy `Ordered`.

use super::{create, join, of_all, of_stream, put};
use crate::support::{Any, name, open, open_with, reopen};
use icecore_core::{
    Append, EventData, EventType, GroupSettings, NackAction, ParkedRange, Revision,
};
use icecore_eventstore::StoreConfig;
use uuid::Uuid;

#[tokio::test(start_paused = true)]
async fn the_next_event_of_a_stream_comes_when_the_one_before_is_done() {
    let store = open().await;
    let group = of_all("g");
    create(&store, &group, GroupSettings::default()).await;
    let (mut one, mut two) = (
        join(&store, &group, 10).await,
        join(&store, &group, 10).await,
    );
    put(&store, 1, &["a", "a", "b", "a"]).await;
    one.gets(&["a/0"]).await;
    two.gets(&["b/0", "-"]).await;
    one.gets(&["-"]).await;
    one.ack().await;
    one.gets(&["a/1", "-"]).await;
    one.nack(NackAction::Retry).await;
    two.gets(&["a/1 again 1", "-"]).await;
    two.held.swap(0, 1);
    two.ack().await;
    one.gets(&["a/2"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_parked_event_stops_its_stream_and_no_other() {
    let store = open().await;
    let group = of_all("g");
    put(&store, 1, &["a", "a", "b", "a", "b"]).await;
    create(&store, &group, GroupSettings::default()).await;
    let mut member = join(&store, &group, 1).await;
    member.gets(&["a/0"]).await;
    member.nack(NackAction::Park).await;
    put(&store, 6, &["a", "b"]).await;
    assert_eq!(member.process_all().await, ["b/0", "b/1", "b/2"]);
    let info = store.group_info(&group).await.unwrap();
    assert_eq!((info.parked_count, info.waiting_streams), (1, 1));
    let parked = store
        .parked_events(&group, Revision::FIRST, 0)
        .await
        .unwrap();
    assert_eq!(parked.events[0].waiting_stream, Some(name("a")));

    assert_eq!(
        store.replay_parked(&group, ParkedRange::All).await.unwrap(),
        1
    );
    assert_eq!(member.process_all().await, ["a/0", "a/1", "a/2", "a/3"]);
    put(&store, 9, &["a"]).await;
    assert_eq!(member.process_all().await, ["a/4"]);
    let info = store.group_info(&group).await.unwrap();
    assert_eq!((info.parked_count, info.waiting_streams), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_behind_an_event_that_is_discarded() {
    for config in [
        StoreConfig::default(),
        StoreConfig {
            ring_bytes: 0,
            ..StoreConfig::default()
        },
    ] {
        let store = open_with(config).await;
        let group = of_stream("a", "g");
        put(&store, 1, &["a", "a", "a"]).await;
        create(&store, &group, GroupSettings::default()).await;
        let mut member = join(&store, &group, 1).await;
        member.gets(&["a/0"]).await;
        member.nack(NackAction::Park).await;
        member.gets(&["-"]).await;
        put(&store, 4, &["a"]).await;
        let one = ParkedRange::One(Revision::FIRST);
        assert_eq!(store.discard_parked(&group, one).await.unwrap(), 1);
        assert_eq!(member.process_all().await, ["a/1", "a/2", "a/3"]);
    }
}

#[tokio::test(start_paused = true)]
async fn streams_wait_over_a_restart() {
    let store = open().await;
    let group = of_all("g");
    put(&store, 1, &["a", "a", "b"]).await;
    create(&store, &group, GroupSettings::default()).await;
    let mut member = join(&store, &group, 1).await;
    member.gets(&["a/0"]).await;
    member.nack(NackAction::Park).await;
    assert_eq!(member.process_all().await, ["b/0"]);
    store.stop().await.unwrap();

    let store = reopen(store.storage.clone(), StoreConfig::default()).await;
    put(&store, 4, &["a", "b"]).await;
    let mut member = join(&store, &group, 1).await;
    assert_eq!(member.process_all().await, ["b/1"]);
    // Asked for while nobody listens, and before another restart.
    drop(member);
    store.replay_parked(&group, ParkedRange::All).await.unwrap();
    store.stop().await.unwrap();
    let store = reopen(store.storage.clone(), StoreConfig::default()).await;
    let mut member = join(&store, &group, 1).await;
    member.gets(&["a/0"]).await;
    member.ack().await;
    member.gets(&["a/1"]).await;
    // In the middle of what stood behind.
    store.stop().await.unwrap();
    let store = reopen(store.storage.clone(), StoreConfig::default()).await;
    put(&store, 9, &["a"]).await;
    let mut member = join(&store, &group, 1).await;
    assert_eq!(member.process_all().await, ["a/1", "a/2", "a/3"]);
}

#[tokio::test(start_paused = true)]
async fn an_event_behind_a_parked_one_may_be_parked_in_turn() {
    let store = open().await;
    let group = of_all("g");
    put(&store, 1, &["a", "a", "a"]).await;
    create(&store, &group, GroupSettings::default()).await;
    let mut member = join(&store, &group, 1).await;
    member.gets(&["a/0"]).await;
    member.nack(NackAction::Park).await;
    member.gets(&["-"]).await;
    store.replay_parked(&group, ParkedRange::All).await.unwrap();
    member.gets(&["a/0"]).await;
    member.ack().await;
    member.gets(&["a/1"]).await;
    member.nack(NackAction::Park).await;
    member.gets(&["-"]).await;
    let parked = store
        .parked_events(&group, Revision::FIRST, 0)
        .await
        .unwrap();
    let revisions: Vec<_> = parked
        .events
        .iter()
        .map(|parked| parked.revision.get())
        .collect();
    assert_eq!(revisions, [1]);
    store
        .discard_parked(&group, ParkedRange::All)
        .await
        .unwrap();
    assert_eq!(member.process_all().await, ["a/2"]);
}

#[tokio::test(start_paused = true)]
async fn order_counts_among_the_targets_of_resolved_links() {
    let store = open().await;
    put(&store, 1, &["a", "b", "a", "b"]).await;
    let link = |id: u128, to: &str| EventData {
        event_type: EventType::new("$>").unwrap(),
        data: to.to_owned().into(),
        ..EventData::json(Uuid::from_u128(id), "T", "").unwrap()
    };
    let links = ["0@a", "0@b", "1@a", "1@b"].iter().zip(11..);
    let links = links.map(|(to, id)| link(id, to)).collect();
    store
        .append(Append::to_stream(name("links"), Any, links).unwrap())
        .await
        .unwrap();
    let group = of_stream("links", "g");
    create(
        &store,
        &group,
        GroupSettings {
            resolve_links: true,
            ..GroupSettings::default()
        },
    )
    .await;
    let mut member = join(&store, &group, 10).await;
    member.gets(&["a/0", "b/0", "-"]).await;
    member.nack(NackAction::Park).await;
    member.ack().await;
    member.gets(&["b/1", "-"]).await;
    member.ack().await;
    store
        .discard_parked(&group, ParkedRange::All)
        .await
        .unwrap();
    member.gets(&["a/1", "-"]).await;
}
