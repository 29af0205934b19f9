//! `icecore.v1.Streams`: decode, call, encode. No rule lives here.

use crate::grpc::{room_of, session};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use icecore_core::{ListStreams, Read, StreamName, Subscribe};
use icecore_eventstore::{Admitted, EventStore};
use icecore_wire::proto::streams_server::Streams;
use icecore_wire::{
    AppendCall, CategoryPage, Delete, Encoded, ListCategories, ReadMessage, SetStreamMetadata,
    Truncate, append_response, proto, status,
};
use std::time::Duration;
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

/// How long a read waits for its first batch before the answer begins without it. Most are there at once,
/// and then the whole answer of a small read is one packet instead of three.
const FIRST_BATCH_WAIT: Duration = Duration::from_millis(100);

/// The service over a store.
pub(crate) struct StreamsService {
    store: EventStore,
    /// How long the next part of an append may take to come.
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

/// A stream of answers, pulled by the client.
type Answers<T> = BoxStream<'static, Result<T, Status>>;

#[tonic::async_trait]
impl Streams for StreamsService {
    async fn append(
        &self,
        request: Request<proto::AppendRequest>,
    ) -> Result<Response<proto::AppendResponse>, Status> {
        let room = room_of(&request);
        let AppendCall { append, finish } = request
            .into_inner()
            .try_into()
            .map_err(status::from_error)?;
        let missed_limit = append.missed_limit();
        let outcome = match finish {
            Some(finish) => self.store.append_finishing(append, finish, room).await,
            None => match self.store.submit(append, room).await {
                Ok(pending) => pending.outcome().await,
                Err(error) => Err(error),
            },
        };
        append_response(outcome, missed_limit).map(Response::new)
    }

    type AppendSessionStream = Answers<proto::AppendSessionResponse>;

    async fn append_session(
        &self,
        request: Request<Streaming<proto::AppendSessionRequest>>,
    ) -> Result<Response<Self::AppendSessionStream>, Status> {
        let admitted = request
            .extensions()
            .get::<Admitted>()
            .cloned()
            .unwrap_or_default();
        let answers = session::answers(
            self.store.clone(),
            request.into_inner(),
            admitted,
            self.message_timeout,
        );
        Ok(Response::new(answers.boxed()))
    }

    type ReadStream = Answers<Encoded>;

    async fn read(
        &self,
        request: Request<proto::ReadRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let read = Read::try_from(request.into_inner()).map_err(status::from_error)?;
        let mut store_id = Some(self.store.store_id());
        let messages = self.store.read(read).map(move |batch| match batch {
            Ok(batch) => Ok(ReadMessage {
                store_id: store_id.take(),
                batch,
            }
            .into()),
            Err(error) => Err(status::from_error(error)),
        });
        let mut messages = messages.boxed();
        let first = timeout(FIRST_BATCH_WAIT, messages.next()).await;
        let first = stream::iter(first.ok().flatten());
        Ok(Response::new(first.chain(messages).boxed()))
    }

    type SubscribeStream = Answers<Encoded>;

    async fn subscribe(
        &self,
        request: Request<proto::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let subscribe = Subscribe::try_from(request.into_inner()).map_err(status::from_error)?;
        let messages = self
            .store
            .deliver(subscribe)
            .map(|delivery| delivery.map(Into::into).map_err(status::from_error));
        Ok(Response::new(messages.boxed()))
    }

    async fn get_stream(
        &self,
        request: Request<proto::GetStreamRequest>,
    ) -> Result<Response<proto::GetStreamResponse>, Status> {
        let stream = StreamName::try_from(request.into_inner()).map_err(status::from_error)?;
        let info = self
            .store
            .stream_info(&stream)
            .await
            .map_err(status::from_error)?;
        Ok(Response::new((self.store.store_id(), info).into()))
    }

    async fn list_streams(
        &self,
        request: Request<proto::ListStreamsRequest>,
    ) -> Result<Response<proto::ListStreamsResponse>, Status> {
        let list = ListStreams::try_from(request.into_inner()).map_err(status::from_error)?;
        let page = self
            .store
            .list_streams(&list)
            .await
            .map_err(status::from_error)?;
        Ok(Response::new((self.store.store_id(), page).into()))
    }

    async fn list_categories(
        &self,
        request: Request<proto::ListCategoriesRequest>,
    ) -> Result<Response<proto::ListCategoriesResponse>, Status> {
        let ListCategories {
            after,
            limit,
            system,
        } = request
            .into_inner()
            .try_into()
            .map_err(status::from_error)?;
        let (categories, next_after) = self
            .store
            .list_categories(after, limit, system)
            .await
            .map_err(status::from_error)?;
        let page = CategoryPage {
            categories,
            next_after,
        };
        Ok(Response::new((self.store.store_id(), page).into()))
    }

    async fn set_stream_metadata(
        &self,
        request: Request<proto::SetStreamMetadataRequest>,
    ) -> Result<Response<proto::Appended>, Status> {
        let SetStreamMetadata {
            stream,
            metadata,
            expected,
        } = request
            .into_inner()
            .try_into()
            .map_err(status::from_error)?;
        let appended = self.store.set_metadata(&stream, expected, &metadata).await;
        appended
            .map(|appended| Response::new(appended.into()))
            .map_err(status::from_error)
    }

    async fn truncate(
        &self,
        request: Request<proto::TruncateRequest>,
    ) -> Result<Response<proto::Appended>, Status> {
        let Truncate { stream, before } = request
            .into_inner()
            .try_into()
            .map_err(status::from_error)?;
        let appended = self.store.truncate(&stream, before).await;
        appended
            .map(|appended| Response::new(appended.into()))
            .map_err(status::from_error)
    }

    async fn delete(
        &self,
        request: Request<proto::DeleteRequest>,
    ) -> Result<Response<proto::Appended>, Status> {
        let Delete {
            stream,
            expected,
            kind,
        } = request
            .into_inner()
            .try_into()
            .map_err(status::from_error)?;
        let appended = self.store.delete(&stream, expected, kind).await;
        appended
            .map(|appended| Response::new(appended.into()))
            .map_err(status::from_error)
    }
}
