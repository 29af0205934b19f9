//! Streams of links that are read from the indexes.

use crate::support::{
    Any, TestStore, append, event, events, name, next_word, open, open_with, outcome,
};
use icecore_core::{
    AppendBuilder, DeleteKind, Direction, Error, EventData, EventType, Filter, NameMatch, Position,
    Read, ReadFrom, RecordedEvent, Revision, Start, Subscribe, SubscribeFrom,
};
use icecore_eventstore::StoreConfig;
use std::collections::VecDeque;

/// Position 1 to 6: two orders, a note, what `$$order-1` says, and two events of one correlation.
async fn filled(store: &TestStore) {
    store.put("order-1", Any, &[1, 2]).await.unwrap();
    store.put("note", Any, &[3]).await.unwrap();
    put_correlated(store, "order-2", 4, "c 1").await;
    store
        .set_metadata(&name("order-1"), Any, b"{}")
        .await
        .unwrap();
    put_correlated(store, "note", 5, "c 1").await;
}

async fn put_correlated(store: &TestStore, stream: &str, id: u128, correlation: &str) {
    let data = EventData {
        metadata: format!(r#"{{"$correlationId":"{correlation}"}}"#).into(),
        event_type: EventType::new("Noted").unwrap(),
        ..event(id)
    };
    let mut append = AppendBuilder::default();
    let stream = append.stream(name(stream), Any).unwrap();
    append.event(stream, data, None).unwrap();
    store.append(append.build().unwrap()).await.unwrap();
}

fn from(stream: &str, from: Option<u64>, direction: Direction) -> Read {
    Read {
        from: ReadFrom::Stream(name(stream), from.map(Revision::new)),
        direction,
        ..Read::all()
    }
}

/// Links as `revision data`.
fn links(found: &[RecordedEvent]) -> Vec<String> {
    let link = |event: &RecordedEvent| {
        assert_eq!(event.event_type.as_str(), "$>");
        assert_eq!(event.position.get(), event.revision.get());
        format!(
            "{} {}",
            event.revision,
            String::from_utf8_lossy(&event.data)
        )
    };
    found.iter().map(link).collect()
}

async fn read(store: &TestStore, read: Read) -> Vec<String> {
    links(&events(&store.store, read).await.unwrap())
}

#[tokio::test]
async fn links_lead_to_the_events_of_a_category_a_type_a_correlation_and_to_first_events() {
    let store = open().await;
    filled(&store).await;
    for (stream, wanted) in [
        (
            "$ce-order",
            &["1 0@order-1", "2 1@order-1", "4 0@order-2"][..],
        ),
        ("$et-Noted", &["4 0@order-2", "6 1@note"]),
        ("$et-$metadata", &["5 0@$$order-1"]),
        ("$bc-c 1", &["4 0@order-2", "6 1@note"]),
        (
            "$streams",
            &["1 0@order-1", "3 0@note", "4 0@order-2", "5 0@$$order-1"],
        ),
    ] {
        let forwards = read(&store, Read::stream(name(stream))).await;
        assert_eq!(forwards, wanted, "{stream}");
        let mut backwards = read(&store, from(stream, None, Direction::Backwards)).await;
        backwards.reverse();
        assert_eq!(backwards, wanted, "{stream}");
        let info = store.stream_info(&name(stream)).await.unwrap();
        let ends = [info.first.unwrap(), info.last.unwrap()].map(|end| end.revision.to_string());
        assert!(wanted[0].starts_with(&ends[0]) && wanted[wanted.len() - 1].starts_with(&ends[1]));
    }
    let middle = from("$ce-order", Some(2), Direction::Forwards);
    assert_eq!(read(&store, middle).await, ["2 1@order-1", "4 0@order-2"]);
    let middle = from("$ce-order", Some(3), Direction::Backwards);
    assert_eq!(read(&store, middle).await, ["2 1@order-1", "1 0@order-1"]);
    let beyond = from("$ce-order", Some(5), Direction::Forwards);
    assert_eq!(read(&store, beyond).await, [""; 0]);
}

#[tokio::test]
async fn a_link_has_the_same_id_each_time_and_another_than_every_other_link() {
    let store = open().await;
    filled(&store).await;
    let mut ids = Vec::new();
    for stream in ["$ce-order", "$streams", "$et-T"] {
        let links = events(&store.store, Read::stream(name(stream)))
            .await
            .unwrap();
        let again = events(&store.store, Read::stream(name(stream)))
            .await
            .unwrap();
        assert_eq!(links, again);
        ids.extend(links.iter().map(|link| link.id));
    }
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all);
}

#[tokio::test]
async fn links_are_resolved_both_ways_and_hidden_targets_are_gone() {
    let store = open().await;
    store.put("order-1", Any, &[1, 2, 3]).await.unwrap();
    store.put("order-2", Any, &[4]).await.unwrap();
    store
        .truncate(&name("order-1"), Revision::new(1))
        .await
        .unwrap();
    store
        .delete(&name("order-2"), Any, DeleteKind::Soft)
        .await
        .unwrap();
    for direction in [Direction::Forwards, Direction::Backwards] {
        let links = events(&store.store, from("$ce-order", None, direction)).await;
        let resolved = store
            .resolve_links(&mut VecDeque::from(links.unwrap()))
            .await
            .unwrap();
        let mut found: Vec<_> = resolved
            .iter()
            .map(|resolved| {
                let link = resolved.link.as_ref().unwrap().revision.get();
                (
                    link,
                    resolved.event.as_ref().map(|event| event.position.get()),
                )
            })
            .collect();
        found.sort_unstable();
        assert_eq!(found, [(1, None), (2, Some(2)), (3, Some(3)), (4, None)]);
    }
}

#[tokio::test]
async fn what_nothing_is_in_is_not_there_and_nobody_writes_to_it() {
    let store = open().await;
    filled(&store).await;
    for stream in ["$ce-nobody", "$bc-nobody", "$et-Nobody"] {
        let refused = events(&store.store, Read::stream(name(stream))).await;
        assert!(
            matches!(refused, Err(Error::StreamNotFound { .. })),
            "{stream}"
        );
        let refused = store.stream_info(&name(stream)).await;
        assert!(
            matches!(refused, Err(Error::StreamNotFound { .. })),
            "{stream}"
        );
    }
    for stream in ["$ce-order", "$et-T", "$bc-c 1", "$streams", "$$$ce-order"] {
        let refused = store.append(append(stream, Any, &[9])).await;
        assert_eq!(outcome(&refused), "invalid stream");
        let refused = store.import(append(stream, Any, &[9])).await;
        assert!(
            refused.unwrap_err().to_string().contains("index"),
            "{stream}"
        );
    }
    for kind in [DeleteKind::Soft, DeleteKind::Tombstone] {
        let refused = store.delete(&name("$ce-order"), Any, kind).await;
        assert_eq!(outcome(&refused), "invalid stream");
    }
    let filter = Filter {
        event_type: Some(NameMatch::AnyOf(vec!["T".into()])),
        ..Filter::default()
    };
    let filtered = Read {
        filter,
        ..Read::stream(name("$ce-order"))
    };
    let refused = events(&store.store, filtered).await.unwrap_err();
    assert!(refused.to_string().contains("links"), "{refused}");
}

#[tokio::test]
async fn links_are_followed_from_the_index_and_then_live() {
    let without_ring = StoreConfig {
        ring_bytes: 0,
        ..StoreConfig::default()
    };
    for store in [open().await, open_with(without_ring).await] {
        filled(&store).await;
        let subscribe = |start| Subscribe {
            from: SubscribeFrom::Stream(name("$ce-order"), start),
            ..Subscribe::all()
        };
        let mut whole = Box::pin(store.subscribe(subscribe(Start::Beginning)));
        let mut after = Box::pin(store.subscribe(subscribe(Start::After(Revision::new(2)))));
        let mut end = Box::pin(store.subscribe(subscribe(Start::End)));
        for (subscription, wanted) in [
            (&mut whole, &["confirmed", "1 2 4", "caught up 6"][..]),
            (&mut after, &["confirmed", "4", "caught up 6"]),
            (&mut end, &["confirmed", "caught up 6"]),
        ] {
            for wanted in wanted {
                assert_eq!(next_word(subscription).await, *wanted);
            }
        }
        store.put("note", Any, &[7]).await.unwrap();
        store.put("order-9", Any, &[8]).await.unwrap();
        for subscription in [&mut whole, &mut after, &mut end] {
            let mut word = next_word(subscription).await;
            if word.starts_with("caught up") {
                word = next_word(subscription).await;
            }
            assert_eq!(word, "8");
        }
    }
    let store = open().await;
    let beyond = Subscribe {
        from: SubscribeFrom::Stream(name("$ce-order"), Start::After(Revision::new(1))),
        ..Subscribe::all()
    };
    assert_eq!(store.last_position(), Position::START);
    assert_eq!(
        next_word(&mut Box::pin(store.subscribe(beyond))).await,
        "invalid after"
    );
}
