//! Rules of finding: tails, names, categories, index terms.

use super::compare::{check_categories, check_names};
use super::generate::{event_type, stream_name, tag};
use super::walk::{Scope, check_scope};
use super::writer::Writer;
use crate::{IndexTerm, Removal, RemovalKind, Storage, StreamTail};
use icecore_core::{Category, CorrelationId, Position, RecordedEvent, Revision};

/// The answers stand as the streams were asked for, `None` for a stream without an event, and a
/// stream may be asked for twice.
pub async fn stream_tails_come_in_the_order_of_the_question(storage: &dyn Storage) {
    let mut writer = Writer::lead(storage).await;
    let asked = ["z", "unknown", "a", "z", "b", "m"].map(stream_name);
    assert_eq!(storage.stream_tails(&asked).await.unwrap(), [None; 6]);

    writer.append("a", 3).await;
    writer.write_to_each(&["b", "z", "b", "z", "z"]).await;
    let tail = |revision, position| {
        Some(StreamTail {
            last_revision: Revision::new(revision),
            last_position: Position::new(position),
        })
    };
    let (a, b, z) = (tail(2, 3), tail(1, 6), tail(2, 8));
    let tails = storage.stream_tails(&asked).await.unwrap();
    assert_eq!(tails, [z, None, a, z, b, None]);
    assert_eq!(storage.stream_tails(&[]).await.unwrap(), []);

    writer.append("m", 1).await;
    let tails = storage.stream_tails(&asked).await.unwrap();
    assert_eq!(tails, [z, None, a, z, b, tail(0, 9)]);
}

/// Names of all sorts, in no order: with shared prefixes, of the store itself, beyond ASCII.
const NAMES: [&str; 14] = [
    "order-2",
    "zebra",
    "order-10",
    "$$order-1",
    "käse-1",
    "order",
    "Order-1",
    "kz-1",
    "order-1-1",
    "日本-1",
    "order-1",
    "-1",
    "$settings",
    "éclair",
];

/// All streams come up once, in byte order, which is neither that of writing nor that of letters;
/// `after` is exclusive and need not exist.
pub async fn stream_names_come_in_byte_order(storage: &dyn Storage) {
    let mut writer = Writer::lead(storage).await;
    writer.write_to_each(&NAMES[..9]).await;
    writer.write_to_each(&NAMES[5..]).await;
    let streams = NAMES.map(stream_name).into_iter().collect();
    check_names(storage, "", &streams).await;

    let mut sorted = NAMES;
    sorted.sort_unstable();
    for after in ["!", "order-1", "order-1-", "order-3", "z", "日本-1", "龍"] {
        let expected = sorted.iter().copied().filter(|name| *name > after);
        let expected: Vec<_> = expected.map(stream_name).collect();
        let name = stream_name(after);
        let page = storage.stream_names("", Some(&name), 100).await.unwrap();
        assert_eq!(page.names, expected, "names after `{after}`");
    }
}

/// A prefix is one of bytes, not of categories, and goes together with `after`.
pub async fn stream_names_may_be_asked_for_by_prefix(storage: &dyn Storage) {
    let mut writer = Writer::lead(storage).await;
    writer.write_to_each(&NAMES).await;
    let streams = NAMES.map(stream_name).into_iter().collect();
    for prefix in [
        "o",
        "order",
        "order-1",
        "order-1-1",
        "order-1-1-",
        "$",
        "$$",
    ] {
        check_names(storage, prefix, &streams).await;
    }
    for prefix in ["k", "kä", "日", "-", "é", "unknown", "龍"] {
        check_names(storage, prefix, &streams).await;
    }
    for (after, expected) in [
        ("a", &["order-1", "order-1-1", "order-10"][..]),
        ("order-1", &["order-1-1", "order-10"]),
        ("order-10", &[]),
        ("z", &[]),
    ] {
        let expected: Vec<_> = expected.iter().copied().map(stream_name).collect();
        let name = stream_name(after);
        let page = storage.stream_names("order-1", Some(&name), 100).await;
        let page = page.unwrap();
        assert_eq!(page.names, expected, "names after `{after}`");
    }
}

/// Every category comes up once, in byte order, however many streams it has; `after` is exclusive
/// and need not exist.
pub async fn categories_come_in_byte_order(storage: &dyn Storage) {
    let mut writer = Writer::lead(storage).await;
    writer.write_to_each(&NAMES).await;
    let streams = NAMES.map(stream_name).into_iter().collect();
    check_categories(storage, &streams).await;

    for (after, expected) in [
        (
            "$",
            &["$$order", "Order", "kz", "käse", "order", "日本"][..],
        ),
        ("kz", &["käse", "order", "日本"]),
        ("l", &["order", "日本"]),
        ("日本", &[]),
    ] {
        let category = |text: &&str| Category::new(*text).unwrap();
        let expected: Vec<_> = expected.iter().map(category).collect();
        let found = storage.categories(Some(&category(&after)), 100).await;
        let found = found.unwrap().categories;
        assert_eq!(found, expected, "categories after `{after}`");
    }
}

/// Each index finds the events that carry the term, and no others, in global order.
pub async fn events_are_found_by_category_type_and_tag(storage: &dyn Storage) {
    let mut writer = Writer::lead(storage).await;
    for n in 0..40_usize {
        let stream = ["order-1", "notes", "käse-1", "order-2"][n % 4];
        let mut event = writer.numbering.event(stream);
        event.event_type = event_type(["Placed", "Paid", "Gebühr-é"][n % 3]);
        let tags = ["order:1", "customer:7", "größe:XL"].map(tag);
        event.tags = tags.into_iter().take(n % 4).collect();
        writer.write(vec![event]).await;
    }
    for event in &writer.events[..12] {
        for scope in Scope::of(event) {
            check_scope(storage, &scope, &writer.events).await;
        }
    }
}

/// An event that has a tag twice keeps both, but is found once.
pub async fn a_tag_twice_on_one_event_is_found_once(storage: &dyn Storage) {
    let mut writer = Writer::lead(storage).await;
    let mut event = || {
        let tags = ["order:1", "order:2", "order:1", "order:1"];
        RecordedEvent {
            tags: tags.map(tag).to_vec(),
            ..writer.numbering.event("order-1")
        }
    };
    let events = vec![event(), event(), event()];
    writer.write(events).await;
    for text in ["order:1", "order:2"] {
        let scope = Scope::Term(IndexTerm::Tag(tag(text)));
        check_scope(storage, &scope, &writer.events).await;
    }
}

/// The first event of each stream, that at revision 0, can be read in the order in which the streams
/// began; a tombstone that stands alone is not among them.
pub async fn the_first_event_of_each_stream_is_found(storage: &dyn Storage) {
    let mut writer = Writer::lead(storage).await;
    let first = Scope::Term(IndexTerm::FirstEvent);
    check_scope(storage, &first, &writer.events).await;
    writer.append("order-1", 3).await;
    writer
        .write_to_each(&["order-2", "order-1", "$$order-1"])
        .await;
    let end = writer.numbering.tombstone("order-3");
    writer.write(vec![end]).await;
    writer.write_to_each(&["a", "order-2", "b", "a"]).await;
    let found = writer.events.iter().filter(|event| first.holds(event));
    assert_eq!(found.count(), 5);
    check_scope(storage, &first, &writer.events).await;
}

/// The correlation id in the metadata finds an event whatever its stream, until the event is erased.
pub async fn events_are_found_by_their_correlation_id(storage: &dyn Storage) {
    let mut writer = Writer::lead(storage).await;
    for (stream, id) in [("a", "x"), ("b", "y"), ("a", "y"), ("c", "x"), ("b", "")] {
        let metadata = match id {
            "" => r#"{"correlationId":"x"}"#.to_owned(),
            id => format!(r#"{{"by":"me","$correlationId":"{id}"}}"#),
        };
        let event = RecordedEvent {
            metadata: metadata.into(),
            ..writer.numbering.event(stream)
        };
        writer.write(vec![event]).await;
    }
    let scope =
        |id: &'static str| Scope::Term(IndexTerm::Correlation(CorrelationId::new(id).unwrap()));
    for (id, count) in [("x", 2), ("y", 2), ("z", 0)] {
        let events = writer.events.iter();
        assert_eq!(events.filter(|event| scope(id).holds(event)).count(), count);
        check_scope(storage, &scope(id), &writer.events).await;
    }
    let erased = Removal {
        position: Position::FIRST,
        kind: RemovalKind::Payload,
    };
    storage.remove(&writer.lease, vec![erased]).await.unwrap();
    writer.events[0] = writer.events[0].clone().into_erased();
    check_scope(storage, &scope("x"), &writer.events).await;
}

/// A name that begins like another, or a tag that reads like a category, is another thing.
pub async fn names_that_resemble_each_other_are_kept_apart(storage: &dyn Storage) {
    let mut writer = Writer::lead(storage).await;
    for same in ["a", "a:b", "a:", "a:bc", "a:b-c", "A:b"] {
        for stream in [same.to_owned(), format!("{same}-1"), format!("{same}-10")] {
            let mut event = writer.numbering.event(&stream);
            event.event_type = event_type(same);
            event.tags.extend(icecore_core::Tag::new(same));
            let another = writer.numbering.event(&stream);
            writer.write(vec![event, another]).await;
        }
    }
    for event in &writer.events {
        for scope in Scope::of(event) {
            check_scope(storage, &scope, &writer.events).await;
        }
    }
}

/// Streams do not run into each other, however many are written in turns.
pub async fn many_interleaved_streams_are_kept_apart(storage: &dyn Storage) {
    const STREAMS: usize = 500;
    let mut writer = Writer::lead(storage).await;
    let names: Vec<_> = (0..STREAMS).map(|n| format!("order-{n}")).collect();
    for round in 0..4 {
        let turn = names.iter().skip(round).step_by(1 + round);
        let streams: Vec<_> = turn.map(String::as_str).collect();
        writer.write_to_each(&streams).await;
    }
    let streams: Vec<_> = names.iter().map(|name| stream_name(name)).collect();
    let tails = storage.stream_tails(&streams).await.unwrap();
    for (stream, tail) in streams.iter().zip(tails) {
        let last = writer.events.iter().rfind(|event| event.stream == *stream);
        let last = last.map(|event| (event.revision, event.position));
        let tail = tail.map(|tail| (tail.last_revision, tail.last_position));
        assert_eq!(tail, last, "tail of `{stream}`");
    }
    for stream in streams.iter().step_by(41) {
        check_scope(storage, &Scope::Stream(stream.clone()), &writer.events).await;
    }
    check_names(storage, "order-", &streams.into_iter().collect()).await;
}
