//! Compares two engines through everything that the trait lets one read.

use super::generate::stream_name;
use super::walk::{Scope, check_reads, walk};
use crate::{CategoryPage, IndexTerm, Storage, StreamNamePage};
use icecore_core::{Category, Direction, PageLimit, RecordedEvent, StreamName};
use std::collections::{BTreeSet, HashMap};

/// Checks that two engines hold the same history and answer every read alike: all events, each
/// stream and each index term in both directions, with several limits and places to begin; tails,
/// names, categories, counts. Only the store's id, its health and the engine's own figures may
/// differ, and how much of a page's limit is used.
///
/// Nothing may be written meanwhile. It reads each event some hundred times: a history of a thousand
/// events is a good size.
///
/// # Panics
///
/// When they differ, with the read that shows it.
pub async fn assert_same(left: &dyn Storage, right: &dyn Storage) {
    let last = *left.last_position().borrow();
    assert_eq!(last, *right.last_position().borrow(), "last position");

    let all = walk(left, &Scope::All, 0, Direction::Forwards, PageLimit::MAX).await;
    let streams: BTreeSet<_> = all.iter().map(|event| event.stream.clone()).collect();
    let scopes = scopes(&all);
    for storage in [left, right] {
        check_reads(storage, &Scope::All, &all).await;
        for (scope, expected) in &scopes {
            check_reads(storage, scope, expected).await;
        }
        check_all_names(storage, &streams).await;
        check_categories(storage, &streams).await;
        check_tails(storage, &all, &streams).await;
        let stats = storage.stats().await.unwrap();
        assert_eq!(stats.last_position, last, "last position of the stats");
        if all.len() as u64 == last.get() {
            // Where events were removed, an engine may have forgotten that a stream began.
            assert_eq!(stats.streams, streams.len() as u64, "streams of the stats");
        }
    }
}

/// What each stream and each term holds; also a stream and a term that may hold nothing.
fn scopes(all: &[RecordedEvent]) -> HashMap<Scope, Vec<RecordedEvent>> {
    let mut scopes: HashMap<_, Vec<_>> = HashMap::from([
        (Scope::Stream(stream_name("no events here")), Vec::new()),
        (Scope::Term(IndexTerm::FirstEvent), Vec::new()),
    ]);
    for event in all {
        for scope in Scope::of(event) {
            scopes.entry(scope).or_default().push(event.clone());
        }
    }
    scopes
}

/// Checks that these are the streams of the store, by all sorts of prefixes.
async fn check_all_names(storage: &dyn Storage, streams: &BTreeSet<StreamName>) {
    check_names(storage, "", streams).await;
    let prefixes: BTreeSet<String> = streams
        .iter()
        .flat_map(|stream| [1, 3, 6].map(|count| stream.as_str().chars().take(count).collect()))
        .collect();
    for prefix in prefixes {
        check_names(storage, &prefix, streams).await;
    }
}

/// Checks which of these streams, which are all, a prefix finds, whatever the limit.
pub(super) async fn check_names(
    storage: &dyn Storage,
    prefix: &str,
    streams: &BTreeSet<StreamName>,
) {
    let expected: Vec<_> = streams
        .iter()
        .filter(|stream| stream.as_str().starts_with(prefix))
        .cloned()
        .collect();
    for limit in [1 + expected.len() / 16, 5, 4_096] {
        let mut found: Vec<StreamName> = Vec::new();
        loop {
            let page = storage.stream_names(prefix, found.last(), limit).await;
            let StreamNamePage { names, end } = page.unwrap();
            assert!(names.len() <= limit, "a page has at most {limit} names");
            assert!(
                end || !names.is_empty(),
                "an empty page of names is the end"
            );
            found.extend(names);
            if end {
                break;
            }
            assert!(found.len() <= streams.len(), "names come twice: {found:?}");
        }
        assert_eq!(found, expected, "names that begin with `{prefix}`");
    }
}

/// Checks that the store has the categories of these streams, which are all.
pub(super) async fn check_categories(storage: &dyn Storage, streams: &BTreeSet<StreamName>) {
    let expected: BTreeSet<_> = streams.iter().filter_map(StreamName::category).collect();
    let expected: Vec<_> = expected.into_iter().collect();
    for limit in [1, 3, 4_096] {
        let mut found: Vec<Category> = Vec::new();
        loop {
            let page = storage.categories(found.last(), limit).await;
            let CategoryPage { categories, end } = page.unwrap();
            assert!(
                categories.len() <= limit,
                "a page has at most {limit} categories"
            );
            assert!(
                end || !categories.is_empty(),
                "an empty page of categories is the end"
            );
            found.extend(categories);
            if end {
                break;
            }
            assert!(
                found.len() <= expected.len(),
                "categories come twice: {found:?}"
            );
        }
        assert_eq!(found, expected, "categories");
    }
}

/// Checks where each stream ends, as the events say that are all of the store.
async fn check_tails(storage: &dyn Storage, all: &[RecordedEvent], streams: &BTreeSet<StreamName>) {
    let last: HashMap<_, _> = all.iter().map(|event| (&event.stream, event)).collect();
    let asked: Vec<_> = streams.iter().cloned().collect();
    let tails = storage.stream_tails(&asked).await.unwrap();
    assert_eq!(tails.len(), asked.len(), "tails for the streams asked for");
    for (stream, tail) in asked.iter().zip(tails) {
        let tail = tail.map(|tail| (tail.last_revision, tail.last_position));
        let last = (last[stream].revision, last[stream].position);
        assert_eq!(tail, Some(last), "tail of `{stream}`");
    }
}
