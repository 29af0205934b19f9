//! The loop of a relay: takes from the store, sends to the broker, writes checkpoints. What may be sent is
//! decided in `window.rs`.

use super::broker::{Broker, BrokerError};
use super::checkpoint::{self, Checkpoints, Opened};
use super::window::{Place, Window};
use super::{Relay, RelayError, WINDOW_EVENTS_MAX};
use crate::client::Client;
use crate::retry::RetryPolicy;
use crate::subscribe::{Subscription, passes};
use futures::future::{BoxFuture, pending};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use icecore_core::{
    Appended, Error, Position, RecordedEvent, Result, StreamName, SubscriptionMessage,
};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, Sleep, interval, sleep, timeout};

/// How long a relay that is stopped waits for what is under way, and then for its last checkpoint.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// A checkpoint that only says that there was nothing to publish is written when it is so far ahead. Each is
/// an event itself.
const LOOKED_PAST_MIN: u64 = 10_000;

/// How often it is tried to take over from a relay that writes a checkpoint just then.
const CLAIMS_MAX: u32 = 10;

/// See [`Relay::run`].
pub(super) async fn run<B: Broker>(
    relay: Relay<B>,
    stop: impl Future<Output = ()>,
) -> Result<(), RelayError> {
    let mut end = pin!(stop);
    let begun = tokio::select! {
        begun = open(&relay) => begun?,
        () = &mut end => return Ok(()),
    };
    let mut running = Running::new(&relay, begun);
    let outcome = loop {
        let next = tokio::select! {
            next = running.next() => next,
            () = &mut end => break Ok(()),
        };
        if let Err(error) = running.take(next) {
            break Err(error);
        }
        running.tell();
    };
    match outcome {
        Ok(()) | Err(RelayError::Broker { .. }) => {
            let finished = running.finish().await;
            outcome.and(finished)
        }
        Err(error) => Err(error),
    }
}

/// Takes over, for as long as the store cannot be reached.
async fn open<B: Broker>(relay: &Relay<B>) -> Result<Opened, RelayError> {
    let mut failed = 0;
    let mut claims = 0;
    loop {
        let source = relay.source.clone();
        let opened = Checkpoints::open(&relay.client, &relay.name, source, relay.after_restore);
        match opened.await {
            Err(RelayError::Fenced { .. }) if claims < CLAIMS_MAX => claims += 1,
            Err(RelayError::Store(error)) if passes(&error) => {
                failed += 1;
                tracing::warn!(relay = %relay.name, %error, failed, "relay does not begin, trying again");
                let pause = RetryPolicy::FOR_EVER.pause_after(failed);
                sleep(pause.unwrap_or(RetryPolicy::FOR_EVER.pause_max)).await;
            }
            opened => return opened,
        }
    }
}

/// A relay under way.
struct Running<'a, B> {
    relay: &'a Relay<B>,
    messages: Subscription,
    window: Window,
    under_way: FuturesUnordered<BoxFuture<'a, Published>>,
    /// Nothing is sent while this runs.
    pause: Option<Pin<Box<Sleep>>>,
    checkpoints: Checkpoints,
    saving: Option<BoxFuture<'a, Result<Appended>>>,
    /// Up to where the last checkpoint goes, and how many events were confirmed after it was begun.
    saved: Place,
    unsaved: u64,
    tick: Interval,
    asking: Option<BoxFuture<'a, Result<Position>>>,
    /// The last position of the store that is known.
    last_position: Position,
    /// The subscription has turned live.
    live: bool,
    published: u64,
    failed: u64,
    trouble: Option<String>,
}

/// What became of an event.
struct Published {
    number: u64,
    event: Arc<RecordedEvent>,
    outcome: Result<(), BrokerError>,
}

/// What happens next.
enum Step {
    Message(Option<Result<SubscriptionMessage>>),
    Published(Published),
    Resume,
    Saved(Result<Appended>),
    Tick,
    End(Result<Position>),
}

impl<'a, B: Broker> Running<'a, B> {
    fn new(relay: &'a Relay<B>, opened: Opened) -> Self {
        let Opened {
            checkpoints,
            reached,
            subscribe,
        } = opened;
        tracing::info!(
            relay = %relay.name, server = relay.client.server(), after = %reached.position, "relay begins"
        );
        let mut tick = interval(relay.checkpoint_interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            relay,
            messages: relay.client.subscribe(subscribe),
            window: Window::new(reached, WINDOW_EVENTS_MAX),
            under_way: FuturesUnordered::new(),
            pause: None,
            checkpoints,
            saving: None,
            saved: reached,
            unsaved: 0,
            tick,
            asking: None,
            last_position: reached.position,
            live: false,
            published: 0,
            failed: 0,
            trouble: None,
        }
    }

    /// Waits for what happens next. May be dropped at any time.
    async fn next(&mut self) -> Step {
        self.send();
        tokio::select! {
            Some(published) = self.under_way.next() => Step::Published(published),
            message = self.messages.next(), if self.window.has_room() => Step::Message(message),
            () = ready(&mut self.pause) => Step::Resume,
            outcome = ready(&mut self.saving) => Step::Saved(outcome),
            end = ready(&mut self.asking) => Step::End(end),
            _ = self.tick.tick() => Step::Tick,
        }
    }

    /// Sends what may be sent.
    fn send(&mut self) {
        while self.pause.is_none() && self.under_way.len() < self.relay.in_flight_max {
            let Some((number, event)) = self.window.take() else {
                return;
            };
            let Relay {
                broker,
                publish_timeout,
                ..
            } = self.relay;
            let publishing = async move {
                let outcome = timeout(*publish_timeout, broker.publish(&event)).await;
                let outcome = outcome.unwrap_or_else(|_| {
                    Err(format!("no answer within {publish_timeout:?}").into())
                });
                Published {
                    number,
                    event,
                    outcome,
                }
            };
            self.under_way.push(publishing.boxed());
        }
    }

    fn take(&mut self, step: Step) -> Result<(), RelayError> {
        match step {
            Step::Message(message) => {
                let ended = || Error::internal("the subscription ended without an error");
                self.take_message(message.ok_or_else(ended)??);
            }
            Step::Published(published) => self.take_published(published)?,
            Step::Resume => {}
            Step::Saved(outcome) => {
                let position = self.checkpoints.saved(outcome)?;
                self.last_position = self.last_position.max(position);
            }
            Step::Tick => {
                self.save()?;
                if self.asking.is_none() && !self.is_caught_up() {
                    self.asking = Some(last_position(self.relay.client.clone()).boxed());
                }
            }
            // Without an answer the lag is the one that was known before.
            Step::End(end) => {
                self.last_position = end.unwrap_or_default().max(self.last_position);
            }
        }
        if self.unsaved >= self.relay.checkpoint_events {
            self.save()?;
        }
        Ok(())
    }

    fn take_message(&mut self, message: SubscriptionMessage) {
        match message {
            SubscriptionMessage::Confirmed { .. } => self.live = false,
            SubscriptionMessage::Events(events) => {
                for event in events {
                    self.last_position = self.last_position.max(event.position);
                    if is_checkpoint(&event.stream) {
                        self.window.look_past(event.position, Some(event.revision));
                    } else {
                        self.window.add(event);
                    }
                }
            }
            SubscriptionMessage::Checkpoint(position) => self.window.look_past(position, None),
            SubscriptionMessage::CaughtUp { position } => {
                self.window.look_past(position, None);
                self.last_position = self.last_position.max(position);
                self.live = true;
            }
        }
    }

    fn take_published(&mut self, published: Published) -> Result<(), RelayError> {
        let Published {
            number,
            event,
            outcome,
        } = published;
        let Err(error) = outcome else {
            self.window.confirm(number);
            self.published += 1;
            self.unsaved += 1;
            self.trouble = None;
            return Ok(());
        };
        self.failed += 1;
        let failed = self.window.fail(number);
        let Some(pause) = self.relay.retry.pause_after(failed) else {
            return Err(RelayError::Broker {
                event: Box::new(event.as_ref().clone()),
                source: error,
            });
        };
        // What else was under way is likely to fail as well; one pause is for all of it.
        if self.pause.is_none() {
            tracing::warn!(
                relay = %self.relay.name, %error, position = %event.position, stream = %event.stream, failed,
                ?pause, "the broker does not take an event, trying again"
            );
            self.pause = Some(Box::pin(sleep(pause)));
        }
        self.trouble = Some(error.to_string());
        Ok(())
    }

    /// Begins to write a checkpoint, if there is something to say and none is being written.
    fn save(&mut self) -> Result<(), RelayError> {
        let reached = self.window.reached();
        if self.saving.is_none() && self.is_worth_saving(reached) {
            let append = self.checkpoints.next(reached)?;
            let client = self.relay.client.clone();
            self.saving = Some(checkpoint::write(client, append).boxed());
            (self.saved, self.unsaved) = (reached, 0);
        }
        Ok(())
    }

    fn is_worth_saving(&self, reached: Place) -> bool {
        let ahead = reached.position.get() - self.saved.position.get();
        ahead >= LOOKED_PAST_MIN || (ahead > 0 && self.unsaved > 0)
    }

    fn is_caught_up(&self) -> bool {
        self.live && self.window.pending() == 0
    }

    /// Waits for what is under way and writes the last checkpoint.
    async fn finish(&mut self) -> Result<(), RelayError> {
        match timeout(STOP_TIMEOUT, self.drain()).await {
            Ok(drained) => drained?,
            // What is not confirmed comes again with the next start.
            Err(_) => {
                tracing::warn!(relay = %self.relay.name, "the broker does not answer in time");
            }
        }
        let late = |_| Error::unavailable("the last checkpoint was not written in time");
        timeout(STOP_TIMEOUT, self.save_last())
            .await
            .map_err(late)??;
        self.tell();
        let position = self.saved.position;
        tracing::info!(relay = %self.relay.name, %position, published = self.published, "relay ends");
        Ok(())
    }

    async fn drain(&mut self) -> Result<(), RelayError> {
        while let Some(published) = self.under_way.next().await {
            if published.outcome.is_ok() {
                self.take_published(published)?;
            }
        }
        Ok(())
    }

    async fn save_last(&mut self) -> Result<(), RelayError> {
        // One may be under way, and what was confirmed meanwhile needs another.
        for _ in 0..2 {
            self.save()?;
            if self.saving.is_some() {
                let outcome = ready(&mut self.saving).await;
                self.checkpoints.saved(outcome)?;
            }
        }
        Ok(())
    }

    /// Says how far it is.
    fn tell(&self) {
        self.relay.progress.send_if_modified(|progress| {
            let pending = self.window.pending() as u64;
            let position = self.window.reached().position;
            let is_caught_up = self.is_caught_up();
            let before = (progress.published, progress.failed, progress.pending);
            let changed = before != (self.published, self.failed, pending)
                || progress.position != position
                || progress.last_position != self.last_position
                || progress.is_caught_up != is_caught_up;
            if changed {
                progress.position = position;
                progress.last_position = self.last_position.max(position);
                progress.published = self.published;
                progress.failed = self.failed;
                progress.pending = pending;
                progress.is_caught_up = is_caught_up;
                progress.trouble.clone_from(&self.trouble);
            }
            changed
        });
    }
}

/// Whether this is a stream of checkpoints, or its metadata. A relay that published its own would never rest.
fn is_checkpoint(stream: &StreamName) -> bool {
    let name = stream.as_str();
    let name = name.strip_prefix("$$").unwrap_or(name);
    name.starts_with(checkpoint::STREAM_PREFIX)
}

/// Waits for what is in the slot and empties it; for ever, when there is nothing in it.
async fn ready<F: Future + Unpin>(slot: &mut Option<F>) -> F::Output {
    match slot {
        Some(future) => {
            let output = future.await;
            *slot = None;
            output
        }
        None => pending().await,
    }
}

async fn last_position(client: Client) -> Result<Position> {
    let (_, position) = checkpoint::end_of_store(&client).await?;
    Ok(position)
}
