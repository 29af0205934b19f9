//! The watermark: the last position that was acknowledged, kept beside the database so that a log
//! that lost its end is noticed.
//!
//! ```text
//! two slots, at byte 0 and byte 4096, written in turn; the one with the higher sequence counts
//!  0  4  magic "ICEW"
//!  4  4  format
//!  8 16  store id
//! 24  8  sequence
//! 32  8  last position
//! 40  4  generation: how often the store has been opened
//! 44  4  CRC32C of bytes 0..44
//! ```
//!
//! It is written after each barrier and before the answer, which survives a killed process; a sync
//! follows within a second, so a power cut leaves a value that is a little old, never too high.

use crate::OpenError;
use crate::directory::FORMAT;
use crate::encoding::Input;
use icecore_core::StoreId;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;

const MAGIC: [u8; 4] = *b"ICEW";
const SLOT_BYTES: usize = 48;
const SLOT_DISTANCE: u64 = 4_096;

/// The open watermark file.
#[derive(Debug)]
pub(crate) struct Watermark {
    file: File,
    store_id: StoreId,
    generation: u32,
    /// The sequence of the next slot.
    sequence: Mutex<u64>,
}

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    sequence: u64,
    /// The last acknowledged position.
    pub(crate) last: u64,
    /// Which opening of the store wrote it.
    pub(crate) generation: u32,
}

impl Watermark {
    /// Makes the file of a new store; one that is there is started afresh.
    pub(crate) fn create(path: &Path, store_id: StoreId) -> Result<(), OpenError> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .open(path)
            .map_err(OpenError::io("create", path))?;
        let watermark = Self {
            file,
            store_id,
            generation: 0,
            sequence: Mutex::new(1),
        };
        watermark
            .write(0)
            .and_then(|()| watermark.write(0))
            .and_then(|()| watermark.file.sync_all())
            .map_err(OpenError::io("write", path))
    }

    /// Opens the file for the next generation and reads the last acknowledged position. The new
    /// generation is durable before anything can be written under it.
    pub(crate) fn open(path: &Path, store_id: StoreId) -> Result<(Self, u64), OpenError> {
        let Slot {
            sequence,
            last,
            generation,
        } = read(path, store_id)?;
        let file = OpenOptions::new()
            .write(true)
            .open(path)
            .map_err(OpenError::io("open", path))?;
        let watermark = Self {
            file,
            store_id,
            generation: generation.saturating_add(1),
            sequence: Mutex::new(sequence + 1),
        };
        watermark
            .write(last)
            .and_then(|()| watermark.sync())
            .map_err(OpenError::io("write", path))?;
        Ok((watermark, last))
    }

    /// Which opening of the store this is, from 1.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Notes that everything up to `last` is durable.
    pub(crate) fn write(&self, last: u64) -> io::Result<()> {
        let mut sequence = self.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = encode_slot(
            self.store_id,
            Slot {
                sequence: *sequence,
                last,
                generation: self.generation,
            },
        );
        self.file
            .write_all_at(&slot, (*sequence % 2) * SLOT_DISTANCE)?;
        *sequence += 1;
        Ok(())
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Reads the file without changing it.
pub(crate) fn read(path: &Path, store_id: StoreId) -> Result<Slot, OpenError> {
    let unreadable = |reason| OpenError::WatermarkUnreadable {
        path: path.to_owned(),
        reason,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(unreadable("it is not there"));
        }
        Err(error) => return Err(OpenError::io("open", path)(error)),
    };
    let slots = [read_slot(&file, 0, store_id), read_slot(&file, 1, store_id)];
    slots
        .into_iter()
        .flatten()
        .max()
        .ok_or_else(|| unreadable("both of its slots are damaged"))
}

pub(crate) fn encode_slot(store_id: StoreId, content: Slot) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[0..4].copy_from_slice(&MAGIC);
    slot[4..8].copy_from_slice(&u32::from(FORMAT).to_be_bytes());
    slot[8..24].copy_from_slice(store_id.get().as_bytes());
    slot[24..32].copy_from_slice(&content.sequence.to_be_bytes());
    slot[32..40].copy_from_slice(&content.last.to_be_bytes());
    slot[40..44].copy_from_slice(&content.generation.to_be_bytes());
    let checksum = crc32c::crc32c(&slot[..44]);
    slot[44..].copy_from_slice(&checksum.to_be_bytes());
    slot
}

/// A slot that is whole and of this store.
fn read_slot(file: &File, slot: u64, store_id: StoreId) -> Option<Slot> {
    let mut bytes = [0; SLOT_BYTES];
    file.read_exact_at(&mut bytes, slot * SLOT_DISTANCE).ok()?;
    decode_slot(&bytes, store_id)
}

pub(crate) fn decode_slot(bytes: &[u8; SLOT_BYTES], store_id: StoreId) -> Option<Slot> {
    let mut input = Input::new(&bytes[24..]);
    let content = Slot {
        sequence: input.u64()?,
        last: input.u64()?,
        generation: input.u32()?,
    };
    (encode_slot(store_id, content) == *bytes).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn one_damaged_slot_leaves_the_other_and_two_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("watermark");
        let id = StoreId::new(Uuid::from_u128(1));
        Watermark::create(&path, id).unwrap();
        let (watermark, last) = Watermark::open(&path, id).unwrap();
        assert_eq!(last, 0);
        watermark.write(5).unwrap();
        watermark.write(9).unwrap();
        let last = |id| read(&path, id).map(|slot| slot.last);
        assert_eq!(last(id).unwrap(), 9);

        let newest = (*watermark.sequence.lock().unwrap() - 1) % 2;
        watermark
            .file
            .write_all_at(&[0xff], newest * SLOT_DISTANCE + 33)
            .unwrap();
        assert_eq!(last(id).unwrap(), 5);
        let other = StoreId::new(Uuid::from_u128(2));
        assert!(last(other).is_err());
        watermark
            .file
            .write_all_at(&[0xff], (1 - newest) * SLOT_DISTANCE + 33)
            .unwrap();
        let error = last(id).unwrap_err().to_string();
        assert!(error.contains("watermark"), "{error}");
    }

    #[test]
    fn each_opening_is_a_generation_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("watermark");
        let id = StoreId::new(Uuid::from_u128(1));
        Watermark::create(&path, id).unwrap();
        for generation in 1..4 {
            let (watermark, last) = Watermark::open(&path, id).unwrap();
            assert_eq!(watermark.generation(), generation);
            assert_eq!(last, u64::from(generation) - 1);
            watermark.write(last + 1).unwrap();
            assert_eq!(read(&path, id).unwrap().generation, generation);
        }
    }
}
