//! Subscribers that go on over every kill and note what they are handed.

use super::plan::{Place, Plan};
use anyhow::{Context, Result};
use fastrand::Rng;
use futures::StreamExt;
use icecore_client::{
    Client, Error, Position, RecordedEvent, RetryPolicy, StoreId, StreamName, Subscription,
    SubscriptionMessage,
};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

/// How long one may take to come to the end once everything is written.
const STUCK: Duration = Duration::from_secs(300);

/// As the client reconnects by itself, but a little more often.
const RECONNECTION: RetryPolicy = RetryPolicy {
    pause_max: Duration::from_millis(500),
    ..RetryPolicy::FOR_EVER
};

/// Before the one that keeps its own place connects again.
const PAUSE: Duration = Duration::from_millis(50);

/// What is followed, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follows {
    /// All streams; the client reconnects.
    All,
    /// One type of event in some streams; the client reconnects.
    Filtered,
    /// One stream; the client reconnects.
    Stream,
    /// All streams; begins anew after its own checkpoint, now and then without need.
    FromCheckpoint,
}

/// Where and what the filtered one follows.
const PREFIX: &str = "shared-";
const TYPE: &str = "Paid";

/// The stream that is followed.
const STREAM: &str = "shared-1";

impl Follows {
    /// All of them.
    pub(super) const EVERY: [Self; 4] = [
        Self::All,
        Self::Filtered,
        Self::Stream,
        Self::FromCheckpoint,
    ];

    /// Which events it is to get, of those with these ids at the positions from 1 on.
    pub(super) fn wanted(self, plan: Plan, ids: &[Uuid]) -> Result<Vec<(u64, Uuid)>> {
        let mut wanted = Vec::new();
        let mut append = None;
        for (position, id) in (1..).zip(ids) {
            let Some(Place {
                writer,
                number,
                index,
            }) = plan.place(*id)
            else {
                continue;
            };
            if !matches!(&append, Some((place, _)) if *place == (writer, number)) {
                append = Some(((writer, number), plan.contents(writer, number)?));
            }
            let Some((_, contents)) = &append else {
                continue;
            };
            let Some((stream, event)) = contents.events.get(usize::from(index)) else {
                continue;
            };
            let stream = contents.streams[*stream].as_str();
            let takes = match self {
                Self::All | Self::FromCheckpoint => true,
                Self::Filtered => stream.starts_with(PREFIX) && event.event_type.as_str() == TYPE,
                Self::Stream => stream == STREAM,
            };
            if takes {
                wanted.push((position, *id));
            }
        }
        Ok(wanted)
    }
}

/// A subscriber at work.
pub(super) struct Subscriber {
    pub(super) follows: Follows,
    end: watch::Sender<Option<u64>>,
    following: JoinHandle<Result<Handed>>,
}

/// What it was handed, with its positions, and over how many connections.
#[derive(Debug, Default)]
pub(super) struct Handed {
    pub(super) events: Vec<(u64, Uuid)>,
    pub(super) connections: u64,
}

impl Subscriber {
    /// Begins with the first event.
    pub(super) fn start(follows: Follows, url: &str, seed: u64) -> Result<Self> {
        let (end, until) = watch::channel(None);
        let handed = Handed::default();
        let client = Client::connect_lazy(url)?;
        let following = match follows {
            Follows::FromCheckpoint => {
                tokio::spawn(again_and_again(url.to_owned(), seed, handed, until))
            }
            Follows::All => {
                let call = client.subscribe_all().reconnection(RECONNECTION);
                tokio::spawn(once(call.start(), handed, until))
            }
            Follows::Filtered => {
                let call = client.subscribe_all().prefix(PREFIX).types([TYPE]);
                tokio::spawn(once(call.reconnection(RECONNECTION).start(), handed, until))
            }
            Follows::Stream => {
                let call = client.subscribe_stream(&StreamName::new(STREAM)?);
                tokio::spawn(once(call.reconnection(RECONNECTION).start(), handed, until))
            }
        };
        Ok(Self {
            follows,
            end,
            following,
        })
    }

    /// Waits until it was handed an event at this position or a later one.
    pub(super) async fn finish(self, end: u64) -> Result<Handed> {
        let follows = self.follows;
        self.end.send_replace(Some(end));
        let handed = timeout(STUCK, self.following).await;
        handed
            .with_context(|| format!("{follows:?} does not come to position {end}"))??
            .with_context(|| format!("subscribe as {follows:?}"))
    }
}

impl Handed {
    fn take(&mut self, events: &[RecordedEvent]) {
        let events = events.iter().map(|event| (event.position.get(), event.id));
        self.events.extend(events);
    }

    fn is_at(&self, end: Option<u64>) -> bool {
        let last = self.events.last().map_or(0, |(position, _)| *position);
        end.is_some_and(|end| last >= end)
    }
}

/// The next message; `None` at the end.
async fn next(
    subscription: &mut Subscription,
    handed: &Handed,
    until: &mut watch::Receiver<Option<u64>>,
) -> Option<Result<SubscriptionMessage, Error>> {
    loop {
        if handed.is_at(*until.borrow_and_update()) {
            return None;
        }
        tokio::select! {
            message = subscription.next() => return message,
            changed = until.changed() => if changed.is_err() {
                return None;
            }
        }
    }
}

/// Leaves reconnecting to the client.
async fn once(
    mut subscription: Subscription,
    mut handed: Handed,
    mut until: watch::Receiver<Option<u64>>,
) -> Result<Handed> {
    while let Some(message) = next(&mut subscription, &handed, &mut until).await {
        match message? {
            SubscriptionMessage::Confirmed { .. } => handed.connections += 1,
            SubscriptionMessage::Events(events) => handed.take(&events),
            SubscriptionMessage::Checkpoint(_) | SubscriptionMessage::CaughtUp { .. } => {}
        }
    }
    Ok(handed)
}

/// Keeps its own place, as a projection does that is started again.
async fn again_and_again(
    url: String,
    seed: u64,
    mut handed: Handed,
    mut until: watch::Receiver<Option<u64>>,
) -> Result<Handed> {
    let mut random = Rng::with_seed(seed);
    let mut checkpoint = Position::START;
    let mut store = None::<StoreId>;
    loop {
        let call = Client::connect_lazy(url.as_str())?.subscribe_all();
        let mut call = call.after(checkpoint).reconnection(RetryPolicy::NEVER);
        if let Some(store) = store {
            call = call.store_id(store);
        }
        let mut subscription = call.start();
        for _ in 0..random.usize(5..200) {
            let Some(message) = next(&mut subscription, &handed, &mut until).await else {
                return Ok(handed);
            };
            match message {
                Ok(SubscriptionMessage::Confirmed { store_id }) => {
                    handed.connections += 1;
                    store = Some(store_id);
                }
                Ok(SubscriptionMessage::Events(events)) => {
                    checkpoint = events.last().map_or(checkpoint, |event| event.position);
                    handed.take(&events);
                }
                Ok(
                    SubscriptionMessage::Checkpoint(position)
                    | SubscriptionMessage::CaughtUp { position },
                ) => checkpoint = position,
                Err(Error::Unavailable { .. } | Error::Unreachable { .. }) => break,
                Err(error) => return Err(error.into()),
            }
        }
        sleep(PAUSE).await;
    }
}
