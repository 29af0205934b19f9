//! Where a simulated store keeps its events. It survives restarts, says how bad things are, and watches
//! what it is given.

use fastrand::Rng;
use icecore_core::{Direction, PageLimit, Position, RecordedEvent, StoreId, Timestamp};
use icecore_storage::{MemoryStorage, NumberedAppend, Storage};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use uuid::Uuid;

/// How bad things get.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// One commit in so many fails; 0 for none.
    pub(crate) bad_commits: u32,
    /// One read in so many fails; 0 for none.
    pub(crate) bad_reads: u32,
    /// The longest that a commit or a read takes.
    pub(crate) slowness: Duration,
}

impl Weather {
    /// Nothing fails, and nothing takes time.
    pub(crate) const CALM: Self = Self {
        bad_commits: 0,
        bad_reads: 0,
        slowness: Duration::ZERO,
    };
}

/// What survives.
pub(crate) struct Medium {
    pub(crate) memory: MemoryStorage,
    weather: Mutex<Weather>,
    random: Mutex<Rng>,
    /// When the last event was recorded.
    recorded_at: Mutex<Timestamp>,
    complaints: Mutex<Vec<String>>,
    /// What went wrong, for whoever wants to know that something did.
    pub(crate) faults: AtomicU32,
}

impl Medium {
    pub(crate) fn new(seed: u64, weather: Weather) -> Arc<Self> {
        Arc::new(Self {
            memory: MemoryStorage::new(StoreId::new(Uuid::from_u128(7))),
            weather: Mutex::new(weather),
            random: Mutex::new(Rng::with_seed(seed)),
            recorded_at: Mutex::new(Timestamp::from_nanos(i64::MIN)),
            complaints: Mutex::default(),
            faults: AtomicU32::new(0),
        })
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        *lock(&self.weather) = weather;
    }

    pub(crate) fn weather(&self) -> Weather {
        *lock(&self.weather)
    }

    /// The last position that may be shown.
    pub(crate) fn last(&self) -> Position {
        *self.memory.last_position().borrow()
    }

    /// Everything, in order.
    pub(crate) async fn log(&self) -> Vec<RecordedEvent> {
        let mut log = Vec::new();
        let mut next = Position::FIRST;
        loop {
            let page = self
                .memory
                .read_all(next, Direction::Forwards, PageLimit::MAX);
            let page = page.await.expect("memory can be read");
            log.extend(page.events);
            if page.end {
                return log;
            }
            next = page.next;
        }
    }

    /// A number below `end`.
    pub(crate) fn random(&self, end: u32) -> u32 {
        lock(&self.random).u32(0..end)
    }

    /// Whether that happens now of which there is one in so many; 0 for never.
    pub(crate) fn happens(&self, one_in: u32) -> bool {
        let happens = one_in > 0 && self.random(one_in) == 0;
        if happens {
            self.faults.fetch_add(1, Ordering::Relaxed);
        }
        happens
    }

    /// Remembers what must not be; a panic here would be the engine's, and the store has to bear that.
    pub(crate) fn complain(&self, complaint: String) {
        lock(&self.complaints).push(complaint);
    }

    /// What the engine was given that no engine may be given.
    pub(crate) fn complaints(&self) -> Vec<String> {
        lock(&self.complaints).clone()
    }

    /// Takes as long as the weather says.
    pub(crate) async fn take_time(&self) {
        let slowness = self.weather().slowness;
        let millis = u32::try_from(slowness.as_millis()).unwrap_or(u32::MAX);
        match self.random(3) {
            0 => {}
            1 => tokio::task::yield_now().await,
            _ if millis == 0 => {}
            _ => {
                let pause = Duration::from_millis(self.random(millis + 1).into());
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// Remembers when the last event was recorded that has been written.
    pub(crate) fn keep(&self, appends: &[NumberedAppend]) {
        if let Some(last) = appends.last().and_then(|append| append.events.last()) {
            *lock(&self.recorded_at) = last.recorded_at;
        }
    }

    /// What is given to be written goes on where the log ends.
    pub(crate) fn inspect(&self, after: Position, appends: &[NumberedAppend]) {
        let (mut next, mut recorded_at) = (after.next(), *lock(&self.recorded_at));
        let mut is_well = !appends.is_empty();
        for append in appends {
            is_well &= !append.events.is_empty();
            for event in append.events.iter() {
                is_well &= event.position == next && event.recorded_at >= recorded_at;
                (next, recorded_at) = (event.position.next(), event.recorded_at);
            }
        }
        if !is_well {
            self.complain(format!("a commit after {after} of {appends:?}"));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
