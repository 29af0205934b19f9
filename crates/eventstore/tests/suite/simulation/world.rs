//! A simulated server: a store over the medium that is stopped, killed and started again, and the calls
//! that clients make of it, with what must hold after each of them.

use crate::simulation::engine::Incarnation;
use crate::simulation::medium::Medium;
use crate::support::BEGIN;
use fastrand::Rng;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use icecore_core::{
    Appended, Error, Position, Read, RecordedEvent, Result, Subscribe, SubscriptionMessage,
};
use icecore_eventstore::{Clock, EventStore, Ids, ManualClock, StoreConfig};
use icecore_model::{Request, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// How the store lives and dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It is told to stop, and answers what it has taken.
    Stopped,
    /// It is killed in the middle of whatever it does.
    Killed,
}

/// A store that is running.
#[derive(Clone)]
struct Running {
    store: EventStore,
    engine: Arc<Incarnation>,
    clock: ManualClock,
}

/// The server and the ground that it stands on. Clones are the same server.
#[derive(Clone)]
pub(crate) struct World {
    medium: Arc<Medium>,
    config: StoreConfig,
    running: Arc<watch::Sender<Option<Running>>>,
    starts: Arc<AtomicU64>,
}

impl World {
    /// A server that has not been started.
    pub(crate) fn new(medium: Arc<Medium>, config: StoreConfig) -> Self {
        Self {
            medium,
            config,
            running: Arc::new(watch::Sender::new(None)),
            starts: Arc::default(),
        }
    }

    /// Starts the store; tries again as long as the medium cannot be read.
    pub(crate) async fn start(&self) {
        loop {
            let starts = self.starts.fetch_add(1, Ordering::SeqCst);
            let engine = Incarnation::new(&self.medium);
            // The clock of the machine may have been set back meanwhile.
            let (clock, manual) = Clock::manual(BEGIN);
            let ids = Ids::counting(starts << 32);
            let storage = Arc::clone(&engine) as Arc<dyn icecore_storage::Storage>;
            let opened = EventStore::open(storage, self.config.clone(), clock, ids).await;
            if let Ok(store) = opened {
                let clock = manual;
                self.running.send_replace(Some(Running {
                    store,
                    engine,
                    clock,
                }));
                return;
            }
        }
    }

    /// How often it has been tried to start it.
    pub(crate) fn starts(&self) -> u64 {
        self.starts.load(Ordering::SeqCst)
    }

    /// Ends the store, if it runs.
    pub(crate) async fn end(&self, ending: Ending) {
        let Some(Running { store, engine, .. }) = self.running.send_replace(None) else {
            return;
        };
        if ending == Ending::Stopped {
            let mut death = engine.death();
            tokio::select! {
                stopped = store.stop() => stopped.expect("the writer does not panic"),
                _ = death.wait_for(|dead| *dead) => {}
            }
        }
        engine.kill();
    }

    /// Whether the store does its work; one that has given up or whose engine is dead has to be ended.
    pub(crate) fn is_well(&self) -> bool {
        match &*self.running.borrow() {
            Some(Running { store, engine, .. }) => {
                store.failed().now_or_never().is_none() && !*engine.death().borrow()
            }
            None => false,
        }
    }

    /// Sets the clock somewhere within a minute.
    pub(crate) fn set_clock(&self, random: &mut Rng) {
        if let Some(running) = &*self.running.borrow() {
            let nanos = random.i64(0..60_000_000_000);
            running.clock.set(BEGIN.plus_nanos(nanos));
        }
    }

    fn running(&self) -> Result<Running> {
        let running = self.running.borrow().clone();
        running
            .filter(|running| !*running.engine.death().borrow())
            .ok_or_else(|| Error::unavailable("it is not running"))
    }

    /// The store that runs, a while later if there is none yet.
    async fn connect(&self) -> Result<Running> {
        let mut tries = 0;
        loop {
            match self.running() {
                Err(_) if tries < 20 => tries += 1,
                result => return result,
            }
            self.pause().await;
        }
    }

    /// Nobody may hear of what is not durable.
    fn is_durable(&self, position: Position) {
        let last = self.medium.last();
        assert!(position <= last, "{position} is known, {last} is durable");
    }
}

impl Running {
    /// What the call gives, or `otherwise` when the engine dies meanwhile.
    async fn unless_dead<T>(
        &self,
        call: impl Future<Output = Result<T>>,
        otherwise: Error,
    ) -> Result<T> {
        let mut death = self.engine.death();
        tokio::select! {
            biased;
            _ = death.wait_for(|dead| *dead) => Err(otherwise),
            result = call => result,
        }
    }
}

impl System for World {
    async fn write(&self, request: Request) -> Result<Appended> {
        let running = self.connect().await?;
        let store = &running.store;
        let call = async {
            match request {
                Request::Append(append) => store.append(append).await,
                Request::SetMetadata(stream, expected, json) => {
                    store.set_metadata(&stream, expected, &json).await
                }
                Request::Truncate(stream, before) => store.truncate(&stream, before).await,
                Request::Delete(stream, expected, kind) => {
                    store.delete(&stream, expected, kind).await
                }
            }
        };
        let reason = "the engine died".to_owned();
        let unknown = Error::OutcomeUnknown { reason };
        let result = running.unless_dead(call, unknown).await;
        if let Ok(appended) = &result {
            self.is_durable(appended.last_position);
        }
        result
    }

    async fn read(&self, read: Read) -> Result<(Vec<RecordedEvent>, Position)> {
        let running = self.connect().await?;
        let mut batches = Box::pin(running.store.read(read));
        let call = async {
            let (mut events, mut last) = (Vec::new(), None);
            while let Some(batch) = batches.next().await {
                let batch = batch?;
                events.extend(batch.events);
                last = Some(batch.last_position);
            }
            Ok((events, last.expect("there is at least one batch")))
        };
        let result = running.unless_dead(call, Error::unavailable("the engine died"));
        let result = result.await;
        if let Ok((_, last)) = &result {
            self.is_durable(*last);
        }
        result
    }

    fn subscribe(&self, subscribe: Subscribe) -> BoxStream<'static, Result<SubscriptionMessage>> {
        let running = match self.running() {
            Ok(running) => running,
            Err(error) => return futures::stream::iter([Err(error)]).boxed(),
        };
        let mut death = running.engine.death();
        let death = async move { drop(death.wait_for(|dead| *dead).await) };
        let world = self.clone();
        let messages = running.store.subscribe(subscribe).take_until(death);
        let messages = messages.inspect(move |message| match message {
            Ok(SubscriptionMessage::Events(events)) => {
                assert!(!events.is_empty(), "a message without an event");
                for event in events {
                    world.is_durable(event.position);
                }
            }
            Ok(
                SubscriptionMessage::Checkpoint(position)
                | SubscriptionMessage::CaughtUp { position },
            ) => world.is_durable(*position),
            Ok(SubscriptionMessage::Confirmed { .. }) | Err(_) => {}
        });
        messages.boxed()
    }

    async fn pause(&self) {
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}
