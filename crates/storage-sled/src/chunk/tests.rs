//! Chunks round-trip, and damaged ones are never read as something else.

use super::*;
use bytestring::ByteString;
use icecore_core::{ContentType, EventType, Revision, StreamName, Tag};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;

const STORE: StoreId = StoreId::new(Uuid::from_u128(0xabc));
const VALUE_BYTES_MAX: usize = 300;
const SEED: Salt = Salt([9; 16]);

fn text(of: impl Strategy<Value = String>) -> impl Strategy<Value = ByteString> {
    of.prop_map(ByteString::from)
}

fn content_type() -> impl Strategy<Value = ContentType> {
    prop_oneof![
        Just(ContentType::JSON),
        Just(ContentType::OCTET_STREAM),
        Just(ContentType::new("text/plain").unwrap()),
    ]
}

prop_compose! {
    fn event()(
        stream in text("[a-z$é-]{1,20}".prop_map(String::from)),
        event_type in text("[A-Z][a-z]{0,10}".prop_map(String::from)),
        revision in prop_oneof![0..100_u64, Just(Revision::TOMBSTONE.get())],
        id: u128,
        content_type in content_type(),
        data in vec(any::<u8>(), 0..400),
        metadata in vec(any::<u8>(), 0..40),
        tags in vec("[a-z]{1,4}:[a-z]{1,4}", 0..4),
        recorded_at: i64,
        created_at in proptest::option::of(any::<i64>()),
    ) -> RecordedEvent {
        RecordedEvent {
            stream: StreamName::derived(stream).unwrap(),
            revision: Revision::new(revision),
            position: Position::START,
            id: Uuid::from_u128(id),
            event_type: EventType::new(event_type).unwrap(),
            content_type,
            data: data.into(),
            metadata: metadata.into(),
            tags: tags.into_iter().map(|tag| Tag::new(tag).unwrap()).collect(),
            recorded_at: Timestamp::from_nanos(recorded_at),
            created_at: created_at.map(Timestamp::from_nanos),
 erased: false,
        }
    }
}

fn events() -> impl Strategy<Value = (Vec<RecordedEvent>, u64)> {
    (vec(event(), 1..8), 1..u64::MAX / 2).prop_map(|(mut events, first)| {
        for (position, event) in (first..).zip(&mut events) {
            event.position = Position::new(position);
        }
        (events, first)
    })
}

fn build(events: &[RecordedEvent]) -> ChunkBuilder {
    let mut builder = ChunkBuilder::new(events[0].position, events[0].recorded_at, 5);
    let mut scratch = Vec::new();
    for (at, event) in events.iter().enumerate() {
        let mark = if at % 2 == 0 { Mark::End } else { Mark::Inner };
        assert!(
            record::size_max(event) >= {
                let before = builder.raw_len();
                builder.push(event, mark, || SEED, &mut scratch);
                builder.raw_len() - before
            }
        );
    }
    builder
}

fn read(chunk: &Chunk) -> Vec<RecordedEvent> {
    (chunk.first()..=chunk.last())
        .map(|position| chunk.event(position).unwrap().unwrap())
        .collect()
}

proptest! {
    #[test]
    fn chunks_round_trip((events, first) in events()) {
        let builder = build(&events);
        let values = builder.encode(STORE, VALUE_BYTES_MAX);
        prop_assert!(values.iter().all(|value| value.len() <= VALUE_BYTES_MAX));
        prop_assert_eq!(usize::from(Header::parts_of(&values[0], STORE).unwrap()), values.len());
        let chunk = Chunk::decode(&values, STORE, first).unwrap();
        prop_assert_eq!(read(&chunk), events.clone());
        prop_assert_eq!(chunk.mark(first).unwrap(), Mark::End);
        prop_assert_eq!(read(&builder.snapshot()), events.clone());
        prop_assert_eq!(read(&builder.into_chunk()), events);
        prop_assert!(!chunk.contains(first - 1) && !chunk.contains(chunk.last() + 1));
        prop_assert!(Chunk::decode(&values, STORE, first + 1).is_err());
        prop_assert!(Chunk::decode(&values, StoreId::new(Uuid::nil()), first).is_err());
        prop_assert!(Chunk::decode(&values[..values.len() - 1], STORE, first).is_err());
    }

    #[test]
    fn what_is_written_anew_keeps_salts_and_leaves(
        (events, first) in events(),
        kinds in vec(0..3_u8, 8),
    ) {
        let chunk = build(&events).into_chunk();
        let before = chunk.entries().unwrap();
        prop_assert_eq!(before.iter().map(|e| e.mark).collect::<Vec<_>>(),
            (first..=chunk.last()).map(|p| chunk.mark(p).unwrap()).collect::<Vec<_>>());
        let mut after = before.clone();
        for (entry, kind) in after.iter_mut().zip(kinds) {
            let leaf = entry.leaf_hash();
            entry.content = match kind {
                0 => continue,
                1 => entry.content.clone().into_erased(),
                _ => EntryContent::Removed { leaf },
            };
        }
        let mut rewritten = chunk.builder();
        for entry in &after {
            rewritten.push_record(&Record::from(&entry.content), entry.mark, &mut Vec::new());
        }
        let values = rewritten.encode(STORE, VALUE_BYTES_MAX);
        let rewritten = Chunk::decode(&values, STORE, first).unwrap();
        prop_assert_eq!(rewritten.generation(), 5);
        prop_assert_eq!(&rewritten.entries().unwrap(), &after);
        for (before, after) in before.iter().zip(&after) {
            prop_assert_eq!(before.leaf_hash(), after.leaf_hash());
        }
        // A removed record may hold the seed of those behind it.
        let mut with_seed = chunk.records().unwrap();
        with_seed[0].0 = Record::Removed(before[0].leaf_hash(), Some(SEED));
        let mut seeded = chunk.builder();
        for (record, mark) in &with_seed {
            seeded.push_record(record, *mark, &mut Vec::new());
        }
        let values = seeded.encode(STORE, VALUE_BYTES_MAX);
        let seeded = Chunk::decode(&values, STORE, first).unwrap();
        prop_assert_eq!(&seeded.entries().unwrap()[1..], &before[1..]);
        prop_assert_eq!(seeded.records().unwrap(), with_seed);
        // Merging copies records of both kinds of salt.
        let mut merged = rewritten.builder();
        for source in [&rewritten, &chunk] {
            for position in first..=chunk.last() {
                let record = source.record(position).unwrap();
                merged.push_record(&record, source.mark(position).unwrap(), &mut Vec::new());
            }
        }
        let merged = merged.into_chunk();
        let second = first + events.len() as u64;
        for (n, entry) in after.iter().enumerate() {
            prop_assert_eq!(&merged.entries().unwrap()[n], entry);
        }
        prop_assert_eq!(merged.record(second).unwrap(), {
            let mut moved = chunk.record(first).unwrap();
            if let Record::Whole(event, _) = &mut moved {
                event.position = Position::new(second);
            }
            moved
        });
    }

    #[test]
    fn any_bytes_are_refused_without_panic(bytes: Vec<u8>) {
        prop_assert!(Chunk::decode(std::slice::from_ref(&bytes), STORE, 1).is_err());
        let _ = record::decode(&bytes.clone().into(), Position::FIRST, Timestamp::default());
        let _ = record_bounds(&bytes, 3);
    }
}

#[test]
fn every_flipped_byte_is_noticed() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (events, first) = events().new_tree(&mut runner).unwrap().current();
    let values = build(&events).encode(STORE, VALUE_BYTES_MAX);
    for part in 0..values.len() {
        for at in 0..values[part].len() {
            for bit in 0..8 {
                let mut damaged = values.clone();
                damaged[part][at] ^= 1 << bit;
                assert!(
                    Chunk::decode(&damaged, STORE, first).is_err(),
                    "part {part} byte {at}"
                );
            }
        }
    }
}

#[test]
fn records_of_other_kinds_are_refused() {
    for kind in [0, 4, 255] {
        let record = Bytes::from(vec![kind, 1, 0, 0]);
        assert!(record::decode(&record, Position::FIRST, Timestamp::default()).is_err());
        assert!(record::mark(&record).is_err());
    }
    // What a known kind does not have is refused too.
    for (kind, flags) in [(1, 0x40), (1, 0x30), (2, 0x10), (3, 0x02)] {
        let record = Bytes::from(vec![kind, flags, 0, 0]);
        assert!(record::decode(&record, Position::FIRST, Timestamp::default()).is_err());
    }
}
