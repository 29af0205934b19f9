//! A bloom filter: says for sure that a run does not hold a term.

use xxhash_rust::xxh3::xxh3_64;

const BITS_PER_TERM: usize = 10;
const PROBES: u64 = 7;

/// The bits, eight to a byte, lowest first.
#[derive(Debug)]
pub(crate) struct Bloom {
    bits: Box<[u8]>,
}

/// The hash by which a term is found.
pub(crate) fn hash(term: &[u8]) -> u64 {
    xxh3_64(term)
}

impl Bloom {
    pub(crate) fn build(hashes: &[u64]) -> Self {
        let mut bits = vec![0_u8; (hashes.len() * BITS_PER_TERM).div_ceil(8).max(8)];
        let count = bits.len() as u64 * 8;
        for hash in hashes {
            for (byte, mask) in probes(*hash, count) {
                bits[byte] |= mask;
            }
        }
        Self { bits: bits.into() }
    }

    /// Takes what [`Self::as_bytes`] gave.
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self { bits: bytes.into() }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bits
    }

    pub(crate) fn may_hold(&self, hash: u64) -> bool {
        let count = self.bits.len() as u64 * 8;
        probes(hash, count).all(|(byte, mask)| self.bits[byte] & mask != 0)
    }
}

/// Double hashing with the two halves of one hash.
fn probes(hash: u64, bits: u64) -> impl Iterator<Item = (usize, u8)> {
    let (start, step) = (hash, (hash >> 32) | 1);
    (0..PROBES).map(move |probe| {
        let bit = start.wrapping_add(probe.wrapping_mul(step)) % bits;
        let byte = usize::try_from(bit / 8).expect("the filter is in memory");
        (byte, 1 << (bit % 8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_put_in_and_little_else() {
        let hashes = |from: u32| (from..from + 5_000).map(|n| hash(&n.to_be_bytes()));
        let bloom = Bloom::build(&hashes(0).collect::<Vec<_>>());
        let bloom = Bloom::from_bytes(bloom.as_bytes().to_vec());
        assert!(hashes(0).all(|hash| bloom.may_hold(hash)));
        let wrong = hashes(5_000).filter(|hash| bloom.may_hold(*hash)).count();
        assert!(wrong < 150, "{wrong} of 5,000");
    }

    #[test]
    fn an_empty_filter_holds_nothing() {
        assert!(!Bloom::build(&[]).may_hold(hash(b"a")));
    }
}
