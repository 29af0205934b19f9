//! The raw file of a store that is closed says what the store said when it was open.

use crate::stores::{commit, config, index_at_rest, open, tiny};
use icecore_core::{LogEntry, PageLimit, Position, RecordedEvent, Revision};
use icecore_storage::contract::generate::{Generator, Shape};
use icecore_storage::{LogVerifier, Removal, RemovalKind, Storage};
use icecore_storage_sled::{RawStore, SledConfig};
use std::collections::HashSet;

async fn log(storage: &dyn Storage) -> Vec<LogEntry> {
    let mut log = Vec::new();
    let mut next = Position::FIRST;
    loop {
        let page = storage.read_log(next, PageLimit::MAX).await.unwrap();
        assert_eq!(page.damage, None);
        log.extend(page.entries);
        next = page.next;
        if page.end {
            return log;
        }
    }
}

/// Every 7th payload, and the first event of streams that have more.
fn removals(log: &[LogEntry]) -> Vec<Removal> {
    let going_on: HashSet<_> = log
        .iter()
        .filter_map(LogEntry::event)
        .filter(|event| event.revision == Revision::new(1))
        .map(|event| event.stream.clone())
        .collect();
    let begins = |event: &RecordedEvent| {
        event.revision == Revision::FIRST && going_on.contains(&event.stream)
    };
    let removal = |entry: &LogEntry| {
        let kind = match entry.event()? {
            event if begins(event) && event.position.get() % 2 == 0 => RemovalKind::Event,
            event if event.position.get() % 7 == 0 => RemovalKind::Payload,
            _ => return None,
        };
        Some(Removal {
            position: entry.position,
            kind,
        })
    };
    log.iter().filter_map(removal).collect()
}

fn raw(config: &SledConfig) -> RawStore {
    RawStore::scan(&config.directory, &mut |_, _| {}).unwrap()
}

fn check(config: &SledConfig, expected: &[LogEntry]) {
    let store = raw(config);
    let mut found = Vec::new();
    let mut verifier = LogVerifier::default();
    let last = store.read_log(|append| {
        for entry in &append {
            assert_eq!(verifier.entry(entry), []);
        }
        found.extend(append);
        Ok::<_, ()>(())
    });
    assert!(found == expected, "{} of {}", found.len(), expected.len());
    assert_eq!(store.findings(last.unwrap()), []);
    assert_eq!(store.acknowledged().unwrap(), last.unwrap());
}

async fn history(config: &SledConfig, seed: u64, shape: Shape) {
    let mut generator = Generator::with_shape(seed, shape);
    for opening in 0..4 {
        let storage = open(config);
        commit(&[&storage], &mut generator, 40).await;
        if opening % 2 == 1 {
            let lease = storage.lead().await.unwrap();
            let removals = removals(&log(&storage).await);
            storage.remove(&lease, removals).await.unwrap();
        }
        index_at_rest(&storage, 20).await;
        let expected = log(&storage).await;
        storage.close().await.unwrap();
        drop(storage);
        check(config, &expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_holds_the_log_of_small_events_through_openings_merges_and_removals() {
    let directory = tempfile::tempdir().unwrap();
    for seed in 0..3 {
        let config = tiny(&directory.path().join(seed.to_string()));
        history(&config, seed, Shape::default()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_holds_the_log_of_events_of_several_parts() {
    let directory = tempfile::tempdir().unwrap();
    let shape = Shape {
        data_bytes_max: 100_000,
        ..Shape::default()
    };
    let config = SledConfig {
        run_events: 20,
        ..config(directory.path())
    };
    history(&config, 9, shape).await;
}
