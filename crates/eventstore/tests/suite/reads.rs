//! Reads: from where, which way, filters by index and by scan, moments, listings.

use crate::support::{
    Any, BEGIN, NoStream, SECOND, TestStore, append, append_to, event, events, name, open, outcome,
    typed,
};
use futures::StreamExt;
use icecore_core::{
    Append, AppendBuilder, Category, DeleteKind, Direction, Filter, ListStreams, NameMatch,
    Position, Read, ReadFrom, RecordedEvent, Revision, StreamName, SystemStreams, Tag,
};
use proptest::prelude::*;

/// Ten events at positions 1 to 10, one each second, in turn in `a-1` and `b-2`.
async fn ten() -> TestStore {
    let store = open().await;
    for id in 1..=10u128 {
        let seconds = i64::try_from(id).unwrap();
        store.clock.set(BEGIN.plus_nanos(seconds * SECOND));
        let stream = if id % 2 == 1 { "a-1" } else { "b-2" };
        store.put(stream, Any, &[id]).await.unwrap();
    }
    store
}

async fn check(store: &TestStore, read: Read, wanted: &[u64]) {
    let found = events(&store.store, read.clone()).await.unwrap();
    let found: Vec<_> = found.iter().map(|e| e.position.get()).collect();
    assert_eq!(found, wanted, "{read:?}");
}

fn all(from: Option<u64>, direction: Direction) -> Read {
    Read {
        from: ReadFrom::All(from.map(Position::new)),
        direction,
        ..Read::all()
    }
}

fn stream(from: Option<u64>, direction: Direction) -> Read {
    Read {
        from: ReadFrom::Stream(name("a-1"), from.map(Revision::new)),
        direction,
        ..Read::all()
    }
}

use Direction::{Backwards, Forwards};

#[tokio::test(start_paused = true)]
async fn a_read_of_all_begins_with_the_position_it_names() {
    let store = ten().await;
    check(
        &store,
        all(None, Forwards),
        &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
    )
    .await;
    check(
        &store,
        all(Some(0), Forwards),
        &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
    )
    .await;
    check(&store, all(Some(9), Forwards), &[9, 10]).await;
    check(&store, all(Some(11), Forwards), &[]).await;
    check(
        &store,
        all(None, Backwards),
        &[10, 9, 8, 7, 6, 5, 4, 3, 2, 1],
    )
    .await;
    check(&store, all(Some(2), Backwards), &[2, 1]).await;
    check(
        &store,
        all(Some(99), Backwards),
        &[10, 9, 8, 7, 6, 5, 4, 3, 2, 1],
    )
    .await;
    check(&store, all(Some(0), Backwards), &[]).await;
}

#[tokio::test(start_paused = true)]
async fn a_read_of_a_stream_begins_with_the_revision_it_names() {
    let store = ten().await;
    check(&store, stream(None, Forwards), &[1, 3, 5, 7, 9]).await;
    check(&store, stream(Some(3), Forwards), &[7, 9]).await;
    check(&store, stream(Some(5), Forwards), &[]).await;
    check(&store, stream(None, Backwards), &[9, 7, 5, 3, 1]).await;
    check(&store, stream(Some(1), Backwards), &[3, 1]).await;
    check(&store, stream(Some(u64::MAX), Backwards), &[9, 7, 5, 3, 1]).await;
    let limited = Read {
        limit: Some(2),
        ..stream(None, Backwards)
    };
    check(&store, limited, &[9, 7]).await;
}

#[tokio::test(start_paused = true)]
async fn as_of_shows_what_had_been_recorded_by_then() {
    let store = ten().await;
    for (seconds, last) in [(-1, 0), (1, 1), (4, 4), (10, 10), (99, 10)] {
        let as_of = Some(BEGIN.plus_nanos(seconds * SECOND + SECOND / 2));
        let positions: Vec<u64> = (1..=last).collect();
        let of_stream = positions.iter().copied().filter(|p| p % 2 == 1);
        let of_stream: Vec<_> = of_stream.collect();
        let reversed = |positions: &[u64]| positions.iter().rev().copied().collect::<Vec<_>>();
        let at = |read| Read { as_of, ..read };
        check(&store, at(all(None, Forwards)), &positions).await;
        check(&store, at(all(None, Backwards)), &reversed(&positions)).await;
        check(&store, at(all(Some(50), Backwards)), &reversed(&positions)).await;
        check(&store, at(stream(None, Forwards)), &of_stream).await;
        check(&store, at(stream(None, Backwards)), &reversed(&of_stream)).await;
    }
    let exactly = Read {
        as_of: Some(BEGIN.plus_nanos(3 * SECOND)),
        ..all(None, Forwards)
    };
    check(&store, exactly, &[1, 2, 3]).await;
}

#[tokio::test(start_paused = true)]
async fn a_read_ends_where_the_store_ended_when_it_began() {
    let store = open().await;
    let ids: Vec<u128> = (1..=3_000).collect();
    store.append(append("a-1", NoStream, &ids)).await.unwrap();
    for read in [all(None, Forwards), stream(None, Forwards)] {
        let mut batches = Box::pin(store.read(read));
        let mut count = batches.next().await.unwrap().unwrap().events.len();
        let last = store.last_position().get();
        store
            .put("a-1", Any, &[u128::from(last) + 10_000])
            .await
            .unwrap();
        while let Some(batch) = batches.next().await {
            count += batch.unwrap().events.len();
        }
        assert_eq!(count as u64, last);
    }
}

#[tokio::test(start_paused = true)]
async fn there_is_at_least_one_batch_and_it_says_where_the_store_ends() {
    let store = ten().await;
    let batches: Vec<_> = store.read(all(Some(11), Forwards)).collect().await;
    assert_eq!(batches.len(), 1);
    let batch = batches.into_iter().next().unwrap().unwrap();
    assert_eq!((batch.events.len(), batch.last_position.get()), (0, 10));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_not_found() {
    let store = ten().await;
    store.set_metadata(&name("m"), Any, b"{}").await.unwrap();
    for stream in ["none", "m", "$$none", "$$a-1"] {
        let error = store.revisions(stream).await.unwrap_err();
        assert!(matches!(error, icecore_core::Error::StreamNotFound { .. }));
    }
    assert_eq!(store.revisions("$$m").await.unwrap(), [0]);
}

#[tokio::test(start_paused = true)]
async fn system_streams_are_left_out_unless_asked_for() {
    let store = ten().await;
    store.set_metadata(&name("a-1"), Any, b"{}").await.unwrap();
    assert_eq!(events(&store.store, Read::all()).await.unwrap().len(), 10);
    assert_eq!(store.log().await.len(), 11);
}

#[tokio::test(start_paused = true)]
async fn bad_input_names_its_field() {
    let store = ten().await;
    let field = async |read: Read| match events(&store.store, read).await {
        Err(icecore_core::Error::InvalidArgument { field, .. }) => field.to_string(),
        other => format!("{other:?}"),
    };
    let nothing = Read {
        limit: Some(0),
        ..Read::all()
    };
    assert_eq!(field(nothing).await, "limit");
    let named = |names| Filter {
        stream: Some(names),
        ..Filter::default()
    };
    let filtered = |filter| Read {
        filter,
        ..Read::all()
    };
    let bad = named(NameMatch::Regex("(".into()));
    assert_eq!(field(filtered(bad)).await, "filter.stream");
    let empty = named(NameMatch::AnyOf(Vec::new()));
    assert_eq!(field(filtered(empty)).await, "filter.stream");
    let of_stream = Read {
        filter: named(NameMatch::AnyOf(vec!["x".into()])),
        ..stream(None, Forwards)
    };
    assert_eq!(field(of_stream).await, "filter");
}

#[tokio::test(start_paused = true)]
async fn listings_come_in_pages_and_leave_out_system_streams() {
    let store = open().await;
    let names = ["a-1", "a-2", "b", "b-1", "c-1", "$x-1"];
    let ids: Vec<_> = (1..=6u128).map(|id| [id]).collect();
    let streams: Vec<_> = names
        .iter()
        .zip(&ids)
        .map(|(n, ids)| (*n, Any, &ids[..]))
        .collect();
    let append = append_to(&streams).build().unwrap();
    store.append(append).await.unwrap();
    let soft = DeleteKind::Soft;
    store.delete(&name("b"), Any, soft).await.unwrap();
    let list = async |prefix: &str, system, limit| {
        let mut list = ListStreams {
            prefix: prefix.to_owned(),
            after: None,
            limit,
            system,
        };
        let mut found: Vec<StreamName> = Vec::new();
        loop {
            let page = store.list_streams(&list).await.unwrap();
            assert!(page.streams.len() <= limit);
            found.extend(page.streams.into_iter().map(|entry| entry.stream));
            match page.next_after {
                Some(after) => list.after = Some(after),
                None => break,
            }
        }
        let names: Vec<_> = found.iter().map(StreamName::as_str).collect();
        names.join(" ")
    };
    for limit in 1..=8 {
        let without = list("", SystemStreams::Exclude, limit).await;
        assert_eq!(without, "a-1 a-2 b b-1 c-1");
        let with = list("", SystemStreams::Include, limit).await;
        assert_eq!(with, "$$b $x-1 a-1 a-2 b b-1 c-1");
        assert_eq!(list("b", SystemStreams::Exclude, limit).await, "b b-1");
        assert_eq!(list("$x", SystemStreams::Exclude, limit).await, "$x-1");
        let mut after: Option<Category> = None;
        let mut categories = Vec::new();
        loop {
            let page = store.list_categories(after, limit, SystemStreams::Exclude);
            let (found, next) = page.await.unwrap();
            categories.extend(found.iter().map(|c| c.as_str().to_owned()));
            after = next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(categories, ["a", "b", "c"]);
    }
}

const STREAMS: [&str; 7] = ["a-1", "a-2", "ab", "b-1", "käse-1", "$x-1", "-1"];
const TYPES: [&str; 3] = ["Placed", "Paid", "P"];
const TAGS: [&str; 3] = ["x:1", "x:2", "y:1"];

fn some_names() -> impl Strategy<Value = NameMatch> {
    let names = proptest::sample::subsequence(vec!["a-1", "a-2", "a", "b-", "Paid", "P"], 1..4);
    let regexes = proptest::sample::select(vec!["^a", "-1$", "^(?!a)", "P", "^(?!P(aid)?$)"]);
    let texts = |names: Vec<&str>| names.into_iter().map(|n| n.to_owned().into()).collect();
    prop_oneof![
        names.clone().prop_map(move |n| NameMatch::AnyOf(texts(n))),
        names.prop_map(move |n| NameMatch::Prefixes(texts(n))),
        regexes.prop_map(|regex| NameMatch::Regex(regex.into())),
    ]
}

fn some_filter() -> impl Strategy<Value = Filter> {
    let category = proptest::sample::select(vec!["a", "b", "käse", "$x", "none"]);
    let tags = proptest::sample::subsequence(TAGS.to_vec(), 0..3);
    (
        proptest::option::of(some_names()),
        proptest::option::of(some_names()),
        proptest::option::weighted(0.3, category),
        tags,
        any::<bool>(),
    )
        .prop_map(|(stream, event_type, category, tags, system)| Filter {
            stream,
            event_type,
            category: category.map(|c| Category::new(c).unwrap()),
            tags: tags.into_iter().map(|t| Tag::new(t).unwrap()).collect(),
            system: if system {
                SystemStreams::Include
            } else {
                SystemStreams::Exclude
            },
        })
}

/// The filter, as its documentation says it, without any index.
fn lets_through(filter: &Filter, event: &RecordedEvent) -> bool {
    let name = |names: &NameMatch, text: &str| match names {
        NameMatch::AnyOf(names) => names.iter().any(|n| **n == *text),
        NameMatch::Prefixes(names) => names.iter().any(|n| text.starts_with(&**n)),
        NameMatch::Regex(regex) => fancy_regex::Regex::new(regex)
            .unwrap()
            .is_match(text)
            .unwrap(),
    };
    let (stream, event_type) = (event.stream.as_str(), event.event_type.as_str());
    filter.stream.as_ref().is_none_or(|n| name(n, stream))
        && filter
            .event_type
            .as_ref()
            .is_none_or(|n| name(n, event_type))
        && filter.category.as_ref().is_none_or(|c| {
            stream
                .split_once('-')
                .is_some_and(|(cat, _)| cat == c.as_str())
        })
        && filter.tags.iter().all(|tag| event.tags.contains(tag))
        && (filter.system == SystemStreams::Include || !stream.starts_with('$'))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_filter_gives_the_same_by_index_and_by_looking_at_every_event(
        log in proptest::collection::vec((0..STREAMS.len(), 0..TYPES.len(), 0..8usize), 0..120),
        filter in some_filter(),
        from in proptest::option::of(0..130u64),
        limit in proptest::option::of(1..40u64),
        backwards: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = open().await;
            for (id, (stream, event_type, tags)) in log.into_iter().enumerate() {
                let tags = (0..3).filter(|bit| tags & (1 << bit) != 0).map(|bit| TAGS[bit]);
                let tags: Vec<_> = tags.collect();
                let event = typed(id as u128 + 1, TYPES[event_type], &tags);
                let stream = name(STREAMS[stream]);
                store.append(Append::to_stream(stream, Any, vec![event]).unwrap()).await.unwrap();
            }
            let direction = if backwards { Backwards } else { Forwards };
            let read = Read {
                filter: filter.clone(),
                limit,
                ..all(from, direction)
            };
            let found = events(&store.store, read).await.unwrap();
            let mut wanted = store.log().await;
            if backwards {
                wanted.reverse();
            }
            wanted.retain(|event| match from {
                None => true,
                Some(from) if backwards => event.position.get() <= from,
                Some(from) => event.position.get() >= from,
            });
            wanted.retain(|event| lets_through(&filter, event));
            wanted.truncate(usize::try_from(limit.unwrap_or(u64::MAX)).unwrap());
            assert_eq!(found, wanted);
        });
    }
}

#[tokio::test(start_paused = true)]
async fn rare_events_far_apart_are_found_page_by_page() {
    let store = open().await;
    for round in 0..5u128 {
        let mut append = AppendBuilder::default();
        let stream = append.stream(name("a-1"), Any).unwrap();
        for id in 0..5_000 {
            append
                .event(stream, event(round * 10_000 + id), None)
                .unwrap();
        }
        let rare = typed(round * 10_000 + 9_999, "Rare", &[]);
        append.event(stream, rare, None).unwrap();
        let result = store.append(append.build().unwrap()).await;
        assert!(outcome(&result).starts_with("ok"));
    }
    let wanted = [5_001, 10_002, 15_003, 20_004, 25_005];
    for names in [
        NameMatch::AnyOf(vec!["Rare".into()]),
        NameMatch::Regex("^R".into()),
    ] {
        for limit in [None, Some(5), Some(2)] {
            let mut read = all(None, Forwards);
            read.filter.event_type = Some(names.clone());
            read.limit = limit;
            let count = usize::try_from(limit.unwrap_or(5)).unwrap();
            check(&store, read, &wanted[..count]).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_says_up_to_where_it_has_looked_and_not_what_came_meanwhile() {
    let store = open().await;
    let ids: Vec<u128> = (1..=2_000).collect();
    store.put("a-1", NoStream, &ids).await.unwrap();
    let mut batches = Box::pin(store.store.read(Read::all()));
    let first = batches.next().await.unwrap().unwrap();
    assert!(first.events.len() < ids.len());
    store.put("a-1", Any, &[2_001]).await.unwrap();
    let mut read = first.events.len();
    while let Some(batch) = batches.next().await {
        let batch = batch.unwrap();
        assert_eq!(batch.last_position, Position::new(2_000));
        read += batch.events.len();
    }
    assert_eq!(read, ids.len());
}
