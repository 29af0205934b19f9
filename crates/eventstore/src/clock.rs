//! Where time and ids come from. Everything else in this crate is told, so that a test can say what
//! time it is and which id comes next.

use icecore_core::Timestamp;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use uuid::Uuid;

/// Tells the time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The clock of the machine.
    pub fn system() -> Self {
        Self(Arc::new(system_now))
    }

    /// A clock that stands still until [`ManualClock::set`] moves it.
    pub fn manual(start: Timestamp) -> (Self, ManualClock) {
        let nanos = Arc::new(AtomicI64::new(start.nanos()));
        let read = Arc::clone(&nanos);
        let clock = Self(Arc::new(move || {
            Timestamp::from_nanos(read.load(Ordering::SeqCst))
        }));
        (clock, ManualClock(nanos))
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// Moves a [`Clock::manual`].
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// Says what time it is from now on.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.nanos(), Ordering::SeqCst);
    }
}

#[allow(clippy::disallowed_methods)] // This is the clock that the others shall use.
fn system_now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = since.map_or(0, |since| since.as_nanos());
    Timestamp::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}

/// Makes the ids of events that the store itself writes.
#[derive(Clone)]
pub struct Ids(Arc<dyn Fn() -> Uuid + Send + Sync>);

impl Ids {
    /// Random ids.
    #[allow(clippy::disallowed_methods)] // This is the source of ids that the others shall use.
    pub fn random() -> Self {
        Self(Arc::new(Uuid::new_v4))
    }

    /// Ids that count up from `first`.
    pub fn counting(first: u64) -> Self {
        let next = AtomicU64::new(first);
        Self(Arc::new(move || {
            Uuid::from_u128(next.fetch_add(1, Ordering::SeqCst).into())
        }))
    }

    /// The next id.
    pub fn next(&self) -> Uuid {
        (self.0)()
    }
}

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ids")
    }
}
