//! Subscriptions: one loop reads from the log until it reaches what the ring holds, says caught up,
//! follows the ring, and falls back to the log when its reader is too slow. It goes at the reader's
//! pace: nothing is queued for it, so nothing can overflow.

use crate::matcher::Matcher;
use crate::reader::last_revision_at;
use crate::scan::Scan;
use crate::state::base;
use crate::store::EventStore;
use crate::virtual_stream::{self, VirtualStream};
use crate::visibility::Visibility;
use futures::stream::try_unfold;
use futures::{Stream, StreamExt};
use icecore_core::{
    Delivery, Direction, Error, Filter, PageLimit, Position, RecordedEvent, Result, Revision,
    SharedEvents, Start, StoreId, StreamName, StreamState, Subscribe, SubscribeFrom,
    SubscriptionMessage,
};
use prometheus_client::metrics::gauge::Gauge;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// How much one message carries, beside the one event that it always may.
const PAGE: PageLimit = PageLimit {
    events: 1_024,
    bytes: 512 * 1_024,
};

impl EventStore {
    /// Follows the store or a stream: what is there first, then what comes, each event once and in
    /// order.
    ///
    /// # Errors
    ///
    /// The stream ends with `InvalidArgument` (a bad filter, or a start beyond the end),
    /// `WrongStore`, `Exhausted` (`subscriptions_max` of them are open), `StreamDeleted` after a
    /// tombstone was delivered, `Corrupted`, or `Unavailable` when the store stops.
    pub fn subscribe(
        &self,
        subscribe: Subscribe,
    ) -> impl Stream<Item = Result<SubscriptionMessage>> + Send + 'static {
        let deliveries = self.deliver(subscribe);
        deliveries.map(|delivery| delivery.map(Into::into))
    }

    /// As [`Self::subscribe`], for those who send it on.
    ///
    /// # Errors
    ///
    /// As [`Self::subscribe`].
    pub fn deliver(
        &self,
        subscribe: Subscribe,
    ) -> impl Stream<Item = Result<Delivery>> + Send + 'static {
        self.deliver_every(self.config().checkpoint_events, subscribe)
    }

    /// As [`Self::deliver`], with a checkpoint after so many events that were looked at and did not
    /// match.
    ///
    /// # Errors
    ///
    /// As [`Self::subscribe`].
    pub fn deliver_every(
        &self,
        checkpoint_events: u64,
        subscribe: Subscribe,
    ) -> impl Stream<Item = Result<Delivery>> + Send + 'static {
        let phase = Phase::Begin(self.clone(), checkpoint_events, Box::new(subscribe));
        try_unfold(phase, |phase| async move {
            match phase {
                Phase::Begin(store, checkpoint_events, subscribe) => {
                    let store_id = store.store_id();
                    let subscription = Subscription::begin(store, checkpoint_events, *subscribe);
                    let subscription = Box::new(subscription.await?);
                    let confirmed = SubscriptionMessage::Confirmed { store_id };
                    Ok(Some((
                        Delivery::Own(confirmed),
                        Phase::Following(subscription),
                    )))
                }
                Phase::Following(mut subscription) => {
                    let delivery = subscription.next_delivery().await?;
                    Ok(Some((delivery, Phase::Following(subscription))))
                }
            }
        })
    }
}

enum Phase {
    Begin(EventStore, u64, Box<Subscribe>),
    Following(Box<Subscription>),
}

/// A subscription under way. Everything before `next` was looked at.
struct Subscription {
    store: EventStore,
    matcher: Matcher,
    target: Target,
    next: Position,
    /// A walk through the log that has not come to its end yet.
    catching_up: Option<CatchUp>,
    said_caught_up: bool,
    /// The last position that the subscriber has heard of, by event or by checkpoint.
    reported: Position,
    /// Events that are looked at between two checkpoints, at least.
    checkpoint_events: u64,
    last_position: watch::Receiver<Position>,
    stopping: watch::Receiver<bool>,
    place: Subscriber,
}

enum Target {
    All,
    /// The links to what the matcher finds.
    Virtual(VirtualStream),
    Stream {
        stream: StreamName,
        next: Revision,
        closed: bool,
    },
}

/// What a step has found; may be nothing.
enum Page {
    Own(Vec<RecordedEvent>),
    Shared(Vec<SharedEvents>),
}

impl Page {
    /// What is to be delivered, and the position of its last event.
    fn into_delivery(self) -> Option<(Position, Delivery)> {
        match self {
            Self::Own(events) => {
                let last = events.last()?.position;
                Some((last, Delivery::Own(SubscriptionMessage::Events(events))))
            }
            Self::Shared(appends) => {
                let last = appends.last()?.last()?.position;
                Some((last, Delivery::Shared(appends)))
            }
        }
    }
}

enum CatchUp {
    All(Box<Scan>),
    /// Up to this position (inclusive).
    Stream(Visibility, Position),
}

impl Subscription {
    async fn begin(
        store: EventStore,
        checkpoint_events: u64,
        subscribe: Subscribe,
    ) -> Result<Self> {
        subscribe.check()?;
        let actual = store.store_id();
        if let Some(expected) = subscribe.store_id.filter(|expected| *expected != actual) {
            return Err(Error::WrongStore { expected, actual });
        }
        let last = store.last_position();
        let (target, matcher, next) = match subscribe.from {
            SubscribeFrom::All(start) => (
                Target::All,
                Matcher::all(&subscribe.filter)?,
                first_position(start, last)?,
            ),
            SubscribeFrom::Stream(stream, start) if VirtualStream::named(&stream).is_some() => {
                follow_links(stream, start, &subscribe.filter, last)?
            }
            SubscribeFrom::Stream(stream, start) => {
                let matcher = Matcher::one_stream(&subscribe.filter)?;
                let next = first_revision(&store, &stream, start, last).await?;
                let position = if start == Start::End && next != Revision::TOMBSTONE {
                    last.next()
                } else {
                    Position::FIRST
                };
                (
                    Target::Stream {
                        stream,
                        next,
                        closed: false,
                    },
                    matcher,
                    position,
                )
            }
        };
        let mut subscription = Self {
            matcher,
            target,
            next,
            catching_up: None,
            said_caught_up: false,
            reported: next.previous(),
            checkpoint_events,
            last_position: store.watch_last_position(),
            stopping: store.watch_stopping(),
            place: Subscribers::enter(store.subscribers(), next)?,
            store,
        };
        if next <= last && matches!(subscription.target, Target::Stream { .. }) {
            // Not from the ring: it has what retention hides, too.
            subscription.catching_up = Some(subscription.begin_catch_up(last).await?);
        }
        Ok(subscription)
    }

    async fn next_delivery(&mut self) -> Result<Delivery> {
        loop {
            self.fail_if_over()?;
            let last = *self.last_position.borrow_and_update();
            if self.next > last {
                if !self.said_caught_up {
                    self.said_caught_up = true;
                    self.reported = last;
                    let caught_up = SubscriptionMessage::CaughtUp { position: last };
                    return Ok(Delivery::Own(caught_up));
                }
                self.wait().await?;
                continue;
            }
            let page = self.advance(last).await?;
            let page = self.target.shows(page, self.store.store_id());
            self.place.moved_to(self.next);
            if let Some((reached, delivery)) = page.into_delivery() {
                self.reported = reached;
                return Ok(delivery);
            }
            // Who follows one stream resumes after a revision and has no use for a position.
            if !matches!(self.target, Target::All) {
                tokio::task::yield_now().await;
                continue;
            }
            let looked_at = self.next.previous();
            if looked_at.get() - self.reported.get() >= self.checkpoint_events {
                self.reported = looked_at;
                let checkpoint = SubscriptionMessage::Checkpoint(looked_at);
                return Ok(Delivery::Own(checkpoint));
            }
        }
    }

    fn fail_if_over(&self) -> Result<()> {
        if *self.stopping.borrow() {
            return Err(Error::unavailable("the server is stopping"));
        }
        match &self.target {
            Target::Stream {
                stream,
                closed: true,
                ..
            } => Err(Error::StreamDeleted {
                stream: stream.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Waits for the next commit, or for the store to stop.
    async fn wait(&mut self) -> Result<()> {
        tokio::select! {
            changed = self.last_position.changed() => {
                changed.map_err(|_| Error::unavailable("the storage is closed"))
            }
            _ = self.stopping.wait_for(|stopping| *stopping) => Ok(()),
        }
    }

    /// Looks at the next events up to `last` (inclusive) and moves `next` past them.
    async fn advance(&mut self, last: Position) -> Result<Page> {
        if self.catching_up.is_none() {
            if let Some(appends) = self.store.ring().read(self.next, last, PAGE.bytes) {
                return self.follow(&appends);
            }
            self.said_caught_up = false;
            self.catching_up = Some(self.begin_catch_up(last).await?);
        }
        let events = match self.catching_up.take() {
            Some(CatchUp::All(scan)) => self.catch_up_all(scan).await?,
            Some(CatchUp::Stream(visibility, bound)) => {
                self.catch_up_stream(visibility, bound).await?
            }
            None => Vec::new(),
        };
        Ok(Page::Own(events))
    }

    /// Takes what the ring holds.
    fn follow(&mut self, appends: &[SharedEvents]) -> Result<Page> {
        if let Some(whole) = self.whole(appends)? {
            return Ok(Page::Shared(whole));
        }
        let (mut events, mut bytes) = (Vec::new(), 0);
        for event in appends.iter().flat_map(|append| append.iter()) {
            if event.position < self.next {
                continue;
            }
            self.next = event.position.next();
            if self.target.takes(event) && self.matcher.matches(event)? {
                bytes += event.size();
                events.push(event.clone());
            }
            if events.len() >= PAGE.events || bytes >= PAGE.bytes {
                break;
            }
        }
        Ok(Page::Own(events))
    }

    /// The first of these appends whose events are all wanted, as many as a page may hold; `None` when
    /// there is none, or when a part of the first was seen.
    fn whole(&mut self, appends: &[SharedEvents]) -> Result<Option<Vec<SharedEvents>>> {
        let starts_here = |events: &SharedEvents| events[0].position == self.next;
        if !matches!(self.target, Target::All) || !appends.first().is_some_and(starts_here) {
            return Ok(None);
        }
        let (mut whole, mut events, mut bytes) = (Vec::new(), 0, 0);
        for append in appends {
            events += append.len();
            bytes += append.iter().map(RecordedEvent::size).sum::<usize>();
            if events > PAGE.events || bytes > PAGE.bytes {
                break;
            }
            if !self.wants_all(append)? {
                break;
            }
            whole.push(append.clone());
        }
        let last = whole.last().and_then(|append| append.last());
        let Some(last) = last.map(|event| event.position) else {
            return Ok(None);
        };
        self.next = last.next();
        Ok(Some(whole))
    }

    fn wants_all(&self, events: &[RecordedEvent]) -> Result<bool> {
        for event in events {
            if !self.matcher.matches(event)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn begin_catch_up(&self, last: Position) -> Result<CatchUp> {
        match &self.target {
            Target::All | Target::Virtual(_) => {
                let (storage, matcher) = (self.store.storage_handle(), self.matcher.clone());
                let scan = Scan::new(storage, matcher, Direction::Forwards, self.next, last);
                Ok(CatchUp::All(Box::new(scan)))
            }
            Target::Stream { stream, .. } => {
                let record = self.store.record(&base(stream)).await?;
                let visibility = Visibility::of(stream, &record, self.store.now());
                Ok(CatchUp::Stream(visibility, last))
            }
        }
    }

    async fn catch_up_all(&mut self, mut scan: Box<Scan>) -> Result<Vec<RecordedEvent>> {
        let step = scan.step(PAGE).await?;
        self.next = step.reached.next();
        if !step.end {
            self.catching_up = Some(CatchUp::All(scan));
        }
        Ok(step.events)
    }

    async fn catch_up_stream(
        &mut self,
        visibility: Visibility,
        bound: Position,
    ) -> Result<Vec<RecordedEvent>> {
        let Target::Stream { stream, next, .. } = &self.target else {
            return Ok(Vec::new());
        };
        // A tombstone stands where no truncation reaches.
        let from = (*next).max(visibility.first.min(Revision::TOMBSTONE));
        let storage = self.store.storage();
        let page = storage
            .read_stream(stream, from, Direction::Forwards, PAGE)
            .await?;
        let reached = page.events.last().map(|event| event.position);
        let mut events = Vec::with_capacity(page.events.len());
        for event in page.events {
            let within = event.position <= bound && self.target.takes(&event);
            if within && visibility.shows(&event) && self.matcher.matches(&event)? {
                events.push(event);
            }
        }
        match reached.filter(|reached| *reached < bound && !page.end) {
            Some(reached) => {
                self.next = reached.next();
                self.catching_up = Some(CatchUp::Stream(visibility, bound));
            }
            None => self.next = bound.next(),
        }
        Ok(events)
    }
}

impl Target {
    /// What was found as the subscriber gets it.
    fn shows(&self, page: Page, store: StoreId) -> Page {
        match (self, page) {
            (Self::Virtual(stream), Page::Own(found)) => {
                let links = found.iter().map(|event| stream.link(store, event));
                Page::Own(links.collect())
            }
            (_, page) => page,
        }
    }

    /// Whether the event is one of the target's and was not seen yet; then it is seen now.
    fn takes(&mut self, event: &RecordedEvent) -> bool {
        match self {
            Self::All | Self::Virtual(_) => true,
            Self::Stream {
                stream,
                next,
                closed,
            } => {
                let is_next = event.stream == *stream && event.revision >= *next;
                if is_next {
                    *next = event.revision.next();
                    *closed = event.is_tombstone();
                }
                is_next
            }
        }
    }
}

fn first_position(start: Start<Position>, last: Position) -> Result<Position> {
    match start {
        Start::Beginning => Ok(Position::FIRST),
        Start::End => Ok(last.next()),
        Start::After(after) if after > last => Err(Error::invalid(
            "after",
            format!("position {after} lies beyond the end of the store at {last}"),
        )),
        Start::After(after) => Ok(after.next()),
    }
}

/// What follows the links of a virtual stream, and where it begins.
fn follow_links(
    stream: StreamName,
    start: Start<Revision>,
    filter: &Filter,
    last: Position,
) -> Result<(Target, Matcher, Position)> {
    virtual_stream::check_filter(filter)?;
    let Some(stream) = VirtualStream::named(&stream) else {
        return Err(Error::StreamNotFound { stream });
    };
    let start = match start {
        Start::Beginning => Start::Beginning,
        Start::End => Start::End,
        Start::After(revision) => Start::After(Position::new(revision.get())),
    };
    let matcher = Matcher::term(stream.term.clone());
    let next = first_position(start, last)?;
    Ok((Target::Virtual(stream), matcher, next))
}

/// Where a subscription to one stream begins that sees the store end at `end`.
async fn first_revision(
    store: &EventStore,
    stream: &StreamName,
    start: Start<Revision>,
    end: Position,
) -> Result<Revision> {
    let record = store.record(&base(stream)).await?;
    let state = record.state_of(stream);
    let last = state.last_revision();
    if state == StreamState::Tombstoned && stream.is_metadata() {
        // It has ended with its stream and has no tombstone to deliver.
        return Err(Error::StreamDeleted {
            stream: stream.clone(),
        });
    }
    match start {
        Start::Beginning => Ok(Revision::FIRST),
        // A tombstone is delivered whatever the start, since it ends the subscription.
        Start::End if state == StreamState::Tombstoned => Ok(Revision::TOMBSTONE),
        Start::After(after) if state == StreamState::Tombstoned => {
            Ok(after.next().min(Revision::TOMBSTONE))
        }
        // The storage may be ahead: what it has beyond the end is yet to be delivered.
        Start::End => {
            let last = match record.tail_of(stream) {
                Some(tail) => last_revision_at(store, stream, tail, end).await?,
                None => None,
            };
            Ok(last.map_or(Revision::FIRST, Revision::next))
        }
        Start::After(after) if last.is_some_and(|last| after <= last) => Ok(after.next()),
        Start::After(after) => Err(Error::invalid(
            "after",
            format!("revision {after} lies beyond the end of stream `{stream}` ({state})"),
        )),
    }
}

/// Who is subscribed, and how far each is. For operators.
#[derive(Debug)]
pub(crate) struct Subscribers {
    next: Mutex<HashMap<u64, Arc<AtomicU64>>>,
    last_id: AtomicU64,
    open: Gauge,
    /// How many there may be.
    limit: usize,
}

/// One entry of [`Subscribers`]; it leaves when it is dropped.
#[derive(Debug)]
struct Subscriber {
    id: u64,
    next: Arc<AtomicU64>,
    subscribers: Arc<Subscribers>,
}

impl Subscribers {
    /// `limit` is how many there may be, `open` tells how many there are.
    pub(crate) fn new(limit: usize, open: Gauge) -> Self {
        Self {
            next: Mutex::default(),
            last_id: AtomicU64::new(0),
            open,
            limit,
        }
    }

    fn enter(this: &Arc<Self>, at: Position) -> Result<Subscriber> {
        let id = this.last_id.fetch_add(1, Ordering::Relaxed);
        let position = Arc::new(AtomicU64::new(at.get()));
        let mut next = this.next.lock().unwrap_or_else(PoisonError::into_inner);
        if next.len() >= this.limit {
            let limit = this.limit;
            return Err(Error::exhausted(
                "subscriptions_max",
                format!("{limit} subscriptions are open and there may be no more: end some first"),
            ));
        }
        next.insert(id, Arc::clone(&position));
        this.open.inc();
        Ok(Subscriber {
            id,
            next: position,
            subscribers: Arc::clone(this),
        })
    }

    /// How many are open.
    pub(crate) fn count(&self) -> u64 {
        self.next
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len() as u64
    }

    /// How many events the slowest has not looked at yet.
    pub(crate) fn lag_max(&self, last: Position) -> u64 {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let slowest = next.values().map(|next| next.load(Ordering::Relaxed)).min();
        slowest.map_or(0, |slowest| last.next().get().saturating_sub(slowest))
    }
}

impl Subscriber {
    fn moved_to(&self, next: Position) {
        self.next.store(next.get(), Ordering::Relaxed);
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let mut next = self
            .subscribers
            .next
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        next.remove(&self.id);
        self.subscribers.open.dec();
    }
}
