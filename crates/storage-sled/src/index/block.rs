//! A block of a run: terms in byte order, each with some of its postings. A long list goes on in
//! further entries of the same term.
//!
//! ```text
//! entry
//! varint  bytes shared with the term before it in this block
//! bytes   rest of the term          (bytes = varint length, then the bytes)
//! u8      flags: 0x01 the last posting is a tombstone
//! varint  number of postings, at least 1
//! varint  revision of the first posting, only for streams
//! bytes   postings: varint first position - first position of the run, then varint distances
//! ```

use super::posting::{Posting, revision_of};
use super::term::has_revisions;
use crate::encoding::{Input, put_bytes, put_varint};
use crate::record::Damage;

const FLAG_TOMBSTONE: u8 = 0x01;
const WRONG: Damage = Damage("an index block cannot be read");

/// A term with some of its postings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) term: Vec<u8>,
    /// Revision of the first posting; 0 for terms that are no stream.
    pub(crate) first_revision: u64,
    /// Whether the last posting closes its stream.
    pub(crate) tombstone: bool,
    /// Never empty, ascending.
    pub(crate) positions: Vec<u64>,
}

impl Entry {
    pub(crate) fn postings(&self) -> impl DoubleEndedIterator<Item = Posting> + use<'_> {
        let count = self.positions.len() as u64;
        let revision = move |index: u64| {
            if has_revisions(&self.term) {
                revision_of(self.first_revision, index, count, self.tombstone)
            } else {
                0
            }
        };
        self.positions
            .iter()
            .enumerate()
            .map(move |(index, position)| Posting {
                position: *position,
                revision: revision(index as u64),
            })
    }

    /// The entry without what `gone` says of its term and a position; `None` when nothing is left. Of
    /// a stream only the beginning goes, since its revisions are counted from there.
    pub(crate) fn without(mut self, gone: &impl Fn(&[u8], u64) -> bool) -> Option<Self> {
        if has_revisions(&self.term) {
            let mut kept = self.positions.iter();
            let first = kept.position(|position| !gone(&self.term, *position))?;
            self.first_revision += first as u64;
            self.positions.drain(..first);
        } else {
            self.positions
                .retain(|position| !gone(&self.term, *position));
        }
        (!self.positions.is_empty()).then_some(self)
    }

    /// Whether the only posting closes its stream, so that it may follow any revision.
    pub(crate) fn is_tombstone_alone(&self) -> bool {
        self.tombstone && self.positions.len() == 1
    }

    /// Revision of the first posting as a reader sees it.
    pub(crate) fn first_place(&self) -> Posting {
        self.postings().next().unwrap_or(Posting {
            position: 0,
            revision: 0,
        })
    }
}

/// Puts entries together.
#[derive(Debug, Default)]
pub(crate) struct BlockBuilder {
    bytes: Vec<u8>,
    term: Vec<u8>,
    scratch: Vec<u8>,
}

impl BlockBuilder {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds an entry; `base` is the first position of the run.
    pub(crate) fn push(&mut self, entry: &Entry, base: u64) {
        let shared = self
            .term
            .iter()
            .zip(&entry.term)
            .take_while(|(a, b)| a == b)
            .count();
        put_varint(&mut self.bytes, shared as u64);
        put_bytes(&mut self.bytes, &entry.term[shared..]);
        self.bytes
            .push(if entry.tombstone { FLAG_TOMBSTONE } else { 0 });
        put_varint(&mut self.bytes, entry.positions.len() as u64);
        if has_revisions(&entry.term) {
            put_varint(&mut self.bytes, entry.first_revision);
        }
        self.scratch.clear();
        let mut before = base;
        for position in &entry.positions {
            put_varint(&mut self.scratch, position - before);
            before = *position;
        }
        put_bytes(&mut self.bytes, &self.scratch);
        self.term.clone_from(&entry.term);
    }

    /// The finished block; the builder is empty afterwards.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        self.term.clear();
        std::mem::take(&mut self.bytes)
    }
}

/// Reads a block entry by entry. It stops for good at the first damage.
pub(crate) struct BlockReader<'a> {
    input: Input<'a>,
    term: Vec<u8>,
    base: u64,
}

/// An entry whose postings are not looked at yet.
pub(crate) struct RawEntry<'a> {
    first_revision: u64,
    tombstone: bool,
    count: usize,
    postings: &'a [u8],
    base: u64,
}

impl<'a> BlockReader<'a> {
    pub(crate) fn new(block: &'a [u8], base: u64) -> Self {
        Self {
            input: Input::new(block),
            term: Vec::new(),
            base,
        }
    }

    /// The term of the entry that was read last.
    pub(crate) fn term(&self) -> &[u8] {
        &self.term
    }

    /// The next entry; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<RawEntry<'a>>, Damage> {
        if self.input.is_empty() {
            return Ok(None);
        }
        self.read().map(Some).ok_or(WRONG)
    }

    fn read(&mut self) -> Option<RawEntry<'a>> {
        let shared = self
            .input
            .count()
            .filter(|shared| *shared <= self.term.len())?;
        self.term.truncate(shared);
        self.term.extend_from_slice(self.input.bytes()?);
        let flags = self
            .input
            .u8()
            .filter(|flags| flags & !FLAG_TOMBSTONE == 0)?;
        let count = self.input.count()?;
        let first_revision = if has_revisions(&self.term) {
            self.input.varint()?
        } else {
            0
        };
        let postings = self.input.bytes()?;
        let sound = !self.term.is_empty()
            && (1..=postings.len()).contains(&count)
            && first_revision.checked_add(count as u64).is_some();
        sound.then_some(RawEntry {
            first_revision,
            tombstone: flags & FLAG_TOMBSTONE != 0,
            count,
            postings,
            base: self.base,
        })
    }
}

impl RawEntry<'_> {
    /// The entry with its postings.
    pub(crate) fn decode(&self, term: &[u8]) -> Result<Entry, Damage> {
        let mut input = Input::new(self.postings);
        let mut positions = Vec::with_capacity(self.count);
        let mut position = self.base;
        for _ in 0..self.count {
            position = input
                .varint()
                .and_then(|by| position.checked_add(by))
                .ok_or(WRONG)?;
            positions.push(position);
        }
        if !input.is_empty() {
            return Err(WRONG);
        }
        let Self {
            first_revision,
            tombstone,
            ..
        } = *self;
        Ok(Entry {
            term: term.to_vec(),
            first_revision,
            tombstone,
            positions,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let entry = (
            1..6_u8,
            "[a-c]{0,6}",
            btree_set(100..10_000_u64, 1..20),
            0..50_u64,
            any::<bool>(),
        );
        vec(entry, 0..20).prop_map(|entries| {
            entries
                .into_iter()
                .map(|(kind, name, positions, revision, tombstone)| Entry {
                    term: crate::index::term::key(kind, &name),
                    first_revision: if kind == 1 { revision } else { 0 },
                    tombstone,
                    positions: positions.into_iter().collect(),
                })
                .collect()
        })
    }

    fn read(block: &[u8]) -> Result<Vec<Entry>, Damage> {
        let mut reader = BlockReader::new(block, 100);
        let mut entries = Vec::new();
        while let Some(entry) = reader.next()? {
            entries.push(entry.decode(reader.term())?);
        }
        Ok(entries)
    }

    proptest! {
        #[test]
        fn blocks_round_trip(entries in entries()) {
            let mut builder = BlockBuilder::default();
            for entry in &entries {
                builder.push(entry, 100);
            }
            prop_assert_eq!(read(&builder.finish()).unwrap(), entries);
            prop_assert_eq!(builder.len(), 0);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = read(&bytes);
        }
    }
}
