//! The messages in a segment of sled's log, as far as it must be known where sled will stop reading.
//!
//! ```text
//! segment of sled/db: a header of 20 bytes, then messages (numbers little-endian)
//!  0  4  CRC32 of the payload and of this header from byte 4 on, without the inversion at its end
//!  4  1  kind: 1 to 11; 2 pads the rest of the segment
//!  5  .. length of the payload, number of the segment, page: one to nine bytes each
//!  .. .. payload
//! ```
//!
//! A number up to 240 is one byte; from 241 to 248 on the first byte counts 256s and the second ones;
//! 249 has two bytes, high one first, after it; each further first byte has one byte more, low one
//! first. No message begins in the last 32 bytes.

use crc32fast::Hasher;

pub(super) const SEGMENT_HEADER_BYTES: usize = 20;
const HEADER_BYTES_MAX: usize = 32;
const KIND_AT: usize = 4;
const KIND_PADDING: u8 = 2;
const KINDS: std::ops::RangeInclusive<u8> = 1..=11;

/// A message that is whole.
struct Message {
    kind: u8,
    /// Where the next one begins.
    end: usize,
}

/// Where the first message that is not whole would begin, from the segment's first one on; the length
/// of the segment if it is full of whole ones.
pub(super) fn first_torn(segment: &[u8], number: u64, segment_bytes: usize) -> usize {
    let mut at = SEGMENT_HEADER_BYTES;
    while at + HEADER_BYTES_MAX <= segment_bytes {
        match message(segment, at, number) {
            Some(message) if message.kind == KIND_PADDING => return segment_bytes,
            Some(message) => at = message.end,
            None => return at,
        }
    }
    segment_bytes
}

/// Whether a whole message of this segment begins anywhere from `from` on.
pub(super) fn any_after(segment: &[u8], number: u64, from: usize) -> bool {
    (from..segment.len()).any(|at| message(segment, at, number).is_some())
}

fn message(segment: &[u8], at: usize, number: u64) -> Option<Message> {
    let bytes = segment.get(at..)?;
    let kind = *bytes.get(KIND_AT)?;
    if !KINDS.contains(&kind) {
        return None;
    }
    let mut header = KIND_AT + 1;
    let length = usize::try_from(varint(bytes, &mut header)?).ok()?;
    if varint(bytes, &mut header)? != number {
        return None;
    }
    varint(bytes, &mut header)?;
    let end = header.checked_add(length)?;
    let payload = bytes.get(header..end)?;
    let mut hasher = Hasher::new();
    hasher.update(payload);
    hasher.update(&bytes[KIND_AT..header]);
    let is_whole = (!hasher.finalize()).to_le_bytes() == bytes[..KIND_AT];
    is_whole.then_some(Message {
        kind,
        end: at + end,
    })
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let first = *bytes.get(*at)?;
    let rest = &bytes[*at + 1..];
    let (value, size) = match first {
        0..=240 => (u64::from(first), 0),
        241..=248 => {
            let high = u64::from(first) - 241;
            (240 + 256 * high + u64::from(*rest.first()?), 1)
        }
        249 => {
            let [high, low] = [*rest.first()?, *rest.get(1)?].map(u64::from);
            (2_288 + 256 * high + low, 2)
        }
        _ => {
            let size = usize::from(first) - 247;
            let mut value = [0; 8];
            value[..size].copy_from_slice(rest.get(..size)?);
            (u64::from_le_bytes(value), size)
        }
    };
    *at += 1 + size;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database with some full segments and one that is not full, by segment.
    fn segments(segment_bytes: usize) -> Vec<Vec<u8>> {
        let directory = tempfile::tempdir().unwrap();
        let config = sled::Config::new()
            .path(directory.path())
            .segment_size(segment_bytes);
        let database = config.open().unwrap();
        for key in 0_u32..300 {
            let size = usize::try_from(key * 37 % 9_000).unwrap();
            database.insert(key.to_be_bytes(), vec![7; size]).unwrap();
        }
        database.flush().unwrap();
        drop(database);
        let bytes = std::fs::read(directory.path().join("db")).unwrap();
        bytes.chunks(segment_bytes).map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn all_messages_that_sled_has_written_are_whole() {
        const BYTES: usize = 512 << 10;
        let segments = segments(BYTES);
        let (last, full) = segments.split_last().unwrap();
        assert!(full.len() > 1);
        for (number, segment) in (0..).zip(full) {
            assert_eq!(first_torn(segment, number, BYTES), BYTES, "{number}");
            assert_eq!(first_torn(segment, number + 1, BYTES), SEGMENT_HEADER_BYTES);
        }
        let number = full.len() as u64;
        let end = first_torn(last, number, BYTES);
        assert!(end > SEGMENT_HEADER_BYTES && end < BYTES);
        assert!(!any_after(last, number, end));
        assert!(any_after(last, number, SEGMENT_HEADER_BYTES + 1));
    }

    #[test]
    fn a_flipped_bit_tears_the_message_that_has_it() {
        const BYTES: usize = 512 << 10;
        let segment = segments(BYTES).swap_remove(0);
        for at in (SEGMENT_HEADER_BYTES..BYTES - 2_000).step_by(7_919) {
            let mut damaged = segment.clone();
            damaged[at] ^= 0x08;
            let torn = first_torn(&damaged, 0, BYTES);
            assert!(torn <= at, "byte {at}");
            assert!(any_after(&damaged, 0, at + 1), "byte {at}");
        }
    }

    #[test]
    fn any_bytes_are_looked_at_without_panic() {
        for first in 0..=u8::MAX {
            let bytes: Vec<u8> = (0..40).map(|n| first.wrapping_mul(n)).collect();
            for end in 0..bytes.len() {
                assert_eq!(first_torn(&bytes[..end], 0, 4_096), SEGMENT_HEADER_BYTES);
                any_after(&bytes[..end], u64::from(first), 0);
            }
        }
    }
}
