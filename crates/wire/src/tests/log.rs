//! Log entries, findings and verifications go over the wire and come back the same.

use super::strategies::{position, recorded_event, store_id};
use crate::{decode_log_entry, encode_log_entry, proto};
use bytes::Bytes;
use icecore_core::{
    EntryContent, Finding, Hash, LogBatch, LogEntry, Mark, Position, RecordedEvent, Salt, Verified,
    VerifyMessage, VerifyProgress, VerifyStep,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash)
}

fn entry() -> impl Strategy<Value = LogEntry> {
    let content = prop_oneof![
        (recorded_event(), any::<[u8; 16]>()).prop_map(|(event, salt)| EntryContent::Whole {
            event: RecordedEvent {
                erased: false,
                ..event
            },
            salt: Salt(salt),
        }),
        (recorded_event(), hash()).prop_map(|(event, payload)| EntryContent::Erased {
            event: event.into_erased(),
            payload,
        }),
        hash().prop_map(|leaf| EntryContent::Removed { leaf }),
    ];
    (content, any::<bool>()).prop_map(|(content, ends)| {
        let mut entry = LogEntry {
            position: Position::new(7),
            mark: if ends { Mark::End } else { Mark::Inner },
            content,
        };
        entry.position = entry.event().map_or(entry.position, |event| event.position);
        entry
    })
}

fn finding() -> impl Strategy<Value = Finding> {
    let positions = (1..u64::MAX, any::<u64>())
        .prop_map(|(first, last)| (Position::new(first), Position::new(last)));
    (option::of(positions), ".*").prop_map(|(positions, reason)| Finding { positions, reason })
}

fn verify_message() -> impl Strategy<Value = VerifyMessage> {
    let step = prop_oneof![
        Just(VerifyStep::File),
        Just(VerifyStep::Log),
        Just(VerifyStep::Indexes)
    ];
    prop_oneof![
        (step, any::<u64>(), any::<u64>()).prop_map(|(step, done, total)| {
            VerifyMessage::Progress(VerifyProgress { step, done, total })
        }),
        finding().prop_map(VerifyMessage::Finding),
        (
            store_id(),
            position(),
            any::<[u64; 3]>(),
            option::of(hash())
        )
            .prop_map(
                |(store_id, last_position, [whole, erased, removed], tree)| {
                    VerifyMessage::Verified(Verified {
                        store_id,
                        last_position,
                        whole,
                        erased,
                        removed,
                        tree,
                    })
                }
            ),
    ]
}

proptest! {
    #[test]
    fn the_log_comes_back(
        store_id in store_id(),
        last_position in position(),
        entries in vec(entry(), 0..4),
        damage in option::of(finding()),
    ) {
        let batch = LogBatch { store_id, last_position, entries, damage };
        let message = proto::ReadLogResponse::from(batch.clone());
        prop_assert_eq!(LogBatch::try_from(message).unwrap(), batch);
    }

    #[test]
    fn verifications_come_back(message in verify_message()) {
        let sent = proto::VerifyResponse::from(message.clone());
        prop_assert_eq!(VerifyMessage::try_from(sent).unwrap(), message);
    }

    #[test]
    fn entries_are_written_one_after_the_other(entries in vec(entry(), 0..5)) {
        let mut bytes = Vec::new();
        for entry in &entries {
            encode_log_entry(entry.clone(), &mut bytes);
        }
        let mut bytes = Bytes::from(bytes);
        for entry in entries {
            prop_assert_eq!(decode_log_entry(&mut bytes).unwrap(), entry);
        }
        prop_assert!(bytes.is_empty());
        prop_assert!(decode_log_entry(&mut bytes).is_err());
    }

    #[test]
    fn any_bytes_are_decoded_without_panic(bytes: Vec<u8>) {
        let mut bytes = Bytes::from(bytes);
        while decode_log_entry(&mut bytes).is_ok() {}
    }
}
