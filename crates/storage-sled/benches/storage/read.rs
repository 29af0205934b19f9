//! Pages: of all events, of single streams, of an index term. Beside them the same records from a file
//! that the system has in memory, which is as fast as nothing that checks and decodes can be.

use crate::events::{RARE, STREAMS, stream_of};
use crate::stored::{STORED_EVENTS, Stored};
use criterion::{Criterion, Throughput};
use icecore_core::{Direction, Page, PageLimit, Position, Revision};
use icecore_storage::contract::generate::{Random, stream_name, tag};
use icecore_storage::{IndexTerm, Storage};
use icecore_storage_sled::SledStorage;
use tokio::runtime::Runtime;

/// Room for all chunks, and for next to none.
const CACHES: [(&str, usize); 2] = [("read/stream cached", 64 << 20), ("read/stream", 1 << 20)];

pub(crate) fn read(bench: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let stored = Stored::new(&runtime);
    for (name, chunk_cache_bytes) in CACHES {
        let storage = stored.open(chunk_cache_bytes);
        runtime.block_on(read_all(&storage));
        streams(bench, name, &runtime, &storage, &stored);
        runtime.block_on(storage.close()).unwrap();
    }
    let storage = stored.open(1 << 20);
    all(bench, &runtime, &storage, &stored);
    rare(bench, &runtime, &storage, &stored);
}

fn streams(
    bench: &mut Criterion,
    name: &str,
    runtime: &Runtime,
    storage: &SledStorage,
    stored: &Stored,
) {
    let mut group = bench.benchmark_group(name);
    group.throughput(Throughput::Elements(1));
    let mut random = Random::new(2);
    group.bench_function("sled", |bench| {
        bench.iter(|| runtime.block_on(read_stream(storage, random.below(STREAMS))));
    });
    let mut random = Random::new(2);
    group.bench_function("raw file", |bench| {
        bench.iter(|| stored.raw.read_stream(random.below(STREAMS)));
    });
}

fn all(bench: &mut Criterion, runtime: &Runtime, storage: &SledStorage, stored: &Stored) {
    let mut group = bench.benchmark_group("read/all");
    group.throughput(Throughput::Elements(STORED_EVENTS));
    group.bench_function("sled", |bench| {
        bench.iter(|| runtime.block_on(read_all(storage)));
    });
    group.bench_function("raw file", |bench| bench.iter(|| stored.raw.read_all()));
}

fn rare(bench: &mut Criterion, runtime: &Runtime, storage: &SledStorage, stored: &Stored) {
    let found = runtime.block_on(read_rare(storage)).events.len();
    assert_eq!(found, stored.raw.read_rare().len());
    let mut group = bench.benchmark_group("read/term");
    group.throughput(Throughput::Elements(found as u64));
    group.bench_function("sled", |bench| {
        bench.iter(|| runtime.block_on(read_rare(storage)));
    });
    group.bench_function("raw file", |bench| bench.iter(|| stored.raw.read_rare()));
}

async fn read_all(storage: &SledStorage) {
    let mut from = Position::FIRST;
    loop {
        let page = storage.read_all(from, Direction::Forwards, PageLimit::MAX);
        let page = page.await.unwrap();
        if page.end {
            return;
        }
        from = page.next;
    }
}

async fn read_stream(storage: &SledStorage, number: usize) -> Page<Revision> {
    let stream = stream_name(&stream_of(number));
    let page = storage.read_stream(
        &stream,
        Revision::FIRST,
        Direction::Forwards,
        PageLimit::MAX,
    );
    page.await.unwrap()
}

async fn read_rare(storage: &SledStorage) -> Page {
    let term = IndexTerm::Tag(tag(RARE));
    let page = storage.read_term(&term, Position::FIRST, Direction::Forwards, PageLimit::MAX);
    page.await.unwrap()
}
