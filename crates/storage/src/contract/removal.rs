//! What is taken out of a store is gone for every reader, and the numbers and hashes of all others
//! stay as they were.

use super::generate::Numbering;
use crate::{Committed, IndexTerm, NumberedAppend, Removal, RemovalKind, Storage};
use icecore_core::{
    Direction, Hash, LogEntry, PageLimit, Position, RecordedEvent, Revision, Salt, Tag, merkle,
};

/// A store with twelve events of two streams, in appends of three.
async fn fill(storage: &dyn Storage) -> (crate::Lease, Vec<RecordedEvent>) {
    let mut numbering = Numbering::default();
    let streams = ["order-1", "order-2"];
    let tagged = |n: usize| RecordedEvent {
        tags: vec![Tag::new(format!("n:{n}")).unwrap()],
        ..numbering.event(streams[n % 2])
    };
    let events: Vec<_> = (0..12).map(tagged).collect();
    let lease = storage.lead().await.unwrap();
    let append = |events: &[RecordedEvent]| NumberedAppend {
        events: events.into(),
    };
    let appends = events.chunks(3).map(append).collect();
    let committed = storage.commit(&lease, Position::START, appends).await;
    assert!(matches!(committed, Committed::Done), "{committed:?}");
    (lease, events)
}

async fn log(storage: &dyn Storage) -> Vec<LogEntry> {
    let mut entries = Vec::new();
    let mut from = Position::FIRST;
    loop {
        let page = storage.read_log(from, PageLimit::events(5)).await.unwrap();
        assert_eq!(page.damage, None);
        entries.extend(page.entries);
        from = page.next;
        if page.end {
            return entries;
        }
    }
}

async fn all(storage: &dyn Storage, direction: Direction) -> Vec<u64> {
    let mut positions = Vec::new();
    let mut from = match direction {
        Direction::Forwards => Position::FIRST,
        Direction::Backwards => Position::new(u64::MAX),
    };
    loop {
        let limit = PageLimit::events(2);
        let page = storage.read_all(from, direction, limit).await.unwrap();
        assert!(!page.events.is_empty() || page.end, "only the end is empty");
        positions.extend(page.events.iter().map(|event| event.position.get()));
        from = page.next;
        if page.end {
            return positions;
        }
    }
}

async fn remove(
    storage: &dyn Storage,
    lease: &crate::Lease,
    kind: RemovalKind,
    positions: &[u64],
) -> u64 {
    let removal = |position: &u64| Removal {
        position: Position::new(*position),
        kind,
    };
    let removals = positions.iter().map(removal).collect();
    storage.remove(lease, removals).await.unwrap().positions
}

fn leaves(entries: &[LogEntry]) -> Vec<Hash> {
    entries.iter().map(LogEntry::leaf_hash).collect()
}

/// The log gives every event with its mark and a salt of its own.
pub async fn the_log_is_read_as_it_was_written(storage: &dyn Storage) {
    let (_, events) = fill(storage).await;
    let entries = log(storage).await;
    let found: Vec<_> = entries
        .iter()
        .filter_map(LogEntry::event)
        .cloned()
        .collect();
    assert_eq!(found, events);
    let ends = entries
        .iter()
        .filter(|entry| entry.mark == icecore_core::Mark::End);
    let ends: Vec<_> = ends.map(|entry| entry.position.get()).collect();
    assert_eq!(ends, [3, 6, 9, 12]);
    let salts: std::collections::BTreeSet<_> = entries.iter().filter_map(salt).collect();
    assert_eq!(salts.len(), 12, "each event has a salt of its own");
}

fn salt(entry: &LogEntry) -> Option<[u8; 16]> {
    match entry.content {
        icecore_core::EntryContent::Whole {
            salt: Salt(salt), ..
        } => Some(salt),
        _ => None,
    }
}

/// An erased event keeps its place, its header and its leaf, and no tag leads to it any more.
pub async fn an_erased_event_stays_without_its_payload(storage: &dyn Storage) {
    let (lease, events) = fill(storage).await;
    let before = leaves(&log(storage).await);
    let tagged = &events[4];
    let position = tagged.position;
    assert_eq!(
        remove(storage, &lease, RemovalKind::Payload, &[position.get()]).await,
        1
    );
    storage.compact(&lease, position, position).await.unwrap();
    let page = storage
        .read_all(position, Direction::Forwards, PageLimit::events(1))
        .await
        .unwrap();
    assert_eq!(page.events, [tagged.clone().into_erased()]);
    let stream = storage
        .read_stream(
            &tagged.stream,
            tagged.revision,
            Direction::Forwards,
            PageLimit::events(1),
        )
        .await
        .unwrap();
    assert_eq!(stream.events, page.events);
    for tag in &tagged.tags {
        let term = IndexTerm::Tag(tag.clone());
        let found = storage
            .read_term(&term, Position::FIRST, Direction::Forwards, PageLimit::MAX)
            .await
            .unwrap();
        assert!(found.events.iter().all(|event| event.position != position));
    }
    assert_eq!(leaves(&log(storage).await), before);
    assert_eq!(
        remove(storage, &lease, RemovalKind::Payload, &[position.get()]).await,
        0,
        "it is gone already"
    );
}

/// Removed events are in no page; what is left keeps its numbers and all leaves stay.
pub async fn removed_events_are_in_no_page(storage: &dyn Storage) {
    let (lease, events) = fill(storage).await;
    let before = leaves(&log(storage).await);
    // The beginning of both streams.
    let gone = [1, 2, 3, 4, 5, 7];
    assert_eq!(remove(storage, &lease, RemovalKind::Event, &gone).await, 6);
    let left: Vec<u64> = (1..=12)
        .filter(|position| !gone.contains(position))
        .collect();
    for round in ["before compaction", "after compaction"] {
        assert_eq!(all(storage, Direction::Forwards).await, left, "{round}");
        let backwards: Vec<_> = left.iter().rev().copied().collect();
        assert_eq!(
            all(storage, Direction::Backwards).await,
            backwards,
            "{round}"
        );
        let page = storage
            .read_stream(
                &events[0].stream,
                Revision::FIRST,
                Direction::Forwards,
                PageLimit::events(1),
            )
            .await
            .unwrap();
        let found: Vec<_> = page
            .events
            .iter()
            .map(|event| event.revision.get())
            .collect();
        assert_eq!(found, [4], "{round}");
        assert_eq!(page.next, Revision::new(5), "{round}");
        for event in &events {
            let term = IndexTerm::EventType(event.event_type.clone());
            let found = storage
                .read_term(&term, Position::FIRST, Direction::Forwards, PageLimit::MAX)
                .await
                .unwrap();
            let gone = found
                .events
                .iter()
                .any(|event| gone.contains(&event.position.get()));
            assert!(!gone, "{round}");
        }
        assert_eq!(leaves(&log(storage).await), before, "{round}");
        assert_eq!(*storage.last_position().borrow(), Position::new(12));
        let check = storage.check_index(Position::FIRST).await.unwrap();
        assert_eq!(check.damage, [], "{round}");
        storage
            .compact(&lease, Position::FIRST, Position::new(12))
            .await
            .unwrap();
    }
    assert_eq!(
        remove(storage, &lease, RemovalKind::Payload, &gone).await,
        0
    );
}

/// Whoever does not lead removes nothing.
pub async fn an_earlier_lead_removes_nothing(storage: &dyn Storage) {
    let (earlier, _) = fill(storage).await;
    storage.lead().await.unwrap();
    let removal = Removal {
        position: Position::FIRST,
        kind: RemovalKind::Event,
    };
    assert!(storage.remove(&earlier, vec![removal]).await.is_err());
    assert_eq!(all(storage, Direction::Forwards).await.len(), 12);
}

/// Appends go on after a removal of all but the last events.
pub async fn appends_follow_removed_events(storage: &dyn Storage) {
    let (lease, mut events) = fill(storage).await;
    let gone: Vec<_> = (1..=10).collect();
    assert_eq!(remove(storage, &lease, RemovalKind::Event, &gone).await, 10);
    let mut next = events.pop().unwrap();
    next.position = Position::new(13);
    next.revision = next.revision.next();
    let append = NumberedAppend {
        events: vec![next.clone()].into(),
    };
    let committed = storage
        .commit(&lease, Position::new(12), vec![append])
        .await;
    assert!(matches!(committed, Committed::Done), "{committed:?}");
    let positions = all(storage, Direction::Forwards).await;
    assert_eq!(positions, [11, 12, 13]);
    let tails = storage.stream_tails(&[next.stream]).await.unwrap();
    assert_eq!(tails[0].unwrap().last_position, Position::new(13));
}

/// Roots of subtrees are given back as they were kept, group by group.
pub async fn kept_roots_are_given_back(storage: &dyn Storage) {
    let lease = storage.lead().await.unwrap();
    let group = |n: u8| vec![Hash([n; 32]); crate::ROOTS_PER_GROUP];
    assert!(storage.subtree_roots(0).await.unwrap().is_empty());
    storage.keep_roots(&lease, 0, group(1)).await.unwrap();
    storage.keep_roots(&lease, 1, group(2)).await.unwrap();
    let mut roots = Vec::new();
    loop {
        let more = storage.subtree_roots(roots.len() as u64).await.unwrap();
        if more.is_empty() {
            break;
        }
        roots.extend(more);
    }
    assert_eq!(roots, [group(1), group(2)].concat());
    assert_eq!(storage.subtree_roots(255).await.unwrap(), [Hash([2; 32])]);
    assert_ne!(merkle::root(&roots), merkle::root(&roots[1..]));
}
