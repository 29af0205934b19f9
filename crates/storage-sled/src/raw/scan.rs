//! Finds the values of this engine in sled's raw file, by magic, store id and checksum. The file is
//! read once from its beginning to its end in bounded memory; sled stores each value in one piece.
//!
//! What is found is remembered by its place. Older versions of a value stay in the file until sled
//! uses their place again; which version counts is [`super::replay`]'s to say.

use crate::chunk::Header;
use crate::directory::FORMAT;
use crate::encoding::Input;
use crate::index::INDEX_FORMAT;
use icecore_core::{Finding, Position, StoreId};
use std::io::{self, Read};
use uuid::Uuid;

/// Bytes that are read at a time.
const BLOCK_BYTES: usize = 1 << 20;

/// No value of this engine is larger.
const VALUE_BYTES_MAX: usize = 64 << 10;

/// A chunk never holds more; a larger number was not written by us.
const RECORDS_MAX: u32 = 1 << 20;

/// Where a kind of value has what tells it apart. The checksum follows what it is of, and the payload
/// follows the checksum.
struct Envelope {
    kind: Kind,
    magic: [u8; 4],
    format: u8,
    store_id_at: usize,
    length: Length,
    checked_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Chunk,
    Index,
    Roots,
}

/// How long the payload is.
enum Length {
    At(usize),
    Fixed(usize),
}

const ENVELOPES: [Envelope; 3] = [
    Envelope {
        kind: Kind::Chunk,
        magic: *b"ICEK",
        format: FORMAT,
        store_id_at: 10,
        length: Length::At(54),
        checked_bytes: 58,
    },
    Envelope {
        kind: Kind::Index,
        magic: *b"ICER",
        format: INDEX_FORMAT,
        store_id_at: 6,
        length: Length::At(34),
        checked_bytes: 38,
    },
    Envelope {
        kind: Kind::Roots,
        magic: *b"ICEH",
        format: FORMAT,
        store_id_at: 5,
        length: Length::Fixed(128 * 32),
        checked_bytes: 29,
    },
];

/// One part of a chunk that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    pub(super) first: u64,
    pub(super) generation: u32,
    pub(super) count: u32,
    pub(super) parts: u16,
    pub(super) number: u16,
    checksum: u32,
    pub(super) bytes: u32,
    /// Where it begins in the file.
    pub(super) at: u64,
}

impl Part {
    /// Copies of one part differ in their place only.
    fn is_copy_of(&self, other: &Self) -> bool {
        Self { at: 0, ..*self } == Self { at: 0, ..*other }
    }

    /// The last position of its chunk.
    pub(super) fn last(&self) -> u64 {
        self.first.saturating_add(u64::from(self.count) - 1)
    }
}

/// A value that is ours and is not what was written.
#[derive(Clone, Debug)]
pub(super) struct Damaged {
    /// The positions of a chunk, both inclusive, as far as its header can be believed.
    pub(super) positions: Option<(u64, u64)>,
    pub(super) finding: Finding,
}

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The store whose values these are; the first whole one says it if nobody else does.
    pub(super) store_id: Option<StoreId>,
    /// By first position, generation and so on; of copies, one.
    pub(super) parts: Vec<Part>,
    pub(super) damaged: Vec<Damaged>,
    /// Parts when copies were last left out.
    tidied: usize,
}

/// How a piece of the file is to be taken.
enum Found {
    /// Nothing of ours begins here.
    Nothing,
    /// A value of ours with this many bytes.
    Value(usize),
    /// Whether it is a value cannot be said before more is read.
    CutOff,
}

impl Scan {
    /// Reads a file to its end. `progress` hears how many bytes are done.
    pub(super) fn read(
        file: &mut impl Read,
        store_id: Option<StoreId>,
        progress: &mut dyn FnMut(u64),
    ) -> io::Result<Self> {
        let mut scan = Self {
            store_id,
            ..Self::default()
        };
        let mut buffer = Vec::with_capacity(BLOCK_BYTES + 2 * VALUE_BYTES_MAX);
        let mut at = 0;
        loop {
            let read = file
                .by_ref()
                .take(BLOCK_BYTES as u64)
                .read_to_end(&mut buffer)?;
            let done = scan.look(&buffer, at, read == 0);
            buffer.drain(..done);
            at += done as u64;
            progress(at);
            scan.tidy_when_doubled();
            if read == 0 {
                scan.tidy();
                return Ok(scan);
            }
        }
    }

    /// Whether bytes that end with a segment hold a value of this store that is damaged.
    pub(super) fn finds_damage(bytes: &[u8], store_id: StoreId) -> bool {
        let mut scan = Self {
            store_id: Some(store_id),
            ..Self::default()
        };
        scan.look(bytes, 0, true);
        !scan.damaged.is_empty()
    }

    /// Looks through bytes that stand at `at` in the file; returns how many are done with.
    fn look(&mut self, bytes: &[u8], at: u64, is_end: bool) -> usize {
        let mut next = 0;
        while let Some(found) = bytes[next..].iter().position(|byte| *byte == b'I') {
            next += found;
            match self.value(&bytes[next..], at + next as u64, is_end) {
                Found::Nothing => next += 1,
                Found::Value(length) => next += length,
                Found::CutOff if is_end => next += 1,
                Found::CutOff => return next,
            }
        }
        bytes.len()
    }

    fn value(&mut self, bytes: &[u8], at: u64, is_end: bool) -> Found {
        let Some(magic) = bytes.get(..4) else {
            return Found::CutOff;
        };
        let Some(envelope) = ENVELOPES.iter().find(|envelope| envelope.magic == magic) else {
            return Found::Nothing;
        };
        let header_bytes = envelope.checked_bytes + 4;
        let Some(header) = bytes.get(..header_bytes) else {
            return Found::CutOff;
        };
        let Some(id) = field(header, envelope.store_id_at).map(Uuid::from_bytes) else {
            return Found::Nothing;
        };
        let is_ours = self.store_id.is_none_or(|ours| ours.get() == id);
        if !is_ours || header[4] != envelope.format {
            return Found::Nothing;
        }
        let payload_bytes = match envelope.length {
            Length::Fixed(bytes) => bytes,
            Length::At(at) => {
                field(header, at).map_or(usize::MAX, |length| u32::from_be_bytes(length) as usize)
            }
        };
        if payload_bytes > VALUE_BYTES_MAX - header_bytes {
            return self.damaged(envelope, header, at);
        }
        let payload = bytes.get(header_bytes..header_bytes + payload_bytes);
        let Some(payload) = payload else {
            if is_end {
                return self.damaged(envelope, header, at);
            }
            return Found::CutOff;
        };
        let checked = crc32c::crc32c(&header[..envelope.checked_bytes]);
        let checksum = crc32c::crc32c_append(checked, payload).to_be_bytes();
        if header[envelope.checked_bytes..] != checksum {
            return self.damaged(envelope, header, at);
        }
        let store_id = *self.store_id.get_or_insert(StoreId::new(id));
        let value = &bytes[..header_bytes + payload_bytes];
        if envelope.kind == Kind::Chunk {
            self.part(value, store_id, at, u32::from_be_bytes(checksum));
        }
        Found::Value(value.len())
    }

    fn part(&mut self, value: &[u8], store_id: StoreId, at: u64, checksum: u32) {
        let Ok((header, _)) = Header::decode(value, store_id) else {
            return;
        };
        if header.count == 0 || header.first == 0 {
            return;
        }
        self.parts.push(Part {
            first: header.first,
            generation: header.generation,
            count: header.count,
            parts: header.parts,
            number: header.part,
            checksum,
            bytes: u32::try_from(value.len()).expect("a value is below 64 KiB"),
            at,
        });
    }

    /// Only what bears the id of a store that is known counts as damaged; anything else may be
    /// anything.
    fn damaged(&mut self, envelope: &Envelope, header: &[u8], at: u64) -> Found {
        if self.store_id.is_none() {
            return Found::Nothing;
        }
        let damaged = match envelope.kind {
            Kind::Chunk => damaged_chunk(header, at),
            Kind::Index | Kind::Roots => Damaged {
                positions: None,
                finding: Finding::general(format!(
                    "a part of the index at byte {at} of sled/db is damaged; it can be made from \
                     the log again"
                )),
            },
        };
        self.damaged.push(damaged);
        Found::Nothing
    }

    fn tidy_when_doubled(&mut self) {
        if self.parts.len() > 2 * self.tidied + BLOCK_BYTES / 64 {
            self.tidy();
        }
    }

    fn tidy(&mut self) {
        self.parts.sort_unstable();
        self.parts.dedup_by(|a, b| a.is_copy_of(b));
        self.tidied = self.parts.len();
    }
}

fn damaged_chunk(header: &[u8], at: u64) -> Damaged {
    const REASON: &str = "do not match their checksum";
    let mut input = Input::new(&header[30..]);
    let positions = input
        .u64()
        .zip(input.u32())
        .filter(|(first, count)| *first > 0 && (1..=RECORDS_MAX).contains(count))
        .and_then(|(first, count)| Some((first, first.checked_add(u64::from(count) - 1)?)));
    let reason = format!("the stored bytes at byte {at} of sled/db {REASON}");
    let finding = match positions {
        Some((first, last)) => Finding::at(Position::new(first), Position::new(last), reason),
        None => Finding::general(reason),
    };
    Damaged { positions, finding }
}

fn field<const N: usize>(header: &[u8], at: usize) -> Option<[u8; N]> {
    header.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::ChunkBuilder;
    use crate::record::Record;
    use icecore_core::{EntryContent, Hash, LogEntry, Mark, Timestamp};

    fn store_id() -> StoreId {
        StoreId::new(Uuid::from_u128(9))
    }

    /// A chunk of `count` removed events.
    fn chunk(first: u64, count: u64, generation: u32) -> Vec<u8> {
        let time = Timestamp::from_nanos(0);
        let mut builder = ChunkBuilder::new(Position::new(first), time, generation);
        for position in first..first + count {
            // Hashes do not compress, so that chunks have some size.
            let byte = |n: usize| {
                let n = n as u64;
                (position * 31 + n * 57 + n * n).to_le_bytes()[0]
            };
            let leaf = Hash(std::array::from_fn(byte));
            let entry = LogEntry {
                position: Position::new(position),
                mark: Mark::End,
                content: EntryContent::Removed { leaf },
            };
            builder.push_record(&Record::from(&entry.content), entry.mark, &mut Vec::new());
        }
        builder.encode(store_id(), 48 << 10).remove(0)
    }

    fn scan(mut file: &[u8]) -> Scan {
        Scan::read(&mut file, Some(store_id()), &mut |_| {}).unwrap()
    }

    #[test]
    fn parts_are_found_wherever_they_stand_also_across_blocks() {
        let (small, large) = (chunk(1, 3, 1), chunk(4, 900, 1));
        for before in [
            0,
            7,
            BLOCK_BYTES - small.len() - 5,
            BLOCK_BYTES - 3,
            BLOCK_BYTES,
        ] {
            let mut file = vec![b'I'; before];
            file.extend_from_slice(&small);
            file.extend_from_slice(b"ICEK");
            file.extend_from_slice(&large);
            let found = scan(&file);
            let places: Vec<_> = found
                .parts
                .iter()
                .map(|part| (part.first, part.at))
                .collect();
            let second = before + small.len() + 4;
            assert_eq!(places, [(1, before as u64), (4, second as u64)]);
            assert!(found.damaged.is_empty());
        }
    }

    #[test]
    fn copies_are_kept_once_and_other_stores_not_at_all() {
        let one = chunk(1, 3, 1);
        let mut other = one.clone();
        other[10] ^= 1;
        let file = [&one[..], &other, &one, &chunk(1, 4, 1)].concat();
        let found = scan(&file);
        let counts: Vec<_> = found.parts.iter().map(|part| part.count).collect();
        assert_eq!(counts, [3, 4]);
        assert!(found.damaged.is_empty());
    }

    #[test]
    fn every_flipped_byte_of_a_part_costs_it_or_is_named() {
        let value = chunk(5, 3, 1);
        for at in 0..value.len() {
            let mut damaged = value.clone();
            damaged[at] ^= 0x20;
            let found = scan(&damaged);
            assert!(found.parts.is_empty(), "byte {at}");
            // What has lost its magic, format or store id is nothing of ours any more.
            let named = !matches!(at, 0..=4 | 10..=25);
            assert_eq!(!found.damaged.is_empty(), named, "byte {at}");
        }
    }

    #[test]
    fn a_part_that_the_end_of_the_file_cuts_off_is_none() {
        let value = chunk(5, 3, 1);
        for end in 0..value.len() {
            assert!(scan(&value[..end]).parts.is_empty());
        }
        assert_eq!(scan(&value).parts.len(), 1);
    }
}
