//! Where events live: the [`Storage`] trait, the contract suite that every engine passes, and the
//! in-memory engine, which is also the model that the others are compared with.
//!
//! Owns the border between the rules of the store and the engines below it. It knows nothing of
//! expectations, idempotency or retention: the writer in `eventstore` has checked and numbered what
//! arrives here, and the reader there hides what retention hides.

#[cfg(feature = "contract")]
pub mod contract;
mod correlation;
mod memory;
mod storage;
mod verify;

pub use correlation::correlation_id;
pub use memory::MemoryStorage;
pub use storage::{
    CategoryPage, Committed, Damage, Health, IndexCheck, IndexTerm, Lease, LogPage, NumberedAppend,
    ROOTS_PER_GROUP, Removal, RemovalKind, Removed, SUBTREE_LEAVES, StatValue, Stats, Storage,
    StreamNamePage, StreamTail,
};
pub use verify::LogVerifier;
