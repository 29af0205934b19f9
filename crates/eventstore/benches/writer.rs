//! The writer over the in-memory engine: so many callers wait with an append of one event each, all
//! are decided, committed and answered. Beside it the engine alone with the same events, which is what
//! the writer can do nothing about.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "criterion's macros make undocumented functions; a bench that cannot go on has failed"
)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::future::join_all;
use icecore_core::{
    Append, EventData, ExpectedRevision, Position, RecordedEvent, Revision, StoreId, StreamName,
    Timestamp,
};
use icecore_eventstore::{Clock, EventStore, Ids, PendingAppend, Room, StoreConfig};
use icecore_storage::{Committed, MemoryStorage, NumberedAppend, Storage};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

const NOW: Timestamp = Timestamp::from_nanos(1_700_000_000_000_000_000);
const DATA_BYTES: usize = 256;
const METADATA: &[u8] = br#"{"by":"user-00000001","trace":"1234567"}"#;

fn writer(bench: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    for waiting in [1, 16, 128, 1_024] {
        let mut group = bench.benchmark_group(format!("writer/{waiting}"));
        group.throughput(Throughput::Elements(waiting as u64));
        group.bench_function("eventstore", |bench| {
            bench.iter_custom(|rounds| through_writer(&runtime, waiting, rounds));
        });
        group.bench_function("engine alone", |bench| {
            bench.iter_custom(|rounds| engine_alone(&runtime, waiting, rounds));
        });
    }
}

/// How long it takes to answer so many callers, so often. Each of them has a stream and expects the
/// revision that it has written last.
fn through_writer(runtime: &Runtime, waiting: usize, rounds: u64) -> Duration {
    runtime.block_on(async {
        let storage = Arc::new(MemoryStorage::new(StoreId::new(Uuid::from_u128(1))));
        let (clock, _manual) = Clock::manual(NOW);
        let config = StoreConfig::default();
        let store = EventStore::open(storage, config, clock, Ids::counting(1));
        let store = store.await.unwrap();
        let mut took = Duration::ZERO;
        // The first round makes the streams known to the writer, as they are most of the time.
        for round in 0..=rounds {
            let appends: Vec<_> = (0..waiting).map(|number| append(number, round)).collect();
            let begin = Instant::now();
            append_all(&store, appends).await;
            if round > 0 {
                took += begin.elapsed();
            }
        }
        store.close().await.unwrap();
        took
    })
}

/// All of them wait before the writer gets its turn.
async fn append_all(store: &EventStore, appends: Vec<Append>) {
    let mut pending = Vec::with_capacity(appends.len());
    for append in appends {
        pending.push(store.submit(append, Room::default()).await.unwrap());
    }
    for outcome in join_all(pending.into_iter().map(PendingAppend::outcome)).await {
        outcome.unwrap();
    }
}

/// How long the engine takes for the same events, so often.
fn engine_alone(runtime: &Runtime, waiting: usize, rounds: u64) -> Duration {
    runtime.block_on(async {
        let storage = MemoryStorage::new(StoreId::new(Uuid::from_u128(1)));
        let lease = storage.lead().await.unwrap();
        let mut took = Duration::ZERO;
        for round in 0..=rounds {
            let after = Position::new(round * waiting as u64);
            let group = (0..waiting).map(|number| numbered(number, round, after));
            let group = group.collect();
            let begin = Instant::now();
            let outcome = storage.commit(&lease, after, group).await;
            if round > 0 {
                took += begin.elapsed();
            }
            assert!(matches!(outcome, Committed::Done));
        }
        took
    })
}

fn stream(number: usize) -> StreamName {
    StreamName::new(format!("order-{number}")).unwrap()
}

fn event(number: usize, round: u64) -> EventData {
    let id = Uuid::from_u64_pair(number as u64, round);
    let event = EventData::json(id, "OrderPlaced", vec![b'x'; DATA_BYTES]).unwrap();
    EventData {
        metadata: METADATA.into(),
        ..event
    }
}

fn append(number: usize, round: u64) -> Append {
    let expected = match round.checked_sub(1) {
        Some(last) => ExpectedRevision::Exact(Revision::new(last)),
        None => ExpectedRevision::NoStream,
    };
    Append::to_stream(stream(number), expected, vec![event(number, round)]).unwrap()
}

/// What the writer makes of it when it comes at its place in the group after `after`.
fn numbered(number: usize, round: u64, after: Position) -> NumberedAppend {
    let event = event(number, round);
    let recorded = RecordedEvent {
        stream: stream(number),
        revision: Revision::new(round),
        position: Position::new(after.get() + 1 + number as u64),
        id: event.id,
        event_type: event.event_type,
        content_type: event.content_type,
        data: event.data,
        metadata: event.metadata,
        tags: event.tags,
        recorded_at: NOW,
        created_at: None,
        erased: false,
    };
    NumberedAppend {
        events: [recorded].into(),
    }
}

fn short() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! {
    name = benches;
    config = short();
    targets = writer
}
criterion_main!(benches);
