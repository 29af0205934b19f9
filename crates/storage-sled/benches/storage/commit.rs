//! A group becomes durable: through the engine, and as plain bytes at the end of a file.

use crate::events::Events;
use crate::stored::open;
use criterion::{BatchSize, Criterion, Throughput};
use icecore_storage::{Committed, NumberedAppend, Storage};
use icecore_storage_sled::bench::records;
use std::fs::File;
use std::io::Write;
use tokio::runtime::Runtime;

pub(crate) fn commit(bench: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    for size in [1, 16, 128, 1_024] {
        let mut group = bench.benchmark_group(format!("commit/{size}"));
        group.throughput(Throughput::Elements(size as u64));
        let directory = tempfile::tempdir().unwrap();
        let storage = open(&directory, |_| ());
        let lease = runtime.block_on(storage.lead()).unwrap();
        let mut events = Events::new();
        group.bench_function("sled", |bench| {
            bench.iter_batched(
                || (events.last_position(), events.group(size)),
                |(after, group)| {
                    let outcome = runtime.block_on(storage.commit(&lease, after, group));
                    assert!(matches!(outcome, Committed::Done));
                },
                BatchSize::PerIteration,
            );
        });
        let mut file = File::create(directory.path().join("raw")).unwrap();
        group.bench_function("raw file", |bench| {
            bench.iter_batched(
                || bytes_of(&events.group(size)),
                |bytes| {
                    file.write_all(&bytes).unwrap();
                    file.sync_data().unwrap();
                },
                BatchSize::PerIteration,
            );
        });
    }
}

fn bytes_of(group: &[NumberedAppend]) -> Vec<u8> {
    records(group.iter().flat_map(|append| &*append.events))
}
