//! Sequences of operations on the sled engine in a directory of its own, with sizes so tiny that a few
//! events make chunks, parts, runs and merges. The engine in memory is told the same, and both must
//! answer every read alike.

use icecore_core::{Hash, LogEntry, PageLimit, Position, StoreId, StreamName};
use icecore_storage::contract::assert_same;
use icecore_storage::contract::generate::{Generator, Shape};
use icecore_storage::{Committed, MemoryStorage, Removal, RemovalKind, Storage};
use icecore_storage_sled::{SledConfig, SledStorage};
use std::collections::HashMap;
use std::path::Path;
use uuid::Uuid;

/// Operations of a sequence at most.
const OPERATIONS_MAX: usize = 24;

/// Groups that one operation commits at most.
const GROUPS_MAX: u8 = 8;

/// The first byte is the seed of the events and the second one their size; each operation is a byte
/// that says which, and one that says how.
pub(crate) fn operations(bytes: &[u8]) {
    let [seed, size, steps @ ..] = bytes else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory can be made");
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("a runtime can be had");
    let shape = Shape {
        streams: 6,
        append_events_max: 6,
        group_appends_max: 3,
        data_bytes_max: 1 + 8 * usize::from(*size).pow(2) / 16,
    };
    let mut engines = Engines {
        sled: open(directory.path()),
        memory: MemoryStorage::new(store_id()),
        events: Generator::with_shape(u64::from(*seed), shape),
    };
    runtime.block_on(async {
        for step in steps.chunks_exact(2).take(OPERATIONS_MAX) {
            engines = engines.operate(step[0], step[1], directory.path()).await;
        }
        engines.compare().await;
    });
}

fn store_id() -> StoreId {
    StoreId::new(Uuid::from_u128(7))
}

fn open(directory: &Path) -> SledStorage {
    let config = SledConfig {
        free_bytes_min: Some(0),
        ballast_bytes: 0,
        cache_bytes: 8 << 20,
        chunk_cache_bytes: 16 << 10,
        segment_bytes: 512 << 10,
        chunk_bytes: 1_024,
        open_chunk_bytes: 400,
        sync_budget_bytes: 16 << 10,
        run_events: 20,
        ..SledConfig::new(directory, store_id())
    };
    SledStorage::open(config).expect("the store can be opened")
}

/// The two engines, and what they are given.
struct Engines {
    sled: SledStorage,
    memory: MemoryStorage,
    events: Generator,
}

impl Engines {
    async fn operate(mut self, kind: u8, how: u8, directory: &Path) -> Self {
        match kind % 8 {
            0..3 => self.commit(1 + how % GROUPS_MAX).await,
            3 => self.remove(self.beginning(how).await).await,
            4 => self.remove(self.payloads(how).await).await,
            5 => self.compact(how).await,
            6 => self.compare().await,
            _ => {
                if how.is_multiple_of(2) {
                    self.sled.close().await.expect("the store can be closed");
                }
                let Self { sled, .. } = self;
                drop(sled);
                let sled = open(directory);
                return Self { sled, ..self };
            }
        }
        self
    }

    async fn commit(&mut self, groups: u8) {
        for _ in 0..groups {
            let after = self.events.last_position();
            let group = self.events.group();
            for engine in [&self.sled as &dyn Storage, &self.memory] {
                let lease = engine.lead().await.expect("it can be led");
                let outcome = engine.commit(&lease, after, group.clone()).await;
                assert!(matches!(outcome, Committed::Done), "{outcome:?}");
            }
        }
    }

    /// The same goes from both; the hashes of all events stay.
    async fn remove(&self, removals: Vec<Removal>) {
        for engine in [&self.sled as &dyn Storage, &self.memory] {
            let before = leaves(&log(engine).await);
            let lease = engine.lead().await.expect("it can be led");
            let removed = engine.remove(&lease, removals.clone()).await;
            removed.unwrap_or_else(|error| panic!("{removals:?}: {error}"));
            assert_eq!(leaves(&log(engine).await), before, "hashes have changed");
        }
    }

    /// The first events of one stream, without its last one.
    async fn beginning(&self, how: u8) -> Vec<Removal> {
        let log = log(&self.memory).await;
        let mut streams: HashMap<&StreamName, Vec<_>> = HashMap::new();
        for event in log.iter().filter_map(LogEntry::event) {
            let positions = streams.entry(&event.stream).or_default();
            positions.push(event.position);
        }
        let mut streams: Vec<_> = streams.into_values().collect();
        streams.sort_unstable();
        if streams.is_empty() {
            return Vec::new();
        }
        let (stream, count) = (usize::from(how >> 4), usize::from(how & 15));
        let positions = &streams[stream % streams.len()];
        let count = count.min(positions.len() - 1);
        let removal = |position: &Position| Removal {
            position: *position,
            kind: RemovalKind::Event,
        };
        positions[..count].iter().map(removal).collect()
    }

    /// The payload of every n-th event that is there.
    async fn payloads(&self, how: u8) -> Vec<Removal> {
        let log = log(&self.memory).await;
        let events = log.iter().filter_map(LogEntry::event);
        let every = usize::from(how >> 3) + 1;
        let chosen = events.skip(usize::from(how & 7)).step_by(every);
        let removal = |position| Removal {
            position,
            kind: RemovalKind::Payload,
        };
        chosen.map(|event| removal(event.position)).collect()
    }

    /// A range of one or several sixteenths of the log.
    async fn compact(&self, how: u8) {
        let last = self.events.last_position().get();
        let (first, more) = (u64::from(how >> 4), u64::from(how & 15));
        let first = 1 + first * last / 16;
        let range_last = last.min(first + (more + 1) * last / 16);
        if first > range_last {
            return;
        }
        let lease = self.sled.lead().await.expect("it can be led");
        let range = (Position::new(first), Position::new(range_last));
        let compacted = self.sled.compact(&lease, range.0, range.1).await;
        compacted.expect("the store can be compacted");
    }

    async fn compare(&self) {
        assert_same(&self.sled, &self.memory).await;
        let (sled, memory) = (log(&self.sled).await, log(&self.memory).await);
        assert_eq!(sled.len(), memory.len());
        assert!(
            sled.iter()
                .map(LogEntry::event)
                .eq(memory.iter().map(LogEntry::event))
        );
        let mut from = Position::FIRST;
        loop {
            let check = self.sled.check_index(from).await;
            let check = check.expect("the index can be checked");
            assert_eq!(check.damage, []);
            from = check.next;
            if check.end {
                return;
            }
        }
    }
}

fn leaves(log: &[LogEntry]) -> Vec<Hash> {
    log.iter().map(LogEntry::leaf_hash).collect()
}

async fn log(engine: &dyn Storage) -> Vec<LogEntry> {
    let mut log = Vec::new();
    let mut from = Position::FIRST;
    loop {
        let page = engine.read_log(from, PageLimit::events(100)).await;
        let page = page.expect("the log can be read");
        assert_eq!(page.damage, None);
        log.extend(page.entries);
        from = page.next;
        if page.end {
            return log;
        }
    }
}
