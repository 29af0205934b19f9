//! A server with one list of events in memory. It checks no expectations; what it can do is fail in the
//! way and at the moment that a test asks for.

use crate::Client;
use crate::retry::RetryPolicy;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use icecore_core::{
    Append, Appended, Direction, Error, EventData, EventType, NameMatch, Position, Read, ReadBatch,
    ReadFrom, RecordedEvent, Result, Revision, Start, StoreId, StreamAppended, StreamInfo,
    StreamName, StreamState, Subscribe, SubscribeFrom, SubscriptionMessage, Timestamp,
};
use icecore_wire::proto::streams_server::{Streams, StreamsServer};
use icecore_wire::{
    Encoded, ReadMessage, SessionDecoder, append_response, proto, session_response, status,
};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Barrier;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

/// Retries that a test has time for.
pub(super) const QUICK: RetryPolicy = RetryPolicy {
    attempts_max: 5,
    pause_first: Duration::from_millis(1),
    pause_max: Duration::from_millis(10),
};

/// How a call of the fake server fails.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    /// What it does first: messages sent, or appends taken.
    pub(super) after: usize,
    /// How it ends then.
    pub(super) status: Status,
}

impl Fault {
    /// As a connection that breaks looks to the client.
    pub(super) fn broken(after: usize) -> Self {
        Self {
            after,
            status: Status::unknown("transport error"),
        }
    }

    /// As the server says it.
    pub(super) fn of(after: usize, error: Error) -> Self {
        Self {
            after,
            status: status::from_error(error),
        }
    }
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) store_id: StoreId,
    pub(super) events: Vec<RecordedEvent>,
    /// Faults of the next calls that change something or subscribe; each is used once.
    pub(super) faults: VecDeque<Fault>,
    /// Faults of the next reads; each is used once.
    pub(super) read_faults: VecDeque<Fault>,
    /// Subscriptions that were asked for.
    pub(super) subscriptions: Vec<Subscribe>,
    /// Appends that came in, those that were failed too.
    pub(super) appends: Vec<Append>,
    /// How many reads were asked for.
    pub(super) reads: usize,
    /// Where reads wait for each other before they are answered.
    pub(super) reads_meet: Option<Arc<Barrier>>,
}

#[derive(Clone, Debug)]
pub(super) struct Fake(Arc<Mutex<State>>);

impl Fake {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            store_id: StoreId::new(Uuid::from_u128(1)),
            events: Vec::new(),
            faults: VecDeque::new(),
            read_faults: VecDeque::new(),
            subscriptions: Vec::new(),
            appends: Vec::new(),
            reads: 0,
            reads_meet: None,
        })))
    }

    /// A server with `count` events of stream `order-1`, every third of them of type `Rare`.
    pub(super) fn with_events(count: u64) -> Self {
        let fake = Self::new();
        let stream = StreamName::new("order-1").unwrap();
        for n in 0..count {
            let event_type = if n % 3 == 2 { "Rare" } else { "Common" };
            let id = Uuid::from_u128(u128::from(n) + 1);
            let event = EventData::json(id, event_type, format!("{n}")).unwrap();
            fake.state().record(&stream, event);
        }
        fake
    }

    pub(super) fn with_faults(self, faults: impl IntoIterator<Item = Fault>) -> Self {
        self.state().faults.extend(faults);
        self
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Serves on a free port; the address is the result.
    pub(super) fn serve(&self) -> String {
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let url = format!("http://{}", incoming.local_addr().unwrap());
        let server = Server::builder().add_service(
            StreamsServer::new(self.clone())
                .max_decoding_message_size(icecore_core::limits::MESSAGE_BYTES_MAX),
        );
        tokio::spawn(server.serve_with_incoming(incoming));
        url
    }

    /// A client of this server that does not wait long.
    pub(super) async fn client(&self) -> Client {
        Client::builder(self.serve())
            .retry(QUICK)
            .connect()
            .await
            .unwrap()
    }
}

impl State {
    /// Writes an event.
    pub(super) fn record(&mut self, stream: &StreamName, event: EventData) -> Revision {
        let before = self.events.iter().filter(|e| e.stream == *stream).count();
        let revision = Revision::new(before as u64);
        self.events.push(RecordedEvent {
            stream: stream.clone(),
            revision,
            position: Position::new(self.events.len() as u64 + 1),
            id: event.id,
            event_type: event.event_type,
            content_type: event.content_type,
            data: event.data,
            metadata: event.metadata,
            tags: event.tags,
            recorded_at: Timestamp::from_nanos(0),
            created_at: None,
            erased: false,
        });
        revision
    }

    /// Writes what is not there yet, by the ids.
    fn append(&mut self, append: Append) -> Appended {
        let streams = append.streams();
        let mut last = vec![None; streams.len()];
        for event in append.events() {
            let known = self.events.iter().find(|e| e.id == event.event.id);
            last[event.stream] = Some(match known {
                Some(known) => known.revision,
                None => self.record(&streams[event.stream].stream, event.event.clone()),
            });
        }
        let appended = streams
            .iter()
            .zip(last)
            .map(|(s, last_revision)| StreamAppended {
                stream: s.stream.clone(),
                last_revision,
            });
        let appended = Appended {
            store_id: self.store_id,
            last_position: self.last_position(),
            streams: appended.collect(),
        };
        self.appends.push(append);
        appended
    }

    fn last_position(&self) -> Position {
        Position::new(self.events.len() as u64)
    }

    /// Everything that a subscription gets, up to where it has caught up.
    fn messages(&self, subscribe: &Subscribe) -> Result<Vec<SubscriptionMessage>> {
        if let Some(expected) = subscribe.store_id.filter(|id| *id != self.store_id) {
            let actual = self.store_id;
            return Err(Error::WrongStore { expected, actual });
        }
        let after = match &subscribe.from {
            SubscribeFrom::All(Start::Beginning) | SubscribeFrom::Stream(_, Start::Beginning) => 0,
            SubscribeFrom::All(Start::After(position)) => position.get(),
            SubscribeFrom::Stream(_, Start::After(revision)) => revision.get() + 1,
            SubscribeFrom::All(Start::End) | SubscribeFrom::Stream(_, Start::End) => {
                self.events.len() as u64
            }
        };
        let after = usize::try_from(after).unwrap();
        if after > self.events.len() {
            return Err(Error::invalid("after", "lies beyond the end"));
        }
        let confirmed = SubscriptionMessage::Confirmed {
            store_id: self.store_id,
        };
        let batches = self.events[after..].chunks(3).map(|events| {
            let shown: Vec<_> = events
                .iter()
                .filter(|event| shows(subscribe, &event.event_type))
                .cloned()
                .collect();
            if shown.is_empty() {
                SubscriptionMessage::Checkpoint(events[events.len() - 1].position)
            } else {
                SubscriptionMessage::Events(shown)
            }
        });
        let caught_up = SubscriptionMessage::CaughtUp {
            position: self.last_position(),
        };
        Ok([confirmed]
            .into_iter()
            .chain(batches)
            .chain([caught_up])
            .collect())
    }
}

fn shows(subscribe: &Subscribe, event_type: &EventType) -> bool {
    match &subscribe.filter.event_type {
        Some(NameMatch::AnyOf(types)) => types.iter().any(|t| **t == *event_type.as_str()),
        _ => true,
    }
}

/// A stream of answers; `open` decides whether it waits for ever at its end.
fn answers<T: Send + 'static, P: From<T> + Send + 'static>(
    items: Vec<T>,
    fault: Option<Fault>,
    open: bool,
) -> BoxStream<'static, Result<P, Status>> {
    let after = fault.as_ref().map_or(usize::MAX, |fault| fault.after);
    let items: Vec<_> = items
        .into_iter()
        .take(after)
        .map(|item| Ok(item.into()))
        .collect();
    let items = stream::iter(items);
    match fault {
        Some(fault) => items.chain(stream::iter([Err(fault.status)])).boxed(),
        None if open => items.chain(stream::pending()).boxed(),
        None => items.boxed(),
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[async_trait::async_trait]
impl Streams for Fake {
    type AppendSessionStream = BoxStream<'static, Result<proto::AppendSessionResponse, Status>>;
    type ReadStream = BoxStream<'static, Result<Encoded, Status>>;
    type SubscribeStream = BoxStream<'static, Result<Encoded, Status>>;

    async fn append(
        &self,
        request: Request<proto::AppendRequest>,
    ) -> Answer<proto::AppendResponse> {
        let append = Append::try_from(request.into_inner()).map_err(status::from_error)?;
        let missed_limit = append.missed_limit();
        let mut state = self.state();
        match state.faults.pop_front() {
            Some(fault) => {
                if fault.after == 0 {
                    state.appends.push(append);
                } else {
                    state.append(append);
                }
                Err(fault.status)
            }
            None => append_response(Ok(state.append(append)), missed_limit).map(Response::new),
        }
    }

    async fn append_session(
        &self,
        request: Request<Streaming<proto::AppendSessionRequest>>,
    ) -> Answer<Self::AppendSessionStream> {
        let fault = self.state().faults.pop_front();
        let after = fault.as_ref().map_or(usize::MAX, |fault| fault.after);
        let fake = self.clone();
        let begin = (request.into_inner(), SessionDecoder::default());
        let appended = stream::try_unfold(begin, move |(mut requests, mut decoder)| {
            let fake = fake.clone();
            async move {
                while let Some(request) = requests.message().await? {
                    if let Some(append) = decoder.push(request).map_err(status::from_error)? {
                        let outcome = append.append.map(|append| fake.state().append(append));
                        let response = session_response(append.sequence, outcome);
                        return Ok(Some((response, (requests, decoder))));
                    }
                }
                Ok(None)
            }
        });
        let end = fault.map(|fault| Err(fault.status));
        Ok(Response::new(
            appended.take(after).chain(stream::iter(end)).boxed(),
        ))
    }

    async fn read(&self, request: Request<proto::ReadRequest>) -> Answer<Self::ReadStream> {
        let read = Read::try_from(request.into_inner()).map_err(status::from_error)?;
        let meet = {
            let mut state = self.state();
            state.reads += 1;
            state.reads_meet.clone()
        };
        if let Some(meet) = meet {
            meet.wait().await;
        }
        let mut state = self.state();
        let mut events: Vec<_> = match &read.from {
            ReadFrom::All(from) => {
                let from = from.unwrap_or_default();
                state
                    .events
                    .iter()
                    .filter(|e| e.position >= from)
                    .cloned()
                    .collect()
            }
            ReadFrom::Stream(stream, _) => state
                .events
                .iter()
                .filter(|e| e.stream == *stream)
                .cloned()
                .collect(),
        };
        if read.direction == Direction::Backwards {
            events.reverse();
        }
        events.truncate(usize::try_from(read.limit.unwrap_or(u64::MAX)).unwrap());
        let mut batches: Vec<_> = events.chunks(4).map(<[_]>::to_vec).collect();
        if batches.is_empty() {
            batches.push(Vec::new());
        }
        let messages = batches
            .into_iter()
            .enumerate()
            .map(|(n, events)| ReadMessage {
                store_id: (n == 0).then_some(state.store_id),
                batch: ReadBatch {
                    events,
                    last_position: state.last_position(),
                },
            });
        let messages = messages.collect();
        Ok(Response::new(answers(
            messages,
            state.read_faults.pop_front(),
            false,
        )))
    }

    async fn subscribe(
        &self,
        request: Request<proto::SubscribeRequest>,
    ) -> Answer<Self::SubscribeStream> {
        let subscribe = Subscribe::try_from(request.into_inner()).map_err(status::from_error)?;
        let mut state = self.state();
        let messages = state.messages(&subscribe).map_err(status::from_error)?;
        state.subscriptions.push(subscribe);
        Ok(Response::new(answers(
            messages,
            state.faults.pop_front(),
            true,
        )))
    }

    async fn get_stream(
        &self,
        request: Request<proto::GetStreamRequest>,
    ) -> Answer<proto::GetStreamResponse> {
        let stream = StreamName::try_from(request.into_inner()).map_err(status::from_error)?;
        let state = self.state();
        let Some(last) = state.events.iter().rfind(|e| e.stream == stream) else {
            return Err(status::from_error(Error::StreamNotFound { stream }));
        };
        let info = StreamInfo {
            state: StreamState::Living {
                last: last.revision,
            },
            stream,
            first: None,
            last: None,
            metadata_revision: None,
            metadata: bytes::Bytes::new(),
        };
        Ok(Response::new((state.store_id, info).into()))
    }

    async fn list_streams(
        &self,
        _: Request<proto::ListStreamsRequest>,
    ) -> Answer<proto::ListStreamsResponse> {
        Err(Status::unimplemented("the fake lists nothing"))
    }

    async fn list_categories(
        &self,
        _: Request<proto::ListCategoriesRequest>,
    ) -> Answer<proto::ListCategoriesResponse> {
        Err(Status::unimplemented("the fake lists nothing"))
    }

    async fn set_stream_metadata(
        &self,
        _: Request<proto::SetStreamMetadataRequest>,
    ) -> Answer<proto::Appended> {
        Err(Status::unimplemented("the fake has no metadata"))
    }

    /// Fails as it is asked to, so that calls that must not be repeated can be tested.
    async fn truncate(&self, _: Request<proto::TruncateRequest>) -> Answer<proto::Appended> {
        let mut state = self.state();
        match state.faults.pop_front() {
            Some(fault) => Err(fault.status),
            None => Ok(Response::new(
                Appended {
                    store_id: state.store_id,
                    last_position: state.last_position(),
                    streams: Vec::new(),
                }
                .into(),
            )),
        }
    }

    async fn delete(&self, _: Request<proto::DeleteRequest>) -> Answer<proto::Appended> {
        Err(Status::unimplemented("the fake deletes nothing"))
    }
}
