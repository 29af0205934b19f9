//! Whether sled's file is as it was written, as far as sled minds: one flipped bit, also in what sled
//! itself writes around our values. sled passes over a torn message, and in the tail of its log (from
//! the segment on in which it knows the log to be stable) it clears everything behind; a segment whose
//! header is damaged it takes for a free one and clears it.
//!
//! All of the file is read, so that every error of the disk is met here too.
//!
//! ```text
//! segment of sled/db: begins with
//!  0  4  CRC32 of the 16 bytes that follow, without the inversion at its end
//!  4  8  number of its first byte in sled's log, little-endian, xor 2^63 - 1
//! 12  8  number up to which the log was stable then, likewise
//! ```

use super::messages::{SEGMENT_HEADER_BYTES, any_after, first_torn};
use super::scan::Scan;
use crate::directory::Identity;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

const ZEROS: [u8; SEGMENT_HEADER_BYTES] = [0; SEGMENT_HEADER_BYTES];

/// What is known of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// A message is torn and whole ones follow, in its segment or in the tail. The unfinished end of a
    /// log, and what is left behind it of an earlier use of its segment, is none.
    pub(super) is_torn: bool,
    /// The header of a segment is damaged, or a value of ours that is in no whole message.
    pub(super) is_damaged: bool,
}

/// What is known of a segment without the others.
struct Segment {
    /// Where it stands in sled's log, if it does.
    place: Option<u64>,
    /// Up to where the log was stable when it was begun.
    stable: u64,
    messages: Messages,
    is_damaged: bool,
}

/// How the messages of a segment are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Messages {
    /// None is whole.
    None,
    /// They are whole up to a place, and none is behind it.
    Begun,
    /// They are whole and fill it.
    Full,
    /// There are whole ones behind one that is torn.
    Torn,
}

/// Looks through the whole file, with two threads. Blocks.
pub(super) fn look(file: &File, identity: Identity) -> io::Result<Look> {
    let length = file.metadata()?.len();
    let next = AtomicU64::new(0);
    let work = || -> io::Result<Vec<Segment>> {
        let mut buffer = vec![0; identity.segment_bytes];
        let mut segments = Vec::new();
        loop {
            let at = next.fetch_add(buffer.len() as u64, Relaxed);
            let left = usize::try_from(length.saturating_sub(at)).unwrap_or(usize::MAX);
            if left == 0 {
                return Ok(segments);
            }
            let bytes = left.min(buffer.len());
            let segment = &mut buffer[..bytes];
            file.read_exact_at(segment, at)?;
            segments.push(Segment::look(segment, identity));
        }
    };
    let [mine, others] = thread::scope(|scope| {
        let other = thread::Builder::new().spawn_scoped(scope, work);
        let mine = work();
        // Without another thread this one has done everything.
        let others = other.map_or(Ok(Vec::new()), |other| {
            other.join().unwrap_or_else(|panic| resume_unwind(panic))
        });
        [mine, others]
    });
    let mut segments = mine?;
    segments.extend(others?);
    Ok(conclude(segments, identity.segment_bytes as u64))
}

impl Segment {
    fn look(bytes: &[u8], identity: Identity) -> Self {
        let header = bytes.first_chunk().unwrap_or(&ZEROS);
        let number = |from| number(header, from);
        let segment_bytes = identity.segment_bytes as u64;
        let place = number(4).filter(|place| place % segment_bytes == 0);
        let mut segment = Self {
            place,
            stable: number(12).filter(|_| place.is_some()).unwrap_or(0),
            messages: Messages::None,
            is_damaged: !is_header_sound(header),
        };
        let mut whole_up_to = 0;
        if let Some(place) = place {
            let number = place / segment_bytes;
            whole_up_to = first_torn(bytes, number, identity.segment_bytes);
            segment.messages = if whole_up_to == identity.segment_bytes {
                Messages::Full
            } else if any_after(bytes, number, whole_up_to) {
                Messages::Torn
            } else if whole_up_to > SEGMENT_HEADER_BYTES {
                Messages::Begun
            } else {
                Messages::None
            };
        }
        // What a whole message holds is covered by its checksum.
        if let Some(rest) = bytes.get(whole_up_to..) {
            segment.is_damaged |= Scan::finds_damage(rest, identity.store_id);
        }
        segment
    }
}

/// What the segments say together, in the order of sled's log.
fn conclude(mut segments: Vec<Segment>, segment_bytes: u64) -> Look {
    let stable = segments.iter().map(|segment| segment.stable).max();
    let tail = stable.unwrap_or(0) / segment_bytes * segment_bytes;
    let mut look = Look {
        is_torn: false,
        is_damaged: segments.iter().any(|segment| segment.is_damaged),
    };
    segments.sort_unstable_by_key(|segment| segment.place);
    let mut is_tail_torn = false;
    for segment in &segments {
        let Some(place) = segment.place else {
            continue;
        };
        look.is_torn |= match segment.messages {
            Messages::None => false,
            Messages::Begun | Messages::Full => is_tail_torn,
            Messages::Torn => true,
        };
        is_tail_torn |= place >= tail && segment.messages != Messages::Full;
    }
    look
}

/// A number of sled's log in a header; `None` where there is none.
fn number(header: &[u8; SEGMENT_HEADER_BYTES], from: usize) -> Option<u64> {
    let bytes: [u8; 8] = header.get(from..from + 8)?.try_into().ok()?;
    u64::try_from(i64::from_le_bytes(bytes) ^ i64::MAX)
        .ok()
        .filter(|_| *header != ZEROS)
}

/// A segment that was freed begins with zeros.
fn is_header_sound(header: &[u8; SEGMENT_HEADER_BYTES]) -> bool {
    let checksum = !crc32fast::hash(&header[4..]);
    *header == ZEROS || header[..4] == checksum.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use icecore_core::StoreId;
    use uuid::Uuid;

    const IDENTITY: Identity = Identity {
        store_id: StoreId::new(Uuid::from_u128(3)),
        segment_bytes: 512 << 10,
    };
    const SOUND: Look = Look {
        is_torn: false,
        is_damaged: false,
    };

    /// The file of a database with some full segments and one that is not full.
    fn database() -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let config = sled::Config::new()
            .path(directory.path())
            .segment_size(IDENTITY.segment_bytes);
        let database = config.open().unwrap();
        for key in 0_u32..300 {
            let size = usize::try_from(key * 37 % 9_000).unwrap();
            database.insert(key.to_be_bytes(), vec![7; size]).unwrap();
        }
        database.flush().unwrap();
        drop(database);
        std::fs::read(directory.path().join("db")).unwrap()
    }

    fn look_at(bytes: &[u8]) -> Look {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        look(file.as_file(), IDENTITY).unwrap()
    }

    #[test]
    fn a_file_of_sled_is_sound_wherever_its_segments_stand() {
        let sound = database();
        assert!(sound.len() > 2 * IDENTITY.segment_bytes);
        assert_eq!(look_at(&sound), SOUND);
        let mut segments: Vec<_> = sound.chunks_exact(IDENTITY.segment_bytes).collect();
        let free = vec![0; IDENTITY.segment_bytes];
        segments.push(&free);
        segments.reverse();
        assert_eq!(look_at(&segments.concat()), SOUND);
        assert_eq!(look_at(&[]), SOUND);
    }

    #[test]
    fn every_flipped_byte_of_the_header_of_a_segment_is_damage() {
        let sound = database();
        for at in 0..SEGMENT_HEADER_BYTES {
            let mut damaged = sound.clone();
            damaged[IDENTITY.segment_bytes + at] ^= 0x10;
            assert!(look_at(&damaged).is_damaged, "byte {at}");
        }
    }

    #[test]
    fn a_torn_message_counts_when_the_log_goes_on_behind_it() {
        let sound = database();
        let last = sound.len() / IDENTITY.segment_bytes * IDENTITY.segment_bytes;
        for segment in (0..last).step_by(IDENTITY.segment_bytes) {
            let mut damaged = sound.clone();
            damaged[segment + 3_000] ^= 1;
            assert!(look_at(&damaged).is_torn, "segment at byte {segment}");
        }
        // An unfinished end is no damage.
        let end = sound.iter().rposition(|byte| *byte != 0).unwrap();
        let mut unfinished = sound;
        unfinished[end] ^= 1;
        assert_eq!(look_at(&unfinished), SOUND);
    }
}
