//! The log as it is stored: whole events, erased ones, removed ones; and the hash that each of them
//! keeps whatever happens to its payload. How hashes make a tree is [`crate::merkle`]'s.
//!
//! ```text
//! payload hash = SHA-256(salt 16, number of tags, tags, metadata, data)
//! leaf hash    = SHA-256(0x00, position 8, revision 8, recorded_at 8, has created_at 1, created_at 8,
//!                        id 16, stream, type, content type, payload hash 32)
//! ```
//!
//! Numbers are big-endian; counts and the lengths before texts and payloads have four bytes;
//! `created_at` is zero where there is none. The salt is random and goes with the payload, so that
//! what is left of an erased or removed event tells nothing about it.

use crate::Position;
use crate::{RecordedEvent, Timestamp};
use sha2::{Digest, Sha256};
use std::fmt;

/// Where an event stands in its append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// More events of the same append follow.
    Inner,
    /// The append is whole with this event.
    End,
}

/// A SHA-256 hash: of an event, of a payload, or of a node of the tree over all events.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

/// What keeps a payload from being guessed by its hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u8; 16]);

/// One position of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Which one.
    pub position: Position,
    /// Whether an append ends here.
    pub mark: Mark,
    /// What stands there.
    pub content: EntryContent,
}

/// What stands at a position of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryContent {
    /// An event as it was appended.
    Whole {
        /// The event.
        event: RecordedEvent,
        /// The salt of its payload.
        salt: Salt,
    },
    /// An event whose payload is gone.
    Erased {
        /// What is left of it.
        event: RecordedEvent,
        /// What its payload hashed to.
        payload: Hash,
    },
    /// An event that was scavenged.
    Removed {
        /// Its leaf hash.
        leaf: Hash,
    },
}

impl LogEntry {
    /// The event, unless it was removed.
    pub fn event(&self) -> Option<&RecordedEvent> {
        match &self.content {
            EntryContent::Whole { event, .. } | EntryContent::Erased { event, .. } => Some(event),
            EntryContent::Removed { .. } => None,
        }
    }

    /// The hash of this position's leaf in the tree; erasure and removal do not change it.
    pub fn leaf_hash(&self) -> Hash {
        match &self.content {
            EntryContent::Whole { event, salt } => leaf_hash(event, payload_hash(event, *salt)),
            EntryContent::Erased { event, payload } => leaf_hash(event, *payload),
            EntryContent::Removed { leaf } => *leaf,
        }
    }
}

impl EntryContent {
    /// The same without its payload; a removed event stays as it is.
    #[must_use]
    pub fn into_erased(self) -> Self {
        match self {
            Self::Whole { event, salt } => Self::Erased {
                payload: payload_hash(&event, salt),
                event: event.into_erased(),
            },
            other => other,
        }
    }
}

impl Salt {
    /// The salt of the event at `position` under a random seed that several events share.
    pub fn derive(seed: Self, position: Position) -> Self {
        let mut hash = Sha256::new_with_prefix(b"icecore salt");
        hash.update(seed.0);
        hash.update(position.get().to_be_bytes());
        let mut salt = [0; 16];
        salt.copy_from_slice(&hash.finalize()[..16]);
        Self(salt)
    }
}

/// The hash of what goes with an erasure.
pub fn payload_hash(event: &RecordedEvent, salt: Salt) -> Hash {
    let mut hash = Sha256::new_with_prefix(salt.0);
    hash.update(length(event.tags.len()));
    for tag in &event.tags {
        put(&mut hash, tag.as_str().as_bytes());
    }
    put(&mut hash, &event.metadata);
    put(&mut hash, &event.data);
    Hash(hash.finalize().into())
}

fn leaf_hash(event: &RecordedEvent, payload: Hash) -> Hash {
    let mut hash = Sha256::new_with_prefix([0]);
    hash.update(event.position.get().to_be_bytes());
    hash.update(event.revision.get().to_be_bytes());
    hash.update(event.recorded_at.nanos().to_be_bytes());
    hash.update([u8::from(event.created_at.is_some())]);
    let created_at = event.created_at.map_or(0, Timestamp::nanos);
    hash.update(created_at.to_be_bytes());
    hash.update(event.id.as_bytes());
    put(&mut hash, event.stream.as_str().as_bytes());
    put(&mut hash, event.event_type.as_str().as_bytes());
    put(&mut hash, event.content_type.as_str().as_bytes());
    hash.update(payload.0);
    Hash(hash.finalize().into())
}

fn put(hash: &mut Sha256, bytes: &[u8]) {
    hash.update(length(bytes.len()));
    hash.update(bytes);
}

/// Everything an event carries is far below 4 GiB.
fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes)
        .expect("an event is at most 16 MiB")
        .to_be_bytes()
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It is as secret as the payload.
        f.write_str("Salt(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ContentType, EventType, Revision, StreamName, Tag};
    use bytes::Bytes;
    use uuid::Uuid;

    fn event() -> RecordedEvent {
        RecordedEvent {
            stream: StreamName::new("account-1").unwrap(),
            revision: Revision::new(3),
            position: Position::new(7),
            id: Uuid::from_u128(9),
            event_type: EventType::new("Deposited").unwrap(),
            content_type: ContentType::JSON,
            data: Bytes::from_static(b"{}"),
            metadata: Bytes::from_static(b"m"),
            tags: vec![Tag::new("a:b").unwrap()],
            recorded_at: Timestamp::from_nanos(5),
            created_at: None,
            erased: false,
        }
    }

    fn entry(event: RecordedEvent) -> LogEntry {
        let content = EntryContent::Whole {
            event,
            salt: Salt([7; 16]),
        };
        LogEntry {
            position: Position::new(7),
            mark: Mark::End,
            content,
        }
    }

    #[test]
    fn erasure_and_removal_keep_the_leaf() {
        let whole = entry(event());
        let leaf = whole.leaf_hash();
        let erased = LogEntry {
            content: whole.content.clone().into_erased(),
            ..whole.clone()
        };
        assert!(erased.event().unwrap().erased);
        assert!(erased.event().unwrap().data.is_empty());
        assert!(erased.event().unwrap().tags.is_empty());
        assert_eq!(erased.leaf_hash(), leaf);
        let removed = LogEntry {
            content: EntryContent::Removed { leaf },
            ..whole
        };
        assert_eq!(removed.leaf_hash(), leaf);
    }

    #[test]
    fn every_field_and_the_salt_change_the_leaf() {
        let change: [fn(&mut RecordedEvent); 10] = [
            |e| e.stream = StreamName::new("account-2").unwrap(),
            |e| e.revision = Revision::new(4),
            |e| e.position = Position::new(8),
            |e| e.id = Uuid::from_u128(10),
            |e| e.event_type = EventType::new("Withdrawn").unwrap(),
            |e| e.content_type = ContentType::OCTET_STREAM,
            |e| e.data = Bytes::from_static(b"{ }"),
            |e| e.metadata = Bytes::new(),
            |e| e.tags.clear(),
            |e| e.created_at = Some(Timestamp::from_nanos(0)),
        ];
        let whole = entry(event()).leaf_hash();
        for change in change {
            let mut other = event();
            change(&mut other);
            assert_ne!(entry(other).leaf_hash(), whole);
        }
        let mut salted = entry(event());
        salted.content = EntryContent::Whole {
            event: event(),
            salt: Salt([8; 16]),
        };
        assert_ne!(salted.leaf_hash(), whole);
    }

    /// The format is frozen; these values were computed apart from this code.
    #[test]
    fn the_hashes_are_those_of_the_format() {
        let salt = Salt::derive(Salt([1; 16]), Position::new(7));
        let mut padded = [0; 32];
        padded[..16].copy_from_slice(&salt.0);
        assert_eq!(
            Hash(padded).to_string()[..32],
            *"669960d33d9caf2f191b1ad4b8733897"
        );
        assert_eq!(
            payload_hash(&event(), Salt([7; 16])).to_string(),
            "a183239aeac9c9c381e81e117bb7b2ece4a1ed3faa8f948a21dfb47b4aae3aa8"
        );
        assert_eq!(
            entry(event()).leaf_hash().to_string(),
            "78e0e864b3ca44900f72ee6d191f3414a0b92042b12f330432a694e45766b388"
        );
    }
}
