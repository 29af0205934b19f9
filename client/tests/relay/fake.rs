//! A broker that takes events into a list, and fails as a seed says: before it has taken an event, after it,
//! or by never answering. It watches that of each stream one event is under way at a time.

use fastrand::Rng;
use icecore_client::{Broker, BrokerError, RecordedEvent, StreamName};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::task::yield_now;

/// Shared by its clones.
#[derive(Clone)]
pub(crate) struct Fake {
    state: Arc<Mutex<State>>,
    under_way: Arc<Mutex<HashSet<StreamName>>>,
    is_open: watch::Sender<bool>,
}

struct State {
    random: Rng,
    /// Of a hundred calls so many fail.
    fail_percent: u8,
    taken: Vec<RecordedEvent>,
}

/// A call; what is under way ends with it, also when it is dropped.
struct Call<'a>(&'a Fake, StreamName);

impl Fake {
    /// A broker that never fails.
    pub(crate) fn new() -> Self {
        Self::failing(0, 0)
    }

    pub(crate) fn failing(fail_percent: u8, seed: u64) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                random: Rng::with_seed(seed),
                fail_percent,
                taken: Vec::new(),
            })),
            under_way: Arc::default(),
            is_open: watch::Sender::new(true),
        }
    }

    /// The same broker as another relay sees it.
    pub(crate) fn for_another(&self) -> Self {
        Self {
            under_way: Arc::default(),
            ..self.clone()
        }
    }

    /// Takes nothing, says so at once, until it is opened again.
    pub(crate) fn close(&self) {
        self.is_open.send_replace(false);
    }

    pub(crate) fn open(&self) {
        self.is_open.send_replace(true);
    }

    /// Everything that was taken, in the order in which it came.
    pub(crate) fn taken(&self) -> Vec<RecordedEvent> {
        self.state().taken.clone()
    }

    /// As [`Self::taken`], in the form `stream/revision`.
    pub(crate) fn names(&self) -> Vec<String> {
        let taken = self.taken();
        let names = taken.iter().map(name_of);
        names.collect()
    }

    /// Everything of `expected` was taken; of each stream an event came for the first time after all earlier
    /// ones; and what came twice was the same event.
    pub(crate) fn check(&self, expected: &[RecordedEvent]) {
        let mut last = HashMap::new();
        let mut first = BTreeMap::new();
        for event in self.taken() {
            let before = first.entry(event.position).or_insert_with(|| event.clone());
            assert_eq!(*before, event, "the same place, another event");
            let last = last.entry(event.stream.clone()).or_insert(event.revision);
            assert!(
                event.revision <= last.next(),
                "{} came before {} of its stream",
                name_of(&event),
                last.next()
            );
            *last = event.revision.max(*last);
        }
        let first: Vec<_> = first.into_values().collect();
        assert_eq!(first.len(), expected.len());
        assert!(first == expected, "not the events of the store");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn begin(&self, stream: &StreamName) -> Call<'_> {
        assert!(
            self.under_way.lock().unwrap().insert(stream.clone()),
            "two events of {stream} are under way"
        );
        Call(self, stream.clone())
    }

    fn roll(&self) -> u8 {
        let mut state = self.state();
        if state.random.u8(..100) < state.fail_percent {
            state.random.u8(1..=3)
        } else {
            0
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let mut under_way = self.0.under_way.lock().unwrap();
        assert!(under_way.remove(&self.1));
    }
}

impl Broker for Fake {
    async fn publish(&self, event: &RecordedEvent) -> Result<(), BrokerError> {
        let _call = self.begin(&event.stream);
        let turns = self.state().random.u8(..8);
        for _ in 0..turns {
            yield_now().await;
        }
        if !*self.is_open.borrow() {
            return Err("is closed".into());
        }
        let luck = self.roll();
        if luck == 1 {
            return Err("not taken".into());
        }
        self.state().taken.push(event.clone());
        match luck {
            2 => Err("taken, and the answer lost".into()),
            3 => std::future::pending().await,
            _ => Ok(()),
        }
    }
}

pub(crate) fn name_of(event: &RecordedEvent) -> String {
    format!("{}/{}", event.stream, event.revision)
}
