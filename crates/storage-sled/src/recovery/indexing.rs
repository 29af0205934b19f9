//! Takes what a replay has found to be whole into the index and shows it, on a thread of its own: that
//! is more work than to read and decompress it.

use super::{Stop, cut};
use crate::chunk::Chunk;
use crate::commit::FROZEN_TAILS_MAX;
use crate::store::Store;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// From this size, in bytes before compression, whole appends are handed over. There are three such
/// packs at a time, and an append that is larger is one.
const PACK_BYTES: u64 = 256 * 1_024;

/// Chunks that hold whole appends, in order.
pub(super) struct Whole {
    /// Events up to here were handed over before.
    pub(super) after: u64,
    /// Where the last of the appends ends, inclusive.
    pub(super) last: u64,
    pub(super) chunks: Vec<Arc<Chunk>>,
    /// No chunk goes on behind it, so a run may end here.
    pub(super) ends_chunk: bool,
}

/// The way to the other thread.
pub(super) struct Handover {
    pack: Vec<Whole>,
    bytes: u64,
    sender: SyncSender<Vec<Whole>>,
}

impl Handover {
    /// Hands over some more. What the other thread stopped for is told when it ends.
    pub(super) fn add(&mut self, whole: Whole) {
        self.bytes += whole.chunks.iter().map(|chunk| chunk.weight()).sum::<u64>();
        self.pack.push(whole);
        if self.bytes >= PACK_BYTES {
            self.send();
        }
    }

    fn send(&mut self) {
        self.bytes = 0;
        // It is told as the outcome of all why nobody takes it.
        let _ = self.sender.send(std::mem::take(&mut self.pack));
    }
}

/// Runs `replay` and indexes meanwhile what it hands over.
pub(super) fn while_indexing<T>(
    store: &Store,
    replay: impl FnOnce(&mut Handover) -> Result<T, Stop>,
) -> Result<T, Stop> {
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(1);
        let other = thread::Builder::new()
            .name("indexer".to_owned())
            .spawn_scoped(scope, move || index_all(store, &receiver))
            .map_err(|error| Stop::thread(store, error))?;
        let mut handover = Handover {
            pack: Vec::new(),
            bytes: 0,
            sender,
        };
        let replayed = replay(&mut handover);
        handover.send();
        drop(handover);
        let indexed = other.join().unwrap_or_else(|panic| resume_unwind(panic));
        // What was handed over comes before what was read last.
        indexed.and(replayed)
    })
}

fn index_all(store: &Store, packs: &Receiver<Vec<Whole>>) -> Result<(), Stop> {
    packs
        .iter()
        .flatten()
        .try_for_each(|whole| index(store, &whole))
}

fn index(store: &Store, whole: &Whole) -> Result<(), Stop> {
    let Whole { after, last, .. } = *whole;
    let mut firsts = Vec::new();
    for chunk in &whole.chunks {
        let mut events = Vec::new();
        for position in chunk.first().max(after + 1)..=chunk.last().min(last) {
            let event = chunk.event(position);
            events.extend(event.map_err(|damage| Stop::Damage(chunk.first(), damage))?);
        }
        store.index.add(store.run_reader(), &events);
        if chunk.first() > after {
            firsts.push(chunk.first());
        }
    }
    store.index.reach(last);
    store.log.publish(&firsts, None, last);
    if whole.ends_chunk && store.index.is_full() {
        store.index.freeze();
        if store.index.frozen() >= FROZEN_TAILS_MAX {
            cut(store).map_err(Stop::Open)?;
        }
    }
    Ok(())
}
