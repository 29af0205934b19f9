//! `event_store.client.streams.Streams`: decode, call, encode. No rule lives here.

mod answer;
mod append;
mod batch;
mod delete;
mod follow;
mod question;
mod read;

pub(crate) use answer::ReadAnswer;

use crate::appending::admitted;
use crate::errors::status;
use crate::proto::event_store::client::streams as proto;
use crate::services::streams_server::Streams;
use futures::StreamExt;
use futures::stream::BoxStream;
use icecore_core::DeleteKind;
use icecore_eventstore::EventStore;
use question::{Question, What};
use std::time::Duration;
use tonic::{Request, Response, Status, Streaming};

/// A stream of answers, pulled by the client.
type Answers<T> = BoxStream<'static, Result<T, Status>>;

/// The service over a store.
pub(crate) struct StreamsService {
    store: EventStore,
    /// How long the next part of an append may take to come, and an append to be decided.
    message_timeout: Duration,
}

impl StreamsService {
    pub(crate) fn new(store: EventStore, message_timeout: Duration) -> Self {
        Self {
            store,
            message_timeout,
        }
    }
}

#[tonic::async_trait]
impl Streams for StreamsService {
    type ReadStream = Answers<ReadAnswer>;

    async fn read(
        &self,
        request: Request<proto::ReadReq>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let Question { what, view } = request.into_inner().try_into().map_err(status)?;
        let answers = match what {
            What::Read(read) => read::answers(self.store.clone(), *read, view).await?,
            What::Nothing => futures::stream::empty().boxed(),
            What::Follow(subscribe, interval) => {
                follow::answers(self.store.clone(), *subscribe, interval, view)
            }
        };
        Ok(Response::new(answers))
    }

    async fn append(
        &self,
        request: Request<Streaming<proto::AppendReq>>,
    ) -> Result<Response<proto::AppendResp>, Status> {
        let admitted = admitted(request.extensions());
        let messages = request.into_inner();
        append::append(&self.store, messages, &admitted, self.message_timeout)
            .await
            .map(Response::new)
    }

    async fn delete(
        &self,
        request: Request<proto::DeleteReq>,
    ) -> Result<Response<proto::DeleteResp>, Status> {
        let deletion = delete::Deletion::try_from(request.into_inner()).map_err(status)?;
        let position = deletion.carry_out(&self.store, DeleteKind::Soft).await;
        let position = position.map_err(status)?;
        Ok(Response::new(delete::deleted(position)))
    }

    async fn tombstone(
        &self,
        request: Request<proto::TombstoneReq>,
    ) -> Result<Response<proto::TombstoneResp>, Status> {
        let deletion = delete::Deletion::try_from(request.into_inner()).map_err(status)?;
        let position = deletion.carry_out(&self.store, DeleteKind::Tombstone).await;
        let position = position.map_err(status)?;
        Ok(Response::new(delete::tombstoned(position)))
    }

    type BatchAppendStream = Answers<proto::BatchAppendResp>;

    async fn batch_append(
        &self,
        request: Request<Streaming<proto::BatchAppendReq>>,
    ) -> Result<Response<Self::BatchAppendStream>, Status> {
        let admitted = admitted(request.extensions());
        let answers = batch::answers(
            self.store.clone(),
            request.into_inner(),
            admitted,
            self.message_timeout,
        );
        Ok(Response::new(answers.boxed()))
    }
}
