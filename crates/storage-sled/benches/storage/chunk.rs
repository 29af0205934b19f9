//! A chunk of 8 KiB from events to bytes and back, beside its compression alone.

use crate::events::Events;
use criterion::{Criterion, Throughput};
use icecore_storage_sled::bench::{decode_chunk, encode_chunk, records};

/// About as many events as a chunk of 8 KiB has.
const EVENTS: usize = 21;

pub(crate) fn chunk(bench: &mut Criterion) {
    let mut events = Events::new();
    let events: Vec<_> = (0..EVENTS).map(|_| events.event()).collect();
    let values = encode_chunk(&events);
    let first = events[0].position.get();
    assert_eq!(decode_chunk(&values, first), events);
    let raw = records(&events);
    let compressed = lz4_flex::block::compress(&raw);

    let mut group = bench.benchmark_group("chunk/encode");
    group.throughput(Throughput::Elements(EVENTS as u64));
    group.bench_function("sled", |bench| bench.iter(|| encode_chunk(&events)));
    group.bench_function("lz4 alone", |bench| {
        bench.iter(|| lz4_flex::block::compress(&raw));
    });
    drop(group);

    let mut group = bench.benchmark_group("chunk/decode");
    group.throughput(Throughput::Elements(EVENTS as u64));
    group.bench_function("sled", |bench| bench.iter(|| decode_chunk(&values, first)));
    group.bench_function("lz4 alone", |bench| {
        bench.iter(|| lz4_flex::block::decompress(&compressed, raw.len()).unwrap());
    });
}
