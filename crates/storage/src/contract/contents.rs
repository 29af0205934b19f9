//! Rules of what an event carries: it comes back as it was given, whatever its size.

use super::assert_same;
use super::generate::{Generator, Random, event_type, stream_name, tag};
use super::walk::{Scope, brief, check_scope, walk};
use super::writer::Writer;
use crate::{Committed, IndexTerm, MemoryStorage, Storage};
use bytes::Bytes;
use icecore_core::limits::{
    APPEND_EVENTS_MAX, CONTENT_TYPE_BYTES_MAX, DERIVED_STREAM_NAME_BYTES_MAX, EVENT_BYTES_MAX,
    EVENT_TYPE_BYTES_MAX, STREAM_NAME_BYTES_MAX, TAG_BYTES_MAX, TAGS_PER_EVENT_MAX,
};
use icecore_core::{ContentType, Direction, PageLimit, RecordedEvent, Timestamp};
use uuid::Uuid;

const MIB: usize = 1_024 * 1_024;

/// Nothing of an event is lost, changed or put in another order.
pub async fn every_field_is_kept(storage: &dyn Storage) {
    let mut writer = Writer::lead(storage).await;
    let plain = writer.numbering.event("order-1");
    let rich = writer.numbering.event("bestellung-ü-日本-🧊");
    let rich = RecordedEvent {
        id: Uuid::max(),
        event_type: event_type("Eingetroffen-é"),
        content_type: ContentType::new("application/vnd.käse+json; charset=utf-8").unwrap(),
        data: Bytes::from("{\"größe\":\"XL\"}"),
        metadata: Bytes::from("{\"$correlationId\":\"1\"}"),
        tags: ["z:1", "a:2", "z:1", "größe:XL", "at:12:30"]
            .map(tag)
            .to_vec(),
        created_at: Some(rich.recorded_at.plus_nanos(-1)),
        ..rich
    };
    let same_id = RecordedEvent {
        id: Uuid::max(),
        content_type: ContentType::OCTET_STREAM,
        ..writer.numbering.event("$$order-1")
    };
    let no_id = RecordedEvent {
        id: Uuid::nil(),
        ..writer.numbering.event("order-1")
    };
    writer.write(vec![plain, rich, same_id]).await;
    writer.write(vec![no_id]).await;
    check_all_ways(storage, &writer.events).await;
}

/// Data and metadata are bytes: none at all, every byte there is, text that is no UTF-8.
pub async fn empty_and_binary_contents_are_kept(storage: &dyn Storage) {
    let mut writer = Writer::lead(storage).await;
    let every_byte: Bytes = (0..=u8::MAX).cycle().take(1_000).collect();
    let contents = [
        Bytes::new(),
        Bytes::from_static(b"\0"),
        Bytes::from_static(b"\xff\xfe\xc3"),
        every_byte,
        Random::new(1).bytes(20_000),
        Bytes::from(vec![0; 20_000]),
    ];
    for data in &contents {
        for metadata in &contents {
            let event = RecordedEvent {
                data: data.clone(),
                metadata: metadata.clone(),
                ..writer.numbering.event("order-1")
            };
            writer.write(vec![event]).await;
        }
    }
    check_scope(storage, &Scope::All, &writer.events).await;
}

/// The longest stream names, types, content types and tags that there may be, and as many tags.
pub async fn the_longest_names_and_most_tags_are_kept(storage: &dyn Storage) {
    let mut writer = Writer::lead(storage).await;
    let long = |prefix: &str, bytes: usize| format!("{prefix}{}", "x".repeat(bytes - prefix.len()));
    let of_category = format!("{}-1", long("", DERIVED_STREAM_NAME_BYTES_MAX - 2));
    for stream in [
        long("order-", STREAM_NAME_BYTES_MAX),
        "é".repeat(STREAM_NAME_BYTES_MAX / 2),
        long("$$", STREAM_NAME_BYTES_MAX + 2),
        long("$group-", DERIVED_STREAM_NAME_BYTES_MAX),
        of_category,
    ] {
        let tags = (0..TAGS_PER_EVENT_MAX).map(|n| tag(&long(&format!("k{n}:"), TAG_BYTES_MAX)));
        let event = RecordedEvent {
            event_type: event_type(&long("Type-", EVENT_TYPE_BYTES_MAX)),
            content_type: ContentType::new(long("text/", CONTENT_TYPE_BYTES_MAX)).unwrap(),
            tags: tags.collect(),
            ..writer.numbering.event(&stream)
        };
        // An event of the usual size beside it, so that the long one is not alone in its block.
        let small = writer.numbering.event(&stream);
        writer.write(vec![event, small]).await;
    }
    check_all_ways(storage, &writer.events).await;
}

/// Times reach from the first to the last that can be said; equal ones may follow each other, and
/// the time that an import gave stands beside the recorded one.
pub async fn the_earliest_and_the_latest_times_are_kept(storage: &dyn Storage) {
    let mut writer = Writer::lead(storage).await;
    let times = [i64::MIN, i64::MIN, -1, 0, 0, 1, 1_327_968_000_000_000_001];
    let mut events = Vec::new();
    for nanos in times.into_iter().chain([i64::MAX, i64::MAX]) {
        for created_at in [None, Some(i64::MIN), Some(0), Some(nanos)] {
            events.push(RecordedEvent {
                recorded_at: Timestamp::from_nanos(nanos),
                created_at: created_at.map(Timestamp::from_nanos),
                ..writer.numbering.event("order-1")
            });
        }
    }
    writer.write(events).await;
    check_scope(storage, &Scope::All, &writer.events).await;
}

/// Events of 1 MiB and 5 MiB between small ones, alone and together in one append, of data that
/// compresses and of data that does not.
pub async fn large_events_are_kept(storage: &dyn Storage) {
    let mut writer = Writer::lead(storage).await;
    let mut random = Random::new(5);
    for sizes in [&[MIB][..], &[5 * MIB], &[10, MIB, 10, 5 * MIB, 10]] {
        let mut events = Vec::new();
        for size in sizes {
            let data = if events.len() % 4 == 1 {
                Bytes::from(vec![b'd'; *size])
            } else {
                random.bytes(*size)
            };
            let metadata = Bytes::from(vec![b'm'; *size / 10]);
            events.push(RecordedEvent {
                data,
                metadata,
                ..writer.numbering.event("order-1")
            });
        }
        writer.write(events).await;
    }
    check_large(storage, &writer.events).await;
}

/// The largest event that there may be.
pub async fn the_largest_event_is_kept(storage: &dyn Storage) {
    let mut writer = Writer::lead(storage).await;
    writer.append("order-1", 1).await;
    let event = writer.numbering.event("order-1");
    let overhead = event.event_type.as_str().len() + event.content_type.as_str().len();
    let event = RecordedEvent {
        data: Random::new(16).bytes(EVENT_BYTES_MAX - overhead),
        ..event
    };
    writer.write(vec![event]).await;
    writer.append("order-1", 1).await;
    check_large(storage, &writer.events).await;
}

/// An append may have 10,000 events and several MiB; it becomes visible as a whole,
/// although an engine may need several steps for it.
pub async fn an_append_of_many_events_is_whole(storage: &dyn Storage) {
    let mut writer = Writer::lead(storage).await;
    writer.append("order-1", 1).await;
    let mut random = Random::new(10);
    let event = |n: usize| {
        let stream = ["order-1", "order-2", "notes"][n % 3];
        let event = writer.numbering.event(stream);
        let data = random.bytes(300);
        RecordedEvent { data, ..event }
    };
    let events: Vec<_> = (0..APPEND_EVENTS_MAX).map(event).collect();
    writer.write(events).await;
    writer.append("order-2", 1).await;
    check_large(storage, &writer.events).await;
}

/// A history of all sorts of events reads as it does in memory.
pub async fn a_generated_history_reads_as_it_does_in_memory(storage: &dyn Storage) {
    let memory = MemoryStorage::new(storage.store_id());
    let mut generator = Generator::new(2012);
    let lease = storage.lead().await.unwrap();
    let memory_lease = memory.lead().await.unwrap();
    while generator.last_position().get() < 600 {
        let after = generator.last_position();
        let group = generator.group();
        for committed in [
            memory.commit(&memory_lease, after, group.clone()).await,
            storage.commit(&lease, after, group).await,
        ] {
            assert!(matches!(committed, Committed::Done), "{committed:?}");
        }
    }
    assert_same(storage, &memory).await;
}

/// Checks every read of small events.
async fn check_all_ways(storage: &dyn Storage, written: &[RecordedEvent]) {
    check_scope(storage, &Scope::All, written).await;
    for event in written {
        for scope in Scope::of(event) {
            check_scope(storage, &scope, written).await;
        }
    }
}

/// Checks one read of each sort, so that large contents are not read too often.
async fn check_large(storage: &dyn Storage, written: &[RecordedEvent]) {
    let noted = IndexTerm::EventType(event_type("Noted"));
    for (scope, from, direction) in [
        (Scope::All, 0, Direction::Forwards),
        (Scope::Term(noted), u64::MAX, Direction::Backwards),
        (
            Scope::Stream(stream_name("order-1")),
            0,
            Direction::Forwards,
        ),
    ] {
        let mut found = walk(storage, &scope, from, direction, PageLimit::MAX).await;
        if direction == Direction::Backwards {
            found.reverse();
        }
        let expected: Vec<_> = written.iter().filter(|event| scope.holds(event)).collect();
        assert_eq!(found.len(), expected.len(), "{scope:?}: number of events");
        for (found, expected) in found.iter().zip(expected) {
            let (is, should) = (brief(found), brief(expected));
            assert!(found == expected, "{scope:?}: {is}, expected {should}");
        }
    }
}
