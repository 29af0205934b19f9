//! A moment, to the nanosecond. Where the moment comes from (a clock, an import) is decided
//! elsewhere.

use crate::{Error, Result};
use std::fmt;

/// Nanoseconds since 1970-01-01T00:00:00Z; negative before it. Reaches from 1677 to 2262.
///
/// Reads and prints RFC 3339; prints in UTC, with as many decimals as the value needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// A moment by its nanoseconds since 1970-01-01T00:00:00Z.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// The moment `nanos` later, at most the last one that can be said.
    #[must_use]
    pub const fn plus_nanos(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// Reads an RFC 3339 text, with any offset.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for field `time`, when the text is no such time or lies outside 1677-2262.
    pub fn parse(text: &str) -> Result<Self> {
        let moment: jiff::Timestamp = text.parse().map_err(|_| {
            Error::invalid(
                "time",
                format!("`{text}` is no RFC 3339 time like 2012-01-31T00:00:00Z"),
            )
        })?;
        i64::try_from(moment.as_nanosecond())
            .map(Self)
            .map_err(|_| {
                Error::invalid(
                    "time",
                    format!("`{text}` lies outside of the years 1677 to 2262"),
                )
            })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = jiff::Timestamp::from_nanosecond(i128::from(self.0))
            .expect("every i64 of nanoseconds lies within the calendar");
        moment.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_offsets_and_prints_utc() {
        let moment = Timestamp::parse("2011-10-01T00:38:44.546+02:00").unwrap();
        assert_eq!(moment.to_string(), "2011-09-30T22:38:44.546Z");
    }

    #[test]
    fn refuses_what_is_no_time() {
        for bad in ["", "yesterday", "2011-10-01", "9999-01-01T00:00:00Z"] {
            assert!(Timestamp::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn text_and_back(nanos: i64) {
            let moment = Timestamp::from_nanos(nanos);
            prop_assert_eq!(Timestamp::parse(&moment.to_string()).unwrap(), moment);
        }
    }
}
