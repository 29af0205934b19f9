//! What the engine does, by subject, each beside the raw file where it has such a limit. The figure is
//! the ratio of the two: rates depend on the disk and its neighbours, so compare within one run only.
//!
//! ```text
//! commit/SIZE       a group of SIZE appends becomes durable    raw file: write + fdatasync
//! read/...          pages of all events, a stream, a term      raw file: the same records, cached
//! lookup/...        where the events of a stream are           raw file: one block, cached
//! chunk/...         events to bytes and back
//! ```

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "criterion's macros make undocumented functions; a bench that cannot go on has failed"
)]

mod chunk;
mod commit;
mod events;
mod lookup;
mod read;
mod stored;

use criterion::{Criterion, criterion_group, criterion_main};
use std::time::Duration;

fn short() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
}

criterion_group! {
    name = benches;
    config = short();
    targets = commit::commit, read::read, lookup::lookup, chunk::chunk
}
criterion_main!(benches);
