//! Where the events of a stream are: three runs are asked and the tail in memory.

use crate::events::{STREAMS, stream_of};
use crate::stored::Stored;
use criterion::{Criterion, Throughput};
use icecore_storage::contract::generate::{Random, stream_name};
use icecore_storage_sled::bench::find_in_index;
use tokio::runtime::Runtime;

/// About the size of an index block.
const BLOCK_BYTES: usize = 4_096;
const CHUNK_CACHE_BYTES: usize = 1 << 20;

pub(crate) fn lookup(bench: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let stored = Stored::new(&runtime);
    let storage = stored.open(CHUNK_CACHE_BYTES);

    let mut group = bench.benchmark_group("lookup/stream");
    group.throughput(Throughput::Elements(1));
    let mut random = Random::new(3);
    group.bench_function("sled", |bench| {
        bench.iter(|| {
            let stream = stream_name(&stream_of(random.below(STREAMS)));
            find_in_index(&storage, &stream)
        });
    });
    group.bench_function("raw file", |bench| {
        bench.iter(|| stored.raw.read_block(random.number(), BLOCK_BYTES));
    });
    drop(group);

    let mut group = bench.benchmark_group("lookup/no such stream");
    group.throughput(Throughput::Elements(1));
    group.bench_function("sled", |bench| {
        bench.iter(|| {
            let stream = stream_name(&stream_of(STREAMS + random.below(STREAMS)));
            assert_eq!(find_in_index(&storage, &stream), 0);
        });
    });
}
