//! The tree over all events, by the rules of RFC 6962: tree heads, proofs that an event is in a tree,
//! proofs that a tree is the beginning of a later one. Pure: who has the hashes is asked for those of
//! [`Range`]s of leaves.
//!
//! Leaf `i` (from 0) is the event at position `i + 1`, see [`crate::LogEntry::leaf_hash`].
//! A node is SHA-256(0x01, left, right); a tree splits at the largest power of two below its size; a
//! tree without leaves is SHA-256 of nothing.
//!
//! ```
//! use icecore_core::{Hash, merkle};
//!
//! let leaves = [Hash([1; 32]), Hash([2; 32]), Hash([3; 32])];
//! let root = merkle::root(&leaves);
//! let path: Vec<_> = merkle::inclusion(1, 3).map(|range| merkle::root(&leaves[range.as_usize()])).collect();
//! assert!(merkle::includes(root, 3, 1, leaves[1], &path));
//! ```

use crate::Hash;
use sha2::{Digest, Sha256};

/// Some consecutive leaves, from `first` (inclusive) to `end` (exclusive).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first leaf.
    pub first: u64,
    /// The leaf after the last one.
    pub end: u64,
}

impl Range {
    /// How many leaves.
    pub fn size(self) -> u64 {
        self.end - self.first
    }

    /// As a range of a slice that holds all leaves.
    ///
    /// # Panics
    ///
    /// When the machine cannot count that far.
    pub fn as_usize(self) -> std::ops::Range<usize> {
        let index = |leaf: u64| usize::try_from(leaf).expect("a slice holds the leaf");
        index(self.first)..index(self.end)
    }

    fn split(self) -> (Self, Self) {
        let middle = self.first + split(self.size());
        let (first, end) = (self.first, self.end);
        (Self { first, end: middle }, Self { first: middle, end })
    }
}

/// The largest power of two below `size`, which is at least 2.
fn split(size: u64) -> u64 {
    1 << (u64::BITS - 1 - (size - 1).leading_zeros())
}

/// The hash of a tree that has these hashes as leaves, or as roots of whole subtrees of one size of
/// which the last may be smaller.
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash(Sha256::digest([]).into()),
        [leaf] => *leaf,
        _ => {
            let middle = leaves.len().next_power_of_two() / 2;
            node(root(&leaves[..middle]), root(&leaves[middle..]))
        }
    }
}

fn node(left: Hash, right: Hash) -> Hash {
    let mut hash = Sha256::new_with_prefix([1]);
    hash.update(left.0);
    hash.update(right.0);
    Hash(hash.finalize().into())
}

/// The subtrees whose hashes show that leaf `leaf` is in the tree of `size` leaves, from the leaf up.
/// Empty also when there is no such leaf.
pub fn inclusion(leaf: u64, size: u64) -> impl Iterator<Item = Range> {
    let mut range = Range {
        first: 0,
        end: size,
    };
    let mut path = Vec::new();
    while leaf < size && range.size() > 1 {
        let (left, right) = range.split();
        let (inside, beside) = if leaf < left.end {
            (left, right)
        } else {
            (right, left)
        };
        path.push(beside);
        range = inside;
    }
    path.into_iter().rev()
}

/// Whether `path`, made for [`inclusion`], leads from the leaf to the root of the tree.
pub fn includes(tree: Hash, size: u64, leaf: u64, hash: Hash, path: &[Hash]) -> bool {
    if leaf >= size {
        return false;
    }
    let (mut at, mut last, mut found) = (leaf, size - 1, hash);
    let mut path = path.iter();
    while last > 0 {
        if at % 2 == 1 || at < last {
            let Some(beside) = path.next() else {
                return false;
            };
            found = if at % 2 == 1 {
                node(*beside, found)
            } else {
                node(found, *beside)
            };
        }
        (at, last) = (at / 2, last / 2);
    }
    path.next().is_none() && found == tree
}

/// The subtrees whose hashes show that the tree of `old` leaves is the beginning of the one of `new`
/// leaves. Empty when nothing has to be shown: both are the same, or the old one is empty.
pub fn consistency(old: u64, new: u64) -> impl Iterator<Item = Range> {
    let mut proof = Vec::new();
    let mut range = Range { first: 0, end: new };
    let mut whole = true;
    while (1..new).contains(&old) && range.end != old {
        let (left, right) = range.split();
        if old <= left.end {
            proof.push(right);
            range = left;
        } else {
            proof.push(left);
            range = right;
            whole = false;
        }
    }
    if (1..new).contains(&old) && !whole {
        proof.push(range);
    }
    proof.into_iter().rev()
}

/// Whether `proof`, made for [`consistency`], shows that the tree `old` is the beginning of `new`.
/// Each is given with its number of leaves.
pub fn extends((old, old_size): (Hash, u64), (new, new_size): (Hash, u64), proof: &[Hash]) -> bool {
    if old_size == 0 {
        return proof.is_empty() && old == root(&[]);
    }
    if old_size >= new_size {
        return proof.is_empty() && old_size == new_size && old == new;
    }
    // Where the old tree is one whole subtree of the new one, its hash begins the proof.
    let mut proof = proof.iter().copied();
    let first = if old_size.is_power_of_two() {
        Some(old)
    } else {
        proof.next()
    };
    let Some(first) = first else {
        return false;
    };
    let shift = old_size.trailing_zeros();
    let (mut at, mut last) = ((old_size - 1) >> shift, (new_size - 1) >> shift);
    let (mut old_found, mut new_found) = (first, first);
    while last > 0 {
        if at % 2 == 1 || at < last {
            let Some(beside) = proof.next() else {
                return false;
            };
            if at % 2 == 1 {
                old_found = node(beside, old_found);
                new_found = node(beside, new_found);
            } else {
                new_found = node(new_found, beside);
            }
        }
        (at, last) = (at / 2, last / 2);
    }
    proof.next().is_none() && old_found == old && new_found == new
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up_to(end: u64) -> std::ops::Range<usize> {
        Range { first: 0, end }.as_usize()
    }

    fn leaves(count: u64) -> Vec<Hash> {
        let leaf = |n: u64| Hash(Sha256::digest(n.to_be_bytes()).into());
        (0..count).map(leaf).collect()
    }

    fn resolve(leaves: &[Hash], ranges: impl Iterator<Item = Range>) -> Vec<Hash> {
        ranges
            .map(|range| root(&leaves[range.as_usize()]))
            .collect()
    }

    /// Test vectors of the Certificate Transparency project for RFC 6962.
    #[test]
    fn roots_are_those_of_the_rfc() {
        let inputs: [&[u8]; 8] = [
            &[],
            &[0x00],
            &[0x10],
            &[0x20, 0x21],
            &[0x30, 0x31],
            &[0x40, 0x41, 0x42, 0x43],
            &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
            &[
                0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d,
                0x6e, 0x6f,
            ],
        ];
        let leaf = |input: &&[u8]| {
            Hash(
                Sha256::new_with_prefix([0])
                    .chain_update(input)
                    .finalize()
                    .into(),
            )
        };
        let leaves: Vec<_> = inputs.iter().map(leaf).collect();
        let expected = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        ];
        for (size, expected) in expected.into_iter().enumerate() {
            assert_eq!(root(&leaves[..size]).to_string(), expected, "{size}");
        }
        assert_eq!(
            root(&leaves).to_string(),
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
        );
    }

    #[test]
    fn every_leaf_of_every_small_tree_can_be_proved_and_nothing_else() {
        let leaves = leaves(40);
        for size in 1..=40 {
            let tree = root(&leaves[up_to(size)]);
            for leaf in 0..size {
                let hash = leaves[up_to(leaf).end];
                let path = resolve(&leaves, inclusion(leaf, size));
                assert!(includes(tree, size, leaf, hash, &path), "{leaf} of {size}");
                assert!(!includes(tree, size, leaf, Hash([9; 32]), &path));
                assert!(!includes(Hash([9; 32]), size, leaf, hash, &path));
                for other in (0..size + 2).filter(|other| *other != leaf) {
                    assert!(!includes(tree, size, other, hash, &path));
                }
                if !path.is_empty() {
                    assert!(!includes(tree, size, leaf, hash, &path[1..]));
                }
                let longer: Vec<_> = path.iter().copied().chain([tree]).collect();
                assert!(!includes(tree, size, leaf, hash, &longer));
            }
        }
    }

    #[test]
    fn every_small_tree_is_shown_to_begin_the_later_ones_and_no_other_is() {
        let leaves = leaves(40);
        for new_size in 0..=40 {
            let new = root(&leaves[up_to(new_size)]);
            for old_size in 0..=new_size {
                let old = root(&leaves[up_to(old_size)]);
                let proof = resolve(&leaves, consistency(old_size, new_size));
                let shown = |old, proof: &[Hash]| extends((old, old_size), (new, new_size), proof);
                assert!(shown(old, &proof), "{old_size} in {new_size}");
                assert!(!shown(Hash([9; 32]), &proof));
                let longer: Vec<_> = proof.iter().copied().chain([new]).collect();
                assert!(!shown(old, &longer));
                if !proof.is_empty() {
                    assert!(!shown(old, &proof[1..]));
                    let forged = extends((old, old_size), (Hash([9; 32]), new_size), &proof);
                    assert!(!forged);
                }
            }
        }
    }

    #[test]
    fn roots_of_whole_subtrees_stand_for_their_leaves() {
        let leaves = leaves(700);
        for size in [1, 255, 256, 257, 511, 512, 513, 700] {
            let subtrees: Vec<_> = leaves[..size].chunks(256).map(root).collect();
            assert_eq!(root(&subtrees), root(&leaves[..size]), "{size}");
        }
    }
}
