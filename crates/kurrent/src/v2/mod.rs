//! `kurrentdb.protocol.v2.streams.StreamsService`: appends to several streams, all or nothing.

mod errors;
mod record;
mod records;
mod session;

pub(crate) use errors::message_too_large;

use crate::appending::admitted;
use crate::proto::kurrentdb::protocol::v2::streams as proto;
use crate::services::streams_service_server::StreamsService;
use icecore_eventstore::EventStore;
use std::time::Duration;
use tonic::{Request, Response, Status, Streaming};

/// The service over a store.
pub(crate) struct StreamsV2Service {
    store: EventStore,
    /// How long the next part of an append may take to come.
    message_timeout: Duration,
}

impl StreamsV2Service {
    pub(crate) fn new(store: EventStore, message_timeout: Duration) -> Self {
        Self {
            store,
            message_timeout,
        }
    }
}

#[tonic::async_trait]
impl StreamsService for StreamsV2Service {
    async fn append_session(
        &self,
        request: Request<Streaming<proto::AppendRequest>>,
    ) -> Result<Response<proto::AppendSessionResponse>, Status> {
        let admitted = admitted(request.extensions());
        let requests = request.into_inner();
        session::append(&self.store, requests, &admitted, self.message_timeout)
            .await
            .map(Response::new)
    }

    async fn append_records(
        &self,
        request: Request<proto::AppendRecordsRequest>,
    ) -> Result<Response<proto::AppendRecordsResponse>, Status> {
        let room = admitted(request.extensions()).room();
        records::append(&self.store, request.into_inner(), room)
            .await
            .map(Response::new)
    }
}
