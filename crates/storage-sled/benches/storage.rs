//! What the engine does in a second: commits by group size beside a plain file that is synced as
//! often, a read of all events, reads of single streams.
//!
//! Rates depend on the disk and its neighbours; compare within one run only.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "criterion's macros make undocumented functions; a bench that cannot go on has failed"
)]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use icecore_core::{Direction, PageLimit, Position, RecordedEvent, Revision, StoreId};
use icecore_storage::contract::generate::{Numbering, Random, stream_name};
use icecore_storage::{Committed, NumberedAppend, Storage};
use icecore_storage_sled::{SledConfig, SledStorage};
use std::fs::File;
use std::io::Write;
use tokio::runtime::Runtime;
use uuid::Uuid;

/// Bytes of an event as it stands in a file: 256 of JSON and what frames them.
const RECORD_BYTES: usize = 312;
const STREAMS: usize = 10_000;
const STORED_EVENTS: u64 = 100_000;

struct Events {
    numbering: Numbering,
    random: Random,
}

impl Events {
    fn new() -> Self {
        Self {
            numbering: Numbering::default(),
            random: Random::new(1),
        }
    }

    fn event(&mut self) -> RecordedEvent {
        let event = self
            .numbering
            .event(&format!("order-{}", self.random.below(STREAMS)));
        let pad: Vec<u8> = self
            .random
            .bytes(240)
            .iter()
            .map(|byte| b'0' + byte % 64)
            .collect();
        let data = [br#"{"pad":""#, pad.as_slice(), br#""}"#].concat();
        RecordedEvent {
            data: data.into(),
            ..event
        }
    }

    /// A group of appends of one event each.
    fn group(&mut self, count: usize) -> Vec<NumberedAppend> {
        let append = |_| NumberedAppend {
            events: [self.event()].into(),
        };
        (0..count).map(append).collect()
    }
}

fn open(directory: &tempfile::TempDir) -> SledStorage {
    let new_store_id = StoreId::new(Uuid::from_u128(1));
    SledStorage::open(SledConfig::new(directory.path(), new_store_id)).unwrap()
}

fn commit(bench: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    for size in [1, 16, 128, 1_024] {
        let mut group = bench.benchmark_group(format!("commit/{size}"));
        group.throughput(Throughput::Elements(size as u64));
        let directory = tempfile::tempdir().unwrap();
        let storage = open(&directory);
        let lease = runtime.block_on(storage.lead()).unwrap();
        let mut events = Events::new();
        group.bench_function("sled", |bench| {
            bench.iter_batched(
                || (events.numbering.last_position(), events.group(size)),
                |(after, group)| {
                    let outcome = runtime.block_on(storage.commit(&lease, after, group));
                    assert!(matches!(outcome, Committed::Done));
                },
                BatchSize::PerIteration,
            );
        });
        let mut file = File::create(directory.path().join("plain")).unwrap();
        let bytes = vec![b'x'; size * RECORD_BYTES];
        group.bench_function("plain file", |bench| {
            bench.iter(|| {
                file.write_all(&bytes).unwrap();
                file.sync_data().unwrap();
            });
        });
    }
}

fn read(bench: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let storage = open(&directory);
    let lease = runtime.block_on(storage.lead()).unwrap();
    let mut events = Events::new();
    while events.numbering.last_position().get() < STORED_EVENTS {
        let after = events.numbering.last_position();
        let outcome = runtime.block_on(storage.commit(&lease, after, events.group(1_000)));
        assert!(matches!(outcome, Committed::Done));
    }

    let mut group = bench.benchmark_group("read");
    group.throughput(Throughput::Elements(STORED_EVENTS));
    group.bench_function("all", |bench| {
        bench.iter(|| runtime.block_on(read_all(&storage)));
    });
    group.throughput(Throughput::Elements(1));
    let mut random = Random::new(2);
    group.bench_function("a stream", |bench| {
        bench.iter(|| {
            let stream = stream_name(&format!("order-{}", random.below(STREAMS)));
            let limit = PageLimit::MAX;
            let page = storage.read_stream(&stream, Revision::FIRST, Direction::Forwards, limit);
            runtime.block_on(page).unwrap()
        });
    });
}

async fn read_all(storage: &SledStorage) {
    let mut from = Position::FIRST;
    loop {
        let page = storage
            .read_all(from, Direction::Forwards, PageLimit::MAX)
            .await
            .unwrap();
        if page.end {
            return;
        }
        from = page.next;
    }
}

criterion_group!(benches, commit, read);
criterion_main!(benches);
