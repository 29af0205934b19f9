//! The calls that hand out the log as it is stored or look through it. Entries are also what a backup
//! consists of; [`encode_log_entry`] and [`decode_log_entry`] are for that.

use crate::field::{InField, required, store_id, store_id_bytes, text, text_bytes};
use crate::log_entry::{hash, hash_bytes};
use crate::proto;
use crate::proto::verify_response::{Message, Progress, Step, Verified as VerifiedMessage};
use bytes::Bytes;
use icecore_core::{
    Error, Finding, LogBatch, LogEntry, Position, Result, Verified, VerifyMessage, VerifyProgress,
    VerifyStep,
};
use prost::Message as _;

/// Appends an entry with its length before it.
pub fn encode_log_entry(entry: LogEntry, out: &mut Vec<u8>) {
    let message = proto::LogEntry::from(entry);
    out.extend_from_slice(&message.encode_length_delimited_to_vec());
}

/// Takes the next entry that [`encode_log_entry`] wrote from the front of `input`.
///
/// # Errors
///
/// `InvalidArgument` for bytes that are none.
pub fn decode_log_entry(input: &mut Bytes) -> Result<LogEntry> {
    let message = proto::LogEntry::decode_length_delimited(input)
        .map_err(|_| Error::invalid("entry", "cannot be decoded"))?;
    message.try_into()
}

impl From<Finding> for proto::Finding {
    fn from(finding: Finding) -> Self {
        let (first, last) = finding.positions.unwrap_or_default();
        Self {
            first_position: first.get(),
            last_position: last.get(),
            reason: text_bytes(finding.reason),
        }
    }
}

impl TryFrom<proto::Finding> for Finding {
    type Error = Error;

    fn try_from(message: proto::Finding) -> Result<Self> {
        let first = Position::new(message.first_position);
        let last = Position::new(message.last_position);
        Ok(Self {
            positions: (first != Position::START).then_some((first, last)),
            reason: text(message.reason).named("reason")?.to_string(),
        })
    }
}

impl From<LogBatch> for proto::ReadLogResponse {
    fn from(batch: LogBatch) -> Self {
        Self {
            store_id: store_id_bytes(batch.store_id),
            last_position: batch.last_position.get(),
            entries: batch.entries.into_iter().map(Into::into).collect(),
            damage: batch.damage.map(Into::into),
        }
    }
}

impl TryFrom<proto::ReadLogResponse> for LogBatch {
    type Error = Error;

    fn try_from(message: proto::ReadLogResponse) -> Result<Self> {
        let entries = message.entries.into_iter().enumerate();
        let entries =
            entries.map(|(n, entry)| LogEntry::try_from(entry).inside(|| format!("entries[{n}]")));
        Ok(Self {
            store_id: store_id(&message.store_id)?,
            last_position: Position::new(message.last_position),
            entries: entries.collect::<Result<_>>()?,
            damage: message.damage.map(Finding::try_from).transpose()?,
        })
    }
}

impl From<VerifyMessage> for proto::VerifyResponse {
    fn from(message: VerifyMessage) -> Self {
        let message = match message {
            VerifyMessage::Progress(VerifyProgress { step, done, total }) => {
                let step = match step {
                    VerifyStep::File => Step::Unspecified,
                    VerifyStep::Log => Step::Log,
                    VerifyStep::Indexes => Step::Indexes,
                };
                let step = step.into();
                Message::Progress(Progress { step, done, total })
            }
            VerifyMessage::Finding(finding) => Message::Finding(finding.into()),
            VerifyMessage::Verified(verified) => Message::Verified(VerifiedMessage {
                store_id: store_id_bytes(verified.store_id),
                last_position: verified.last_position.get(),
                whole: verified.whole,
                erased: verified.erased,
                removed: verified.removed,
                tree: verified.tree.map(hash_bytes).unwrap_or_default(),
            }),
        };
        Self {
            message: Some(message),
        }
    }
}

impl TryFrom<proto::VerifyResponse> for VerifyMessage {
    type Error = Error;

    fn try_from(response: proto::VerifyResponse) -> Result<Self> {
        Ok(match required(response.message, "message")? {
            Message::Progress(Progress { step, done, total }) => {
                let step = match Step::try_from(step) {
                    Ok(Step::Indexes) => VerifyStep::Indexes,
                    Ok(Step::Log) => VerifyStep::Log,
                    // A step that only a later release has is shown as the file's.
                    Ok(Step::Unspecified) | Err(_) => VerifyStep::File,
                };
                Self::Progress(VerifyProgress { step, done, total })
            }
            Message::Finding(finding) => Self::Finding(finding.try_into()?),
            Message::Verified(message) => Self::Verified(Verified {
                store_id: store_id(&message.store_id)?,
                last_position: Position::new(message.last_position),
                whole: message.whole,
                erased: message.erased,
                removed: message.removed,
                tree: (!message.tree.is_empty())
                    .then(|| hash(&message.tree, "tree"))
                    .transpose()?,
            }),
        })
    }
}
