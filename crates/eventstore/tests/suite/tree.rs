//! The tree over all events: heads, proofs, kept roots.

use crate::support::{Any, TestStore, append, name, open, reopen};
use icecore_core::{Hash, LogEntry, PageLimit, Position, Revision, ScavengeMode, merkle};
use icecore_eventstore::{StoreConfig, TreeKey};
use icecore_storage::Storage;

async fn fill(store: &TestStore, events: u128) {
    let first = u128::from(store.last_position().get());
    let ids: Vec<_> = (first..first + events).collect();
    for ids in ids.chunks(5_000) {
        store.append(append("s-1", Any, ids)).await.unwrap();
    }
}

async fn leaves(store: &TestStore) -> Vec<Hash> {
    let mut leaves = Vec::new();
    let mut from = Position::FIRST;
    loop {
        let page = store.storage.read_log(from, PageLimit::MAX).await.unwrap();
        leaves.extend(page.entries.iter().map(LogEntry::leaf_hash));
        from = page.next;
        if page.end {
            return leaves;
        }
    }
}

#[tokio::test]
async fn heads_are_those_of_all_leaves() {
    let store = open().await;
    assert_eq!(store.tree_head(None).await.unwrap().root, merkle::root(&[]));
    fill(&store, 1_000).await;
    let leaves = leaves(&store).await;
    for size in [0, 1, 2, 255, 256, 257, 511, 512, 513, 768, 999, 1_000] {
        let head = store.tree_head(Some(size as u64)).await.unwrap();
        assert_eq!(
            (head.root, head.size),
            (merkle::root(&leaves[..size]), size as u64)
        );
        assert_eq!(head.signature, None);
    }
    assert!(store.tree_head(Some(1_001)).await.is_err());
}

#[tokio::test]
async fn every_proof_holds_and_survives_erasure_and_scavenging() {
    let store = open().await;
    fill(&store, 900).await;
    let old = store.tree_head(None).await.unwrap();
    store
        .erase(&name("s-1"), Revision::new(300), "")
        .await
        .unwrap();
    store
        .truncate(&name("s-1"), Revision::new(200))
        .await
        .unwrap();
    store
        .scavenge(ScavengeMode::Remove, |_| true)
        .await
        .unwrap();
    assert_eq!(store.tree_head(Some(900)).await.unwrap().root, old.root);
    let last = store.last_position().get();
    for position in [1, 100, 200, 201, 256, 257, 301, 600, 899, 900, last] {
        let proof = store
            .inclusion_proof(Position::new(position), None)
            .await
            .unwrap();
        assert!(proof.holds(), "{position}");
        assert_eq!(proof.position().get(), position);
        let mut forged = proof;
        forged.head.root = old.root;
        assert!(!forged.holds(), "{position}");
    }
    for size in [0, 1, 255, 256, 257, 899, 900, last] {
        let proof = store.consistency_proof(size, None).await.unwrap();
        assert!(proof.holds(), "{size}");
        assert_eq!(proof.head.size, last);
    }
    let with_old = store.consistency_proof(900, None).await.unwrap();
    assert_eq!(with_old.old_root, old.root);
    assert!(store.inclusion_proof(Position::START, None).await.is_err());
    assert!(
        store
            .inclusion_proof(Position::new(last + 1), None)
            .await
            .is_err()
    );
    assert!(store.consistency_proof(5, Some(4)).await.is_err());
}

#[tokio::test]
async fn roots_are_kept_in_groups_and_used_again() {
    let store = open().await;
    fill(&store, 128 * 256 + 300).await;
    let head = store.tree_head(None).await.unwrap();
    let kept = store.storage.subtree_roots(0).await.unwrap();
    assert_eq!(kept.len(), 128);
    let again = reopen(store.storage.clone(), StoreConfig::default()).await;
    assert_eq!(again.tree_head(None).await.unwrap().root, head.root);
    // Kept roots are believed; verifying compares them.
    let lease = again.storage.lead().await.unwrap();
    again
        .storage
        .keep_roots(&lease, 0, vec![Hash([0; 32]); 128])
        .await
        .unwrap();
    let misled = reopen(store.storage.clone(), StoreConfig::default()).await;
    assert_ne!(misled.tree_head(None).await.unwrap().root, head.root);
}

#[tokio::test]
async fn heads_are_signed_with_the_key() {
    use ed25519_dalek::{Signature, VerifyingKey};
    let key = TreeKey::from_bytes(&[7; 32]);
    let config = StoreConfig {
        tree_key: Some(key.clone()),
        ..StoreConfig::default()
    };
    let store = crate::support::open_with(config).await;
    fill(&store, 3).await;
    let head = store.tree_head(None).await.unwrap();
    let signed = head.signature.unwrap();
    assert_eq!(signed.public_key, key.public_key());
    let public = VerifyingKey::from_bytes(&signed.public_key).unwrap();
    let signature = Signature::from_bytes(&signed.signature);
    assert!(
        public
            .verify_strict(&head.signed_bytes(), &signature)
            .is_ok()
    );
    let other = icecore_core::TreeHead { size: 2, ..head };
    assert!(
        public
            .verify_strict(&other.signed_bytes(), &signature)
            .is_err()
    );
}
