//! The envelope of every value in the tree `runs`, and its key.
//!
//! ```text
//! key                             value (all numbers big-endian)
//! 0 8  run                         0  4  magic "ICER"
//! 8 1  section                     4  1  format
//! 9 4  number within the section   5  1  section
//!                                  6 16  store id
//!                                 22  8  run
//!                                 30  4  number
//!                                 34  4  length of the payload
//!                                 38  4  CRC32C of bytes 0..38 and the payload
//!                                 42 ..  payload
//! ```
//!
//! The manifest is the one value of run 0; run ids start at 1 and are never used again.

use crate::encoding::Input;
use crate::record::Damage;
use icecore_core::StoreId;

const MAGIC: [u8; 4] = *b"ICER";

/// Format of the index alone, which can always be made again from the log: another one is not read but
/// rebuilt. 2 has correlation ids.
pub(crate) const INDEX_FORMAT: u8 = 2;

pub(super) const HEADER_BYTES: usize = 42;
const CHECKED_BYTES: usize = 38;

/// What a value of a run holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    /// The list of runs.
    Manifest = 0,
    /// Terms and their postings.
    Block = 1,
    /// A part of the bloom filter.
    Bloom = 2,
    /// A part of the list of blocks.
    Starts = 3,
    /// A part of the list of chunks.
    Chunks = 4,
}

/// Where a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SectionKey {
    pub(crate) run: u64,
    pub(crate) section: Section,
    pub(crate) number: u32,
}

impl SectionKey {
    pub(crate) const MANIFEST: Self = Self {
        run: 0,
        section: Section::Manifest,
        number: 0,
    };

    pub(crate) fn to_bytes(self) -> [u8; 13] {
        let mut key = [0; 13];
        key[..8].copy_from_slice(&self.run.to_be_bytes());
        key[8] = self.section as u8;
        key[9..].copy_from_slice(&self.number.to_be_bytes());
        key
    }
}

/// The first key that a run can have.
pub(crate) fn run_start(run: u64) -> [u8; 8] {
    run.to_be_bytes()
}

/// The run that a key belongs to.
pub(crate) fn run_of(key: &[u8]) -> Option<u64> {
    Input::new(key).u64()
}

pub(crate) fn encode(store_id: StoreId, key: SectionKey, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("values are smaller than 64 KiB");
    let mut out = Vec::with_capacity(HEADER_BYTES + payload.len());
    out.extend_from_slice(&MAGIC);
    out.push(INDEX_FORMAT);
    out.push(key.section as u8);
    out.extend_from_slice(store_id.get().as_bytes());
    out.extend_from_slice(&key.run.to_be_bytes());
    out.extend_from_slice(&key.number.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&out), payload);
    out.extend_from_slice(&checksum.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// The payload of a value that was stored under this key by this store.
pub(crate) fn decode(store_id: StoreId, key: SectionKey, value: &[u8]) -> Result<&[u8], Damage> {
    let (Some(head), Some(payload)) = (value.get(..HEADER_BYTES), value.get(HEADER_BYTES..)) else {
        return Err(Damage("an index value is cut off"));
    };
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&head[..CHECKED_BYTES]), payload);
    if head[CHECKED_BYTES..] != checksum.to_be_bytes() {
        return Err(Damage("an index value does not match its checksum"));
    }
    if head[4] != INDEX_FORMAT {
        return Err(Damage("an index value is of another version"));
    }
    // What is not covered by comparing with a fresh header was checked by the checksum.
    if encode(store_id, key, &[])[..34] != head[..34] {
        return Err(Damage("an index value stands at the wrong key"));
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn every_flipped_byte_is_noticed() {
        let store = StoreId::new(Uuid::from_u128(3));
        let key = SectionKey {
            run: 5,
            section: Section::Bloom,
            number: 9,
        };
        let value = encode(store, key, b"payload");
        assert_eq!(decode(store, key, &value).unwrap(), b"payload");
        for at in 0..value.len() {
            let mut damaged = value.clone();
            damaged[at] ^= 0x10;
            assert!(decode(store, key, &damaged).is_err(), "byte {at}");
        }
        for other in [
            SectionKey { run: 6, ..key },
            SectionKey { number: 8, ..key },
        ] {
            assert!(decode(store, other, &value).is_err());
        }
        assert!(decode(StoreId::new(Uuid::nil()), key, &value).is_err());
    }
}
