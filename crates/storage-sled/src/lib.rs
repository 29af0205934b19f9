//! Icecore's engine on sled: chunks, index runs, recovery.
//!
//! Owns everything that is on disk, and is the only crate that names sled. It knows nothing of
//! expectations, retention or subscriptions; see [`icecore_storage::Storage`] for the border. The
//! formats are described at the top of the modules that own them.
//!
//! A commit walks through `commit` (the one writing thread), `chunk` and `record` (bytes), `engine`
//! (sled, within the `budget`, behind the `barrier`) and `watermark`; then `log` and `index` show it
//! to readers. A read walks through `read`, `index` (which positions), `log` (which chunk) and
//! `chunk`. `recovery` does both at the start, `upkeep` keeps the index in the background, `removal`
//! and `compaction` take out what was erased or scavenged, `check` compares what is stored, `space` and
//! `ballast` keep a full disk from being the end. `raw` looks at a directory without opening it.
//!
//! ```no_run
//! use icecore_core::StoreId;
//! use icecore_storage::Storage;
//! use icecore_storage_sled::{SledConfig, SledStorage};
//!
//! let new_store_id = StoreId::new(uuid::Uuid::from_u128(1));
//! let storage = SledStorage::open(SledConfig::new("icecore-data", new_store_id))?;
//! println!("{} ends at {}", storage.store_id(), *storage.last_position().borrow());
//! # Ok::<(), icecore_storage_sled::OpenError>(())
//! ```

mod ballast;
mod barrier;
#[cfg(feature = "bench")]
pub mod bench;
mod brief;
mod budget;
mod check;
mod chunk;
mod chunk_merge;
mod commit;
mod compaction;
mod config;
mod directory;
mod encoding;
mod engine;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod handle;
mod index;
mod keys;
mod log;
mod lot;
mod opening;
mod raw;
mod read;
mod record;
mod recovery;
mod removal;
mod repair;
mod roots;
mod safeguard;
mod salt;
mod space;
mod stats;
mod storage;
mod store;
mod system;
mod threads;
mod unfinished;
mod upkeep;
mod watermark;

pub use config::SledConfig;
pub use error::OpenError;
pub use raw::RawStore;
pub use repair::{copy_without_indexes, copy_without_snapshots};
pub use storage::SledStorage;
pub use system::{RealSystem, Space, System};
pub use unfinished::UnfinishedStore;
