//! Raw files that are put together by hand: which version counts, where the log ends, what is said
//! about it.

use super::*;
use crate::chunk::ChunkBuilder;
use crate::directory::DataDirectory;
use crate::record::Record;
use crate::{SledConfig, SledStorage};
use bytes::Bytes;
use icecore_core::{
    ContentType, EntryContent, EventType, Mark, RecordedEvent, Revision, Salt, StreamName,
    Timestamp,
};
use icecore_storage::contract::generate::Generator;
use icecore_storage::{Committed, Storage};
use tempfile::TempDir;
use uuid::Uuid;

fn store_id() -> StoreId {
    StoreId::new(Uuid::from_u128(11))
}

fn entry(position: u64, data: &[u8], mark: Mark) -> LogEntry {
    let event = RecordedEvent {
        stream: StreamName::new("a").unwrap(),
        revision: Revision::new(position - 1),
        position: Position::new(position),
        id: Uuid::from_u128(position.into()),
        event_type: EventType::new("T").unwrap(),
        content_type: ContentType::JSON,
        data: Bytes::copy_from_slice(data),
        metadata: Bytes::new(),
        tags: Vec::new(),
        recorded_at: Timestamp::from_nanos(5),
        created_at: None,
        erased: false,
    };
    LogEntry {
        position: Position::new(position),
        mark,
        content: EntryContent::Whole {
            event,
            salt: Salt([1; 16]),
        },
    }
}

/// Events with an end mark each, with this as their data.
fn whole(first: u64, last: u64, data: &[u8]) -> Vec<LogEntry> {
    (first..=last)
        .map(|at| entry(at, data, Mark::End))
        .collect()
}

/// The parts of a chunk.
fn chunk(generation: u32, entries: &[LogEntry]) -> Vec<Vec<u8>> {
    let time = Timestamp::from_nanos(0);
    let mut builder = ChunkBuilder::new(entries[0].position, time, generation);
    for entry in entries {
        builder.push_record(&Record::from(&entry.content), entry.mark, &mut Vec::new());
    }
    builder.encode(store_id(), 4_096)
}

/// A store whose raw file holds these values, and nothing else that makes sense to sled.
fn store(acknowledged: u64, values: &[Vec<u8>]) -> (TempDir, RawStore) {
    let directory = tempfile::tempdir().unwrap();
    let new = Identity {
        store_id: store_id(),
        segment_bytes: 1 << 20,
    };
    let data = DataDirectory::open(directory.path(), new).unwrap();
    let (watermark, _) = data.watermark().unwrap();
    watermark.write(acknowledged).unwrap();
    fs::create_dir(data.sled()).unwrap();
    let file = values.join(&b"between two values"[..]);
    fs::write(data.sled().join("db"), file).unwrap();
    drop(data);
    let store = RawStore::scan(directory.path(), &mut |_, _| {}).unwrap();
    (directory, store)
}

/// The log of a store, its last position, and what is found about it.
fn read(store: &RawStore) -> (Vec<LogEntry>, Vec<String>) {
    let mut log = Vec::new();
    let last = store.read_log(|append| {
        log.extend(append);
        Ok::<_, ()>(())
    });
    let last = last.unwrap();
    assert_eq!(
        log.last().map_or(Position::START, |entry| entry.position),
        last
    );
    let findings = store.findings(last);
    (log, findings.iter().map(ToString::to_string).collect())
}

#[track_caller]
fn check(acknowledged: u64, values: &[Vec<Vec<u8>>], log: &[LogEntry], findings: &[&str]) {
    let mut values = values.concat();
    for _ in 0..2 {
        let (_directory, store) = store(acknowledged, &values);
        let (found, said) = read(&store);
        assert_eq!(found, log);
        assert_eq!(said, findings);
        // Where the values stand must not matter.
        values.reverse();
    }
}

#[test]
fn the_highest_generation_counts_and_what_was_cut_does_not_come_back() {
    let first = whole(1, 3, b"1");
    let unfinished: Vec<_> = (4..=9).map(|at| entry(at, b"cut", Mark::Inner)).collect();
    let second = whole(4, 4, b"2");
    let values = [chunk(1, &first), chunk(1, &unfinished), chunk(2, &second)];
    check(4, &values, &[first.clone(), second].concat(), &[]);
    check(3, &values[..2], &first, &[]);
}

#[test]
fn a_larger_version_of_a_chunk_and_merged_chunks_count_once() {
    let log = whole(1, 9, b"1");
    let values = [
        chunk(1, &log[..1]),
        chunk(1, &log[..4]),
        chunk(1, &log[4..6]),
        chunk(1, &log[6..]),
        chunk(1, &log[..6]),
    ];
    check(9, &values, &log, &[]);
}

#[test]
fn what_was_erased_or_removed_stays_so_also_in_a_chunk_that_was_split() {
    let old = whole(1, 6, b"secret");
    let mut new = old.clone();
    new[1].content = new[1].content.clone().into_erased();
    let leaf = new[4].leaf_hash();
    new[4].content = EntryContent::Removed { leaf };
    let values = [chunk(3, &old), chunk(3, &new[..3]), chunk(3, &new[3..])];
    check(6, &values, &new, &[]);
}

#[test]
fn the_log_ends_where_a_position_is_missing() {
    let log = whole(1, 9, b"1");
    let values = [chunk(1, &log[..3]), chunk(1, &log[5..])];
    let missing = "positions 4 to 9: missing in the log, and they were acknowledged";
    check(9, &values, &log[..3], &[missing]);
    check(3, &values, &log[..3], &[]);
}

#[test]
fn an_append_without_its_end_is_no_part_of_the_log() {
    let log = [whole(1, 2, b"1"), vec![entry(3, b"1", Mark::Inner)]].concat();
    check(2, &[chunk(1, &log)], &log[..2], &[]);
}

#[test]
fn a_large_event_counts_with_all_of_its_parts_only() {
    let noise: Vec<u8> = (0..30_000_u32)
        .map(|n| ((n * n) >> 7).to_le_bytes()[0])
        .collect();
    let log = [whole(1, 1, b"1"), whole(2, 2, &noise)].concat();
    let parts = chunk(1, &log[1..]);
    assert!(parts.len() > 3, "{}", parts.len());
    check(2, &[chunk(1, &log[..1]), parts.clone()], &log, &[]);
    let missing = "positions 2 to 2: missing in the log, and they were acknowledged";
    let lacking = [chunk(1, &log[..1]), parts[1..].to_vec()];
    check(2, &lacking, &log[..1], &[missing]);
}

#[test]
fn damage_is_named_but_for_what_was_never_acknowledged() {
    let log = whole(1, 4, b"some data");
    let mut damaged = chunk(1, &log[2..]);
    let at = damaged[0].len() - 1;
    damaged[0][at] ^= 1;
    let sound = chunk(1, &log[..2]);
    let (_directory, store) = store(2, &[sound.concat(), damaged.concat()]);
    assert_eq!(read(&store), (log[..2].to_vec(), vec![]));

    let (_directory, store) = self::store(4, &[sound.concat(), damaged.concat()]);
    let (found, said) = read(&store);
    assert_eq!(found, log[..2]);
    let place = sound.concat().len() + b"between two values".len();
    let stored = format!(
        "positions 3 to 4: the stored bytes at byte {place} of sled/db do not match their checksum"
    );
    let missing = "positions 3 to 4: missing in the log, and they were acknowledged";
    assert_eq!(said, [missing, &stored]);
}

#[test]
fn a_store_that_is_open_is_not_looked_at_and_an_unreadable_identity_is_named() {
    let log = whole(1, 2, b"1");
    let (directory, store) = store(2, &chunk(1, &log));
    let new = Identity {
        store_id: store_id(),
        segment_bytes: 1 << 20,
    };
    // Whoever looks keeps others from opening it.
    let refused = DataDirectory::open(directory.path(), new).unwrap_err();
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
    drop(store);
    let opened = DataDirectory::open(directory.path(), new).unwrap();
    let refused = RawStore::scan(directory.path(), &mut |_, _| {}).unwrap_err();
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
    drop(opened);

    fs::write(directory.path().join(directory::IDENTITY), "nothing").unwrap();
    let store = RawStore::scan(directory.path(), &mut |_, _| {}).unwrap();
    assert_eq!(store.store_id(), Some(store_id()));
    let (found, said) = read(&store);
    assert_eq!(found, log);
    assert!(
        said.len() == 1 && said[0].contains("is damaged"),
        "{said:?}"
    );
}

/// Or every start would copy the file.
#[tokio::test(flavor = "multi_thread")]
async fn a_sound_file_is_not_taken_for_damaged_and_a_flipped_bit_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let config = SledConfig {
        segment_bytes: 512 << 10,
        chunk_bytes: 1_024,
        run_events: 50,
        cache_bytes: 8 << 20,
        ..SledConfig::new(directory.path(), store_id())
    };
    let identity = Identity {
        store_id: store_id(),
        segment_bytes: config.segment_bytes,
    };
    let db = directory.path().join(directory::SLED).join("db");
    let mut generator = Generator::new(3);
    for _ in 0..5 {
        let storage = SledStorage::open(config.clone()).unwrap();
        let lease = storage.lead().await.unwrap();
        for _ in 0..60 {
            let after = generator.last_position();
            let done = storage.commit(&lease, after, generator.group()).await;
            assert!(matches!(done, Committed::Done));
        }
        storage.close().await.unwrap();
        assert!(!is_damaged(&db, identity).unwrap());
        drop(storage);
        let store = RawStore::scan(directory.path(), &mut |_, _| {}).unwrap();
        assert_eq!(read(&store).1, Vec::<String>::new());
    }
    let sound = fs::read(&db).unwrap();
    assert!(sound.len() > 2 * identity.segment_bytes);
    // Behind these the first segment goes on.
    for at in (30..300_000).step_by(39_991) {
        let mut damaged = sound.clone();
        damaged[at] ^= 2;
        fs::write(&db, damaged).unwrap();
        assert!(is_damaged(&db, identity).unwrap(), "byte {at}");
        let store = RawStore::scan(directory.path(), &mut |_, _| {}).unwrap();
        let (_, said) = read(&store);
        // Where it lies in a value, that is named instead of the message around it.
        assert!(!said.is_empty(), "byte {at}");
    }
}
