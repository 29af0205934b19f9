//! How far a projection is, for whoever watches it. The worker tells what it has committed; the
//! observer asks the store how much that is behind.

use super::sink::{Generation, ProjectionId};
use crate::client::Client;
use futures::TryStreamExt;
use icecore_core::{Direction, Filter, Position, Read, ReadFrom, RecordedEvent, Result, Timestamp};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Observations between two lines in the log, while a projection is behind.
const OBSERVATIONS_PER_LINE: u64 = 10;

/// How far a projection is. The figures of the store (`last_position`, `lag`, `rate`) are looked up
/// once in each observation interval; the others are of the last transaction.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// Which build of the read model this is.
    pub generation: Generation,
    /// Whether readers see it.
    pub live: bool,
    /// Everything up to here (inclusive) that is for this projection is in the read model, or parked.
    pub position: Position,
    /// The last position of the store.
    pub last_position: Position,
    /// What the read model lacks.
    pub lag: Lag,
    /// Events of this projection a second, in the last interval.
    pub rate: f64,
    /// Whether it has reached the end of the store since it was started.
    pub caught_up: bool,
    /// Events that were handled since it was started.
    pub handled: u64,
    /// Events that were parked since it was started.
    pub parked: u64,
    /// Why it does not go on at the moment: the error that is waited out.
    pub failing: Option<String>,
}

/// What a read model lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Positions between the read model and the end of the store, if an event of this projection is
    /// among them; otherwise 0. At most so many events are missing.
    pub events: u64,
    /// Age of the oldest event that is missing: how long ago the store took it. What a reader sees is
    /// not older than this. The clock of the runner's machine is compared with that of the server's.
    pub time: Duration,
}

/// What the worker and the observer write to.
#[derive(Debug)]
pub(super) struct Meter(watch::Sender<Progress>);

impl Meter {
    pub(super) fn new(generation: Generation) -> Self {
        Self(watch::Sender::new(Progress {
            generation,
            live: false,
            position: Position::START,
            last_position: Position::START,
            lag: Lag::default(),
            rate: 0.0,
            caught_up: false,
            handled: 0,
            parked: 0,
            failing: None,
        }))
    }

    pub(super) fn watch(&self) -> watch::Receiver<Progress> {
        self.0.subscribe()
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut Progress)) {
        self.0.send_modify(change);
    }

    /// Everything up to here is in the read model.
    pub(super) fn reached(&self, position: Position) {
        self.update(|progress| progress.advance(position));
    }
}

impl Progress {
    fn advance(&mut self, position: Position) {
        self.position = self.position.max(position);
        self.last_position = self.last_position.max(position);
        if self.position == self.last_position {
            self.lag = Lag::default();
        }
    }
}

/// Looks up, again and again, what the read model lacks.
pub(super) struct Observer<'a> {
    pub(super) client: &'a Client,
    pub(super) of: &'a ProjectionId,
    pub(super) filter: &'a Filter,
    pub(super) interval: Duration,
    pub(super) meter: &'a Meter,
}

/// What the store said.
struct Observation {
    /// Where the read model was before.
    position: Position,
    /// The end of the store, also before.
    last_position: Position,
    /// The first event of this projection after `position`.
    missing: Option<RecordedEvent>,
}

impl Observer<'_> {
    pub(super) async fn observe(self) -> Infallible {
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut since = (Instant::now(), 0);
        for count in 0_u64.. {
            ticks.tick().await;
            match self.look().await {
                Ok(observation) => self.tell(&observation),
                // The subscription meets the same error, and knows what to do about it.
                Err(error) => tracing::debug!(projection = %self.of, %error, "cannot see the lag"),
            }
            since = self.tell_rate(since);
            let progress = self.meter.0.borrow();
            if !progress.caught_up && count % OBSERVATIONS_PER_LINE == 0 && count > 0 {
                tracing::info!(
                    projection = %self.of, position = %progress.position, rate = progress.rate,
                    last_position = %progress.last_position, lag = ?progress.lag, "catching up"
                );
            }
        }
        unreachable!("u64 counts further than any process runs")
    }

    async fn look(&self) -> Result<Observation> {
        let position = self.meter.0.borrow().position;
        let last = Read {
            direction: Direction::Backwards,
            limit: Some(1),
            filter: Filter::everything(),
            ..Read::all()
        };
        // Asked for first: what is missing is then looked for up to there at least.
        let last = self.client.read(last).batches().try_next().await?;
        let last_position = last.map_or(position, |batch| batch.last_position);
        let next = Read {
            from: ReadFrom::All(Some(position.next())),
            limit: Some(1),
            filter: self.filter.clone(),
            ..Read::all()
        };
        let missing = if last_position > position {
            self.client.read(next).stream().try_next().await?
        } else {
            None
        };
        Ok(Observation {
            position,
            last_position,
            missing,
        })
    }

    fn tell(&self, observation: &Observation) {
        let until = observation.reached();
        let now = now();
        self.meter.update(|progress| {
            progress.last_position = progress.last_position.max(observation.last_position);
            progress.advance(until);
            if progress.position <= until {
                progress.lag = observation.lag(now);
            }
        });
    }

    /// The rate since that moment, when so many events had been handled; gives both for the next time.
    fn tell_rate(&self, (since, handled): (Instant, u64)) -> (Instant, u64) {
        let now = Instant::now();
        let seconds = (now - since).as_secs_f64();
        let mut total = handled;
        self.meter.update(|progress| {
            total = progress.handled;
            #[expect(clippy::cast_precision_loss, reason = "a rate is not exact")]
            let events = (total - handled) as f64;
            progress.rate = if seconds > 0.0 { events / seconds } else { 0.0 };
        });
        (now, total)
    }
}

impl Observation {
    /// Nothing up to here is missing.
    fn reached(&self) -> Position {
        match &self.missing {
            None => self.last_position.max(self.position),
            Some(event) => event.position.previous(),
        }
    }

    fn lag(&self, now: Timestamp) -> Lag {
        let Some(missing) = &self.missing else {
            return Lag::default();
        };
        let nanos = now.nanos().saturating_sub(missing.recorded_at.nanos());
        let behind = self.last_position.get().max(missing.position.get()) + 1;
        Lag {
            events: behind - missing.position.get(),
            time: Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)),
        }
    }
}

/// The clock of this machine.
#[allow(clippy::disallowed_methods)] // The lag is what it is by the clock on the wall.
pub(super) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = since.map_or(0, |since| since.as_nanos());
    Timestamp::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use icecore_core::{ContentType, EventType, Revision, StreamName};

    fn recorded(position: Position, recorded_at: Timestamp) -> RecordedEvent {
        RecordedEvent {
            stream: StreamName::new("order-1").unwrap(),
            revision: Revision::FIRST,
            position,
            id: uuid::Uuid::nil(),
            event_type: EventType::new("OrderPlaced").unwrap(),
            content_type: ContentType::JSON,
            data: "{}".into(),
            metadata: bytes::Bytes::new(),
            tags: Vec::new(),
            recorded_at,
            created_at: None,
            erased: false,
        }
    }

    #[test]
    fn lag_counts_from_the_oldest_event_that_is_missing() {
        let second = 1_000_000_000;
        let event = recorded(Position::new(7), Timestamp::from_nanos(3 * second));
        let mut observation = Observation {
            position: Position::new(4),
            last_position: Position::new(9),
            missing: Some(event),
        };
        assert_eq!(observation.reached(), Position::new(6));
        let lag = observation.lag(Timestamp::from_nanos(5 * second));
        assert_eq!(lag.events, 3);
        assert_eq!(lag.time, Duration::from_secs(2));
        let earlier = observation.lag(Timestamp::from_nanos(second));
        assert_eq!(earlier.time, Duration::ZERO, "the clocks differ");
        observation.missing = None;
        assert_eq!(observation.reached(), Position::new(9));
        assert_eq!(observation.lag(Timestamp::from_nanos(0)), Lag::default());
    }
}
