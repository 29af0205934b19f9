//! Random histories and operations, with restarts among them: the engine agrees with the one in
//! memory.

use crate::stores;
use icecore_core::StoreId;
use icecore_storage::contract::assert_same;
use icecore_storage::contract::generate::{Generator, Shape};
use icecore_storage::{MemoryStorage, Storage};
use icecore_storage_sled::{SledConfig, SledStorage};
use proptest::collection::vec;
use proptest::prelude::*;
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
    /// Compares all reads.
    Compare,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..12_usize).prop_map(Step::Commit),
        1 => Just(Step::Reopen),
        1 => Just(Step::CloseAndReopen),
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
            Step::Compare => assert_same(&storage, &model).await,
        }
    }
    assert_same(&storage, &model).await;
    assert_streams(&storage, &model).await;
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
        Step::Reopen,
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
