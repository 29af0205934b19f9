//! `icecore.v1.Maintenance`: decode, call, encode. No rule lives here.

use futures::StreamExt;
use futures::stream::BoxStream;
use icecore_core::{Position, Result, ScavengeMode, ScavengeProgress};
use icecore_eventstore::EventStore;
use icecore_wire::proto::maintenance_server::Maintenance;
use icecore_wire::{Erase, proto, status};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};

/// Messages about progress that wait for a slow client; further ones are left out.
const PROGRESS_MAX: usize = 16;

/// The service over a store.
pub(crate) struct MaintenanceService {
    store: EventStore,
}

impl MaintenanceService {
    pub(crate) fn new(store: EventStore) -> Self {
        Self { store }
    }
}

#[tonic::async_trait]
impl Maintenance for MaintenanceService {
    type ScavengeStream = BoxStream<'static, Result<proto::ScavengeResponse, Status>>;

    async fn erase(
        &self,
        request: Request<proto::EraseRequest>,
    ) -> Result<Response<proto::EraseResponse>, Status> {
        let erase = Erase::try_from(request.into_inner()).map_err(status::from_error)?;
        let store = self.store.clone();
        // An erasure that was begun goes on, also when nobody waits for it any more.
        let erasing = tokio::spawn(async move {
            let Erase {
                stream,
                revision,
                reason,
            } = erase;
            store.erase(&stream, revision, &reason).await
        });
        let erased = erasing
            .await
            .map_err(|_| Status::unavailable("the server is shutting down"))?
            .map_err(status::from_error)?;
        Ok(Response::new((self.store.store_id(), erased).into()))
    }

    async fn scavenge(
        &self,
        request: Request<proto::ScavengeRequest>,
    ) -> Result<Response<Self::ScavengeStream>, Status> {
        let mode = if request.into_inner().dry_run {
            ScavengeMode::DryRun
        } else {
            ScavengeMode::Remove
        };
        let store_id = self.store.store_id();
        let progress = scavenge(self.store.clone(), mode);
        let messages = progress.map(move |progress| {
            progress
                .map(|progress| (store_id, progress).into())
                .map_err(status::from_error)
        });
        Ok(Response::new(messages.boxed()))
    }

    async fn get_tree_head(
        &self,
        request: Request<proto::GetTreeHeadRequest>,
    ) -> Result<Response<proto::TreeHead>, Status> {
        let size = request.into_inner().size;
        let head = self.store.tree_head(size).await;
        head.map(|head| Response::new(head.into()))
            .map_err(status::from_error)
    }

    async fn prove_inclusion(
        &self,
        request: Request<proto::ProveInclusionRequest>,
    ) -> Result<Response<proto::InclusionProof>, Status> {
        let request = request.into_inner();
        // Without a position it is none: 0 stands before the first event.
        let position = Position::new(request.position.unwrap_or_default());
        let proof = self.store.inclusion_proof(position, request.size).await;
        proof
            .map(|proof| Response::new(proof.into()))
            .map_err(status::from_error)
    }

    async fn prove_consistency(
        &self,
        request: Request<proto::ProveConsistencyRequest>,
    ) -> Result<Response<proto::ConsistencyProof>, Status> {
        let request = request.into_inner();
        let missing = || status::from_error(icecore_core::Error::invalid("old_size", "is missing"));
        let old = request.old_size.ok_or_else(missing)?;
        let proof = self.store.consistency_proof(old, request.size).await;
        proof
            .map(|proof| Response::new(proof.into()))
            .map_err(status::from_error)
    }
}

/// The progress of a scavenge that ends when nobody listens any more.
fn scavenge(
    store: EventStore,
    mode: ScavengeMode,
) -> impl futures::Stream<Item = Result<ScavengeProgress>> {
    let (progress, messages) = mpsc::channel(PROGRESS_MAX);
    tokio::spawn(async move {
        let tell = |now: ScavengeProgress| {
            !matches!(
                progress.try_send(Ok(now)),
                Err(mpsc::error::TrySendError::Closed(_))
            )
        };
        // The last word must not be left out.
        let last = store.scavenge(mode, tell).await;
        let _ = progress.send(last).await;
    });
    tokio_stream::wrappers::ReceiverStream::new(messages)
}
