//! What concerns maintenance, there and back; entries that contradict themselves are refused.

use super::strategies::{position, recorded_event, revision, store_id, stream, timestamp};
use crate::{Erase, proto};
use bytes::Bytes;
use icecore_core::{
    ConsistencyProof, EntryContent, Erased, Error, Hash, InclusionProof, LogEntry, Mark,
    RecordedEvent, Salt, ScavengePhase, ScavengeProgress, TreeHead, TreeSignature,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;

fn sent<M: Message + Default>(message: &M) -> M {
    M::decode(Bytes::from(message.encode_to_vec())).unwrap()
}

fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash)
}

fn entry() -> impl Strategy<Value = LogEntry> {
    let state = (0..3_u8, hash(), any::<[u8; 16]>(), any::<bool>());
    (recorded_event(), state).prop_map(|(event, (kind, hash, salt, ends))| {
        let whole = RecordedEvent {
            erased: false,
            ..event
        };
        let position = whole.position;
        let content = match kind {
            0 => EntryContent::Whole {
                event: whole,
                salt: Salt(salt),
            },
            1 => EntryContent::Erased {
                event: whole.into_erased(),
                payload: hash,
            },
            _ => EntryContent::Removed { leaf: hash },
        };
        let mark = if ends { Mark::End } else { Mark::Inner };
        LogEntry {
            position,
            mark,
            content,
        }
    })
}

prop_compose! {
    fn head()(
        store_id in store_id(),
        size: u64,
        time in timestamp(),
        root in hash(),
        signed in option::of((any::<[u8; 32]>(), vec(any::<u8>(), 64))),
    ) -> TreeHead {
        let signature = signed.map(|(public_key, bytes)| TreeSignature {
            public_key,
            signature: bytes.try_into().unwrap(),
        });
        TreeHead { store_id, size, time, root, signature }
    }
}

fn phase() -> impl Strategy<Value = ScavengePhase> {
    prop_oneof![
        Just(ScavengePhase::Looking),
        Just(ScavengePhase::Removing),
        Just(ScavengePhase::Compacting),
        Just(ScavengePhase::Done),
    ]
}

proptest! {
    #[test]
    fn log_entries(entry in entry()) {
        let message = sent(&proto::LogEntry::from(entry.clone()));
        prop_assert_eq!(LogEntry::try_from(message).unwrap(), entry);
    }

    #[test]
    fn erasures(stream in stream(), revision in revision(), reason: String,
                store_id in store_id(), position in position(), was_erased: bool) {
        let erase = Erase { stream, revision, reason };
        let message = sent(&proto::EraseRequest::from(erase.clone()));
        prop_assert_eq!(Erase::try_from(message).unwrap(), erase);
        let erased = Erased { position, was_erased };
        let message = sent(&proto::EraseResponse::from((store_id, erased)));
        prop_assert_eq!(Erased::from(message), erased);
    }

    #[test]
    fn scavenges(store_id in store_id(), phase in phase(), position in position(),
                 up_to in position(), numbers: [u64; 4]) {
        let [removable_events, removable_bytes, removed_events, removed_bytes] = numbers;
        let progress = ScavengeProgress {
            phase, position, up_to, removable_events, removable_bytes, removed_events, removed_bytes,
        };
        let message = sent(&proto::ScavengeResponse::from((store_id, progress)));
        prop_assert_eq!(ScavengeProgress::try_from(message).unwrap(), progress);
    }

    #[test]
    fn proofs(head in head(), entry in entry(), path in vec(hash(), 0..5), old in hash(), n: u64) {
        let proof = InclusionProof { head: head.clone(), entry, path: path.clone() };
        let message = sent(&proto::InclusionProof::from(proof.clone()));
        prop_assert_eq!(InclusionProof::try_from(message).unwrap(), proof);
        let proof = ConsistencyProof { old_size: n, old_root: old, head, path };
        let message = sent(&proto::ConsistencyProof::from(proof.clone()));
        prop_assert_eq!(ConsistencyProof::try_from(message).unwrap(), proof);
    }

    #[test]
    fn entries_that_contradict_themselves_are_refused(entry in entry()) {
        use proto::log_entry::Content;
        let message = proto::LogEntry::from(entry);
        let field = |message: proto::LogEntry| match LogEntry::try_from(message) {
            Err(Error::InvalidArgument { field, .. }) => field.to_string(),
            other => panic!("{other:?}"),
        };
        let without = proto::LogEntry { content: None, ..message.clone() };
        prop_assert_eq!(field(without), "content");
        let (at, short, missing) = match message.content.clone().unwrap() {
            Content::Whole(mut whole) => {
                let elsewhere = "whole.event.position";
                whole.salt = Bytes::from_static(b"short");
                let missing = proto::log_entry::Whole { event: None, ..whole.clone() };
                (elsewhere, (Content::Whole(whole), "whole.salt"),
                 Some((Content::Whole(missing), "whole.event")))
            }
            Content::Erased(mut erased) => {
                erased.payload_hash = Bytes::new();
                let missing = proto::log_entry::Erased { event: None, ..erased.clone() };
                ("erased.event.position", (Content::Erased(erased), "erased.payload_hash"),
                 Some((Content::Erased(missing), "erased.event")))
            }
            Content::Removed(mut removed) => {
                removed.leaf_hash = vec![0; 33].into();
                ("", (Content::Removed(removed), "removed.leaf_hash"), None)
            }
        };
        let with = |content| proto::LogEntry { content: Some(content), ..message.clone() };
        prop_assert_eq!(field(with(short.0)), short.1);
        if let Some((content, name)) = missing {
            prop_assert_eq!(field(with(content)), name);
            let moved = proto::LogEntry { position: message.position.wrapping_add(1), ..message };
            prop_assert_eq!(field(moved), at);
        }
    }
}
