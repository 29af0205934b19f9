//! What a crash can leave at the end of the log is cut before anything is served; what it cannot
//! leave there is an error.

use crate::chunk::ChunkBuilder;
use crate::config::{SledConfig, value_bytes_max};
use crate::keys::log_key;
use crate::record::Record;
use crate::{OpenError, SledStorage};
use icecore_core::{Direction, LogEntry, Mark, PageLimit, Position, RecordedEvent, Salt, StoreId};
use icecore_storage::contract::generate::Numbering;
use icecore_storage::{Committed, NumberedAppend, Removal, RemovalKind, Storage};
use uuid::Uuid;

/// What is written to the log without the engine: first position, events with their marks, and
/// which of the parts; of the others only the keys, if they are announced.
struct Piece<'a> {
    events: &'a [RecordedEvent],
    marks: &'a [Mark],
    parts: std::ops::RangeTo<usize>,
    announced: bool,
}

fn config(directory: &tempfile::TempDir) -> SledConfig {
    let config = SledConfig::new(directory.path(), StoreId::new(Uuid::from_u128(1)));
    SledConfig {
        segment_bytes: 512 << 10,
        cache_bytes: 1 << 20,
        free_bytes_min: Some(0),
        ballast_bytes: 0,
        ..config
    }
}

fn events(numbering: &mut Numbering, count: usize) -> Vec<RecordedEvent> {
    (0..count).map(|_| numbering.event("a-1")).collect()
}

async fn commit(storage: &SledStorage, after: u64, events: &[RecordedEvent]) {
    let lease = storage.lead().await.unwrap();
    let append = NumberedAppend {
        events: events.into(),
    };
    let outcome = storage
        .commit(&lease, Position::new(after), vec![append])
        .await;
    assert!(matches!(outcome, Committed::Done), "{outcome:?}");
}

/// The database under a store that is closed.
fn database(config: &SledConfig) -> sled::Db {
    sled::Config::new()
        .path(config.directory.join("sled"))
        .segment_size(config.segment_bytes)
        .open()
        .unwrap()
}

fn put(config: &SledConfig, pieces: &[Piece<'_>]) {
    let database = database(config);
    let log = database.open_tree("log").unwrap();
    for Piece {
        events,
        marks,
        parts,
        announced,
    } in pieces
    {
        let mut builder = ChunkBuilder::new(events[0].position, events[0].recorded_at, 1);
        for (event, mark) in events.iter().zip(*marks) {
            builder.push(event, *mark, || Salt([1; 16]), &mut Vec::new());
        }
        let values = builder.encode(config.new_store_id, value_bytes_max(config.segment_bytes));
        for (part, value) in (0..).zip(values) {
            let key = log_key(builder.first(), part);
            if usize::from(part) < parts.end {
                log.insert(key, value).unwrap();
            } else if *announced {
                log.insert(key, &[]).unwrap();
            }
        }
    }
    database.flush().unwrap();
}

/// Writes pieces behind three events, opens the store and checks that `kept` events are there, that
/// the next ones can be written in the place of what was cut, and that all of it lasts.
async fn check(
    pieces: impl Fn(&mut Numbering) -> Vec<(Vec<RecordedEvent>, Vec<Mark>, usize)>,
    kept: usize,
) {
    for announced in [false, true] {
        check_pieces(&pieces, announced, kept).await;
    }
}

async fn check_pieces(
    pieces: &impl Fn(&mut Numbering) -> Vec<(Vec<RecordedEvent>, Vec<Mark>, usize)>,
    announced: bool,
    kept: usize,
) {
    let directory = tempfile::tempdir().unwrap();
    let config = config(&directory);
    let mut numbering = Numbering::default();
    let first = events(&mut numbering, 3);
    let storage = SledStorage::open(config.clone()).unwrap();
    commit(&storage, 0, &first).await;
    drop(storage);

    let written = pieces(&mut numbering.clone());
    let raw: Vec<_> = written
        .iter()
        .map(|(events, marks, parts)| Piece {
            events,
            marks,
            parts: ..*parts,
            announced,
        })
        .collect();
    put(&config, &raw);
    let all: Vec<_> = first
        .iter()
        .chain(written.iter().flat_map(|(events, ..)| events))
        .cloned()
        .collect();

    let storage = SledStorage::open(config.clone()).unwrap();
    assert_eq!(storage.last_position().borrow().get(), kept as u64);
    assert_eq!(read(&storage).await, all[..kept]);
    for _ in 3..kept {
        numbering.event("a-1");
    }
    let next = events(&mut numbering, 2);
    commit(&storage, kept as u64, &next).await;
    drop(storage);
    let storage = SledStorage::open(config).unwrap();
    assert_eq!(read(&storage).await, [&all[..kept], &next].concat());
}

async fn read(storage: &SledStorage) -> Vec<RecordedEvent> {
    let page = storage
        .read_all(Position::FIRST, Direction::Forwards, PageLimit::MAX)
        .await;
    page.unwrap().events
}

const ALL: usize = usize::MAX;

#[tokio::test]
async fn chunks_without_the_end_of_their_append_are_cut() {
    check(
        |numbering| {
            vec![
                (events(numbering, 2), vec![Mark::Inner; 2], ALL),
                (events(numbering, 4), vec![Mark::Inner; 4], ALL),
            ]
        },
        3,
    )
    .await;
}

#[tokio::test]
async fn an_unfinished_append_is_cut_out_of_a_chunk_that_holds_a_whole_one() {
    check(
        |numbering| {
            let marks = vec![Mark::Inner, Mark::End, Mark::Inner];
            vec![
                (events(numbering, 3), marks, ALL),
                (events(numbering, 2), vec![Mark::Inner; 2], ALL),
            ]
        },
        5,
    )
    .await;
}

#[tokio::test]
async fn a_chunk_that_lacks_parts_at_the_end_is_cut() {
    let large = |numbering: &mut Numbering| {
        let data = icecore_storage::contract::generate::Random::new(1).bytes(100_000);
        vec![RecordedEvent {
            data,
            ..numbering.event("a-1")
        }]
    };
    check(|numbering| vec![(large(numbering), vec![Mark::End], 5)], 3).await;
    check(
        |numbering| vec![(large(numbering), vec![Mark::End], ALL)],
        4,
    )
    .await;
}

#[tokio::test]
async fn keys_that_were_announced_and_not_written_are_cut() {
    check(
        |numbering| {
            let marks = vec![Mark::Inner, Mark::End, Mark::Inner];
            vec![
                (events(numbering, 3), marks, ALL),
                (events(numbering, 2), vec![Mark::Inner, Mark::End], 0),
            ]
        },
        5,
    )
    .await;
}

#[tokio::test]
async fn many_announced_keys_are_cut() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(&directory);
    let mut numbering = Numbering::default();
    let storage = SledStorage::open(config.clone()).unwrap();
    let first = events(&mut numbering, 3);
    commit(&storage, 0, &first).await;
    drop(storage);
    let events = events(&mut numbering, 100);
    let pieces = events.iter().map(|event| Piece {
        events: std::slice::from_ref(event),
        marks: &[Mark::End],
        parts: ..0,
        announced: true,
    });
    put(&config, &pieces.collect::<Vec<_>>());
    let storage = SledStorage::open(config.clone()).unwrap();
    assert_eq!(read(&storage).await, first);
    storage.close().await.unwrap();
    drop(storage);
    let log = database(&config).open_tree("log").unwrap();
    assert_eq!(log.len(), 1);
}

#[tokio::test]
async fn what_follows_an_announced_key_keeps_the_store_from_opening() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(&directory);
    let mut numbering = Numbering::default();
    let events = events(&mut numbering, 2);
    drop(SledStorage::open(config.clone()).unwrap());
    let piece = |at: usize, end| Piece {
        events: &events[at..=at],
        marks: &[Mark::End],
        parts: ..end,
        announced: true,
    };
    put(&config, &[piece(0, 0), piece(1, ALL)]);
    let error = SledStorage::open(config).err();
    assert!(
        matches!(error, Some(OpenError::Corrupted { position: 1, .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_gap_in_the_log_keeps_the_store_from_opening() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(&directory);
    let mut numbering = Numbering::default();
    let storage = SledStorage::open(config.clone()).unwrap();
    commit(&storage, 0, &events(&mut numbering, 3)).await;
    drop(storage);
    numbering.event("a-1");
    let events = events(&mut numbering, 1);
    put(
        &config,
        &[Piece {
            events: &events,
            marks: &[Mark::End],
            parts: ..ALL,
            announced: false,
        }],
    );
    let error = SledStorage::open(config).err();
    assert!(
        matches!(error, Some(OpenError::Corrupted { position: 4, .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn acknowledged_events_are_not_cut_even_if_their_append_is_not_whole() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(&directory);
    let mut numbering = Numbering::default();
    let first = events(&mut numbering, 3);
    let storage = SledStorage::open(config.clone()).unwrap();
    commit(&storage, 0, &first).await;
    drop(storage);
    let unmarked = Piece {
        events: &first,
        marks: &[Mark::Inner; 3],
        parts: ..ALL,
        announced: false,
    };
    put(&config, &[unmarked]);
    for _ in 0..2 {
        let error = SledStorage::open(config.clone()).err();
        let found = matches!(
            error,
            Some(OpenError::LogTooShort {
                found: 0,
                acknowledged: 3,
                ..
            })
        );
        assert!(found, "{error:?}");
    }
}

/// Leaves what an erasure of the second event leaves behind, whose chunk was merged with the others': the
/// parts of the large chunk but the first are still there.
fn merge_as_erased(config: &SledConfig, written: &[RecordedEvent], entries: &[LogEntry]) {
    let mut builder = ChunkBuilder::new(Position::FIRST, written[0].recorded_at, 1);
    for (at, entry) in entries.iter().enumerate() {
        let content = match at {
            1 => entry.content.clone().into_erased(),
            _ => entry.content.clone(),
        };
        builder.push_record(&Record::from(&content), entry.mark, &mut Vec::new());
    }
    let merged = builder.encode(config.new_store_id, value_bytes_max(config.segment_bytes));
    let database = database(config);
    let log = database.open_tree("log").unwrap();
    assert!(
        log.contains_key(log_key(2, 1)).unwrap(),
        "it had several parts"
    );
    log.insert(log_key(1, 0), merged[0].clone()).unwrap();
    for first in [2, 3] {
        log.remove(log_key(first, 0)).unwrap();
    }
    database.flush().unwrap();
}

#[tokio::test]
async fn parts_that_an_erasure_left_behind_are_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(&directory);
    let mut numbering = Numbering::default();
    let mut written = events(&mut numbering, 1);
    let noise: Vec<u8> = (0..30_000_u32)
        .map(|n| (n.wrapping_mul(n) >> 7).to_le_bytes()[0])
        .collect();
    written.push(RecordedEvent {
        data: noise.into(),
        ..numbering.event("a-1")
    });
    written.extend(events(&mut numbering, 1));
    let storage = SledStorage::open(config.clone()).unwrap();
    commit(&storage, 0, &written).await;
    let before = storage
        .read_log(Position::FIRST, PageLimit::MAX)
        .await
        .unwrap();
    storage.close().await.unwrap();
    drop(storage);

    merge_as_erased(&config, &written, &before.entries);

    let storage = SledStorage::open(config.clone()).unwrap();
    let after = storage
        .read_log(Position::FIRST, PageLimit::MAX)
        .await
        .unwrap();
    assert_eq!((after.damage, after.entries.len()), (None, 3));
    assert!(after.entries[1].event().unwrap().erased);
    commit(&storage, 3, &events(&mut numbering, 1)).await;

    // Whoever repeats the erasure takes them away.
    let removal = Removal {
        position: Position::new(2),
        kind: RemovalKind::Payload,
    };
    let lease = storage.lead().await.unwrap();
    storage.remove(&lease, vec![removal]).await.unwrap();
    storage.close().await.unwrap();
    drop(storage);
    let database = database(&config);
    let log = database.open_tree("log").unwrap();
    assert!(!log.contains_key(log_key(2, 1)).unwrap());
}
