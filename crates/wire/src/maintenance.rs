//! Erasure, scavenging, and proofs about the tree over all events.

use crate::field::{
    InField, required, store_id, store_id_bytes, stored_stream, stream_bytes, text,
};
use crate::log_entry::{fixed, hash, hash_bytes};
use crate::proto;
use crate::proto::scavenge_response::Phase;
use bytes::Bytes;
use icecore_core::{
    ConsistencyProof, Erased, Error, Hash, InclusionProof, Position, Result, Revision,
    ScavengePhase, ScavengeProgress, StoreId, StreamName, Timestamp, TreeHead, TreeSignature,
};

/// Which event to erase, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erase {
    /// The stream.
    pub stream: StreamName,
    /// The event's revision.
    pub revision: Revision,
    /// Goes into the act.
    pub reason: String,
}

impl From<Erase> for proto::EraseRequest {
    fn from(erase: Erase) -> Self {
        Self {
            stream: stream_bytes(erase.stream),
            revision: Some(erase.revision.get()),
            reason: Bytes::from(erase.reason),
        }
    }
}

impl TryFrom<proto::EraseRequest> for Erase {
    type Error = Error;

    fn try_from(request: proto::EraseRequest) -> Result<Self> {
        Ok(Self {
            stream: stored_stream(request.stream)?,
            revision: Revision::new(required(request.revision, "revision")?),
            reason: text(request.reason).named("reason")?.to_string(),
        })
    }
}

impl From<(StoreId, Erased)> for proto::EraseResponse {
    fn from((id, erased): (StoreId, Erased)) -> Self {
        Self {
            store_id: store_id_bytes(id),
            position: erased.position.get(),
            was_erased: erased.was_erased,
        }
    }
}

impl From<proto::EraseResponse> for Erased {
    fn from(response: proto::EraseResponse) -> Self {
        Self {
            position: Position::new(response.position),
            was_erased: response.was_erased,
        }
    }
}

impl From<(StoreId, ScavengeProgress)> for proto::ScavengeResponse {
    fn from((id, progress): (StoreId, ScavengeProgress)) -> Self {
        let phase = match progress.phase {
            ScavengePhase::Looking => Phase::Looking,
            ScavengePhase::Removing => Phase::Removing,
            ScavengePhase::Compacting => Phase::Compacting,
            ScavengePhase::Done => Phase::Done,
        };
        Self {
            store_id: store_id_bytes(id),
            phase: phase.into(),
            position: progress.position.get(),
            up_to: progress.up_to.get(),
            removable_events: progress.removable_events,
            removable_bytes: progress.removable_bytes,
            removed_events: progress.removed_events,
            removed_bytes: progress.removed_bytes,
        }
    }
}

impl TryFrom<proto::ScavengeResponse> for ScavengeProgress {
    type Error = Error;

    fn try_from(response: proto::ScavengeResponse) -> Result<Self> {
        let phase = match response.phase() {
            Phase::Unspecified => return Err(Error::invalid("phase", "is not known")),
            Phase::Looking => ScavengePhase::Looking,
            Phase::Removing => ScavengePhase::Removing,
            Phase::Compacting => ScavengePhase::Compacting,
            Phase::Done => ScavengePhase::Done,
        };
        Ok(Self {
            phase,
            position: Position::new(response.position),
            up_to: Position::new(response.up_to),
            removable_events: response.removable_events,
            removable_bytes: response.removable_bytes,
            removed_events: response.removed_events,
            removed_bytes: response.removed_bytes,
        })
    }
}

impl From<TreeHead> for proto::TreeHead {
    fn from(head: TreeHead) -> Self {
        let part =
            |of: fn(&TreeSignature) -> Bytes| head.signature.as_ref().map_or_else(Bytes::new, of);
        Self {
            store_id: store_id_bytes(head.store_id),
            size: head.size,
            time: head.time.nanos(),
            root: hash_bytes(head.root),
            signature: part(|signed| Bytes::copy_from_slice(&signed.signature)),
            public_key: part(|signed| Bytes::copy_from_slice(&signed.public_key)),
        }
    }
}

impl TryFrom<proto::TreeHead> for TreeHead {
    type Error = Error;

    fn try_from(head: proto::TreeHead) -> Result<Self> {
        let signature = if head.signature.is_empty() && head.public_key.is_empty() {
            None
        } else {
            Some(TreeSignature {
                public_key: fixed(&head.public_key, "public_key")?,
                signature: fixed(&head.signature, "signature")?,
            })
        };
        Ok(Self {
            store_id: store_id(&head.store_id)?,
            size: head.size,
            time: Timestamp::from_nanos(head.time),
            root: hash(&head.root, "root")?,
            signature,
        })
    }
}

impl From<InclusionProof> for proto::InclusionProof {
    fn from(proof: InclusionProof) -> Self {
        Self {
            head: Some(proof.head.into()),
            entry: Some(proof.entry.into()),
            path: path_bytes(&proof.path),
        }
    }
}

impl TryFrom<proto::InclusionProof> for InclusionProof {
    type Error = Error;

    fn try_from(proof: proto::InclusionProof) -> Result<Self> {
        let entry = required(proof.entry, "entry")?;
        Ok(Self {
            head: head(proof.head)?,
            entry: entry.try_into().inside(|| "entry".to_owned())?,
            path: path(&proof.path)?,
        })
    }
}

impl From<ConsistencyProof> for proto::ConsistencyProof {
    fn from(proof: ConsistencyProof) -> Self {
        Self {
            old_size: proof.old_size,
            old_root: hash_bytes(proof.old_root),
            head: Some(proof.head.into()),
            path: path_bytes(&proof.path),
        }
    }
}

impl TryFrom<proto::ConsistencyProof> for ConsistencyProof {
    type Error = Error;

    fn try_from(proof: proto::ConsistencyProof) -> Result<Self> {
        Ok(Self {
            old_size: proof.old_size,
            old_root: hash(&proof.old_root, "old_root")?,
            head: head(proof.head)?,
            path: path(&proof.path)?,
        })
    }
}

fn head(head: Option<proto::TreeHead>) -> Result<TreeHead> {
    required(head, "head")?
        .try_into()
        .inside(|| "head".to_owned())
}

fn path(hashes: &[Bytes]) -> Result<Vec<Hash>> {
    hashes.iter().map(|bytes| hash(bytes, "path")).collect()
}

fn path_bytes(path: &[Hash]) -> Vec<Bytes> {
    path.iter().copied().map(hash_bytes).collect()
}
