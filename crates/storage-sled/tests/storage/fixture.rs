//! The store of format 1 that every later version must open: it was written once and is kept in
//! `fixtures/format-1`. It has whole, erased and removed events, events in several parts, index runs that
//! were merged and written anew, and kept roots.
//!
//! The fixture is never made again: a version that cannot read it breaks its promise. How it was made is
//! [`make`], which runs only when `ICECORE_MAKE_FIXTURE` names an empty directory.

use crate::stores;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use icecore_core::{Direction, EntryContent, Hash, LogEntry, PageLimit, Position, StoreId, merkle};
use icecore_storage::contract::assert_same;
use icecore_storage::contract::generate::{Generator, Shape};
use icecore_storage::{MemoryStorage, ROOTS_PER_GROUP, Removal, RemovalKind, Storage};
use icecore_storage_sled::{SledConfig, SledStorage};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The files of the fixture, and how they are called there.
const FILES: [(&str, &str); 4] = [
    ("store", "store"),
    ("watermark", "watermark"),
    ("sled/conf", "sled/conf"),
    ("sled/db", "sled/db.gz"),
];

/// What the history is made of.
const SEED: u64 = 1;
const SHAPE: Shape = Shape {
    streams: 12,
    append_events_max: 12,
    group_appends_max: 4,
    data_bytes_max: 9_000,
};
const GROUPS: usize = 40;

/// What the fixture holds, as it was found when it was made.
const LAST: u64 = 720;
const ROOT: &str = "2862226b5d43223d7bdbae4d6cace36f607f3621b9870a7e923d299d8707b79f";

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/storage/fixtures/format-1")
}

fn config(directory: &Path) -> SledConfig {
    SledConfig {
        new_store_id: StoreId::new(Uuid::from_u128(0x001c_ec0e)),
        ..stores::tiny(directory)
    }
}

/// The fixture, where it may be written to.
fn unpacked() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("sled")).unwrap();
    for (name, stored) in FILES {
        let mut from = File::open(fixture().join(stored)).unwrap();
        let mut to = File::create(directory.path().join(name)).unwrap();
        if name == stored {
            io::copy(&mut from, &mut to).unwrap();
        } else {
            io::copy(&mut GzDecoder::new(from), &mut to).unwrap();
        }
    }
    directory
}

async fn log(storage: &dyn Storage) -> Vec<LogEntry> {
    let page = storage
        .read_log(Position::FIRST, PageLimit::MAX)
        .await
        .unwrap();
    assert_eq!((page.damage, page.end), (None, true));
    page.entries
}

fn root(entries: &[LogEntry]) -> Hash {
    let leaves: Vec<_> = entries.iter().map(LogEntry::leaf_hash).collect();
    merkle::root(&leaves)
}

fn removals(entries: &[LogEntry]) -> Vec<Removal> {
    let removal = |entry: &LogEntry| {
        let event = entry.event()?;
        let kind = match (event.stream.as_str().len() % 2, event.revision.get()) {
            (0, 0..=3) => RemovalKind::Event,
            (_, 4) => RemovalKind::Payload,
            _ => return None,
        };
        Some(Removal {
            position: entry.position,
            kind,
        })
    };
    // Only what is old: of no stream the last event.
    let old = &entries[..entries.len() / 2];
    old.iter().filter_map(removal).collect()
}

/// The history of the fixture, in memory.
async fn model(storage: Option<&SledStorage>) -> MemoryStorage {
    let model = MemoryStorage::new(config(Path::new("")).new_store_id);
    let mut generator = Generator::with_shape(SEED, SHAPE);
    let both: Vec<&dyn Storage> = match storage {
        Some(storage) => vec![storage, &model],
        None => vec![&model],
    };
    stores::commit(&both, &mut generator, GROUPS).await;
    let removals = removals(&log(&model).await);
    for store in both {
        let lease = store.lead().await.unwrap();
        store.remove(&lease, removals.clone()).await.unwrap();
    }
    model
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_format_1_opens_and_holds_what_it_held() {
    let directory = unpacked();
    let config = config(directory.path());
    let storage = stores::open(&config);
    assert_eq!(*storage.last_position().borrow(), Position::new(LAST));
    let entries = log(&storage).await;
    assert_eq!(root(&entries).to_string(), ROOT);
    let count = |kind: fn(&EntryContent) -> bool| {
        entries.iter().filter(|entry| kind(&entry.content)).count()
    };
    assert!(count(|content| matches!(content, EntryContent::Whole { .. })) > 100);
    assert!(count(|content| matches!(content, EntryContent::Erased { .. })) > 3);
    assert!(count(|content| matches!(content, EntryContent::Removed { .. })) > 3);
    assert_same(&storage, &model(None).await).await;
    let kept = storage.subtree_roots(0).await.unwrap();
    assert_eq!(kept, vec![Hash([7; 32]); ROOTS_PER_GROUP]);
    let mut next = Position::FIRST;
    loop {
        let check = storage.check_index(next).await.unwrap();
        assert_eq!(check.damage, []);
        next = check.next;
        if check.end {
            break;
        }
    }
    assert_eq!(stores::figure(&storage, "index_runs_damaged").await, 0);

    // It goes on where it ended.
    let mut generator = Generator::with_shape(SEED, SHAPE);
    for _ in 0..GROUPS {
        generator.group();
    }
    stores::commit(&[&storage], &mut generator, 5).await;
    storage.close().await.unwrap();
    let again = stores::open(&config);
    assert_eq!(*again.last_position().borrow(), generator.last_position());
    let (from, limit) = (Position::new(u64::MAX), PageLimit::events(1));
    let page = again
        .read_all(from, Direction::Backwards, limit)
        .await
        .unwrap();
    assert_eq!(page.events[0].position, generator.last_position());
}

#[tokio::test(flavor = "multi_thread")]
async fn make() {
    let Some(target) = std::env::var_os("ICECORE_MAKE_FIXTURE").map(PathBuf::from) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    let storage = stores::open(&config);
    let model = model(Some(&storage)).await;
    let last = *storage.last_position().borrow();
    let lease = storage.lead().await.unwrap();
    storage
        .compact(&lease, Position::FIRST, Position::new(last.get() / 3))
        .await
        .unwrap();
    let roots = vec![Hash([7; 32]); ROOTS_PER_GROUP];
    storage.keep_roots(&lease, 0, roots).await.unwrap();
    assert_same(&storage, &model).await;
    eprintln!("LAST {last} ROOT {}", root(&log(&storage).await));
    storage.close().await.unwrap();

    fs::create_dir_all(target.join("sled")).unwrap();
    for (name, stored) in FILES {
        let mut from = File::open(directory.path().join(name)).unwrap();
        let mut to = File::create(target.join(stored)).unwrap();
        if name == stored {
            io::copy(&mut from, &mut to).unwrap();
        } else {
            let mut to = GzEncoder::new(to, flate2::Compression::best());
            io::copy(&mut from, &mut to).unwrap();
            to.finish().unwrap();
        }
    }
}
