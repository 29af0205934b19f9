//! `icecore.v1.Operations`: decode, call, encode. No rule lives here.

use crate::grpc::room_of;
use crate::process;
use futures::StreamExt;
use futures::stream::BoxStream;
use icecore_core::{Append, Position};
use icecore_eventstore::EventStore;
use icecore_wire::proto::operations_server::Operations;
use icecore_wire::{proto, status};
use tonic::{Request, Response, Status};

/// The service over a store.
pub(crate) struct OperationsService {
    store: EventStore,
}

impl OperationsService {
    pub(crate) fn new(store: EventStore) -> Self {
        Self { store }
    }
}

/// A stream of answers, pulled by the client.
type Answers<T> = BoxStream<'static, Result<T, Status>>;

#[tonic::async_trait]
impl Operations for OperationsService {
    async fn stats(
        &self,
        _request: Request<proto::StatsRequest>,
    ) -> Result<Response<proto::StatsResponse>, Status> {
        let mut stats = self.store.stats().await.map_err(status::from_error)?;
        stats.details.extend(process::figures());
        Ok(Response::new(stats.into()))
    }

    async fn import(
        &self,
        request: Request<proto::ImportRequest>,
    ) -> Result<Response<proto::ImportResponse>, Status> {
        let room = room_of(&request);
        let append = Append::try_from(request.into_inner()).map_err(status::from_error)?;
        let imported = self
            .store
            .import_in(append, room)
            .await
            .map_err(status::from_error)?;
        Ok(Response::new((self.store.store_id(), imported).into()))
    }

    type ReadLogStream = Answers<proto::ReadLogResponse>;

    async fn read_log(
        &self,
        request: Request<proto::ReadLogRequest>,
    ) -> Result<Response<Self::ReadLogStream>, Status> {
        let from = Position::new(request.into_inner().from_position);
        let batches = self.store.read_log(from);
        let messages = batches.map(|batch| batch.map(Into::into).map_err(status::from_error));
        Ok(Response::new(messages.boxed()))
    }

    type VerifyStream = Answers<proto::VerifyResponse>;

    async fn verify(
        &self,
        _request: Request<proto::VerifyRequest>,
    ) -> Result<Response<Self::VerifyStream>, Status> {
        let messages = self.store.verify();
        let messages = messages.map(|message| message.map(Into::into).map_err(status::from_error));
        Ok(Response::new(messages.boxed()))
    }
}
