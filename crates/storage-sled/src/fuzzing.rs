//! The readers of everything that is on disk as functions that take any bytes, for `crates/fuzzing`.
//! They panic when a reader does, and when what was read is another thing after it was written again.
//! Only with the feature `fuzzing`; no program has it.
//!
//! Nobody guesses a checksum, so the values that a fuzzer makes are sealed before they are read: they
//! get the id of the store, the length of their payload and the checksum that belongs to them.

use crate::chunk::Chunk;
use crate::directory::{identity_text, parse_identity};
use crate::index::{
    BlockBuilder, BlockReader, Bloom, Entry, Manifest, RunInfo, SectionKey, bloom_hash,
    decode_section, encode as encode_section, encode_chunks, encode_starts, parse_chunks,
    parse_starts,
};
use crate::record::{Damage, Record};
use crate::{roots, watermark};
use icecore_core::{Hash, StoreId};
use icecore_storage::ROOTS_PER_GROUP;
use std::path::Path;
use uuid::Uuid;

/// Largest value that a chunk is cut into when it is written again.
const VALUE_BYTES_MAX: usize = 48 << 10;

/// Where a value has what [`seal`] puts into it. The payload follows the checksum.
struct Envelope {
    magic: [u8; 4],
    store_id_at: usize,
    length_at: Option<usize>,
    checksum_at: usize,
}

const ENVELOPES: [Envelope; 4] = [
    Envelope {
        magic: *b"ICEK",
        store_id_at: 10,
        length_at: Some(54),
        checksum_at: 58,
    },
    Envelope {
        magic: *b"ICER",
        store_id_at: 6,
        length_at: Some(34),
        checksum_at: 38,
    },
    Envelope {
        magic: *b"ICEH",
        store_id_at: 5,
        length_at: None,
        checksum_at: 29,
    },
    Envelope {
        magic: *b"ICEW",
        store_id_at: 8,
        length_at: None,
        checksum_at: 44,
    },
];

/// The store whose values these are.
pub fn store_id() -> StoreId {
    StoreId::new(Uuid::from_u128(7))
}

/// The pieces of an input: each is two bytes of length, big-endian, and then its bytes. Values among
/// them are sealed.
pub fn pieces(mut input: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    while let Some((length, rest)) = input.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (piece, rest) = rest.split_at(length);
        pieces.push(seal(piece));
        input = rest;
    }
    pieces
}

/// The value with what nobody guesses; anything else as it is.
fn seal(value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    let envelope = ENVELOPES
        .iter()
        .find(|envelope| value.starts_with(&envelope.magic));
    let Some(envelope) = envelope.filter(|envelope| value.len() >= envelope.checksum_at + 4) else {
        return value;
    };
    let payload_at = envelope.checksum_at + 4;
    let id = envelope.store_id_at;
    value[id..id + 16].copy_from_slice(store_id().get().as_bytes());
    if let Some(at) = envelope.length_at {
        let length = u32::try_from(value.len() - payload_at).unwrap_or(u32::MAX);
        value[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }
    let checksum = crc32c::crc32c(&value[..envelope.checksum_at]);
    let checksum = crc32c::crc32c_append(checksum, &value[payload_at..]);
    value[envelope.checksum_at..payload_at].copy_from_slice(&checksum.to_be_bytes());
    value
}

/// The parts of a chunk, as [`pieces`]: a chunk that can be read holds the same after it was written
/// again, as it is and with its entries' own salts.
///
/// # Panics
///
/// When that is not so.
pub fn chunk(input: &[u8]) {
    let parts = pieces(input);
    let Some(first) = parts.first().and_then(|part| part.get(30..38)) else {
        return;
    };
    let first = first
        .iter()
        .fold(0, |first, byte| first << 8 | u64::from(*byte));
    let Ok(chunk) = Chunk::decode(&parts, store_id(), first) else {
        return;
    };
    for position in [chunk.first(), chunk.last()] {
        assert!(chunk.contains(position));
    }
    assert!(chunk.event(chunk.last() + 1).is_err());
    let (Ok(records), Ok(entries)) = (chunk.records(), chunk.entries()) else {
        return;
    };
    let again = write_again(&chunk, records.iter().map(|(record, mark)| (record, *mark)));
    assert_eq!(again.records(), Ok(records), "other records");
    assert_eq!(again.entries().as_ref(), Ok(&entries), "other entries");
    let own: Vec<_> = entries
        .iter()
        .map(|entry| (Record::from(&entry.content), entry.mark))
        .collect();
    let again = write_again(&chunk, own.iter().map(|(record, mark)| (record, *mark)));
    assert_eq!(again.entries(), Ok(entries), "other entries with own salts");
}

/// The chunk with these records, from the values that are stored of it.
fn write_again<'a>(
    chunk: &Chunk,
    records: impl Iterator<Item = (&'a Record, icecore_core::Mark)>,
) -> Chunk {
    let mut builder = chunk.builder();
    for (record, mark) in records {
        builder.push_record(record, mark, &mut Vec::new());
    }
    let parts = builder.encode(store_id(), VALUE_BYTES_MAX);
    let again = Chunk::decode(&parts, store_id(), chunk.first());
    again.expect("what was written can be read")
}

/// A block of an index run; the first byte is the first position of the run.
///
/// # Panics
///
/// When what can be read is another thing after it was written again.
pub fn index_block(input: &[u8]) {
    let Some((base, block)) = input.split_first() else {
        return;
    };
    let base = u64::from(*base);
    let Ok(entries) = entries(block, base) else {
        return;
    };
    let mut builder = BlockBuilder::default();
    for entry in &entries {
        builder.push(entry, base);
        assert_eq!(entry.postings().count(), entry.positions.len());
        assert_eq!(entry.postings().next(), Some(entry.first_place()));
        let is_even = |_: &[u8], position: u64| position.is_multiple_of(2);
        drop(entry.clone().without(&is_even));
    }
    assert_eq!(self::entries(&builder.finish(), base), Ok(entries));
}

fn entries(block: &[u8], base: u64) -> Result<Vec<Entry>, Damage> {
    let mut reader = BlockReader::new(block, base);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next()? {
        entries.push(entry.decode(reader.term())?);
    }
    Ok(entries)
}

/// The list of index runs.
///
/// # Panics
///
/// When what can be read is another thing after it was written again.
pub fn manifest(input: &[u8]) {
    if let Some(manifest) = Manifest::decode(input) {
        assert_eq!(Manifest::decode(&manifest.encode()), Some(manifest));
    }
}

/// A bloom filter, as it is stored and made of what it shall hold.
///
/// # Panics
///
/// When it does not hold that.
pub fn bloom(input: &[u8]) {
    let hashes: Vec<_> = input.chunks(8).map(bloom_hash).collect();
    let made = Bloom::build(&hashes);
    let made = Bloom::from_bytes(made.as_bytes().to_vec());
    assert!(hashes.iter().all(|hash| made.may_hold(*hash)));
    if !input.is_empty() {
        let stored = Bloom::from_bytes(input.to_vec());
        let _ = hashes.iter().filter(|hash| stored.may_hold(**hash)).count();
        assert_eq!(stored.as_bytes(), input);
    }
}

/// The list of blocks of an index run; the first byte is their number.
///
/// # Panics
///
/// When what can be read is another thing after it was written again.
pub fn starts(input: &[u8]) {
    let Some((count, list)) = input.split_first() else {
        return;
    };
    let count = u32::from(*count);
    if let Some(starts) = parse_starts(list, count) {
        assert_eq!(parse_starts(&encode_starts(&starts), count), Some(starts));
    }
}

/// The list of chunks of an index run; the first two bytes are its first position and its length.
///
/// # Panics
///
/// When what can be read is another thing after it was written again.
pub fn chunks(input: &[u8]) {
    let [first, events, list @ ..] = input else {
        return;
    };
    let first = u64::from(*first);
    let info = RunInfo {
        id: 1,
        tier: 0,
        first,
        last: first + u64::from(*events),
        blocks: 0,
        bloom_parts: 0,
        starts_parts: 0,
        chunks_parts: 0,
        streams: 0,
        log_bytes: 0,
    };
    if let Some(firsts) = parse_chunks(list, &info) {
        let written = encode_chunks(&firsts, first);
        assert_eq!(parse_chunks(&written, &info), Some(firsts));
    }
}

/// A value of the index with its envelope, which is sealed.
///
/// # Panics
///
/// When it is read although it is not what would be written.
pub fn index_value(input: &[u8]) {
    let key = SectionKey::MANIFEST;
    let value = seal(input);
    if let Ok(payload) = decode_section(store_id(), key, &value) {
        assert_eq!(encode_section(store_id(), key, payload), value);
    }
}

/// A group of roots, which is sealed.
///
/// # Panics
///
/// When it is read although it is not what would be written.
pub fn roots(input: &[u8]) {
    let value = seal(input);
    if let Some(found) = roots::decode(&value, store_id(), 3) {
        assert_eq!(roots::encode(store_id(), 3, &found), value);
    }
    // A whole group is too long to be found by chance.
    let root = |n: usize| Hash(std::array::from_fn(|at| n.to_be_bytes()[at % 8]));
    let made: Vec<_> = (input.len()..).take(ROOTS_PER_GROUP).map(root).collect();
    let group = input.len() as u64;
    let value = roots::encode(store_id(), group, &made);
    assert_eq!(roots::decode(&value, store_id(), group), Some(made));
}

/// A slot of the watermark, which is sealed.
///
/// # Panics
///
/// When it is read although it is not what would be written.
pub fn watermark(input: &[u8]) {
    let value = seal(input);
    let Some(slot) = value.first_chunk() else {
        return;
    };
    if let Some(content) = watermark::decode_slot(slot, store_id()) {
        assert_eq!(&watermark::encode_slot(store_id(), content), slot);
    }
}

/// The identity of a store, as it is and with a checksum that fits it.
///
/// # Panics
///
/// When it is read although it is not what would be written.
pub fn identity(input: &[u8]) {
    let checksum = crc32c::crc32c(input);
    let sealed = [input, format!("crc32c {checksum:08x}\n").as_bytes()].concat();
    for text in [input, &sealed] {
        if let Ok(identity) = parse_identity(Path::new("store"), text) {
            assert_eq!(identity_text(identity).as_bytes(), text);
        }
    }
}
