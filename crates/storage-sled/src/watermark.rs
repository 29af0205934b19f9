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
//! 40  4  CRC32C of bytes 0..40
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
const SLOT_BYTES: usize = 44;
const SLOT_DISTANCE: u64 = 4_096;

/// The open watermark file.
#[derive(Debug)]
pub(crate) struct Watermark {
    file: File,
    store_id: StoreId,
    /// The sequence of the next slot.
    sequence: Mutex<u64>,
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
            sequence: Mutex::new(1),
        };
        watermark
            .write(0)
            .and_then(|()| watermark.write(0))
            .and_then(|()| watermark.file.sync_all())
            .map_err(OpenError::io("write", path))
    }

    /// Opens the file and reads the last acknowledged position.
    pub(crate) fn open(path: &Path, store_id: StoreId) -> Result<(Self, u64), OpenError> {
        let unreadable = |reason| OpenError::WatermarkUnreadable {
            path: path.to_owned(),
            reason,
        };
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(unreadable("it is not there"));
            }
            Err(error) => return Err(OpenError::io("open", path)(error)),
        };
        let slots = [read_slot(&file, 0, store_id), read_slot(&file, 1, store_id)];
        let Some((sequence, last)) = slots.into_iter().flatten().max() else {
            return Err(unreadable("both of its slots are damaged"));
        };
        Ok((
            Self {
                file,
                store_id,
                sequence: Mutex::new(sequence + 1),
            },
            last,
        ))
    }

    /// Notes that everything up to `last` is durable.
    pub(crate) fn write(&self, last: u64) -> io::Result<()> {
        let mut sequence = self.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = encode_slot(self.store_id, *sequence, last);
        self.file
            .write_all_at(&slot, (*sequence % 2) * SLOT_DISTANCE)?;
        *sequence += 1;
        Ok(())
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn encode_slot(store_id: StoreId, sequence: u64, last: u64) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[0..4].copy_from_slice(&MAGIC);
    slot[4..8].copy_from_slice(&u32::from(FORMAT).to_be_bytes());
    slot[8..24].copy_from_slice(store_id.get().as_bytes());
    slot[24..32].copy_from_slice(&sequence.to_be_bytes());
    slot[32..40].copy_from_slice(&last.to_be_bytes());
    let checksum = crc32c::crc32c(&slot[..40]);
    slot[40..].copy_from_slice(&checksum.to_be_bytes());
    slot
}

/// Sequence and position of a slot that is whole and of this store.
fn read_slot(file: &File, slot: u64, store_id: StoreId) -> Option<(u64, u64)> {
    let mut bytes = [0; SLOT_BYTES];
    file.read_exact_at(&mut bytes, slot * SLOT_DISTANCE).ok()?;
    let mut input = Input::new(&bytes[24..]);
    let (sequence, last) = (input.u64()?, input.u64()?);
    (encode_slot(store_id, sequence, last) == bytes).then_some((sequence, last))
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
        assert_eq!(Watermark::open(&path, id).unwrap().1, 9);

        let newest = (*watermark.sequence.lock().unwrap() - 1) % 2;
        watermark
            .file
            .write_all_at(&[0xff], newest * SLOT_DISTANCE + 33)
            .unwrap();
        assert_eq!(Watermark::open(&path, id).unwrap().1, 5);
        let other = StoreId::new(Uuid::from_u128(2));
        assert!(Watermark::open(&path, other).is_err());
        watermark
            .file
            .write_all_at(&[0xff], (1 - newest) * SLOT_DISTANCE + 33)
            .unwrap();
        let error = Watermark::open(&path, id).unwrap_err().to_string();
        assert!(error.contains("watermark"), "{error}");
    }
}
