//! Damaged bytes inside the database: never wrong events, and an index is rebuilt from the log.

use crate::stores::{commit, config, database, figure, index_at_rest, open, open_error, tiny};
use icecore_core::{Direction, Error, PageLimit, Position};
use icecore_storage::contract::assert_same;
use icecore_storage::contract::generate::{Generator, Numbering, Shape};
use icecore_storage::{Committed, Health, MemoryStorage, Storage};
use icecore_storage_sled::{OpenError, SledConfig, SledStorage, copy_without_snapshots};
use sled::IVec;
use std::collections::BTreeSet;

const RUN_EVENTS: u64 = 20;

/// So many that some runs are left over from merging.
const GROUPS: usize = 57;

/// A closed store with some runs and a tail, and what it holds.
async fn filled(config: &SledConfig) -> MemoryStorage {
    let storage = open(config);
    let model = MemoryStorage::new(config.new_store_id);
    let shape = Shape {
        data_bytes_max: 500,
        ..Shape::default()
    };
    commit(
        &[&storage, &model],
        &mut Generator::with_shape(11, shape),
        GROUPS,
    )
    .await;
    index_at_rest(&storage, RUN_EVENTS).await;
    let runs = figure(&storage, "index_runs").await;
    assert!(runs > 2, "{runs}");
    assert!(figure(&storage, "index_merges").await > 0);
    storage.close().await.unwrap();
    model
}

fn flip(value: &IVec, at: usize) -> Vec<u8> {
    let mut value = value.to_vec();
    value[at] ^= 0x40;
    value
}

/// Changes values of a tree of a closed store; `change` answers `None` for a value that goes.
fn change(
    config: &SledConfig,
    tree: &str,
    which: impl Fn(&[u8]) -> bool,
    change: impl Fn(&IVec) -> Option<Vec<u8>>,
) {
    let database = database(config);
    let tree = database.open_tree(tree).unwrap();
    let keys: Vec<_> = tree
        .iter()
        .keys()
        .map(Result::unwrap)
        .filter(|key| which(key))
        .collect();
    assert!(!keys.is_empty());
    for key in keys {
        match change(&tree.get(&key).unwrap().unwrap()) {
            Some(value) => tree.insert(key, value).unwrap(),
            None => tree.remove(key).unwrap(),
        };
    }
    database.flush().unwrap();
}

/// The number of a run, and its section: 1 block, 2 bloom filter, 3 starts, 4 chunks.
fn run_and_section(key: &[u8]) -> (u64, u8) {
    (u64::from_be_bytes(key[..8].try_into().unwrap()), key[8])
}

async fn check_rebuilt(config: &SledConfig, model: &MemoryStorage) {
    let storage = open(config);
    assert_same(&storage, model).await;
    assert_eq!(storage.health(), Health::Healthy);
    index_at_rest(&storage, RUN_EVENTS).await;
    storage.close().await.unwrap();
    let again = open(config);
    assert_same(&again, model).await;
    assert!(figure(&again, "index_tail_events").await < 2 * RUN_EVENTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_index_is_rebuilt_from_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let config = tiny(directory.path());
    let model = filled(&config).await;
    change(&config, "runs", |_| true, |_| None);
    check_rebuilt(&config, &model).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_manifest_is_rebuilt_from_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let config = tiny(directory.path());
    let model = filled(&config).await;
    change(
        &config,
        "runs",
        |key| run_and_section(key).0 == 0,
        |value| Some(flip(value, 43)),
    );
    check_rebuilt(&config, &model).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_cannot_be_loaded_is_rebuilt_from_the_log() {
    for section in [2, 3, 4] {
        let directory = tempfile::tempdir().unwrap();
        let config = tiny(directory.path());
        let model = filled(&config).await;
        let lowest = lowest_run(&config);
        let which = |key: &[u8]| run_and_section(key) == (lowest, section);
        change(&config, "runs", which, |value| {
            Some(flip(value, value.len() - 1))
        });
        check_rebuilt(&config, &model).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_in_the_middle_is_rebuilt_once() {
    let directory = tempfile::tempdir().unwrap();
    let config = tiny(directory.path());
    let (storage, model) = (open(&config), MemoryStorage::new(config.new_store_id));
    let mut numbering = Numbering::default();
    for _ in 0..3 {
        let after = numbering.last_position();
        let count = usize::try_from(RUN_EVENTS).unwrap();
        let group = vec![numbering.append("a-1", count)];
        for store in [&storage as &dyn Storage, &model] {
            let lease = store.lead().await.unwrap();
            let outcome = store.commit(&lease, after, group.clone()).await;
            assert!(matches!(outcome, Committed::Done), "{outcome:?}");
        }
    }
    index_at_rest(&storage, RUN_EVENTS).await;
    storage.close().await.unwrap();
    assert_eq!(runs(&config), [1, 2, 3].into());
    change(
        &config,
        "runs",
        |key| run_and_section(key) == (2, 2),
        |value| Some(flip(value, value.len() - 1)),
    );
    for _ in 0..2 {
        let storage = open(&config);
        assert_same(&storage, &model).await;
        index_at_rest(&storage, RUN_EVENTS).await;
        storage.close().await.unwrap();
        assert_eq!(runs(&config), [1, 3, 4].into());
    }
}

/// The numbers of all runs of a closed store.
fn runs(config: &SledConfig) -> BTreeSet<u64> {
    let tree = database(config).open_tree("runs").unwrap();
    let keys = tree.iter().keys();
    let mut runs: BTreeSet<_> = keys.map(|key| run_and_section(&key.unwrap()).0).collect();
    runs.remove(&0);
    runs
}

fn lowest_run(config: &SledConfig) -> u64 {
    runs(config).into_iter().min().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_block_gives_errors_until_a_restart_rebuilds_it() {
    let directory = tempfile::tempdir().unwrap();
    let config = tiny(directory.path());
    let model = filled(&config).await;
    change(
        &config,
        "runs",
        |key| run_and_section(key).1 == 1,
        |value| Some(flip(value, 50)),
    );
    let storage = open(&config);
    let names = storage.stream_names("", None, 10).await;
    assert!(matches!(names, Err(Error::Corrupted { .. })), "{names:?}");
    assert!(matches!(storage.health(), Health::Degraded(_)));
    let generator = &mut Generator::with_shape(
        11,
        Shape {
            data_bytes_max: 500,
            ..Shape::default()
        },
    );
    for _ in 0..GROUPS {
        generator.group();
    }
    // The next runs are written with manifests that leave the damaged ones out.
    commit(&[&storage, &model], generator, 20).await;
    index_at_rest(&storage, RUN_EVENTS).await;
    storage.close().await.unwrap();
    check_rebuilt(&config, &model).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_chunk_is_never_read_as_events() {
    let directory = tempfile::tempdir().unwrap();
    let config = tiny(directory.path());
    let model = filled(&config).await;
    let first = |key: &[u8]| u64::from_be_bytes(key[..8].try_into().unwrap());
    change(
        &config,
        "log",
        |key| first(key) == 1,
        |value| Some(flip(value, value.len() / 2)),
    );
    let storage = open(&config);
    let limit = PageLimit::events(10);
    let page = storage
        .read_all(Position::FIRST, Direction::Forwards, limit)
        .await;
    assert!(matches!(page, Err(Error::Corrupted { .. })), "{page:?}");
    // Others are still read.
    let last = *model.last_position().borrow();
    let page = storage
        .read_all(last, Direction::Backwards, limit)
        .await
        .unwrap();
    let expected = model
        .read_all(last, Direction::Backwards, limit)
        .await
        .unwrap();
    assert_eq!(page.events, expected.events);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_chunk_behind_the_index_keeps_the_store_from_opening() {
    let directory = tempfile::tempdir().unwrap();
    let config = SledConfig {
        run_events: 100_000,
        ..tiny(directory.path())
    };
    let storage = open(&config);
    commit(&[&storage], &mut Generator::new(4), 5).await;
    storage.close().await.unwrap();
    let is_chunk = |key: &[u8]| key.len() == 10;
    change(&config, "log", is_chunk, |value| Some(flip(value, 60)));
    let error = open_error(&config);
    assert!(
        matches!(error, OpenError::Corrupted { position: 1, .. }),
        "{error}"
    );
}

/// Where chunks begin in sled's file.
fn chunks_in(db: &[u8]) -> Vec<usize> {
    let magic = |at: &usize| db[*at..].starts_with(b"ICEK");
    (0..db.len()).filter(magic).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_leaves_the_file_as_it_was() {
    let mut refused = 0;
    for place in 1..8 {
        let directory = tempfile::tempdir().unwrap();
        let config = tiny(directory.path());
        let model = filled(&config).await;
        let db = directory.path().join("sled/db");
        let mut bytes = std::fs::read(&db).unwrap();
        let chunks = chunks_in(&bytes);
        bytes[chunks[chunks.len() * place / 8] + 70] ^= 0x10;
        std::fs::write(&db, &bytes).unwrap();
        if let Ok(storage) = SledStorage::open(config.clone()) {
            let (found, expected) = (storage.last_position(), model.last_position());
            assert_eq!(*found.borrow(), *expected.borrow());
        } else {
            refused += 1;
            let found = std::fs::read(&db).unwrap();
            assert!(found == bytes, "sled has changed its file");
        }
        assert!(!directory.path().join("db-before-start").exists());
    }
    assert!(refused > 0, "none of the places mattered");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_start_that_was_killed_left_is_put_back() {
    let directory = tempfile::tempdir().unwrap();
    let config = tiny(directory.path());
    let model = filled(&config).await;
    let db = directory.path().join("sled/db");
    std::fs::copy(&db, directory.path().join("db-before-start")).unwrap();
    // As sled may leave it when it has taken damage for the end.
    std::fs::write(&db, vec![0; 512 << 10]).unwrap();
    let storage = open(&config);
    assert_same(&storage, &model).await;
    assert!(!directory.path().join("db-before-start").exists());
}

/// Also a bit of what sled writes around our values.
#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_anywhere_leaves_what_can_be_salvaged() {
    let directory = tempfile::tempdir().unwrap();
    let sound = config(&directory.path().join("sound"));
    let storage = open(&sound);
    let mut generator = Generator::new(5);
    commit(&[&storage], &mut generator, 60).await;
    storage.close().await.unwrap();
    drop(storage);
    let mut refused = 0;
    for n in 0..24 {
        let copy = config(&directory.path().join(n.to_string()));
        copy_without_snapshots(&sound.directory, &copy.directory).unwrap();
        let path = copy.directory.join("sled/db");
        let mut bytes = std::fs::read(&path).unwrap();
        let chunks = chunks_in(&bytes);
        // In the key before a chunk, which only sled's own checksum covers.
        let at = chunks[chunks.len() * n / 24] - 6;
        bytes[at] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        match SledStorage::open(copy) {
            Ok(storage) => {
                let last = *storage.last_position().borrow();
                assert_eq!(last, generator.last_position(), "byte {at}");
                storage.close().await.unwrap();
            }
            Err(error) => {
                let found = std::fs::read(&path).unwrap();
                assert!(
                    found == bytes,
                    "byte {at}, sled has changed its file: {error}"
                );
                refused += 1;
            }
        }
    }
    assert!(refused > 4, "{refused}");
}

/// sled takes such a segment for a free one.
#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_the_header_of_a_segment_leaves_what_can_be_salvaged() {
    let directory = tempfile::tempdir().unwrap();
    let sound = config(&directory.path().join("sound"));
    let storage = open(&sound);
    let mut generator = Generator::new(5);
    commit(&[&storage], &mut generator, 60).await;
    storage.close().await.unwrap();
    drop(storage);
    let mut refused = 0;
    let segments = std::fs::read(sound.directory.join("sled/db"))
        .unwrap()
        .len()
        / sound.segment_bytes;
    for segment in 0..segments {
        let copy = config(&directory.path().join(segment.to_string()));
        copy_without_snapshots(&sound.directory, &copy.directory).unwrap();
        let path = copy.directory.join("sled/db");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[segment * sound.segment_bytes + 5 + segment % 8] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        match SledStorage::open(copy) {
            Ok(storage) => {
                let last = *storage.last_position().borrow();
                assert_eq!(last, generator.last_position(), "segment {segment}");
                storage.close().await.unwrap();
            }
            Err(error) => {
                let found = std::fs::read(&path).unwrap();
                assert!(
                    found == bytes,
                    "segment {segment}, sled has changed its file: {error}"
                );
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "of {segments}");
}
