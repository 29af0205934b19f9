//! Entries of the log as they are stored, and the hashes in them.

use crate::field::{InField, required};
use crate::proto;
use crate::proto::log_entry::Content;
use bytes::Bytes;
use icecore_core::{EntryContent, Error, Hash, LogEntry, Mark, Position, Result, Salt};

impl From<LogEntry> for proto::LogEntry {
    fn from(entry: LogEntry) -> Self {
        let content = match entry.content {
            EntryContent::Whole { event, salt } => Content::Whole(proto::log_entry::Whole {
                event: Some(event.into()),
                salt: Bytes::copy_from_slice(&salt.0),
            }),
            EntryContent::Erased { event, payload } => Content::Erased(proto::log_entry::Erased {
                event: Some(event.into()),
                payload_hash: hash_bytes(payload),
            }),
            EntryContent::Removed { leaf } => Content::Removed(proto::log_entry::Removed {
                leaf_hash: hash_bytes(leaf),
            }),
        };
        Self {
            position: entry.position.get(),
            ends_append: entry.mark == Mark::End,
            content: Some(content),
        }
    }
}

impl TryFrom<proto::LogEntry> for LogEntry {
    type Error = Error;

    fn try_from(entry: proto::LogEntry) -> Result<Self> {
        let position = Position::new(entry.position);
        let content = match required(entry.content, "content")? {
            Content::Whole(whole) => EntryContent::Whole {
                event: stored_event(whole.event, position, false).inside(|| "whole".to_owned())?,
                salt: Salt(fixed(&whole.salt, "whole.salt")?),
            },
            Content::Erased(erased) => EntryContent::Erased {
                event: stored_event(erased.event, position, true).inside(|| "erased".to_owned())?,
                payload: hash(&erased.payload_hash, "erased.payload_hash")?,
            },
            Content::Removed(removed) => EntryContent::Removed {
                leaf: hash(&removed.leaf_hash, "removed.leaf_hash")?,
            },
        };
        Ok(Self {
            position,
            mark: if entry.ends_append {
                Mark::End
            } else {
                Mark::Inner
            },
            content,
        })
    }
}

fn stored_event(
    event: Option<proto::RecordedEvent>,
    position: Position,
    erased: bool,
) -> Result<icecore_core::RecordedEvent> {
    let event = required(event, "event")?;
    let event = icecore_core::RecordedEvent::try_from(event).inside(|| "event".to_owned())?;
    if event.position != position {
        let reason = format!("is {}, the entry's is {position}", event.position);
        return Err(Error::invalid("event.position", reason));
    }
    if event.erased != erased {
        return Err(Error::invalid(
            "event.erased",
            "does not fit the kind of the entry",
        ));
    }
    Ok(event)
}

/// A hash of 32 bytes.
pub(crate) fn hash(bytes: &Bytes, field: &'static str) -> Result<Hash> {
    fixed(bytes, field).map(Hash)
}

/// A hash as it goes into a message.
pub(crate) fn hash_bytes(hash: Hash) -> Bytes {
    Bytes::copy_from_slice(&hash.0)
}

/// Bytes of a fixed number.
pub(crate) fn fixed<const N: usize>(bytes: &Bytes, field: &'static str) -> Result<[u8; N]> {
    <[u8; N]>::try_from(&bytes[..]).map_err(|_| {
        Error::invalid(
            field,
            format!("has {} bytes, it must have {N}", bytes.len()),
        )
    })
}
