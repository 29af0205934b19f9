//! What a store says about the tree over its events, and the bytes of it that are signed. Who holds
//! keys is not known here.

use crate::{Hash, LogEntry, Position, StoreId, Timestamp};

/// The tree over the first events of a store. Leaf `i` is the event at position `i + 1`; the rules
/// are those of RFC 6962, see [`crate::merkle`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// The store.
    pub store_id: StoreId,
    /// How many events: all up to this position.
    pub size: u64,
    /// When the head was made.
    pub time: Timestamp,
    /// The root of the tree.
    pub root: Hash,
    /// Signature and public key, where the store has a key.
    pub signature: Option<TreeSignature>,
}

/// An Ed25519 signature over [`TreeHead::signed_bytes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeSignature {
    /// The public key; whoever verifies compares it with the one that they know.
    pub public_key: [u8; 32],
    /// The signature.
    pub signature: [u8; 64],
}

/// Shows that an event is in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    /// The tree.
    pub head: TreeHead,
    /// The event, or what is left of it.
    pub entry: LogEntry,
    /// Hashes from the leaf up.
    pub path: Vec<Hash>,
}

/// Shows that a tree is the beginning of a later one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistencyProof {
    /// How many events the earlier tree has.
    pub old_size: u64,
    /// Its root.
    pub old_root: Hash,
    /// The later tree.
    pub head: TreeHead,
    /// The proof.
    pub path: Vec<Hash>,
}

impl TreeHead {
    /// What is signed: `icecore tree head 1`, a zero byte, store id (16 bytes), size (8), time (8,
    /// nanoseconds since 1970), root (32). Numbers are big-endian.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = b"icecore tree head 1\0".to_vec();
        bytes.extend_from_slice(self.store_id.get().as_bytes());
        bytes.extend_from_slice(&self.size.to_be_bytes());
        bytes.extend_from_slice(&self.time.nanos().to_be_bytes());
        bytes.extend_from_slice(&self.root.0);
        bytes
    }
}

impl InclusionProof {
    /// Whether the path leads from the entry to the root of the tree. The signature is another matter.
    pub fn holds(&self) -> bool {
        let leaf = self.entry.position.get().checked_sub(1);
        leaf.is_some_and(|leaf| {
            let (root, size) = (self.head.root, self.head.size);
            crate::merkle::includes(root, size, leaf, self.entry.leaf_hash(), &self.path)
        })
    }

    /// The event's position.
    pub fn position(&self) -> Position {
        self.entry.position
    }
}

impl ConsistencyProof {
    /// Whether the earlier tree is the beginning of the later one. The signature is another matter.
    pub fn holds(&self) -> bool {
        let old = (self.old_root, self.old_size);
        let new = (self.head.root, self.head.size);
        crate::merkle::extends(old, new, &self.path)
    }
}
