//! Books of a group that come from another store: those of a restored store are its own, those that an
//! import brought are not.

use super::{create, join, of_all, put, round_robin};
use crate::support::{Any, BEGIN, FaultyStorage, TestStore, append_to, open, reopen};
use icecore_core::{
    AppendBuilder, Error, EventData, GroupId, GroupSettings, ImportTimes, PageLimit, Position,
    RecordedEvent, StreamName,
};
use icecore_eventstore::StoreConfig;
use icecore_storage::{Committed, Storage};

/// A store with a group whose checkpoint is behind its first event.
async fn with_a_checkpoint(group: &GroupId) -> TestStore {
    let store = open().await;
    put(&store, 1, &["s", "s"]).await;
    create(&store, group, round_robin()).await;
    let mut member = join(&store, group, 1).await;
    member.gets(&["s/0"]).await;
    member.ack().await;
    member.gets(&["s/1"]).await;
    member.consumer.leave().await;
    store.stop().await.unwrap();
    store
}

/// The last event of a stream, as an import brings it.
async fn bring(from: &TestStore, to: &TestStore, stream: &StreamName) {
    let log = from.log().await;
    let of_it = |event: &&RecordedEvent| event.stream == *stream;
    let event = log.iter().rfind(of_it).unwrap().clone();
    let mut append = AppendBuilder::default();
    let place = append.stream(stream.clone(), Any).unwrap();
    let times = ImportTimes {
        recorded_at: BEGIN,
        created_at: None,
    };
    let data = EventData {
        id: event.id,
        event_type: event.event_type,
        content_type: event.content_type,
        data: event.data,
        metadata: event.metadata,
        tags: event.tags,
    };
    append.event(place, data, Some(times)).unwrap();
    to.import(append.build().unwrap()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_restored_store_goes_on_with_its_groups() {
    let group = of_all("g");
    let store = with_a_checkpoint(&group).await;
    let restored = FaultyStorage::with_id(8);
    let lease = restored.lead().await.unwrap();
    let limit = PageLimit::events(1_000);
    let log = store
        .storage
        .read_log(Position::FIRST, limit)
        .await
        .unwrap();
    let done = restored.restore(&lease, Position::START, log.entries).await;
    assert!(matches!(done, Committed::Done));
    let restored = reopen(restored, StoreConfig::default()).await;
    assert_ne!(restored.store_id(), store.store_id());
    assert_eq!(restored.group_info(&group).await.unwrap().trouble, None);
    join(&restored, &group, 1).await.gets(&["s/1"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_of_another_store_is_refused_until_the_group_is_created_anew() {
    let group = of_all("g");
    let other = with_a_checkpoint(&group).await;
    let store = reopen(FaultyStorage::with_id(8), StoreConfig::default()).await;
    put(&store, 1, &["a", "b", "c", "d", "e", "f", "g", "h"]).await;
    create(&store, &group, GroupSettings::default()).await;
    bring(&other, &store, &group.checkpoint_stream()).await;
    let consume = icecore_core::Consume::new(group.clone(), 1);
    let refused = store.consume(consume).await.map(drop);
    assert!(
        matches!(refused, Err(Error::WrongStore { expected, .. }) if expected == other.store_id()),
        "{refused:?}"
    );
    let trouble = store.group_info(&group).await.unwrap().trouble.unwrap();
    assert!(trouble.contains("delete the group"), "{trouble}");
    assert_eq!(store.list_groups().await.unwrap().len(), 1);
    store.delete_group(&group).await.unwrap();
    create(&store, &group, GroupSettings::default()).await;
    join(&store, &group, 1).await.gets(&["a/0"]).await;
}

#[tokio::test(start_paused = true)]
async fn groups_of_another_store_are_none_of_this_one() {
    let group = of_all("g");
    let other = with_a_checkpoint(&group).await;
    let store = reopen(FaultyStorage::with_id(8), StoreConfig::default()).await;
    put(&store, 1, &["a"]).await;
    bring(&other, &store, &GroupId::config_stream()).await;
    bring(&other, &store, &group.checkpoint_stream()).await;
    assert_eq!(store.list_groups().await.unwrap().len(), 0);
    create(&store, &group, round_robin()).await;
    join(&store, &group, 1).await.gets(&["a/0"]).await;
    let append = append_to(&[("b", Any, &[50])]).build().unwrap();
    store.append(append).await.unwrap();
}
