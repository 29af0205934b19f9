//! Subscriptions: how they are said, and the stream of messages that goes on where it was when the
//! connection breaks.
//!
//! ```text
//!            open                    message
//!  [closed] ------> [confirming] ---------------> [following]
//!     ^                  |                             |
//!     +------ pause <----+------- broken --------------+      an error that stays ends it
//! ```
//!
//! What resuming rests on is `place.rs`: after the last event or checkpoint that was handed out, in
//! the store that it came from.

mod place;

use crate::call::{not_understood, reading};
use crate::client::Client;
use crate::filter::filter_methods;
use crate::retry::RetryPolicy;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use icecore_core::{
    Error, Filter, Position, Read, RecordedEvent, Result, Revision, Start, StoreId, StreamName,
    Subscribe, SubscribeFrom, SubscriptionMessage,
};
use icecore_wire::proto;
use place::Place;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::sleep;
use tonic::Streaming;

/// A subscription that is being put together. `At` is what it counts in: [`Position`] for all streams,
/// [`Revision`] for one.
#[derive(Clone, Debug)]
#[must_use = "a subscription begins with `start`"]
pub struct SubscribeCall<At = ()> {
    client: Client,
    subscribe: Subscribe,
    reconnection: RetryPolicy,
    counts_in: PhantomData<At>,
}

impl Client {
    /// Follows the store or a stream as `core` says it, and reconnects for ever. Shorthand for
    /// [`SubscribeCall::start`].
    pub fn subscribe(&self, subscribe: Subscribe) -> Subscription {
        self.subscribe_call::<()>(subscribe).start()
    }

    /// Follows all streams, from the first event on unless said otherwise.
    pub fn subscribe_all(&self) -> SubscribeCall<Position> {
        self.subscribe_call(Subscribe::all())
    }

    /// Follows one stream, whether it exists yet or not, from its first event on unless said
    /// otherwise.
    pub fn subscribe_stream(&self, stream: &StreamName) -> SubscribeCall<Revision> {
        self.subscribe_call(Subscribe::stream(stream.clone()))
    }

    fn subscribe_call<At>(&self, subscribe: Subscribe) -> SubscribeCall<At> {
        SubscribeCall {
            client: self.clone(),
            subscribe,
            reconnection: RetryPolicy::FOR_EVER,
            counts_in: PhantomData,
        }
    }
}

impl SubscribeCall<Position> {
    /// Starts with the first event after this position (exclusive).
    pub fn after(self, position: Position) -> Self {
        self.starting(Start::After(position))
    }

    /// Starts with the first event that is appended from now on.
    pub fn from_end(self) -> Self {
        self.starting(Start::End)
    }

    /// Starts there.
    pub fn starting(mut self, start: Start<Position>) -> Self {
        self.subscribe.from = SubscribeFrom::All(start);
        self
    }
}

impl SubscribeCall<Revision> {
    /// Starts with the first event after this revision (exclusive).
    pub fn after(self, revision: Revision) -> Self {
        self.starting(Start::After(revision))
    }

    /// Starts with the first event that is appended from now on.
    pub fn from_end(self) -> Self {
        self.starting(Start::End)
    }

    /// Starts there.
    pub fn starting(mut self, start: Start<Revision>) -> Self {
        if let SubscribeFrom::Stream(_, from) = &mut self.subscribe.from {
            *from = start;
        }
        self
    }
}

filter_methods!(SubscribeCall);

impl<At> SubscribeCall<At> {
    /// The store that the starting point belongs to. If another one answers, the subscription ends with
    /// `WrongStore`.
    pub fn store_id(mut self, store_id: StoreId) -> Self {
        self.subscribe.store_id = Some(store_id);
        self
    }

    /// How often it is tried to get the connection back, counted from the last message that came;
    /// [`RetryPolicy::FOR_EVER`] unless set, [`RetryPolicy::NEVER`] turns it off.
    pub fn reconnection(mut self, policy: RetryPolicy) -> Self {
        self.reconnection = policy;
        self
    }

    /// Begins.
    pub fn start(self) -> Subscription {
        let following = Following {
            client: self.client,
            place: Place::new(self.subscribe),
            policy: self.reconnection,
            messages: None,
            failed: 0,
        };
        let messages = stream::unfold(Some(following), |following| async move {
            let mut following = following?;
            match following.next().await {
                Ok(message) => Some((Ok(message), Some(following))),
                Err(error) => Some((Err(error), None)),
            }
        });
        Subscription(messages.boxed())
    }

    /// What was said so far, for who follows in another way.
    pub(crate) fn into_parts(self) -> (Client, Subscribe) {
        (self.client, self.subscribe)
    }

    fn filter_mut(&mut self) -> &mut Filter {
        &mut self.subscribe.filter
    }
}

/// A stream of [`SubscriptionMessage`]s. Every event after the starting point comes exactly once and in
/// order, at the pace at which the messages are taken.
///
/// When the connection breaks, it is made again and the subscription goes on after the last message
/// that was taken; another [`SubscriptionMessage::Confirmed`] says so, and an event of `tracing`. An
/// error ends the stream: one where trying again makes no sense, or the last one when the attempts are
/// used up.
pub struct Subscription(BoxStream<'static, Result<SubscriptionMessage>>);

impl Subscription {
    /// Only the events, one by one.
    pub fn events(self) -> impl Stream<Item = Result<RecordedEvent>> + Send + Unpin + 'static {
        self.map_ok(|message| {
            let events = match message {
                SubscriptionMessage::Events(events) => events,
                _ => Vec::new(),
            };
            stream::iter(events.into_iter().map(Ok))
        })
        .try_flatten()
    }
}

impl Stream for Subscription {
    type Item = Result<SubscriptionMessage>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(context)
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}

/// A subscription under way.
struct Following {
    client: Client,
    place: Place,
    policy: RetryPolicy,
    /// The open call, if there is one.
    messages: Option<Streaming<proto::SubscribeResponse>>,
    /// Attempts in a row that brought nothing.
    failed: u32,
}

impl Following {
    /// The next message, over as many connections as that takes.
    async fn next(&mut self) -> Result<SubscriptionMessage> {
        loop {
            let error = match self.try_next().await {
                Ok(message) => {
                    self.place.advance(&message)?;
                    if !matches!(message, SubscriptionMessage::Confirmed { .. }) {
                        self.failed = 0;
                    }
                    return Ok(message);
                }
                Err(error) => error,
            };
            self.messages = None;
            self.failed += 1;
            let pause = passes(&error)
                .then(|| self.policy.pause_after(self.failed))
                .flatten();
            let Some(pause) = pause else {
                return Err(error);
            };
            tracing::warn!(
                server = self.client.server(), %error, resume = %self.place, failed = self.failed, ?pause,
                "subscription broke off, connecting again"
            );
            sleep(pause).await;
        }
    }

    /// The next message of the open call, which is opened first if need be.
    async fn try_next(&mut self) -> Result<SubscriptionMessage> {
        if self.messages.is_none() {
            self.messages = Some(self.connect().await?);
        }
        let messages = self.messages.as_mut().expect("it was opened above");
        match messages.next().await {
            Some(Ok(message)) => message.try_into().map_err(not_understood),
            Some(Err(status)) => Err(reading(self.client.error(&status))),
            None => Err(Error::unavailable("the server ended the subscription")),
        }
    }

    /// Opens a call that goes on from the place reached.
    async fn connect(&mut self) -> Result<Streaming<proto::SubscribeResponse>> {
        if self.policy.attempts_max > 1 {
            anchor(&self.client, &mut self.place).await?;
        }
        open(&self.client, self.place.resume()).await
    }
}

/// Whether an error may go away by itself.
pub(crate) fn passes(error: &Error) -> bool {
    matches!(
        error,
        Error::Unavailable { .. }
            | Error::Unreachable { .. }
            | Error::OutcomeUnknown { .. }
            | Error::Exhausted { .. }
    )
}

async fn open(
    client: &Client,
    subscribe: Subscribe,
) -> Result<Streaming<proto::SubscribeResponse>> {
    subscribe.check()?;
    let mut streams = client.streams();
    client
        .open(streams.subscribe(proto::SubscribeRequest::from(subscribe)))
        .await
        .map_err(reading)
}

/// The same subscription, with a start at the end as a start after what is last now.
pub(crate) async fn resolve_end(client: &Client, subscribe: Subscribe) -> Result<Subscribe> {
    let mut place = Place::new(subscribe);
    anchor(client, &mut place).await?;
    Ok(place.resume())
}

/// Turns a start at the end into a start after what is last now. A connection may break before the
/// first message; starting at the end once more would then leave out what came in between.
async fn anchor(client: &Client, place: &mut Place) -> Result<()> {
    match place.at_end() {
        None => {}
        Some(SubscribeFrom::All(_)) => {
            let read = Read {
                filter: Filter::everything(),
                ..Read::all()
            };
            let mut batches = client.read(read).backwards().limit(1).batches();
            let last = batches.try_next().await?.map(|batch| batch.last_position);
            place.anchor_all(last.unwrap_or_default(), batches.store_id());
        }
        Some(SubscribeFrom::Stream(stream, _)) => {
            let stream = stream.clone();
            let last = match client.get_stream(&stream).await {
                Ok(info) => info.state.last_revision(),
                Err(Error::StreamNotFound { .. }) => None,
                Err(error) => return Err(error),
            };
            place.anchor_stream(last);
        }
    }
    Ok(())
}
