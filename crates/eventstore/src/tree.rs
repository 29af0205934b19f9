//! The tree over all events: heads, proofs, and the roots of its whole subtrees, which are computed
//! once, kept in memory (32 bytes for 256 events) and in the storage.
//!
//! Nothing of this is part of a commit: hashes are computed from the log, behind the appends.

use crate::store::EventStore;
use ed25519_dalek::{Signer, SigningKey};
use icecore_core::{
    ConsistencyProof, Error, Hash, InclusionProof, LogEntry, PageLimit, Position, Result, TreeHead,
    TreeSignature,
    merkle::{self, Range},
};
use icecore_storage::{ROOTS_PER_GROUP, SUBTREE_LEAVES};
use std::fmt;

/// Signs tree heads.
#[derive(Clone)]
pub struct TreeKey(SigningKey);

impl TreeKey {
    /// A key from its 32 secret bytes.
    pub fn from_bytes(secret: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(secret))
    }

    /// The public half, 32 bytes.
    pub fn public_key(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    fn sign(&self, head: &TreeHead) -> TreeSignature {
        TreeSignature {
            public_key: self.public_key(),
            signature: self.0.sign(&head.signed_bytes()).to_bytes(),
        }
    }
}

impl fmt::Debug for TreeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TreeKey(..)")
    }
}

/// Roots of the first whole subtrees, in order.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    roots: Vec<Hash>,
    /// How many of them the storage keeps.
    kept: usize,
}

impl EventStore {
    /// The tree over the first `size` events, or over all that are durable.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a size beyond the end; `Corrupted`, naming what cannot be read.
    pub async fn tree_head(&self, size: Option<u64>) -> Result<TreeHead> {
        let size = self.tree_size(size)?;
        let mut tree = self.tree().lock().await;
        let root = self
            .range_hash(
                &mut tree,
                Range {
                    first: 0,
                    end: size,
                },
            )
            .await?;
        let mut head = TreeHead {
            store_id: self.store_id(),
            size,
            time: self.now(),
            root,
            signature: None,
        };
        head.signature = self.config().tree_key.as_ref().map(|key| key.sign(&head));
        Ok(head)
    }

    /// Shows that the event at a position is in the tree over the first `size` events, or over all.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a position or size beyond the end; `Corrupted`.
    pub async fn inclusion_proof(
        &self,
        position: Position,
        size: Option<u64>,
    ) -> Result<InclusionProof> {
        let size = self.tree_size(size)?;
        let leaf = position.get().checked_sub(1).filter(|leaf| *leaf < size);
        let leaf = leaf.ok_or_else(|| {
            Error::invalid(
                "position",
                format!("is {position}, the tree has events 1 to {size}"),
            )
        })?;
        let entries = self
            .log_entries(Range {
                first: leaf,
                end: leaf + 1,
            })
            .await?;
        let entry = entries.into_iter().next();
        let entry = entry.ok_or_else(|| Error::internal("the storage gives no entry"))?;
        let path = self.hashes(merkle::inclusion(leaf, size)).await?;
        let head = self.tree_head(Some(size)).await?;
        Ok(InclusionProof { head, entry, path })
    }

    /// Shows that the tree over the first `old` events is the beginning of the one over the first
    /// `size`, or over all.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for sizes beyond the end or in the wrong order; `Corrupted`.
    pub async fn consistency_proof(&self, old: u64, size: Option<u64>) -> Result<ConsistencyProof> {
        let size = self.tree_size(size)?;
        if old > size {
            let reason = format!("is {old}, the later tree has {size} events");
            return Err(Error::invalid("old_size", reason));
        }
        let path = self.hashes(merkle::consistency(old, size)).await?;
        let old_root = self
            .hashes([Range { first: 0, end: old }].into_iter())
            .await?;
        let head = self.tree_head(Some(size)).await?;
        Ok(ConsistencyProof {
            old_size: old,
            old_root: old_root[0],
            head,
            path,
        })
    }

    fn tree_size(&self, size: Option<u64>) -> Result<u64> {
        let last = self.last_position().get();
        match size {
            Some(size) if size > last => Err(Error::invalid(
                "size",
                format!("is {size}, the store has {last} events"),
            )),
            size => Ok(size.unwrap_or(last)),
        }
    }

    async fn hashes(&self, ranges: impl Iterator<Item = Range>) -> Result<Vec<Hash>> {
        let mut tree = self.tree().lock().await;
        let mut hashes = Vec::new();
        for range in ranges {
            hashes.push(self.range_hash(&mut tree, range).await?);
        }
        Ok(hashes)
    }

    /// The hash of a subtree: whole subtrees by their roots, the rest by its leaves. A range that is
    /// longer than a subtree begins where one does.
    async fn range_hash(&self, tree: &mut Tree, range: Range) -> Result<Hash> {
        if range.size() < SUBTREE_LEAVES {
            return Ok(merkle::root(&self.leaves(range).await?));
        }
        let whole = range.end / SUBTREE_LEAVES;
        self.extend_tree(tree, whole, u64::MAX).await?;
        let subtrees = Range {
            first: range.first / SUBTREE_LEAVES,
            end: whole,
        };
        let mut roots = tree.roots[subtrees.as_usize()].to_vec();
        let rest = Range {
            first: whole * SUBTREE_LEAVES,
            end: range.end,
        };
        if rest.size() > 0 {
            roots.push(merkle::root(&self.leaves(rest).await?));
        }
        Ok(merkle::root(&roots))
    }

    /// Computes roots until there are those of `whole` subtrees, or `most` new ones. Groups of them
    /// are kept in the storage.
    pub(crate) async fn extend_tree(&self, tree: &mut Tree, whole: u64, most: u64) -> Result<()> {
        let mut left = most;
        while (tree.roots.len() as u64) < whole && left > 0 {
            if tree.kept == tree.roots.len() {
                let kept = self.storage().subtree_roots(tree.kept as u64).await?;
                tree.kept += kept.len();
                tree.roots.extend_from_slice(&kept);
                if !kept.is_empty() {
                    continue;
                }
            }
            let first = tree.roots.len() as u64 * SUBTREE_LEAVES;
            let leaves = self
                .leaves(Range {
                    first,
                    end: first + SUBTREE_LEAVES,
                })
                .await?;
            tree.roots.push(merkle::root(&leaves));
            left -= 1;
            if tree.roots.len() == tree.kept + ROOTS_PER_GROUP {
                let group = (tree.kept / ROOTS_PER_GROUP) as u64;
                let roots = tree.roots[tree.kept..].to_vec();
                self.storage()
                    .keep_roots(&self.lease(), group, roots)
                    .await?;
                tree.kept = tree.roots.len();
            }
        }
        Ok(())
    }

    async fn leaves(&self, range: Range) -> Result<Vec<Hash>> {
        let entries = self.log_entries(range).await?;
        Ok(entries.iter().map(LogEntry::leaf_hash).collect())
    }

    async fn log_entries(&self, range: Range) -> Result<Vec<LogEntry>> {
        let mut entries = Vec::new();
        let mut next = Position::new(range.first).next();
        while next.get() <= range.end {
            let left = usize::try_from(range.end - next.get() + 1).unwrap_or(usize::MAX);
            let page = self
                .storage()
                .read_log(next, PageLimit::events(left))
                .await?;
            if let Some(damage) = page.damage {
                return Err(Error::corrupted(format!(
                    "positions {} to {}: {}; see `icecore verify`",
                    damage.first, damage.last, damage.reason
                )));
            }
            entries.extend(page.entries);
            next = page.next;
        }
        Ok(entries)
    }
}
