//! Times as these clients read them: ticks of 100 ns since 1970, as text, and protobuf's timestamps.

use icecore_core::Timestamp;
use std::time::Duration;

const NANOS_PER_TICK: i64 = 100;
const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Ticks of 100 ns since 1970-01-01T00:00:00Z.
pub(crate) fn ticks(time: Timestamp) -> i64 {
    time.nanos().div_euclid(NANOS_PER_TICK)
}

/// As protobuf writes a time.
pub(crate) fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    let nanos = time.nanos().rem_euclid(NANOS_PER_SECOND);
    prost_types::Timestamp {
        seconds: time.nanos().div_euclid(NANOS_PER_SECOND),
        nanos: i32::try_from(nanos).expect("it is less than a second"),
    }
}

/// How long it is from `now` to `then`; nothing when that is past.
pub(crate) fn until(now: Timestamp, then: &prost_types::Timestamp) -> Duration {
    let then = i128::from(then.seconds) * i128::from(NANOS_PER_SECOND) + i128::from(then.nanos);
    let nanos = then - i128::from(now.nanos());
    Duration::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
}

/// A number as text in memory of its own, for what is written with every event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    digits: [u8; Decimal::BYTES_MAX],
    from: u8,
}

impl Decimal {
    /// `-9223372036854775808`.
    const BYTES_MAX: usize = 20;

    pub(crate) fn new(number: i64) -> Self {
        let mut digits = [0; Self::BYTES_MAX];
        let mut from = Self::BYTES_MAX;
        let mut left = number.unsigned_abs();
        loop {
            from -= 1;
            digits[from] = b'0' + u8::try_from(left % 10).expect("it is a digit");
            left /= 10;
            if left == 0 {
                break;
            }
        }
        if number < 0 {
            from -= 1;
            digits[from] = b'-';
        }
        let from = u8::try_from(from).expect("it is one of twenty");
        Self { digits, from }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.digits[self.from.into()..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_before_1970_round_down() {
        let time = Timestamp::from_nanos(-1);
        assert_eq!(ticks(time), -1);
        let timestamp = timestamp(time);
        assert_eq!((timestamp.seconds, timestamp.nanos), (-1, 999_999_999));
    }

    #[test]
    fn what_is_past_is_over() {
        let now = Timestamp::from_nanos(5_000_000_000);
        let at = |seconds, nanos| prost_types::Timestamp { seconds, nanos };
        assert_eq!(until(now, &at(4, 999_999_999)), Duration::ZERO);
        assert_eq!(
            until(now, &at(6, 500_000_000)),
            Duration::from_millis(1_500)
        );
        assert_eq!(until(now, &at(i64::MIN, 0)), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn a_number_is_written_as_everywhere(number: i64) {
            let decimal = Decimal::new(number);
            let expected = number.to_string();
            prop_assert_eq!(decimal.as_bytes(), expected.as_bytes());
        }
    }
}
