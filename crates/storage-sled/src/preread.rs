//! Reads what sled is about to read when it opens its file, and before it does.
//!
//! sled takes a segment that it cannot read for the end of its log and clears everything behind it, so
//! an error of the disk that goes away again would cost all later events. What this module has read is
//! in memory; what it cannot read refuses the start, and nothing has been changed.
//!
//! ```text
//! sled/db     segments of equal size, each beginning with
//!  0  4  checksum
//!  4  8  number of its first byte in sled's log, little-endian, xor 2^63 - 1
//! snap.X      sled reads no segment that ends before the number X, which is hexadecimal
//! ```

use crate::OpenError;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What is read at once, in bytes.
const STEP_BYTES: usize = 256 * 1_024;

const HEADER_BYTES: usize = 12;

/// Reads the segments of `sled/db` that sled is going to read.
pub(crate) fn preread(sled: &Path, segment_bytes: usize) -> Result<(), OpenError> {
    let path = sled.join("db");
    let segment_bytes = segment_bytes as u64;
    match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        file => file
            .and_then(|file| read_from(&file, segment_bytes, snapshot(sled)? / segment_bytes))
            .map_err(OpenError::io("read", &path)),
    }
}

/// The number in the name of the newest snapshot, which need not be sound: whoever sets it aside and
/// opens again reads again.
fn snapshot(sled: &Path) -> io::Result<u64> {
    let mut newest = 0;
    for entry in fs::read_dir(sled)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("snap."));
        let number = number.and_then(|number| u64::from_str_radix(number, 16).ok());
        newest = newest.max(number.unwrap_or(0));
    }
    Ok(newest)
}

fn read_from(file: &File, segment_bytes: u64, first_segment: u64) -> io::Result<()> {
    let length = file.metadata()?.len();
    let mut buffer = vec![0; STEP_BYTES];
    let mut segment = 0;
    while segment < length {
        let mut header = [0; HEADER_BYTES];
        let end = (segment + segment_bytes).min(length);
        if end - segment >= HEADER_BYTES as u64 {
            file.read_exact_at(&mut header, segment)?;
        }
        if log_place(header).is_some_and(|place| place / segment_bytes >= first_segment) {
            let mut at = segment;
            while at < end {
                let step = STEP_BYTES.min(usize::try_from(end - at).unwrap_or(STEP_BYTES));
                file.read_exact_at(&mut buffer[..step], at)?;
                at += step as u64;
            }
        }
        segment = end;
    }
    Ok(())
}

/// Where a segment stands in sled's log; `None` for one that is free.
fn log_place(header: [u8; HEADER_BYTES]) -> Option<u64> {
    let (_, place) = header.split_last_chunk::<8>()?;
    let place = i64::from_le_bytes(*place) ^ i64::MAX;
    u64::try_from(place)
        .ok()
        .filter(|_| header != [0; HEADER_BYTES])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_of_sled_says_where_it_stands() {
        let directory = tempfile::tempdir().unwrap();
        let segment_bytes = 512 << 10;
        let config = sled::Config::new()
            .path(directory.path())
            .segment_size(segment_bytes);
        let database = config.open().unwrap();
        for key in 0_u32..40 {
            database.insert(key.to_be_bytes(), vec![7; 30_000]).unwrap();
        }
        database.flush().unwrap();
        drop(database);
        let bytes = fs::read(directory.path().join("db")).unwrap();
        let headers = bytes
            .chunks(segment_bytes)
            .filter_map(|segment| segment.first_chunk());
        let mut places: Vec<_> = headers.filter_map(|header| log_place(*header)).collect();
        places.sort_unstable();
        let expected = (0..places.len() as u64).map(|at| at * segment_bytes as u64);
        assert!(places.len() > 2, "{places:?}");
        assert!(places.iter().copied().eq(expected), "{places:?}");
        preread(directory.path(), segment_bytes).unwrap();
    }

    #[test]
    fn the_newest_snapshot_counts() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["snap.00000000000000A0", "snap.0000000000000010", "conf"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        assert_eq!(snapshot(directory.path()).unwrap(), 0xa0);
    }
}
