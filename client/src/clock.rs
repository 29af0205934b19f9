//! What time it is for a process manager: the system's time, or one that a test moves.

use icecore_core::Timestamp;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio::time::sleep;

/// Longest sleep at a time, so that a system clock that is set right is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(30);

/// Where the time comes from.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Virtual(watch::Receiver<Timestamp>),
}

impl Clock {
    /// The system's clock.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => system_now(),
            Source::Virtual(now) => *now.borrow(),
        }
    }

    /// Waits until that time has come. A virtual clock that nobody can move any more waits for ever.
    pub async fn wait_until(&self, due: Timestamp) {
        match &self.0 {
            Source::System => {
                while let Some(left) = due.nanos().checked_sub(system_now().nanos())
                    && let Ok(left) = u64::try_from(left)
                    && left > 0
                {
                    sleep(Duration::from_nanos(left).min(SLEEP_MAX)).await;
                }
            }
            Source::Virtual(now) => {
                if now.clone().wait_for(|now| *now >= due).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

/// The one place of this crate that asks the system for the time.
#[allow(clippy::disallowed_methods)]
fn system_now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = since.unwrap_or_default().as_nanos();
    Timestamp::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}

/// A clock for tests. It stands still until it is moved.
///
/// ```
/// use icecore_client::{Timestamp, VirtualClock};
/// use std::time::Duration;
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let time = VirtualClock::new(Timestamp::parse("2026-01-31T12:00:00Z")?);
/// let clock = time.clock();
/// time.advance(Duration::from_secs(86_400));
/// clock.wait_until(Timestamp::parse("2026-02-01T12:00:00Z")?).await;
/// # Ok::<(), icecore_client::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct VirtualClock(watch::Sender<Timestamp>);

impl VirtualClock {
    /// It is that time.
    pub fn new(now: Timestamp) -> Self {
        Self(watch::Sender::new(now))
    }

    /// It is what the system's clock says now.
    pub fn at_system_time() -> Self {
        Self::new(system_now())
    }

    /// For those who ask what time it is.
    pub fn clock(&self) -> Clock {
        Clock(Source::Virtual(self.0.subscribe()))
    }

    /// Time goes by. Whoever waits for a time that has come then goes on.
    pub fn advance(&self, by: Duration) {
        let nanos = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
        self.0.send_modify(|now| *now = now.plus_nanos(nanos));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn a_virtual_clock_lets_go_who_waits_when_it_is_time() {
        let time = VirtualClock::new(Timestamp::from_nanos(0));
        let clock = time.clock();
        let second = Timestamp::from_nanos(1_000_000_000);
        let mut waiting = Box::pin(clock.wait_until(second));
        assert!((&mut waiting).now_or_never().is_none());
        time.advance(Duration::from_millis(999));
        assert!((&mut waiting).now_or_never().is_none());
        time.advance(Duration::from_millis(1));
        waiting.await;
        assert_eq!(clock.now(), second);
        drop(time);
        let later = Box::pin(clock.wait_until(second.plus_nanos(1)));
        assert!(later.now_or_never().is_none());
    }

    #[tokio::test]
    async fn the_system_clock_does_not_wait_for_what_is_past() {
        let clock = Clock::system();
        clock.wait_until(clock.now()).await;
        clock.wait_until(Timestamp::from_nanos(i64::MIN)).await;
        let until = clock.now().plus_nanos(2_000_000);
        clock.wait_until(until).await;
        assert!(clock.now() >= until);
    }
}
