//! Random histories and operations, with restarts among them: the engine agrees with the one in
//! memory.

use crate::stores;
use icecore_core::{Hash, LogEntry, PageLimit, Position, RecordedEvent, StoreId};
use icecore_storage::contract::assert_same;
use icecore_storage::contract::generate::{Generator, Shape};
use icecore_storage::{MemoryStorage, Removal, RemovalKind, Storage};
use icecore_storage_sled::{SledConfig, SledStorage};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::HashMap;
use std::path::Path;
use uuid::Uuid;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Commits as many groups.
    Commit(usize),
    /// Drops the store without closing it, and opens it again.
    Reopen,
    /// Closes the store, and opens it again.
    CloseAndReopen,
    /// Takes out the beginnings of some streams, or payloads, by a seed.
    Remove(RemovalKind, u64),
    /// Lets the indexes follow what was taken out.
    Compact,
    /// Compares all reads.
    Compare,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..12_usize).prop_map(Step::Commit),
        1 => Just(Step::Reopen),
        1 => Just(Step::CloseAndReopen),
        1 => any::<u64>().prop_map(|seed| Step::Remove(RemovalKind::Event, seed)),
        1 => any::<u64>().prop_map(|seed| Step::Remove(RemovalKind::Payload, seed)),
        1 => Just(Step::Compact),
        1 => Just(Step::Compare),
    ]
}

async fn check(config: SledConfig, shape: Shape, seed: u64, steps: &[Step]) {
    let model = MemoryStorage::new(StoreId::new(Uuid::from_u128(1)));
    let mut generator = Generator::with_shape(seed, shape);
    let mut storage = stores::open(&config);
    for step in steps {
        match step {
            Step::Commit(groups) => {
                stores::commit(&[&storage, &model], &mut generator, *groups).await;
            }
            Step::Reopen => {
                drop(storage);
                storage = stores::open(&config);
            }
            Step::CloseAndReopen => {
                storage.close().await.unwrap();
                storage = stores::open(&config);
            }
            Step::Remove(kind, seed) => {
                let removals = some_removals(&model, *kind, *seed).await;
                for engine in [&storage as &dyn Storage, &model] {
                    let lease = engine.lead().await.unwrap();
                    let before = leaves(engine).await;
                    engine.remove(&lease, removals.clone()).await.unwrap();
                    assert_eq!(leaves(engine).await, before);
                }
            }
            Step::Compact => {
                let lease = storage.lead().await.unwrap();
                let last = *storage.last_position().borrow();
                storage
                    .compact(&lease, Position::FIRST, last)
                    .await
                    .unwrap();
            }
            Step::Compare => assert_same(&storage, &model).await,
        }
    }
    assert_same(&storage, &model).await;
    assert_index(&storage).await;
    if !steps.iter().any(|step| matches!(step, Step::Remove(..))) {
        assert_streams(&storage, &model).await;
    }
}

/// Beginnings of streams, or single events, without the last event of any stream.
async fn some_removals(model: &dyn Storage, kind: RemovalKind, seed: u64) -> Vec<Removal> {
    let entries = log(model).await;
    let mut last = HashMap::new();
    let events: Vec<_> = entries.iter().filter_map(LogEntry::event).collect();
    for event in &events {
        last.insert(event.stream.clone(), event.position);
    }
    let random = |text: &str| xxhash_rust::xxh3::xxh3_64_with_seed(text.as_bytes(), seed);
    let goes = |event: &&&RecordedEvent| match kind {
        RemovalKind::Event => {
            let cut = random(event.stream.as_str()) % 12;
            event.revision.get() < cut && last[&event.stream] != event.position
        }
        RemovalKind::Payload => random(&event.id.to_string()).is_multiple_of(7),
    };
    let removal = |event: &&RecordedEvent| Removal {
        position: event.position,
        kind,
    };
    events.iter().filter(goes).map(removal).collect()
}

async fn log(engine: &dyn Storage) -> Vec<LogEntry> {
    let mut entries = Vec::new();
    let mut from = Position::FIRST;
    loop {
        let page = engine.read_log(from, PageLimit::events(100)).await.unwrap();
        assert_eq!(page.damage, None);
        entries.extend(page.entries);
        from = page.next;
        if page.end {
            return entries;
        }
    }
}

async fn leaves(engine: &dyn Storage) -> Vec<Hash> {
    log(engine).await.iter().map(LogEntry::leaf_hash).collect()
}

async fn assert_index(storage: &SledStorage) {
    let mut from = Position::FIRST;
    loop {
        let check = storage.check_index(from).await.unwrap();
        assert_eq!(check.damage, []);
        from = check.next;
        if check.end {
            return;
        }
    }
}

async fn assert_streams(storage: &SledStorage, model: &dyn Storage) {
    let streams = (
        storage.stats().await.unwrap().streams,
        model.stats().await.unwrap().streams,
    );
    assert_eq!(streams.0, streams.1);
}

fn run(config: fn(&Path) -> SledConfig, shape: Shape, seed: u64, steps: &[Step]) {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(check(config(directory.path()), shape, seed, steps));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn random_operations_agree_with_the_model(seed: u64, steps in vec(step(), 1..16)) {
        run(stores::tiny, Shape { data_bytes_max: 120_000, ..Shape::default() }, seed, &steps);
    }
}

#[test]
fn a_long_history_agrees_with_the_model() {
    let shape = Shape {
        data_bytes_max: 300,
        streams: 60,
        ..Shape::default()
    };
    let steps = [
        Step::Commit(120),
        Step::CloseAndReopen,
        Step::Commit(60),
        Step::Remove(RemovalKind::Event, 1),
        Step::Remove(RemovalKind::Payload, 2),
        Step::Reopen,
        Step::Compare,
        Step::Compact,
        Step::Commit(30),
        Step::Remove(RemovalKind::Event, 3),
        Step::Reopen,
        Step::Commit(10),
    ];
    run(stores::tiny, shape, 7, &steps);
    run(stores::config, shape, 8, &steps);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_merged_and_agree_with_the_model_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let config = stores::tiny(directory.path());
    let storage = stores::open(&config);
    let model = MemoryStorage::new(config.new_store_id);
    let shape = Shape {
        data_bytes_max: 300,
        ..Shape::default()
    };
    let mut generator = Generator::with_shape(3, shape);
    stores::commit(&[&storage, &model], &mut generator, 150).await;
    stores::index_at_rest(&storage, 20).await;
    assert!(stores::figure(&storage, "index_merges").await > 4);
    assert!(stores::figure(&storage, "index_tail_events").await < 40);
    assert_same(&storage, &model).await;

    storage.close().await.unwrap();
    let reopened = stores::open(&config);
    assert!(stores::figure(&reopened, "index_tail_events").await < 40);
    assert_same(&reopened, &model).await;
}
