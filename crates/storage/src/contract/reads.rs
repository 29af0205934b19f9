//! Rules of reading in pages: all events, one stream, one index term, both ways.

use super::generate::{event_type, stream_name, tag};
use super::walk::{Scope, check_reads, check_scope, check_walk, walk};
use super::writer::Writer;
use crate::{IndexTerm, NumberedAppend, Storage};
use bytes::Bytes;
use icecore_core::{Category, Direction, PageLimit, Position, RecordedEvent, Revision};

/// The three ways to read.
fn one_of_each() -> [Scope; 3] {
    let noted = IndexTerm::EventType(event_type("Noted"));
    [
        Scope::All,
        Scope::Stream(stream_name("order-1")),
        Scope::Term(noted),
    ]
}

/// 120 events: every second of `order-1`, every third of type `Counted`.
async fn some_history(storage: &dyn Storage) -> Vec<RecordedEvent> {
    let mut writer = Writer::lead(storage).await;
    for n in 0..30 {
        let streams = ["order-1", "käse-1", "order-1", "notes"];
        let mut events = streams.map(|stream| writer.numbering.event(stream));
        for event in &mut events {
            if event.position.get() % 3 == 0 {
                event.event_type = event_type("Counted");
            }
            event.data = Bytes::from(vec![b'd'; n * 20]);
        }
        // Appends of one event and of several.
        let (first, rest) = events.split_at(1);
        writer.commit(vec![append(first), append(rest)]).await;
    }
    writer.events
}

fn append(events: &[RecordedEvent]) -> NumberedAppend {
    NumberedAppend {
        events: events.into(),
    }
}

/// All events can be read both ways, in pages of any size and from any place.
pub async fn pages_of_all_events_have_no_gap_and_no_double(storage: &dyn Storage) {
    let written = some_history(storage).await;
    check_reads(storage, &Scope::All, &written).await;
    for limit in 1..20 {
        let limit = PageLimit::events(limit);
        let all = &Scope::All;
        check_walk(storage, all, 1, Direction::Forwards, limit, &written).await;
        check_walk(storage, all, 120, Direction::Backwards, limit, &written).await;
    }
}

/// The same for the events of one stream, which lie between those of others.
pub async fn pages_of_a_stream_have_no_gap_and_no_double(storage: &dyn Storage) {
    let written = some_history(storage).await;
    for stream in ["order-1", "käse-1", "notes"] {
        check_scope(storage, &Scope::Stream(stream_name(stream)), &written).await;
    }
}

/// The same for the events that carry an index term, in global order.
pub async fn pages_of_a_term_have_no_gap_and_no_double(storage: &dyn Storage) {
    let written = some_history(storage).await;
    for term in [
        IndexTerm::Category(Category::new("order").unwrap()),
        IndexTerm::Category(Category::new("käse").unwrap()),
        IndexTerm::EventType(event_type("Noted")),
        IndexTerm::EventType(event_type("Counted")),
    ] {
        check_scope(storage, &Scope::Term(term), &written).await;
    }
}

/// `from` is inclusive, whichever way the read goes.
pub async fn a_read_begins_with_the_event_that_it_names(storage: &dyn Storage) {
    let written = some_history(storage).await;
    let limit = PageLimit::events(1);
    for event in written.iter().step_by(7) {
        let only = std::slice::from_ref(event);
        for direction in [Direction::Forwards, Direction::Backwards] {
            let at = event.position;
            let page = storage.read_all(at, direction, limit).await.unwrap();
            assert_eq!(page.events, only, "all {direction:?}");

            let (stream, at) = (&event.stream, event.revision);
            let page = storage.read_stream(stream, at, direction, limit).await;
            assert_eq!(page.unwrap().events, only, "{direction:?}");

            let term = IndexTerm::EventType(event.event_type.clone());
            let at = event.position;
            let page = storage.read_term(&term, at, direction, limit).await;
            assert_eq!(page.unwrap().events, only, "{direction:?}");
        }
    }
}

/// A page has at most so many events.
pub async fn a_page_keeps_to_the_limit_of_events(storage: &dyn Storage) {
    some_history(storage).await;
    for events in [1, 2, 10] {
        let limit = PageLimit::events(events);
        for (what, found) in first_pages(storage, limit).await {
            let count = found.len();
            assert!((1..=events).contains(&count), "{what}: {count} events");
        }
    }
}

/// A page has at most so many bytes, as events count them, when it has more than one event.
pub async fn a_page_keeps_to_the_limit_of_bytes(storage: &dyn Storage) {
    let written = some_history(storage).await;
    let exact: usize = written[..9].iter().map(RecordedEvent::size).sum();
    for bytes in [exact - 1, exact, exact + 1, 2_000, 20_000] {
        let limit = PageLimit {
            bytes,
            ..PageLimit::MAX
        };
        for (what, found) in first_pages(storage, limit).await {
            let size: usize = found.iter().map(RecordedEvent::size).sum();
            assert!(!found.is_empty(), "{what}: a page without an event");
            assert!(found.len() == 1 || size <= bytes, "{what}: {size} bytes");
        }
        for scope in one_of_each() {
            let events = written.iter().filter(|event| scope.holds(event));
            let events: Vec<_> = events.cloned().collect();
            let forwards = Direction::Forwards;
            check_walk(storage, &scope, 0, forwards, limit, &events).await;
            let (end, backwards) = (u64::MAX, Direction::Backwards);
            check_walk(storage, &scope, end, backwards, limit, &events).await;
        }
    }
}

/// The first page of every way to read, both ways.
async fn first_pages(
    storage: &dyn Storage,
    limit: PageLimit,
) -> Vec<(&'static str, Vec<RecordedEvent>)> {
    let (forwards, backwards) = (Direction::Forwards, Direction::Backwards);
    let end = Position::new(u64::MAX);
    let stream = stream_name("order-1");
    let (first, last) = (Revision::FIRST, Revision::new(u64::MAX));
    let term = IndexTerm::EventType(event_type("Noted"));
    let all = storage.read_all(Position::FIRST, forwards, limit).await;
    let all_backwards = storage.read_all(end, backwards, limit).await;
    let of_stream = storage.read_stream(&stream, first, forwards, limit).await;
    let stream_backwards = storage.read_stream(&stream, last, backwards, limit).await;
    let of_term = storage.read_term(&term, Position::FIRST, forwards, limit);
    let term_backwards = storage.read_term(&term, end, backwards, limit);
    vec![
        ("all", all.unwrap().events),
        ("all backwards", all_backwards.unwrap().events),
        ("stream", of_stream.unwrap().events),
        ("stream backwards", stream_backwards.unwrap().events),
        ("term", of_term.await.unwrap().events),
        ("term backwards", term_backwards.await.unwrap().events),
    ]
}

/// A limit of bytes never stops a read: an event that is larger has a page of its own.
pub async fn a_page_holds_one_event_even_if_it_is_larger_than_the_limit(storage: &dyn Storage) {
    let mut writer = Writer::lead(storage).await;
    for bytes in [10, 50_000, 10, 10, 200_000, 200_000, 0] {
        let mut event = writer.numbering.event("order-1");
        event.data = Bytes::from(vec![b'd'; bytes]);
        writer.write(vec![event]).await;
    }
    for bytes in [0, 1, 100, 60_000] {
        let limit = PageLimit {
            bytes,
            ..PageLimit::MAX
        };
        for (what, found) in first_pages(storage, limit).await {
            assert!(!found.is_empty(), "{what}: no event within {bytes} bytes");
        }
        for scope in one_of_each() {
            let found = walk(storage, &scope, 0, Direction::Forwards, limit).await;
            assert!(
                found == writer.events,
                "{scope:?} in pages of {bytes} bytes"
            );
        }
    }
}

/// Beyond the end there is an empty page with `end`; its `next` does not stay out there, but says
/// where the next event will stand. So does the last page of a read.
pub async fn beyond_the_end_is_an_empty_page_that_says_where_the_next_event_will_stand(
    storage: &dyn Storage,
) {
    let mut writer = Writer::lead(storage).await;
    let (forwards, limit) = (Direction::Forwards, PageLimit::MAX);
    let stream = stream_name("order-1");
    let term = IndexTerm::EventType(event_type("Noted"));
    for count in [0_u64, 3, 6] {
        let next = (Position::new(count + 1), Revision::new(count));
        for beyond in [0, 1, 1_000, u64::MAX / 2 - 100, u64::MAX - 100] {
            let at = next.0.plus(beyond);
            let page = storage.read_all(at, forwards, limit).await.unwrap();
            assert!(page.events.is_empty() && page.end, "all from {at}");
            assert_eq!(page.next, next.0, "all from {at}");

            let page = storage.read_term(&term, at, forwards, limit).await.unwrap();
            assert!(page.events.is_empty() && page.end, "term from {at}");
            assert_eq!(page.next, next.0, "term from {at}");

            let at = Revision::new(next.1.get().saturating_add(beyond));
            let page = storage.read_stream(&stream, at, forwards, limit).await;
            let page = page.unwrap();
            assert!(page.events.is_empty() && page.end, "stream from {at}");
            assert_eq!(page.next, next.1, "stream from {at}");
        }
        writer.append("order-1", 3).await;
    }
}

/// Backwards, any number beyond the end stands for the end.
pub async fn backwards_from_beyond_the_end_begins_with_the_last_event(storage: &dyn Storage) {
    let written = some_history(storage).await;
    for scope in one_of_each() {
        let events = written.iter().filter(|event| scope.holds(event));
        let events: Vec<_> = events.cloned().collect();
        let tombstone = Revision::TOMBSTONE.get();
        for from in [120, 121, 1_000, tombstone - 1, tombstone, u64::MAX] {
            let limit = PageLimit::events(50);
            check_walk(storage, &scope, from, Direction::Backwards, limit, &events).await;
        }
    }
}

/// Whoever keeps the `next` of the last page misses nothing that is written later and sees nothing
/// twice.
pub async fn who_read_to_the_end_goes_on_from_next(storage: &dyn Storage) {
    let mut writer = Writer::lead(storage).await;
    let (forwards, limit) = (Direction::Forwards, PageLimit::MAX);
    let stream = stream_name("order-1");
    let term = IndexTerm::Category(Category::new("order").unwrap());
    let (mut all_next, mut term_next) = (Position::START, Position::START);
    let mut stream_next = Revision::FIRST;
    for round in 0..6 {
        let seen = writer.events.len();
        match round {
            0 => {}
            1 => writer.append("notes", 2).await,
            2 => writer.append("order-2", 1).await,
            _ => writer.write_to_each(&["order-1", "notes", "order-1"]).await,
        }
        let new = &writer.events[seen..];
        let expected = |name: &str| {
            let mine = new.iter().filter(|e| e.stream.as_str().starts_with(name));
            mine.cloned().collect::<Vec<_>>()
        };
        let page = storage.read_all(all_next, forwards, limit).await.unwrap();
        assert_eq!(page.events, new, "all events in round {round}");
        all_next = page.next;

        let page = storage.read_term(&term, term_next, forwards, limit).await;
        let page = page.unwrap();
        assert_eq!(page.events, expected("order-"), "term in round {round}");
        term_next = page.next;

        let page = storage.read_stream(&stream, stream_next, forwards, limit);
        let page = page.await.unwrap();
        assert_eq!(page.events, expected("order-1"), "stream in round {round}");
        stream_next = page.next;
    }
}

/// A tombstone is the last event of its stream, however far its revision lies from the others.
pub async fn a_tombstone_follows_the_last_ordinary_event(storage: &dyn Storage) {
    let mut writer = Writer::lead(storage).await;
    writer
        .write_to_each(&["order-1", "order-2", "order-1"])
        .await;
    let end = writer.numbering.tombstone("order-1");
    writer.write(vec![end]).await;
    let another = writer.numbering.event("order-2");
    let end = writer.numbering.tombstone("order-2");
    writer.write(vec![another, end]).await;
    writer.append("order-3", 2).await;

    check_scope(storage, &Scope::All, &writer.events).await;
    for stream in ["order-1", "order-2", "order-3"] {
        check_scope(storage, &Scope::Stream(stream_name(stream)), &writer.events).await;
    }
    let stream = stream_name("order-1");
    for from in [2, 3, 1_000, Revision::TOMBSTONE.get()] {
        let (at, limit) = (Revision::new(from), PageLimit::events(5));
        let page = storage.read_stream(&stream, at, Direction::Forwards, limit);
        let found = page.await.unwrap().events;
        assert_eq!(found, [writer.events[3].clone()], "forwards from {from}");
    }
    let tails = storage.stream_tails(&[stream]).await.unwrap();
    let tail = tails[0].expect("a closed stream has a tail");
    assert_eq!(tail.last_revision, Revision::TOMBSTONE);
    assert_eq!(tail.last_position, Position::new(4));
}

/// A stream may be closed before anything happened in it; then the tombstone is all it has.
pub async fn a_tombstone_may_stand_alone(storage: &dyn Storage) {
    let mut writer = Writer::lead(storage).await;
    let end = writer.numbering.tombstone("order-1");
    writer.write(vec![end]).await;
    writer.append("order-2", 1).await;
    let end = writer.numbering.tombstone("notes");
    writer.write(vec![end]).await;

    for event in &writer.events {
        for scope in Scope::of(event) {
            check_scope(storage, &scope, &writer.events).await;
        }
    }
    let tails = storage.stream_tails(&[stream_name("notes")]).await.unwrap();
    let tail = tails[0].expect("a closed stream has a tail");
    assert_eq!(tail.last_revision, Revision::TOMBSTONE);
    assert_eq!(tail.last_position, Position::new(3));
}

/// What has no event reads as an empty page with `end`, and is no error.
pub async fn unknown_streams_and_terms_are_empty(storage: &dyn Storage) {
    let empty: &[RecordedEvent] = &[];
    for round in 0..2 {
        for unknown in [
            Scope::Stream(stream_name("order")),
            Scope::Stream(stream_name("order-11")),
            Scope::Term(IndexTerm::Category(Category::new("orde").unwrap())),
            Scope::Term(IndexTerm::EventType(event_type("noted"))),
            Scope::Term(IndexTerm::Tag(tag("order:1"))),
        ] {
            check_reads(storage, &unknown, empty).await;
        }
        if round == 0 {
            Writer::lead(storage).await.append("order-1", 20).await;
        }
    }
}
