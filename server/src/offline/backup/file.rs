//! One file of a backup: consecutive entries in compressed frames.
//!
//! ```text
//! file                            frame (all numbers big-endian)
//!  0  4  magic "ICEB"              0  4  length before compression
//!  4  4  format                    4  4  length of the payload
//!  8 16  store id                  8  4  CRC32C of bytes 0..8 and the payload
//! 24  8  first position           12 ..  payload: LZ4 block, or as it is if both lengths agree
//! 32  4  CRC32C of bytes 0..32
//! 36 ..  frames
//! ```
//!
//! The payload is entries one after the other: a varint length and a `LogEntry` of
//! `proto/icecore/v1/common.proto` each. A file is written under another name, synced and renamed.

use super::manifest::{FileEntry, sync_directory};
use crate::offline::{OfflineError, Result};
use bytes::Bytes;
use icecore_core::{LogEntry, Position, StoreId, Timestamp};
use icecore_wire::{decode_log_entry, encode_log_entry};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

const MAGIC: [u8; 4] = *b"ICEB";
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 36;
const FRAME_HEADER_BYTES: usize = 12;

/// A frame is closed when its entries reach this size.
const FRAME_BYTES: usize = 1 << 20;

/// No frame is larger: one event and what goes with it.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// A file that is being written.
pub(super) struct FileWriter {
    path: PathBuf,
    file: BufWriter<File>,
    sha256: Sha256,
    bytes: u64,
    first: Position,
    last: Position,
    recorded_at: Timestamp,
    frame: Vec<u8>,
    /// Bytes of entries before compression.
    pub(super) raw_bytes: usize,
}

impl FileWriter {
    /// Begins a file for entries from `first` on.
    pub(super) fn create(
        directory: &Path,
        store_id: StoreId,
        first: Position,
        recorded_at: Timestamp,
    ) -> Result<Self> {
        let path = directory.join(format!("events-{first:020}.part"));
        let file = File::create(&path).map_err(OfflineError::io("create", &path))?;
        let mut writer = Self {
            path,
            file: BufWriter::with_capacity(1 << 18, file),
            sha256: Sha256::new(),
            bytes: 0,
            first,
            last: first.previous(),
            recorded_at,
            frame: Vec::new(),
            raw_bytes: 0,
        };
        writer.put(&header(store_id, first))?;
        Ok(writer)
    }

    /// Adds the next entry.
    pub(super) fn push(&mut self, entry: LogEntry) -> Result<()> {
        self.last = entry.position;
        if let Some(event) = entry.event() {
            self.recorded_at = self.recorded_at.max(event.recorded_at);
        }
        let before = self.frame.len();
        encode_log_entry(entry, &mut self.frame);
        self.raw_bytes += self.frame.len() - before;
        if self.frame.len() >= FRAME_BYTES {
            self.end_frame()?;
        }
        Ok(())
    }

    fn end_frame(&mut self) -> Result<()> {
        let raw = std::mem::take(&mut self.frame);
        if raw.is_empty() {
            return Ok(());
        }
        let compressed = lz4_flex::block::compress(&raw);
        let payload = if compressed.len() < raw.len() {
            &compressed
        } else {
            &raw
        };
        let mut head = Vec::with_capacity(FRAME_HEADER_BYTES);
        head.extend_from_slice(&length(raw.len()));
        head.extend_from_slice(&length(payload.len()));
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&head), payload);
        head.extend_from_slice(&checksum.to_be_bytes());
        self.put(&head)?;
        self.put(payload)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.sha256.update(bytes);
        self.bytes += bytes.len() as u64;
        let written = self.file.write_all(bytes);
        written.map_err(OfflineError::io("write", &self.path))
    }

    /// Makes the file durable under the name that goes with its content.
    pub(super) fn finish(mut self) -> Result<FileEntry> {
        self.end_frame()?;
        let path = self.path.clone();
        self.file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all())
            .map_err(OfflineError::io("write", &path))?;
        let entry = FileEntry {
            first: self.first,
            last: self.last,
            bytes: self.bytes,
            recorded_at: self.recorded_at,
            sha256: self.sha256.finalize().into(),
        };
        let directory = path.parent().unwrap_or(Path::new("."));
        let name = directory.join(entry.name());
        fs::rename(&path, &name).map_err(OfflineError::io("rename", &path))?;
        sync_directory(directory)?;
        Ok(entry)
    }
}

/// Frames are far below 4 GiB.
fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes)
        .expect("a frame holds at most one event more than a mebibyte")
        .to_be_bytes()
}

fn header(store_id: StoreId, first: Position) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&FORMAT.to_be_bytes());
    header.extend_from_slice(store_id.get().as_bytes());
    header.extend_from_slice(&first.get().to_be_bytes());
    let checksum = crc32c::crc32c(&header);
    header.extend_from_slice(&checksum.to_be_bytes());
    header
}

/// Reads the entries of a file one by one and checks everything that it has checksums for; whoever
/// stops before the end has not had the file as a whole checked.
pub(super) struct FileReader {
    path: PathBuf,
    file: BufReader<File>,
    entry: FileEntry,
    sha256: Sha256,
    bytes: u64,
    frame: Bytes,
    next: Position,
}

impl FileReader {
    pub(super) fn open(directory: &Path, store_id: StoreId, entry: &FileEntry) -> Result<Self> {
        let path = directory.join(entry.name());
        let file = File::open(&path).map_err(OfflineError::io("open", &path))?;
        let mut reader = Self {
            path,
            file: BufReader::with_capacity(1 << 18, file),
            entry: entry.clone(),
            sha256: Sha256::new(),
            bytes: 0,
            frame: Bytes::new(),
            next: entry.first,
        };
        let found = reader.take(HEADER_BYTES)?;
        if found == header(store_id, entry.first) {
            Ok(reader)
        } else {
            Err(reader.damaged("its header is not that of the manifest"))
        }
    }

    /// The next entry; `None` behind the last one, when the whole file is what was written.
    pub(super) fn next(&mut self) -> Result<Option<LogEntry>> {
        if self.frame.is_empty() {
            if self.bytes == self.entry.bytes {
                return self.end();
            }
            self.frame = self.next_frame()?;
        }
        let entry = decode_log_entry(&mut self.frame)
            .map_err(|_| self.damaged("an entry cannot be decoded"))?;
        if entry.position != self.next {
            return Err(self.damaged("its positions have a gap"));
        }
        self.next = self.next.next();
        Ok(Some(entry))
    }

    fn end(&self) -> Result<Option<LogEntry>> {
        if <[u8; 32]>::from(self.sha256.clone().finalize()) != self.entry.sha256 {
            return Err(self.damaged("its SHA-256 is not that of the manifest"));
        }
        if self.next != self.entry.last.next() {
            return Err(self.damaged("it ends before its last position"));
        }
        Ok(None)
    }

    fn next_frame(&mut self) -> Result<Bytes> {
        let head = self.take(FRAME_HEADER_BYTES)?;
        let number = |at: usize| -> u32 {
            head[at..at + 4]
                .iter()
                .fold(0, |number, byte| number << 8 | u32::from(*byte))
        };
        let (raw_len, stored_len) = (number(0) as usize, number(4) as usize);
        if raw_len > FRAME_BYTES_MAX || stored_len > raw_len || raw_len == 0 {
            return Err(self.damaged("a frame has an impossible length"));
        }
        let payload = self.take(stored_len)?;
        if crc32c::crc32c_append(crc32c::crc32c(&head[..8]), &payload) != number(8) {
            return Err(self.damaged("a frame does not match its checksum"));
        }
        if stored_len == raw_len {
            return Ok(payload.into());
        }
        match lz4_flex::block::decompress(&payload, raw_len) {
            Ok(raw) if raw.len() == raw_len => Ok(raw.into()),
            _ => Err(self.damaged("a frame cannot be decompressed")),
        }
    }

    fn take(&mut self, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.file.read_exact(&mut bytes).map_err(|error| {
            if error.kind() == std::io::ErrorKind::UnexpectedEof {
                self.damaged("it is cut off")
            } else {
                OfflineError::io("read", &self.path)(error)
            }
        })?;
        self.sha256.update(&bytes);
        self.bytes += count as u64;
        Ok(bytes)
    }

    fn damaged(&self, reason: &str) -> OfflineError {
        OfflineError::new(format!("{} is damaged: {reason}", self.path.display()))
    }
}
