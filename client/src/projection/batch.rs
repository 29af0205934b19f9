//! Batches: what a subscription delivers, cut into what one transaction takes. Also keeps how far the
//! subscription has looked, beyond the last event that was for this projection.

use crate::subscribe::Subscription;
use futures::StreamExt;
use icecore_core::{Error, Position, RecordedEvent, Result, StoreId, SubscriptionMessage};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How much goes into one transaction: so many events, and of large ones as many as fit into 16 MiB, at
/// least one.
///
/// ```
/// use icecore_client::BatchLimits;
/// use std::time::Duration;
///
/// // Fewer, larger transactions; readers see events up to 50 ms later.
/// let limits = BatchLimits { events_max: 5_000, wait: Duration::from_millis(50) };
/// assert_ne!(limits, BatchLimits::default());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most events; at least 1. 1,000 unless set.
    pub events_max: usize,
    /// How long a batch that is not full waits for more events after its first one. Nothing unless
    /// set: a batch takes what is there, and while it is committed the next one gathers.
    pub wait: Duration,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            events_max: 1_000,
            wait: Duration::ZERO,
        }
    }
}

/// Most bytes of events in a batch that has more than one.
const BATCH_BYTES_MAX: usize = 16 * 1_024 * 1_024;

/// What one transaction takes.
#[derive(Debug)]
pub(super) struct Batch {
    /// In order; none, when the subscription only said that it has caught up.
    pub(super) events: Vec<RecordedEvent>,
    /// Everything up to here (inclusive) is in the batch or before it, or not for this projection.
    pub(super) until: Position,
    /// Nothing came after it when it was made.
    pub(super) caught_up: bool,
}

/// Where batches come from. Its futures may be dropped at any point without losing an event.
pub(super) struct Intake {
    subscription: Subscription,
    limits: BatchLimits,
    /// What was delivered and not handed out yet.
    waiting: VecDeque<RecordedEvent>,
    /// The size of that.
    waiting_bytes: usize,
    /// Since when something waits.
    waiting_since: Option<Instant>,
    /// Everything up to here was delivered, or looked at and left out.
    looked: Position,
    caught_up: bool,
}

impl Intake {
    pub(super) fn new(subscription: Subscription, after: Position, limits: BatchLimits) -> Self {
        Self {
            subscription,
            limits,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            waiting_since: None,
            looked: after,
            caught_up: false,
        }
    }

    /// The store that is followed: the first message of a subscription.
    pub(super) async fn store_id(&mut self) -> Result<StoreId> {
        match self.message().await? {
            SubscriptionMessage::Confirmed { store_id } => Ok(store_id),
            _ => Err(Error::internal("a subscription began without its store")),
        }
    }

    /// Everything up to here is handed out, or not for this projection.
    pub(super) fn looked(&self) -> Position {
        match self.waiting.front() {
            Some(next) => next.position.previous(),
            None => self.looked,
        }
    }

    /// The next batch, as soon as there is one.
    pub(super) async fn next(&mut self) -> Result<Batch> {
        while self.waiting.len() < self.limits.events_max
            && self.waiting_bytes < BATCH_BYTES_MAX
            && !self.caught_up
        {
            let message = match self.waiting_since {
                None => self.message().await?,
                Some(since) => match timeout_at(since + self.limits.wait, self.message()).await {
                    Ok(message) => message?,
                    Err(_) => break,
                },
            };
            self.take(message);
        }
        Ok(self.cut())
    }

    async fn message(&mut self) -> Result<SubscriptionMessage> {
        let message = self.subscription.next().await;
        message.unwrap_or_else(|| Err(Error::unavailable("the subscription has ended")))
    }

    fn take(&mut self, message: SubscriptionMessage) {
        match message {
            SubscriptionMessage::Confirmed { .. } => {}
            SubscriptionMessage::Events(events) => {
                self.looked = events.last().map_or(self.looked, |last| last.position);
                self.waiting_bytes += events.iter().map(RecordedEvent::size).sum::<usize>();
                self.waiting.extend(events);
                self.waiting_since.get_or_insert_with(Instant::now);
            }
            SubscriptionMessage::Checkpoint(position) => self.looked = position,
            SubscriptionMessage::CaughtUp { position } => {
                self.looked = position;
                self.caught_up = true;
            }
        }
    }

    fn cut(&mut self) -> Batch {
        let mut bytes = 0;
        let fits = |event: &&RecordedEvent| {
            bytes += event.size();
            bytes <= BATCH_BYTES_MAX
        };
        let count = self.waiting.iter().take_while(fits).count().max(1);
        let count = count.min(self.limits.events_max).min(self.waiting.len());
        let events: Vec<_> = self.waiting.drain(..count).collect();
        self.waiting_bytes -= events.iter().map(RecordedEvent::size).sum::<usize>();
        let caught_up = self.waiting.is_empty() && std::mem::take(&mut self.caught_up);
        self.waiting_since = (!self.waiting.is_empty()).then(Instant::now);
        Batch {
            events,
            until: self.looked(),
            caught_up,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::recorded;
    use crate::{Client, json_event};

    #[tokio::test]
    async fn a_batch_of_large_events_is_cut_by_bytes_and_has_one_at_least() {
        const MIB: usize = 1_024 * 1_024;
        let client = Client::connect_lazy("http://127.0.0.1:1").expect("a valid address");
        let subscription = client.subscribe_all().start();
        let mut intake = Intake::new(subscription, Position::START, BatchLimits::default());
        let event = |mib: usize| {
            let mut event = recorded(json_event("Large", "").expect("a valid event"));
            event.data = vec![0; mib * MIB].into();
            event
        };
        let events = [7, 7, 7, 17, 1].map(event);
        intake.take(SubscriptionMessage::Events(events.into()));
        let counts = [(); 4].map(|()| intake.cut().events.len());
        assert_eq!(counts, [2, 1, 1, 1]);
        assert_eq!(intake.waiting_bytes, 0);
    }
}
