//! Readers stay right while chunks and runs are merged and old runs are deleted under their hands.

use crate::stores::{figure, open, tiny};
use icecore_core::{Direction, PageLimit, Position, RecordedEvent, Revision, StreamName};
use icecore_storage::contract::generate::{Generator, Random, Shape};
use icecore_storage::{Committed, IndexTerm, NumberedAppend, Storage};
use icecore_storage_sled::{SledConfig, SledStorage};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

/// The most groups that it may take until everything has happened.
const GROUPS_MAX: usize = 2_000;

/// A store that grows, and all that will ever be in it.
struct Growing {
    storage: SledStorage,
    history: Vec<RecordedEvent>,
    /// Streams with their events.
    streams: Vec<(StreamName, Vec<RecordedEvent>)>,
    is_over: AtomicBool,
    pages: AtomicU64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_stay_right_while_chunks_and_runs_are_merged_and_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let config = SledConfig {
        // Almost every read goes to the disk.
        chunk_cache_bytes: 1,
        // Small commits leave small chunks, which are merged.
        open_chunk_bytes: 64,
        chunk_bytes: 2_048,
        run_events: 60,
        ..tiny(directory.path())
    };
    let shape = Shape {
        append_events_max: 3,
        data_bytes_max: 60,
        ..Shape::default()
    };
    let mut generator = Generator::with_shape(21, shape);
    let groups: Vec<_> = (0..GROUPS_MAX).map(|_| vec![generator.append()]).collect();
    let growing = Arc::new(Growing::new(open(&config), &groups));
    let readers: Vec<_> = (1..=3)
        .map(|seed| tokio::spawn(read(Arc::clone(&growing), Random::new(seed))))
        .collect();
    write(&growing, groups).await;
    growing.is_over.store(true, SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
    assert!(growing.pages.load(SeqCst) > 100);
}

/// Writes until chunks and runs have been merged, many times.
async fn write(growing: &Growing, groups: Vec<Vec<NumberedAppend>>) {
    let storage = &growing.storage;
    let lease = storage.lead().await.unwrap();
    let (mut chunks, mut merges) = (0, 0);
    for (commits, group) in (1..).zip(groups) {
        let after = *storage.last_position().borrow();
        let outcome = storage.commit(&lease, after, group).await;
        assert!(matches!(outcome, Committed::Done), "{outcome:?}");
        chunks = figure(storage, "chunks").await;
        merges = figure(storage, "index_merges").await;
        // Each commit leaves a chunk at least.
        if commits > 300 && merges > 3 && chunks < commits / 2 {
            return;
        }
    }
    panic!("{chunks} chunks, {merges} merges of runs");
}

async fn read(growing: Arc<Growing>, mut random: Random) {
    while !growing.is_over.load(SeqCst) {
        let last = growing.storage.last_position().borrow().get();
        if last == 0 {
            tokio::task::yield_now().await;
            continue;
        }
        let limit = PageLimit::events(random.below(40) + 1);
        let at = random.below(usize::try_from(last).unwrap());
        match random.below(4) {
            0 => growing.all_forwards(at, last, limit).await,
            1 => growing.all_backwards(at, limit).await,
            2 => growing.stream(random.number(), last, limit).await,
            _ => growing.term(at, last, limit).await,
        }
        growing.pages.fetch_add(1, SeqCst);
    }
}

impl Growing {
    fn new(storage: SledStorage, groups: &[Vec<NumberedAppend>]) -> Self {
        let appends = groups.iter().flatten();
        let history: Vec<_> = appends.flat_map(|append| append.events.to_vec()).collect();
        let mut streams: Vec<(StreamName, Vec<RecordedEvent>)> = Vec::new();
        for event in &history {
            match streams.iter_mut().find(|(name, _)| *name == event.stream) {
                Some((_, events)) => events.push(event.clone()),
                None => streams.push((event.stream.clone(), vec![event.clone()])),
            }
        }
        Self {
            storage,
            history,
            streams,
            is_over: AtomicBool::new(false),
            pages: AtomicU64::new(0),
        }
    }

    async fn all_forwards(&self, at: usize, last: u64, limit: PageLimit) {
        let page = self
            .storage
            .read_all(self.history[at].position, Direction::Forwards, limit)
            .await
            .unwrap();
        check(&page.events, &self.history[at..], page.end, last);
    }

    async fn all_backwards(&self, at: usize, limit: PageLimit) {
        let page = self
            .storage
            .read_all(self.history[at].position, Direction::Backwards, limit)
            .await
            .unwrap();
        let older: Vec<_> = self.history[..=at].iter().rev().cloned().collect();
        check(&page.events, &older, page.end, u64::MAX);
    }

    /// A stream from one of its events on.
    async fn stream(&self, random: u64, last: u64, limit: PageLimit) {
        let random = usize::try_from(random >> 32).unwrap();
        let (name, events) = &self.streams[random % self.streams.len()];
        let at = random / self.streams.len() % events.len();
        let page = self
            .storage
            .read_stream(name, events[at].revision, Direction::Forwards, limit)
            .await
            .unwrap();
        check(&page.events, &events[at..], page.end, last);
        let page = self
            .storage
            .read_stream(name, Revision::TOMBSTONE, Direction::Backwards, limit)
            .await
            .unwrap();
        let Some(newest) = page.events.first() else {
            assert!(events[0].position.get() > last);
            return;
        };
        let newest = events.iter().position(|event| event == newest).unwrap();
        let unseen = events.get(newest + 1);
        assert!(unseen.is_none_or(|event| event.position.get() > last));
        let older: Vec<_> = events[..=newest].iter().rev().cloned().collect();
        check(&page.events, &older, page.end, u64::MAX);
    }

    /// The events of one event's type from there on.
    async fn term(&self, at: usize, last: u64, limit: PageLimit) {
        let RecordedEvent {
            event_type,
            position,
            ..
        } = &self.history[at];
        let term = IndexTerm::EventType(event_type.clone());
        let page = self
            .storage
            .read_term(&term, *position, Direction::Forwards, limit)
            .await
            .unwrap();
        let events = self.history[at..].iter();
        let same: Vec<_> = events
            .filter(|event| event.event_type == *event_type)
            .cloned()
            .collect();
        check(&page.events, &same, page.end, last);
    }
}

/// A page must be the beginning of what there is, and the end of it only behind everything that was
/// shown before the read.
#[track_caller]
fn check(page: &[RecordedEvent], wanted: &[RecordedEvent], end: bool, last: u64) {
    let shown = |event: &RecordedEvent| event.position <= Position::new(last);
    assert_eq!(page, &wanted[..page.len()]);
    assert!(!page.is_empty() || !shown(&wanted[0]));
    if end {
        let unseen = wanted.get(page.len());
        assert!(!unseen.is_some_and(shown), "{unseen:?} was there");
    }
}
