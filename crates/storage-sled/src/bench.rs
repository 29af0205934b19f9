//! What is private of the engine as functions that a benchmark calls: records, chunks, lookups in the
//! index. Only with the feature `bench`; no program has it.

use crate::SledStorage;
use crate::chunk::{Chunk, ChunkBuilder};
use crate::index::{Axis, Query, stream_key};
use crate::record::{self, Salting};
use crate::salt::new_seed;
use icecore_core::{Direction, Mark, RecordedEvent, StoreId, StreamName, Timestamp};
use uuid::Uuid;

/// More than any chunk of a benchmark has, so that each is one value.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// The store whose chunks these are.
fn store_id() -> StoreId {
    StoreId::new(Uuid::from_u128(7))
}

fn base(events: &[RecordedEvent]) -> Timestamp {
    let first = events.first().expect("a benchmark writes events");
    first.recorded_at
}

/// The records of these events one after the other: what has to be written of them, uncompressed.
pub fn records<'e>(events: impl IntoIterator<Item = &'e RecordedEvent>) -> Vec<u8> {
    let (mut scratch, mut records) = (Vec::new(), Vec::new());
    for event in events {
        let (salting, base) = (Salting::FromSeed, event.recorded_at);
        record::encode_event(event, salting, Mark::End, base, &mut scratch, &mut records);
    }
    records
}

/// The value that is stored of a chunk of these events.
///
/// # Panics
///
/// When there are no events.
pub fn encode_chunk(events: &[RecordedEvent]) -> Vec<Vec<u8>> {
    let mut scratch = Vec::new();
    let first = events.first().map(|event| event.position);
    let mut chunk = ChunkBuilder::new(first.unwrap_or_default(), base(events), 1);
    for event in events {
        chunk.push(event, Mark::End, new_seed, &mut scratch);
    }
    chunk.encode(store_id(), VALUE_BYTES_MAX)
}

/// All events of a chunk that [`encode_chunk`] made, which begins at `first`.
///
/// # Panics
///
/// When it cannot be read.
pub fn decode_chunk(values: &[Vec<u8>], first: u64) -> Vec<RecordedEvent> {
    let chunk = Chunk::decode(values, store_id(), first).expect("an encoded chunk can be read");
    let events = (chunk.first()..=chunk.last()).map(|position| chunk.event(position));
    let events: Result<Option<Vec<_>>, _> = events.collect();
    events.expect("its events can be read").unwrap_or_default()
}

/// How many events of a stream the index finds, all of them asked for. The log is not read.
///
/// # Panics
///
/// When the index cannot be read.
pub fn find_in_index(storage: &SledStorage, stream: &StreamName) -> usize {
    let store = storage.store();
    let term = stream_key(stream);
    let query = Query {
        term: &term,
        axis: Axis::Revision,
        from: 0,
        direction: Direction::Forwards,
        take: usize::MAX,
        last: store.log.last(),
    };
    let found = store.index.find(Some(store.run_reader()), &query);
    found.expect("the index can be read").len()
}
