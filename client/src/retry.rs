//! When a call is sent again, and after which pause.

use crate::id::jitter;
use icecore_core::{Error, Result};
use std::time::Duration;
use tokio::time::sleep;

/// How often something is tried and how long the pauses between are.
///
/// The pauses double from `pause_first` to `pause_max`, each shortened by up to a half at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Most attempts in a row, the first one included; 1 tries once.
    pub attempts_max: u32,
    /// Pause after the first attempt.
    pub pause_first: Duration,
    /// Longest pause.
    pub pause_max: Duration,
}

impl RetryPolicy {
    /// Tries once.
    pub const NEVER: Self = Self {
        attempts_max: 1,
        pause_first: Duration::ZERO,
        pause_max: Duration::ZERO,
    };

    /// Tries eight times with pauses from 100 ms to 2 s, about seven seconds in all: enough for a
    /// restart of the server. The default of calls.
    pub const CALLS: Self = Self {
        attempts_max: 8,
        pause_first: Duration::from_millis(100),
        pause_max: Duration::from_secs(2),
    };

    /// Tries for ever with pauses from 100 ms to 10 s. The default of subscriptions.
    pub const FOR_EVER: Self = Self {
        attempts_max: u32::MAX,
        pause_first: Duration::from_millis(100),
        pause_max: Duration::from_secs(10),
    };

    /// Tries twelve times with pauses from 2 to 100 ms. The default of commands that others are faster
    /// than.
    pub const CONFLICTS: Self = Self {
        attempts_max: 12,
        pause_first: Duration::from_millis(2),
        pause_max: Duration::from_millis(100),
    };

    /// The pause after `failed` attempts in a row; `None` when that was the last one.
    pub(crate) fn pause_after(&self, failed: u32) -> Option<Duration> {
        if failed >= self.attempts_max {
            return None;
        }
        let doublings = failed.saturating_sub(1).min(31);
        let pause = self
            .pause_first
            .saturating_mul(1 << doublings)
            .min(self.pause_max);
        Some(pause.mul_f64(1.0 - jitter() / 2.0))
    }
}

/// What may happen to a call that is sent again after it took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Nothing: it only reads, or the store recognises its event ids.
    Harmless,
    /// It may take effect twice: it is sent again only when nothing was written.
    Harmful,
}

impl Repeat {
    fn allows(self, error: &Error) -> bool {
        match error {
            Error::Unavailable { .. } | Error::Unreachable { .. } => true,
            Error::OutcomeUnknown { .. } => self == Self::Harmless,
            _ => false,
        }
    }
}

/// Calls until it works, the policy is used up, or the error is one that stays.
pub(crate) async fn retry<T, F: Future<Output = Result<T>>>(
    policy: RetryPolicy,
    repeat: Repeat,
    mut call: impl FnMut() -> F,
) -> Result<T> {
    let mut failed = 0;
    let mut unknown = None;
    loop {
        let error = match call().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        failed += 1;
        let pause = repeat
            .allows(&error)
            .then(|| policy.pause_after(failed))
            .flatten();
        if matches!(error, Error::OutcomeUnknown { .. }) {
            unknown = Some(error.clone());
        }
        let Some(pause) = pause else {
            return Err(with_earlier(unknown, error));
        };
        tracing::debug!(%error, failed, ?pause, "call failed, sending it again");
        sleep(pause).await;
    }
}

/// The last error as the outcome of all attempts: that nothing was written by the last attempt says
/// nothing about an earlier one that broke off.
fn with_earlier(unknown: Option<Error>, last: Error) -> Error {
    match (unknown, last) {
        (Some(unknown), Error::Unavailable { .. } | Error::Unreachable { .. }) => unknown,
        (_, last) => last,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    const QUICK: RetryPolicy = RetryPolicy {
        attempts_max: 3,
        pause_first: Duration::from_micros(1),
        pause_max: Duration::from_micros(1),
    };

    fn unknown() -> Error {
        Error::OutcomeUnknown {
            reason: "cut".into(),
        }
    }

    /// Fails with these errors one after the other, then works; returns the outcome and how many of
    /// them were used.
    async fn run(repeat: Repeat, errors: Vec<Error>) -> (Result<()>, usize) {
        let count = errors.len();
        let errors = RefCell::new(errors.into_iter());
        let outcome = retry(QUICK, repeat, || async {
            errors.borrow_mut().next().map_or(Ok(()), Err)
        })
        .await;
        (outcome, count - errors.borrow().len())
    }

    #[tokio::test]
    async fn unknown_outcomes_are_sent_again_where_that_is_harmless() {
        let (outcome, used) = run(Repeat::Harmless, vec![unknown(), unknown()]).await;
        assert!(outcome.is_ok() && used == 2);
        let (outcome, used) = run(Repeat::Harmful, vec![unknown(), unknown()]).await;
        assert!(matches!(outcome, Err(Error::OutcomeUnknown { .. })) && used == 1);
    }

    #[tokio::test]
    async fn errors_that_stay_are_not_tried_again() {
        let invalid = Error::invalid("stream", "is empty");
        let (outcome, used) = run(Repeat::Harmless, vec![invalid, unknown()]).await;
        assert!(matches!(outcome, Err(Error::InvalidArgument { .. })) && used == 1);
    }

    #[tokio::test]
    async fn an_unknown_outcome_is_not_forgotten_when_the_next_attempt_wrote_nothing() {
        let unavailable = || Error::unavailable("starting");
        let errors = vec![unknown(), unavailable(), unavailable(), unavailable()];
        let (outcome, used) = run(Repeat::Harmless, errors).await;
        assert!(matches!(outcome, Err(Error::OutcomeUnknown { .. })) && used == 3);
    }

    #[test]
    fn pauses_grow_and_end() {
        let policy = RetryPolicy::CALLS;
        for (failed, longest_ms) in [(1, 100), (2, 200), (4, 800), (7, 2_000)] {
            let longest = Duration::from_millis(longest_ms);
            let pause = policy.pause_after(failed).unwrap();
            assert!(
                pause <= longest && pause >= longest / 2,
                "{failed}: {pause:?}"
            );
        }
        assert_eq!(policy.pause_after(8), None);
        assert_eq!(RetryPolicy::NEVER.pause_after(1), None);
        assert!(RetryPolicy::FOR_EVER.pause_after(1_000_000).is_some());
    }
}
