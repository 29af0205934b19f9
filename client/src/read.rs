//! Reads: how they are said, and the streams of events and batches that they give.

use crate::call::{not_understood, reading};
use crate::client::Client;
use crate::filter::filter_methods;
use crate::retry::{Repeat, retry};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use icecore_core::{
    Direction, Filter, Position, Read, ReadBatch, ReadFrom, RecordedEvent, Result, Revision,
    StoreId, StreamName, Timestamp,
};
use icecore_wire::{ReadMessage, proto};
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tonic::Streaming;

/// A read that is being put together. Awaiting it collects its events; [`Self::stream`] and
/// [`Self::batches`] hand them out as they come, in bounded memory. `At` is what it counts in:
/// [`Position`] for all streams, [`Revision`] for one.
#[derive(Clone, Debug)]
#[must_use = "a read begins when it is awaited, or when its stream is"]
pub struct ReadCall<At = ()> {
    client: Client,
    read: Read,
    counts_in: PhantomData<At>,
}

impl Client {
    /// A read as `core` says it.
    pub fn read(&self, read: Read) -> ReadCall {
        self.read_call(read)
    }

    /// Reads one stream, from its first event on unless said otherwise.
    pub fn read_stream(&self, stream: &StreamName) -> ReadCall<Revision> {
        self.read_call(Read::stream(stream.clone()))
    }

    /// Reads all streams in their global order, from the first event on unless said otherwise.
    pub fn read_all(&self) -> ReadCall<Position> {
        self.read_call(Read::all())
    }

    fn read_call<At>(&self, read: Read) -> ReadCall<At> {
        ReadCall {
            client: self.clone(),
            read,
            counts_in: PhantomData,
        }
    }
}

impl ReadCall<Position> {
    /// The first position to look at (inclusive).
    pub fn from(mut self, position: Position) -> Self {
        self.read.from = ReadFrom::All(Some(position));
        self
    }
}

impl ReadCall<Revision> {
    /// The first revision to look at (inclusive).
    pub fn from(mut self, revision: Revision) -> Self {
        if let ReadFrom::Stream(_, from) = &mut self.read.from {
            *from = Some(revision);
        }
        self
    }
}

filter_methods!(ReadCall);

impl<At> ReadCall<At> {
    /// From higher to lower numbers, the newest event first unless said otherwise.
    pub fn backwards(mut self) -> Self {
        self.read.direction = Direction::Backwards;
        self
    }

    /// Most events; at least 1.
    pub fn limit(mut self, events: u64) -> Self {
        self.read.limit = Some(events);
        self
    }

    /// Only what had been recorded by then (inclusive).
    pub fn as_of(mut self, time: Timestamp) -> Self {
        self.read.as_of = Some(time);
        self
    }

    /// The events, one by one.
    pub fn stream(self) -> EventStream {
        EventStream {
            batches: self.batches(),
            batch: Vec::new().into_iter(),
        }
    }

    /// The events as they come over the wire, many at a time.
    pub fn batches(self) -> BatchStream {
        let Self { client, read, .. } = self;
        let messages = stream::once(open(client.clone(), read))
            .map_ok(move |messages| decode(client.clone(), messages))
            .try_flatten();
        BatchStream {
            messages: messages.boxed(),
            store_id: None,
        }
    }

    fn filter_mut(&mut self) -> &mut Filter {
        &mut self.read.filter
    }
}

/// Collects all events. An error in the middle is the whole answer.
impl<At> IntoFuture for ReadCall<At> {
    type Output = Result<Vec<RecordedEvent>>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let batches = self.batches();
        Box::pin(async move {
            batches
                .try_fold(Vec::new(), |mut all, batch| async move {
                    all.extend(batch.events);
                    Ok(all)
                })
                .await
        })
    }
}

async fn open(client: Client, read: Read) -> Result<Streaming<proto::ReadResponse>> {
    read.check()?;
    let request = proto::ReadRequest::from(read);
    let attempt = || async {
        let mut streams = client.streams();
        client.open(streams.read(request.clone())).await
    };
    retry(client.retry_policy(), Repeat::Harmless, attempt)
        .await
        .map_err(reading)
}

fn decode(
    client: Client,
    messages: Streaming<proto::ReadResponse>,
) -> impl Stream<Item = Result<ReadMessage>> {
    messages.map(move |message| match message {
        Ok(message) => ReadMessage::try_from(message).map_err(not_understood),
        Err(status) => Err(reading(client.error(&status))),
    })
}

/// The batches of a read.
pub struct BatchStream {
    messages: BoxStream<'static, Result<ReadMessage>>,
    store_id: Option<StoreId>,
}

impl BatchStream {
    /// The store that answers; `None` before the first batch.
    pub fn store_id(&self) -> Option<StoreId> {
        self.store_id
    }
}

impl Stream for BatchStream {
    type Item = Result<ReadBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = match ready!(self.messages.poll_next_unpin(context)) {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => return Poll::Ready(None),
        };
        self.store_id = self.store_id.or(message.store_id);
        Poll::Ready(Some(Ok(message.batch)))
    }
}

impl fmt::Debug for BatchStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchStream")
            .field("store_id", &self.store_id)
            .finish_non_exhaustive()
    }
}

/// The events of a read.
#[derive(Debug)]
pub struct EventStream {
    batches: BatchStream,
    batch: std::vec::IntoIter<RecordedEvent>,
}

impl EventStream {
    /// The store that answers; `None` before the first event.
    pub fn store_id(&self) -> Option<StoreId> {
        self.batches.store_id()
    }
}

impl Stream for EventStream {
    type Item = Result<RecordedEvent>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.batch.next() {
                return Poll::Ready(Some(Ok(event)));
            }
            match ready!(self.batches.poll_next_unpin(context)) {
                Some(Ok(batch)) => self.batch = batch.events.into_iter(),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}
