//! Whether sled's log has torn messages in its midst: one flipped bit, also in what sled itself writes
//! around our values. sled passes over them, and in the tail of its log (from the segment on in which
//! it knows the log to be stable) it clears everything behind.
//!
//! ```text
//! segment of sled/db: begins with
//!  0  4  checksum
//!  4  8  number of its first byte in sled's log, little-endian, xor 2^63 - 1
//! 12  8  number up to which the log was stable then, likewise
//! ```

use super::messages::{SEGMENT_HEADER_BYTES, any_after, first_torn};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

/// Whether a message is torn and whole ones follow, in its segment or in the tail. The unfinished end
/// of a log, and what is left behind it of an earlier use of its segment, is none.
pub(super) fn is_torn(file: &File, segment_bytes: usize) -> io::Result<bool> {
    let (segments, tail) = segments(file, segment_bytes as u64)?;
    let mut is_tail_torn = false;
    for (place, at) in segments {
        let number = place / segment_bytes as u64;
        let segment = read_segment(file, at, segment_bytes as u64)?;
        let torn = if is_tail_torn {
            SEGMENT_HEADER_BYTES
        } else {
            first_torn(&segment, number, segment_bytes)
        };
        if torn < segment_bytes && any_after(&segment, number, torn) {
            return Ok(true);
        }
        is_tail_torn |= place >= tail && torn < segment_bytes;
    }
    Ok(false)
}

fn read_segment(mut file: &File, at: u64, segment_bytes: u64) -> io::Result<Vec<u8>> {
    let mut segment = Vec::new();
    file.seek(SeekFrom::Start(at))?;
    file.take(segment_bytes).read_to_end(&mut segment)?;
    Ok(segment)
}

/// All segments in the order of sled's log, by their places in that and in the file; and the place at
/// which the tail begins.
fn segments(file: &File, segment_bytes: u64) -> io::Result<(Vec<(u64, u64)>, u64)> {
    let length = file.metadata()?.len();
    let mut segments = Vec::new();
    let mut stable = 0;
    let mut at = 0;
    while at + SEGMENT_HEADER_BYTES as u64 <= length {
        let mut header = [0; SEGMENT_HEADER_BYTES];
        file.read_exact_at(&mut header, at)?;
        let [place, stable_then] = [4, 12].map(|from| number(&header, from));
        if let Some(place) = place.filter(|place| place % segment_bytes == 0) {
            segments.push((place, at));
            stable = stable.max(stable_then.unwrap_or(0));
        }
        at += segment_bytes;
    }
    segments.sort_unstable();
    Ok((segments, stable / segment_bytes * segment_bytes))
}

/// A number of sled's log in a header; `None` where there is none.
fn number(header: &[u8; SEGMENT_HEADER_BYTES], from: usize) -> Option<u64> {
    let bytes: [u8; 8] = header.get(from..from + 8)?.try_into().ok()?;
    u64::try_from(i64::from_le_bytes(bytes) ^ i64::MAX)
        .ok()
        .filter(|_| *header != [0; SEGMENT_HEADER_BYTES])
}
