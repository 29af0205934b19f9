//! The tree over all events for whoever reads them in order: it grows by one leaf after the other and
//! keeps no more than the roots of the whole subtrees that it consists of.

use crate::{Hash, merkle};

/// A tree of [`merkle`] that grows.
///
/// ```
/// use icecore_core::{GrowingTree, Hash, merkle};
///
/// let leaves = [Hash([1; 32]), Hash([2; 32]), Hash([3; 32])];
/// let mut tree = GrowingTree::default();
/// leaves.iter().for_each(|leaf| tree.push(*leaf));
/// assert_eq!(tree.root(), merkle::root(&leaves));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrowingTree {
    size: u64,
    /// Roots of whole subtrees, the largest first: one for each bit of the size.
    subtrees: Vec<Hash>,
}

impl GrowingTree {
    /// A tree of `size` leaves by the roots of its whole subtrees, as [`Self::subtrees`] gave them;
    /// `None` if it has another number of them.
    pub fn from_subtrees(size: u64, subtrees: Vec<Hash>) -> Option<Self> {
        let fits = subtrees.len() == size.count_ones() as usize;
        fits.then_some(Self { size, subtrees })
    }

    /// Leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Roots of the whole subtrees, the largest first.
    pub fn subtrees(&self) -> &[Hash] {
        &self.subtrees
    }

    /// Adds the next leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            // Each bit of the size has its subtree.
            if let Some(left) = self.subtrees.pop() {
                hash = merkle::root(&[left, hash]);
            }
        }
        self.subtrees.push(hash);
        self.size += 1;
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        let mut subtrees = self.subtrees.iter().rev().copied();
        let Some(last) = subtrees.next() else {
            return merkle::root(&[]);
        };
        subtrees.fold(last, |right, left| merkle::root(&[left, right]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_root_of_all_leaves_at_every_size() {
        let leaves: Vec<_> = (0..300_u16)
            .map(|n| Hash([n.to_be_bytes()[1]; 32]))
            .collect();
        let mut tree = GrowingTree::default();
        for size in 0..leaves.len() {
            assert_eq!(tree.root(), merkle::root(&leaves[..size]), "{size}");
            let kept = GrowingTree::from_subtrees(tree.size(), tree.subtrees().to_vec());
            assert_eq!(kept.as_ref(), Some(&tree));
            tree.push(leaves[size]);
        }
        assert_eq!(GrowingTree::from_subtrees(3, vec![Hash([0; 32])]), None);
    }
}
