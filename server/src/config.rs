//! What a server is told before it starts, checked. Flags, environment and files are the binary's
//! business.

use icecore_core::StoreId;
use icecore_eventstore::StoreConfig;
use icecore_storage_sled::{SledConfig, System};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Configuration of a server.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where events live.
    pub engine: Engine,
    /// Queues, windows and caches of the store.
    pub store: StoreConfig,
    /// How long an append waits for room before it is told `RESOURCE_EXHAUSTED`.
    pub admission_timeout: Duration,
    /// How long a message that was given room may take to come as a whole. A client that stalls must
    /// not keep others out.
    pub message_timeout: Duration,
    /// How long open calls may take to end after the signal to stop.
    pub shutdown_timeout: Duration,
    /// Connections that may be open at a time; more are closed as soon as they are made.
    pub connections_max: usize,
    /// How long a new connection may take to say its first word.
    pub greeting_timeout: Duration,
    /// Calls that one connection may have open at a time.
    pub concurrent_calls_max: u32,
}

/// Which engine keeps the events.
#[derive(Clone, Debug)]
pub enum Engine {
    /// sled, in a directory of its own.
    Sled {
        /// The data directory.
        directory: PathBuf,
        /// Bytes of sled's own cache.
        cache_bytes: usize,
        /// Bytes of decoded chunks kept in memory.
        chunk_cache_bytes: usize,
        /// Events after which a run of the index is written.
        index_run_events: usize,
        /// Appends are refused while less of the file system is free, in bytes. `None` is a twentieth
        /// of it or 1 GiB, whatever is more, but no more than a quarter; 0 refuses nothing.
        free_bytes_min: Option<u64>,
        /// Bytes of the file that is deleted when the disk is too full to open the store; 0 for none.
        ballast_bytes: u64,
        /// How long a sync of the disk may take before the server ends.
        stall_timeout: Duration,
        /// What answers for the operating system; tests put in their own.
        system: Arc<dyn System>,
    },
    /// Memory: everything is forgotten at the end. For tests and tours.
    Memory,
}

impl Config {
    /// The defaults over this engine.
    pub fn new(engine: Engine) -> Self {
        Self {
            engine,
            store: StoreConfig::default(),
            admission_timeout: Duration::from_secs(5),
            message_timeout: Duration::from_secs(10),
            shutdown_timeout: Duration::from_secs(3),
            connections_max: 4_096,
            greeting_timeout: Duration::from_secs(10),
            concurrent_calls_max: 4_096,
        }
    }
}

impl Engine {
    /// sled in this directory, with the engine's own defaults.
    pub fn sled(directory: impl Into<PathBuf>) -> Self {
        // Whoever opens it gives the identity.
        let SledConfig {
            directory,
            cache_bytes,
            chunk_cache_bytes,
            run_events,
            free_bytes_min,
            ballast_bytes,
            stall_timeout,
            system,
            ..
        } = SledConfig::new(directory, StoreId::new(Uuid::nil()));
        Self::Sled {
            directory,
            cache_bytes,
            chunk_cache_bytes,
            index_run_events: run_events,
            free_bytes_min,
            ballast_bytes,
            stall_timeout,
            system,
        }
    }
}
