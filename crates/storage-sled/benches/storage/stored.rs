//! A store that is read, and a file with the records of the same events.

use crate::events::{Events, stream_of};
use icecore_core::{RecordedEvent, StoreId};
use icecore_storage::{Committed, Storage};
use icecore_storage_sled::bench::records;
use icecore_storage_sled::{SledConfig, SledStorage};
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

/// Events in the store.
pub(crate) const STORED_EVENTS: u64 = 100_000;
/// The store has three index runs, and a tail in memory.
const RUN_EVENTS: usize = 32_768;
const RUNS: u64 = 3;
const RUNS_WAIT: Duration = Duration::from_secs(30);
/// Bytes that are read at a time when the whole file is.
const READ_BYTES: usize = 1 << 20;

/// Opens the store of a directory with some settings changed.
pub(crate) fn open(directory: &TempDir, change: impl FnOnce(&mut SledConfig)) -> SledStorage {
    let new_store_id = StoreId::new(Uuid::from_u128(1));
    let mut config = SledConfig::new(directory.path().join("store"), new_store_id);
    change(&mut config);
    SledStorage::open(config).unwrap()
}

/// What was written, twice.
pub(crate) struct Stored {
    directory: TempDir,
    pub(crate) raw: RawFile,
}

impl Stored {
    pub(crate) fn new(runtime: &Runtime) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let storage = open(&directory, |config| config.run_events = RUN_EVENTS);
        let lease = runtime.block_on(storage.lead()).unwrap();
        let mut events = Events::new();
        let mut raw = RawFile::new(&directory);
        while events.last_position().get() < STORED_EVENTS {
            let (after, group) = (events.last_position(), events.group(1_000));
            raw.add(group.iter().flat_map(|append| &*append.events));
            let outcome = runtime.block_on(storage.commit(&lease, after, group));
            assert!(matches!(outcome, Committed::Done));
        }
        runtime.block_on(wait_for_runs(&storage));
        runtime.block_on(storage.close()).unwrap();
        Self { directory, raw }
    }

    /// Opens it with so much room for decoded chunks.
    pub(crate) fn open(&self, chunk_cache_bytes: usize) -> SledStorage {
        open(&self.directory, |config| {
            config.run_events = RUN_EVENTS;
            config.chunk_cache_bytes = chunk_cache_bytes;
        })
    }
}

async fn wait_for_runs(storage: &SledStorage) {
    let begin = Instant::now();
    while runs(storage).await < RUNS {
        assert!(begin.elapsed() < RUNS_WAIT, "the index is not written");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn runs(storage: &SledStorage) -> u64 {
    let details = storage.stats().await.unwrap().details;
    let runs = details.iter().find(|stat| stat.name == "index_runs");
    runs.unwrap().value
}

/// The records in the order of their positions, and where each of them is.
pub(crate) struct RawFile {
    file: File,
    end: u64,
    streams: HashMap<String, Vec<Place>>,
    rare: Vec<Place>,
}

/// Where a record begins and how long it is.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    at: u64,
    bytes: usize,
}

impl RawFile {
    fn new(directory: &TempDir) -> Self {
        let mut options = File::options();
        options.read(true).write(true).create_new(true);
        Self {
            file: options.open(directory.path().join("raw")).unwrap(),
            end: 0,
            streams: HashMap::new(),
            rare: Vec::new(),
        }
    }

    fn add<'e>(&mut self, events: impl Iterator<Item = &'e RecordedEvent>) {
        let mut bytes = Vec::new();
        for event in events {
            let record = records([event]);
            let place = Place {
                at: self.end,
                bytes: record.len(),
            };
            self.end += record.len() as u64;
            bytes.extend(record);
            let stream = self.streams.entry(event.stream.to_string());
            stream.or_default().push(place);
            if !event.tags.is_empty() {
                self.rare.push(place);
            }
        }
        self.file.write_all(&bytes).unwrap();
    }

    /// Reads everything, from the beginning to the end.
    pub(crate) fn read_all(&self) -> usize {
        let mut file = &self.file;
        let mut buffer = vec![0; READ_BYTES];
        file.seek(SeekFrom::Start(0)).unwrap();
        let reads = std::iter::repeat_with(|| file.read(&mut buffer).unwrap());
        reads.take_while(|bytes| *bytes > 0).sum()
    }

    /// Reads the records of a stream, one by one.
    pub(crate) fn read_stream(&self, number: usize) -> Vec<Vec<u8>> {
        let places = self.streams.get(&stream_of(number));
        self.read(places.map_or(&[], Vec::as_slice))
    }

    /// Reads the records with the rare tag, one by one.
    pub(crate) fn read_rare(&self) -> Vec<Vec<u8>> {
        self.read(&self.rare)
    }

    /// Reads so many bytes at any place.
    pub(crate) fn read_block(&self, random: u64, bytes: usize) -> Vec<u8> {
        let at = random % (self.end - bytes as u64);
        self.read(&[Place { at, bytes }]).concat()
    }

    fn read(&self, places: &[Place]) -> Vec<Vec<u8>> {
        let record = |place: &Place| {
            let mut record = vec![0; place.bytes];
            self.file.read_exact_at(&mut record, place.at).unwrap();
            record
        };
        places.iter().map(record).collect()
    }
}
