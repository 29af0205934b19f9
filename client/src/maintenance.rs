//! Work on what is stored, for operators: erasing, scavenging, proofs.

use crate::call::{not_understood, reading};
use crate::client::Client;
use crate::retry::Repeat;
use futures::{Stream, StreamExt};
use icecore_core::{
    ConsistencyProof, Erased, InclusionProof, Position, Result, Revision, ScavengeMode,
    ScavengeProgress, StreamName, TreeHead,
};
use icecore_wire::{Erase, proto};

impl Client {
    /// Erases data, metadata and tags of one event for good; readers get it with `erased` set.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a stream of the store's own, a tombstone, and a revision that the stream
    /// does not have or that was scavenged; `StreamNotFound`.
    pub async fn erase(
        &self,
        stream: &StreamName,
        revision: Revision,
        reason: impl Into<String>,
    ) -> Result<Erased> {
        let request = proto::EraseRequest::from(Erase {
            stream: stream.clone(),
            revision,
            reason: reason.into(),
        });
        let response = self
            .call(Repeat::Harmless, request, |client, request| async move {
                client.maintenance().erase(request).await
            })
            .await?;
        Ok(response.into())
    }

    /// Removes what truncation, age, count and deletion have hidden, or says what it would remove.
    /// The stream tells of the progress and ends with the phase `Done`; dropping it ends the scavenge,
    /// and what is left goes the next time.
    ///
    /// # Errors
    ///
    /// `Unavailable`, and `Corrupted`, which names what cannot be read.
    pub async fn scavenge(
        &self,
        mode: ScavengeMode,
    ) -> Result<impl Stream<Item = Result<ScavengeProgress>> + use<>> {
        let request = proto::ScavengeRequest {
            dry_run: mode == ScavengeMode::DryRun,
        };
        let mut service = self.maintenance();
        let messages = self
            .open(service.scavenge(request))
            .await
            .map_err(reading)?;
        let client = self.clone();
        Ok(messages.map(move |message| {
            let message = message.map_err(|status| reading(client.error(&status)))?;
            message.try_into().map_err(not_understood)
        }))
    }

    /// The tree over the first `size` events, or over all that are durable.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a size beyond the end.
    pub async fn tree_head(&self, size: Option<u64>) -> Result<TreeHead> {
        let request = proto::GetTreeHeadRequest { size };
        let head = self
            .call(Repeat::Harmless, request, |client, request| async move {
                client.maintenance().get_tree_head(request).await
            })
            .await
            .map_err(reading)?;
        head.try_into().map_err(not_understood)
    }

    /// Shows that the event at a position is in the tree over the first `size` events, or over all.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a position or size beyond the end.
    pub async fn inclusion_proof(
        &self,
        position: Position,
        size: Option<u64>,
    ) -> Result<InclusionProof> {
        let request = proto::ProveInclusionRequest {
            position: Some(position.get()),
            size,
        };
        let proof = self
            .call(Repeat::Harmless, request, |client, request| async move {
                client.maintenance().prove_inclusion(request).await
            })
            .await
            .map_err(reading)?;
        proof.try_into().map_err(not_understood)
    }

    /// Shows that the tree over the first `old_size` events is the beginning of the one over the first
    /// `size`, or over all.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for sizes beyond the end or in the wrong order.
    pub async fn consistency_proof(
        &self,
        old_size: u64,
        size: Option<u64>,
    ) -> Result<ConsistencyProof> {
        let request = proto::ProveConsistencyRequest {
            old_size: Some(old_size),
            size,
        };
        let proof = self
            .call(Repeat::Harmless, request, |client, request| async move {
                client.maintenance().prove_consistency(request).await
            })
            .await
            .map_err(reading)?;
        proof.try_into().map_err(not_understood)
    }
}
