//! Rules of leading and committing: who may write, what a commit makes visible, and when.

use super::generate::{Numbering, stream_name};
use super::walk::{Scope, check_scope, read_unchecked};
use super::writer::Writer;
use crate::{Committed, Health, IndexTerm, Lease, NumberedAppend, Removal, RemovalKind, Storage};
use icecore_core::{Position, RecordedEvent, Revision, StreamName};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How long a rule waits for what must have happened before.
const PATIENCE: Duration = Duration::from_secs(30);

/// A fresh store is healthy and has nothing in it.
pub async fn a_fresh_store_is_empty(storage: &dyn Storage) {
    assert_eq!(storage.health(), Health::Healthy);
    assert_eq!(*storage.last_position().borrow(), Position::START);
    check_scope(storage, &Scope::All, &[]).await;
    let names = storage.stream_names("", None, 10).await.unwrap();
    assert!(names.names.is_empty() && names.end, "{names:?}");
    let categories = storage.categories(None, 10).await.unwrap();
    assert!(
        categories.categories.is_empty() && categories.end,
        "{categories:?}"
    );
    let stats = storage.stats().await.unwrap();
    assert_eq!(stats.last_position, Position::START);
    assert_eq!(stats.streams, 0);
}

/// `Done` means visible: each event of each append of the group, in the order given.
pub async fn appends_are_visible_in_order_when_the_commit_is_answered(storage: &dyn Storage) {
    let mut writer = Writer::lead(storage).await;
    let last_position = storage.last_position();
    for sizes in [&[1][..], &[2, 1, 3], &[1; 40], &[30, 1]] {
        let appends = sizes.iter().enumerate().map(|(n, count)| {
            let stream = format!("order-{}", n % 3);
            writer.numbering.append(&stream, *count)
        });
        let group = appends.collect();
        writer.commit(group).await;
        assert_eq!(*last_position.borrow(), writer.last_position());
        check_scope(storage, &Scope::All, &writer.events).await;
        for stream in ["order-0", "order-1", "order-2"] {
            check_scope(storage, &Scope::Stream(stream_name(stream)), &writer.events).await;
        }
    }
}

/// An engine that has room says so, to whoever asks and however much is in it.
pub async fn a_store_with_room_admits_writes(storage: &dyn Storage) {
    storage.admits_writes().unwrap();
    let mut writer = Writer::lead(storage).await;
    writer.append("order-1", 3).await;
    storage.admits_writes().unwrap();
    let removed = vec![Removal {
        position: Position::FIRST,
        kind: RemovalKind::Payload,
    }];
    storage.remove(&writer.lease, removed).await.unwrap();
    storage.admits_writes().unwrap();
}

/// The identity of a store does not hang on what is in it or who leads it.
pub async fn the_store_id_stays_the_same(storage: &dyn Storage) {
    let store_id = storage.store_id();
    for _ in 0..2 {
        assert_eq!(storage.store_id(), store_id);
        storage.lead().await.unwrap();
    }
    Writer::lead(storage).await.append("a", 3).await;
    assert_eq!(storage.store_id(), store_id);
}

/// Statistics know how many events and streams there are; a system stream is a stream too.
pub async fn stats_count_events_and_streams(storage: &dyn Storage) {
    let mut writer = Writer::lead(storage).await;
    writer.append("order-1", 3).await;
    writer
        .write_to_each(&["order-2", "$$order-1", "$groups"])
        .await;
    writer.append("order-2", 1).await;
    let tombstone = writer.numbering.tombstone("order-1");
    writer.write(vec![tombstone]).await;
    let stats = storage.stats().await.unwrap();
    assert_eq!(stats.last_position, Position::new(8));
    assert_eq!(stats.streams, 4);
}

/// Who leads later fences who led before: the old lease writes nothing more, the new one goes on.
pub async fn a_later_lead_fences_the_earlier_one(storage: &dyn Storage) {
    let mut writer = Writer::lead(storage).await;
    writer.append("order-1", 2).await;
    let later = storage.lead().await.unwrap();
    assert!(
        later.epoch > writer.lease.epoch,
        "the epoch grows from {} to {}",
        writer.lease.epoch,
        later.epoch
    );
    for stream in ["order-1", "order-2"] {
        let append = writer.numbering.clone().append(stream, 1);
        let after = writer.last_position();
        let committed = storage.commit(&writer.lease, after, vec![append]).await;
        assert!(
            matches!(committed, Committed::Fenced),
            "a commit of who led before ended as {committed:?}"
        );
        check_holds_only(storage, &writer.events).await;
    }
    writer.lease = later;
    writer.append("order-2", 2).await;
    check_holds_only(storage, &writer.events).await;
}

/// A commit states where the store ends. When it ends elsewhere, nothing is written, be the caller
/// ahead or behind; who then leads again may go on.
pub async fn a_commit_after_another_position_writes_nothing(storage: &dyn Storage) {
    let mut writer = Writer::lead(storage).await;
    writer.append("order-1", 3).await;

    let behind = Numbering::default();
    let mut ahead = writer.numbering.clone();
    ahead.append("order-1", 5);
    for mut numbering in [behind, ahead] {
        let after = numbering.last_position();
        let append = numbering.append("order-2", 1);
        let committed = storage.commit(&writer.lease, after, vec![append]).await;
        assert!(
            !matches!(committed, Committed::Done),
            "a commit after {after} to a store that ends at 3 is done"
        );
        check_holds_only(storage, &writer.events).await;
        writer.lease = storage.lead().await.unwrap();
    }
    writer.append("order-1", 1).await;
    check_holds_only(storage, &writer.events).await;
}

/// Checks that nothing but this was written, as every read of the store sees it.
async fn check_holds_only(storage: &dyn Storage, written: &[RecordedEvent]) {
    let last = written.last().map_or(Position::START, |last| last.position);
    assert_eq!(*storage.last_position().borrow(), last);
    check_scope(storage, &Scope::All, written).await;
    let mut names = BTreeSet::new();
    for event in written {
        names.insert(event.stream.clone());
        for scope in Scope::of(event) {
            check_scope(storage, &scope, written).await;
        }
    }
    let found = storage.stream_names("", None, 100).await.unwrap().names;
    assert_eq!(found, names.into_iter().collect::<Vec<_>>());
}

/// The last position is seen to change after each commit, by old receivers and new ones, and never
/// stands within an append.
pub async fn last_position_moves_with_each_commit(storage: &dyn Storage) {
    let mut writer = Writer::lead(storage).await;
    let mut last_position = storage.last_position();
    last_position.mark_unchanged();
    for count in 1..10 {
        let first = writer.numbering.append("a", count);
        let second = writer.numbering.append("b", 2);
        writer.commit(vec![first, second]).await;
        assert!(last_position.has_changed().unwrap(), "a commit is noticed");
        let last = *last_position.borrow_and_update();
        assert_eq!(last, writer.last_position());
        assert_eq!(*storage.last_position().borrow(), last);
    }
}

/// A task that sleeps until the store passes a position wakes when it does.
pub async fn who_waits_for_a_position_is_woken(storage: &dyn Storage) {
    let mut writer = Writer::lead(storage).await;
    let mut waiting = storage.last_position();
    let wait = tokio::spawn(async move {
        let passed = waiting.wait_for(|last| *last >= Position::new(5)).await;
        *passed.expect("the store still stands")
    });
    for _ in 0..3 {
        tokio::task::yield_now().await;
        writer.append("a", 2).await;
    }
    let woken = tokio::time::timeout(PATIENCE, wait).await;
    let position = woken.expect("the waiting task is woken").unwrap();
    assert_eq!(position, Position::new(6));
}

/// Whoever reads while others write sees the beginning of the history and nothing else: no gap, no
/// half append, nothing beyond the last position, and never less than before.
pub async fn readers_see_only_whole_appends_without_a_gap(storage: Arc<dyn Storage>) {
    let race = Race::new(80);
    let readers: Vec<_> = [Scope::All, race.stream(), race.term()]
        .into_iter()
        .map(|scope| tokio::spawn(race.clone().read(Arc::clone(&storage), scope)))
        .collect();
    let lease = storage.lead().await.unwrap();
    let mut after = Position::START;
    for group in race.groups.iter() {
        let committed = storage.commit(&lease, after, group.clone()).await;
        assert!(matches!(committed, Committed::Done), "{committed:?}");
        after = last_of(group);
        tokio::task::yield_now().await;
    }
    for reader in readers {
        let done = tokio::time::timeout(PATIENCE, reader).await;
        if let Err(error) = done.expect("a reader gets to the end") {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

/// What is written while readers look.
#[derive(Clone)]
struct Race {
    groups: Arc<Vec<Vec<NumberedAppend>>>,
    /// Where appends end.
    ends: Arc<BTreeSet<Position>>,
    last: Position,
}

impl Race {
    /// Groups of three appends; each append goes to two streams in turns.
    fn new(groups: usize) -> Self {
        let mut numbering = Numbering::default();
        let mut append = |pairs: usize| {
            let streams = ["race-1", "race-2"].iter().cycle().take(pairs * 2);
            let events = streams.map(|stream| numbering.event(stream)).collect();
            NumberedAppend { events }
        };
        let groups: Vec<Vec<_>> = (0..groups)
            .map(|n| vec![append(1), append(1 + n % 9), append(2)])
            .collect();
        let ends: BTreeSet<_> = groups
            .iter()
            .flatten()
            .filter_map(|append| Some(append.events.last()?.position))
            .chain([Position::START])
            .collect();
        Self {
            last: last_of(groups.last().expect("there are groups")),
            ends: Arc::new(ends),
            groups: Arc::new(groups),
        }
    }

    fn stream(&self) -> Scope {
        Scope::Stream(self.event(0).stream.clone())
    }

    fn term(&self) -> Scope {
        Scope::Term(IndexTerm::EventType(self.event(0).event_type.clone()))
    }

    fn event(&self, n: usize) -> &RecordedEvent {
        &self.groups[0][0].events[n]
    }

    /// Reads from the start again and again until everything is there.
    async fn read(self, storage: Arc<dyn Storage>, scope: Scope) {
        let all = self
            .groups
            .iter()
            .flatten()
            .flat_map(|append| append.events.iter());
        let expected: Vec<_> = all.filter(|event| scope.holds(event)).collect();
        let last_position = storage.last_position();
        let mut seen = 0;
        while seen < expected.len() {
            tokio::task::yield_now().await;
            let before = *last_position.borrow();
            let found = read_unchecked(&*storage, &scope).await;
            let after = *last_position.borrow();
            let end = found.last().map_or(Position::START, |last| last.position);

            assert!(self.ends.contains(&before), "{before} is within an append");
            assert!(after >= before, "the store shrank from {before} to {after}");
            assert!(
                end <= after,
                "{end} is shown, but the store ends at {after}"
            );
            let visible = expected.iter().filter(|event| event.position <= before);
            assert!(
                found.len() >= visible.count(),
                "{scope:?}: events are missing"
            );
            assert!(found.len() >= seen, "{scope:?}: events are gone");
            assert!(
                found.iter().eq(expected[..found.len()].iter().copied()),
                "{scope:?}: what is read is no beginning of the history"
            );
            seen = found.len();
            let whole = self.whole(&scope, end, expected.get(seen).copied());
            assert!(whole, "{scope:?}: half of an append is visible");
            let tail = tail_of(&*storage, &self.event(0).stream).await;
            let visible = self.last_in_first_stream(before);
            assert!(tail >= visible, "the tail {tail:?} lies before {visible:?}");
        }
        assert_eq!(*last_position.borrow(), self.last);
    }

    /// Whether an append ends between what was seen last and what comes next in a scope.
    fn whole(&self, scope: &Scope, seen: Position, next: Option<&RecordedEvent>) -> bool {
        let next = next.map_or(self.last.next(), |next| next.position);
        match scope {
            Scope::All => self.ends.contains(&seen),
            _ => self.ends.range(seen..next).next().is_some(),
        }
    }

    fn last_in_first_stream(&self, visible: Position) -> Option<Revision> {
        let events = self
            .groups
            .iter()
            .flatten()
            .flat_map(|append| append.events.iter());
        let seen = events.take_while(|event| event.position <= visible);
        let mine = seen.filter(|event| event.stream == self.event(0).stream);
        mine.last().map(|event| event.revision)
    }
}

async fn tail_of(storage: &dyn Storage, stream: &StreamName) -> Option<Revision> {
    let tails = storage.stream_tails(std::slice::from_ref(stream)).await;
    tails.unwrap()[0].map(|tail| tail.last_revision)
}

fn last_of(group: &[NumberedAppend]) -> Position {
    let events = group.iter().flat_map(|append| append.events.iter());
    events
        .last()
        .map_or(Position::START, |event| event.position)
}

/// After `close` nothing is written any more, neither with the old lease nor with a new one.
pub async fn a_closed_store_takes_no_commit(storage: &dyn Storage) {
    let mut writer = Writer::lead(storage).await;
    writer.append("order-1", 2).await;
    storage.close().await.unwrap();

    let mut leases: Vec<Lease> = storage.lead().await.into_iter().collect();
    leases.push(writer.lease);
    for lease in leases {
        let append = writer.numbering.clone().append("order-1", 1);
        let committed = storage.commit(&lease, Position::new(2), vec![append]).await;
        assert!(
            !matches!(committed, Committed::Done),
            "a closed store has done a commit"
        );
        assert_eq!(*storage.last_position().borrow(), Position::new(2));
    }
}
