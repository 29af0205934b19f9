//! Heads and proofs as JSON: everything that is needed to check them later, without a server.

use crate::exit::Usage;
use anyhow::Result;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use icecore_client::{
    ConsistencyProof, ContentType, EntryContent, EventType, Hash, InclusionProof, LogEntry, Mark,
    Position, RecordedEvent, Revision, Salt, StoreId, StreamName, Tag, Timestamp, TreeHead,
    TreeSignature,
};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use uuid::Uuid;

/// Format of these files.
const FORMAT: u32 = 1;

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    Head(TreeHead),
    Inclusion(Box<InclusionProof>),
    Consistency(ConsistencyProof),
}

impl From<TreeHead> for Proof {
    fn from(head: TreeHead) -> Self {
        Self::Head(head)
    }
}

impl From<InclusionProof> for Proof {
    fn from(proof: InclusionProof) -> Self {
        Self::Inclusion(Box::new(proof))
    }
}

impl From<ConsistencyProof> for Proof {
    fn from(proof: ConsistencyProof) -> Self {
        Self::Consistency(proof)
    }
}

impl Proof {
    pub(super) fn head(&self) -> &TreeHead {
        match self {
            Self::Head(head) => head,
            Self::Inclusion(proof) => &proof.head,
            Self::Consistency(proof) => &proof.head,
        }
    }

    pub(super) fn to_text(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(&ProofFile::from(self))?)
    }

    pub(super) fn read(path: &Path) -> Result<Self> {
        let wrong = |reason: String| Usage::new(format!("{}: {reason}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let file: ProofFile = serde_json::from_str(&text)
            .map_err(|error| wrong(format!("it is no proof of Icecore: {error}")))?;
        Ok(file.proof().map_err(wrong)?)
    }
}

/// The head in a file, which may be that of a proof.
pub(super) fn read_head(path: &Path) -> Result<TreeHead> {
    Ok(Proof::read(path)?.head().clone())
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProofFile {
    icecore_proof: u32,
    head: Head,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<Old>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    path: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    store_id: String,
    size: u64,
    time: String,
    root: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Old {
    size: u64,
    root: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    position: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Event>,
    /// Of a whole event.
    #[serde(skip_serializing_if = "Option::is_none")]
    salt: Option<String>,
    /// Of an erased one.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_hash: Option<String>,
    /// Of a removed one.
    #[serde(skip_serializing_if = "Option::is_none")]
    leaf_hash: Option<String>,
}

/// Payloads are base64, since the hash is over the very bytes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    stream: String,
    revision: u64,
    id: String,
    r#type: String,
    content_type: String,
    recorded_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    data_base64: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    metadata_base64: String,
}

impl From<&Proof> for ProofFile {
    fn from(proof: &Proof) -> Self {
        let head = Head::from(proof.head());
        let hashes = |path: &[Hash]| path.iter().map(Hash::to_string).collect();
        let (entry, old, path) = match proof {
            Proof::Head(_) => (None, None, Vec::new()),
            Proof::Inclusion(proof) => (Some(Entry::from(&proof.entry)), None, hashes(&proof.path)),
            Proof::Consistency(proof) => {
                let old = Old {
                    size: proof.old_size,
                    root: proof.old_root.to_string(),
                };
                (None, Some(old), hashes(&proof.path))
            }
        };
        Self {
            icecore_proof: FORMAT,
            head,
            entry,
            old,
            path,
        }
    }
}

impl ProofFile {
    /// What the file says, or what is wrong with it.
    fn proof(self) -> Result<Proof, String> {
        if self.icecore_proof != FORMAT {
            let found = self.icecore_proof;
            return Err(format!(
                "format {found}, this release knows format {FORMAT}"
            ));
        }
        let head = self.head.head()?;
        let path: Result<Vec<_>, _> = self.path.iter().map(|text| hash("path", text)).collect();
        match (self.entry, self.old) {
            (None, None) => Ok(Proof::Head(head)),
            (Some(entry), None) => Ok(Proof::Inclusion(Box::new(InclusionProof {
                head,
                entry: entry.entry()?,
                path: path?,
            }))),
            (None, Some(old)) => Ok(Proof::Consistency(ConsistencyProof {
                old_size: old.size,
                old_root: hash("old.root", &old.root)?,
                head,
                path: path?,
            })),
            (Some(_), Some(_)) => Err("it has both `entry` and `old`".to_owned()),
        }
    }
}

impl From<&TreeHead> for Head {
    fn from(head: &TreeHead) -> Self {
        Self {
            store_id: head.store_id.to_string(),
            size: head.size,
            time: head.time.to_string(),
            root: head.root.to_string(),
            signature: head.signature.map(|signed| hex(&signed.signature)),
            public_key: head.signature.map(|signed| hex(&signed.public_key)),
        }
    }
}

impl Head {
    fn head(self) -> Result<TreeHead, String> {
        let signature = match (&self.signature, &self.public_key) {
            (None, None) => None,
            (Some(signature), Some(key)) => Some(TreeSignature {
                public_key: bytes("head.public_key", key)?,
                signature: bytes("head.signature", signature)?,
            }),
            _ => return Err("`signature` and `public_key` go together".to_owned()),
        };
        Ok(TreeHead {
            store_id: StoreId::new(uuid("head.store_id", &self.store_id)?),
            size: self.size,
            time: time("head.time", &self.time)?,
            root: hash("head.root", &self.root)?,
            signature,
        })
    }
}

impl From<&LogEntry> for Entry {
    fn from(entry: &LogEntry) -> Self {
        let (salt, payload_hash, leaf_hash) = match &entry.content {
            EntryContent::Whole { salt, .. } => (Some(hex(&salt.0)), None, None),
            EntryContent::Erased { payload, .. } => (None, Some(payload.to_string()), None),
            EntryContent::Removed { leaf } => (None, None, Some(leaf.to_string())),
        };
        Self {
            position: entry.position.get(),
            event: entry.event().map(Event::from),
            salt,
            payload_hash,
            leaf_hash,
        }
    }
}

impl Entry {
    fn entry(self) -> Result<LogEntry, String> {
        let position = Position::new(self.position);
        let content = match (self.event, self.salt, self.payload_hash, self.leaf_hash) {
            (Some(event), Some(salt), None, None) => EntryContent::Whole {
                event: event.event(position)?,
                salt: Salt(bytes("entry.salt", &salt)?),
            },
            (Some(event), None, Some(payload), None) => EntryContent::Erased {
                event: event.event(position)?.into_erased(),
                payload: hash("entry.payload_hash", &payload)?,
            },
            (None, None, None, Some(leaf)) => EntryContent::Removed {
                leaf: hash("entry.leaf_hash", &leaf)?,
            },
            _ => {
                return Err("`entry` has either `event` and `salt`, or `event` and \
                            `payload_hash`, or `leaf_hash`"
                    .to_owned());
            }
        };
        Ok(LogEntry {
            position,
            // The hash does not depend on it.
            mark: Mark::Inner,
            content,
        })
    }
}

impl From<&RecordedEvent> for Event {
    fn from(event: &RecordedEvent) -> Self {
        Self {
            stream: event.stream.to_string(),
            revision: event.revision.get(),
            id: event.id.to_string(),
            r#type: event.event_type.to_string(),
            content_type: event.content_type.to_string(),
            recorded_at: event.recorded_at.to_string(),
            created_at: event.created_at.map(|time| time.to_string()),
            tags: event.tags.iter().map(ToString::to_string).collect(),
            data_base64: BASE64_STANDARD.encode(&event.data),
            metadata_base64: BASE64_STANDARD.encode(&event.metadata),
        }
    }
}

impl Event {
    fn event(self, position: Position) -> Result<RecordedEvent, String> {
        let payload = |field: &str, text: &str| {
            let bytes = BASE64_STANDARD.decode(text);
            bytes.map_err(|error| format!("`event.{field}`: {error}"))
        };
        let invalid = |error: icecore_client::Error| error.to_string();
        let tags: Result<Vec<_>, _> = self.tags.into_iter().map(Tag::new).collect();
        let created_at = self.created_at.as_deref();
        Ok(RecordedEvent {
            stream: StreamName::derived(self.stream).map_err(invalid)?,
            revision: Revision::new(self.revision),
            position,
            id: uuid("event.id", &self.id)?,
            event_type: EventType::new(self.r#type).map_err(invalid)?,
            content_type: ContentType::new(self.content_type).map_err(invalid)?,
            data: payload("data_base64", &self.data_base64)?.into(),
            metadata: payload("metadata_base64", &self.metadata_base64)?.into(),
            tags: tags.map_err(invalid)?,
            recorded_at: time("event.recorded_at", &self.recorded_at)?,
            created_at: created_at
                .map(|text| time("event.created_at", text))
                .transpose()?,
            erased: false,
        })
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Bytes of a fixed number from hexadecimal digits.
pub(crate) fn bytes<const N: usize>(field: &str, text: &str) -> Result<[u8; N], String> {
    let wrong = || format!("`{field}` must have {} hexadecimal digits", 2 * N);
    if text.len() != 2 * N || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
    }
    Ok(bytes)
}

fn hash(field: &str, text: &str) -> Result<Hash, String> {
    bytes(field, text).map(Hash)
}

fn uuid(field: &str, text: &str) -> Result<Uuid, String> {
    text.parse().map_err(|_| format!("`{field}` is no UUID"))
}

fn time(field: &str, text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|error| format!("`{field}`: {error}"))
}
