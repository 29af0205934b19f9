//! What an operator asks a node to do. A scavenge is a real one; merging of indexes goes on by itself, and
//! one node alone has no rank to give up.

use crate::errors::{status, with_trailers};
use crate::proto::event_store::client as shared;
use crate::proto::event_store::client::operations as proto;
use crate::services::operations_server::Operations;
use icecore_core::ScavengeMode;
use icecore_eventstore::EventStore;
use proto::scavenge_resp::ScavengeResult;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

/// The service over a store.
pub(crate) struct OperationsService {
    store: EventStore,
    /// The scavenge that was begun last; it may be over.
    scavenge: Mutex<Option<Scavenge>>,
}

/// A scavenge that was begun through this service.
struct Scavenge {
    id: Uuid,
    /// Goes when the scavenge is over.
    goes_on: Arc<AtomicBool>,
}

impl Scavenge {
    /// Whether it is still at work: its task holds the other end.
    fn is_at_work(&self) -> bool {
        Arc::strong_count(&self.goes_on) > 1
    }

    fn answer(&self, result: ScavengeResult) -> Response<proto::ScavengeResp> {
        Response::new(proto::ScavengeResp {
            scavenge_id: self.id.to_string(),
            scavenge_result: result.into(),
        })
    }
}

impl OperationsService {
    pub(crate) fn new(store: EventStore) -> Self {
        Self {
            store,
            scavenge: Mutex::default(),
        }
    }

    /// Begins a scavenge, which goes on by itself.
    fn begin(&self) -> Scavenge {
        let goes_on = Arc::new(AtomicBool::new(true));
        let scavenge = Scavenge {
            id: self.store.next_id(),
            goes_on: Arc::clone(&goes_on),
        };
        let (store, id) = (self.store.clone(), scavenge.id);
        tokio::spawn(async move {
            let tell = |_| goes_on.load(Ordering::Relaxed);
            match store.scavenge(ScavengeMode::Remove, tell).await {
                Ok(done) => tracing::info!(%id, events = done.removed_events, "scavenged"),
                Err(error) => tracing::warn!(%id, %error, "the scavenge ended early"),
            }
        });
        scavenge
    }
}

#[tonic::async_trait]
impl Operations for OperationsService {
    async fn start_scavenge(
        &self,
        _request: Request<proto::StartScavengeReq>,
    ) -> Result<Response<proto::ScavengeResp>, Status> {
        let mut scavenge = self.scavenge.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = scavenge.as_ref().filter(|current| current.is_at_work()) {
            return Ok(current.answer(ScavengeResult::InProgress));
        }
        let begun = scavenge.insert(self.begin());
        Ok(begun.answer(ScavengeResult::Started))
    }

    async fn stop_scavenge(
        &self,
        request: Request<proto::StopScavengeReq>,
    ) -> Result<Response<proto::ScavengeResp>, Status> {
        let id = request.into_inner().options.unwrap_or_default().scavenge_id;
        let scavenge = self.scavenge.lock().unwrap_or_else(PoisonError::into_inner);
        let current = scavenge.as_ref().filter(|current| current.is_at_work());
        let current = current.filter(|current| current.id.to_string() == id);
        let current = current.ok_or_else(|| not_found(&id))?;
        current.goes_on.store(false, Ordering::Relaxed);
        Ok(current.answer(ScavengeResult::Stopped))
    }

    async fn shutdown(
        &self,
        _request: Request<shared::Empty>,
    ) -> Result<Response<shared::Empty>, Status> {
        Err(Status::unimplemented(
            "this server does not ask who calls, so it is stopped by a signal to its process",
        ))
    }

    async fn merge_indexes(
        &self,
        _request: Request<shared::Empty>,
    ) -> Result<Response<shared::Empty>, Status> {
        Ok(Response::new(shared::Empty {}))
    }

    async fn resign_node(
        &self,
        _request: Request<shared::Empty>,
    ) -> Result<Response<shared::Empty>, Status> {
        Ok(Response::new(shared::Empty {}))
    }

    async fn set_node_priority(
        &self,
        _request: Request<proto::SetNodePriorityReq>,
    ) -> Result<Response<shared::Empty>, Status> {
        Ok(Response::new(shared::Empty {}))
    }

    async fn restart_persistent_subscriptions(
        &self,
        _request: Request<shared::Empty>,
    ) -> Result<Response<shared::Empty>, Status> {
        self.store.restart_groups().await.map_err(status)?;
        Ok(Response::new(shared::Empty {}))
    }
}

fn not_found(id: &str) -> Status {
    with_trailers(
        Code::NotFound,
        format!("Scavenge '{id}' is not at work."),
        "scavenge-not-found",
        &[("scavenge-id", id.to_owned())],
    )
}
