//! What a relay tells while it runs, and why it ends.

use super::BrokerError;
use icecore_core::{Error, Position, RecordedEvent};
use std::fmt;

/// How far a relay is; seen through [`crate::Relay::progress`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelayProgress {
    /// Everything up to here (inclusive) is with the broker, or was not asked for.
    pub position: Position,
    /// The last position of the store, as far as it is known. The relay asks once a checkpoint interval while
    /// it is behind.
    pub last_position: Position,
    /// Events that the broker has confirmed since the start.
    pub published: u64,
    /// Attempts since the start that the broker has not confirmed.
    pub failed: u64,
    /// Events that were read from the store and are not confirmed.
    pub pending: u64,
    /// Everything is with the broker: what comes now is new.
    pub is_caught_up: bool,
    /// What the broker said last, while it takes nothing.
    pub trouble: Option<String>,
}

impl RelayProgress {
    /// How many positions of the store are not looked at and published. With a filter not every one of them
    /// is an event that will be published.
    pub fn lag(&self) -> u64 {
        if self.is_caught_up {
            return 0;
        }
        self.last_position.get().saturating_sub(self.position.get())
    }
}

/// Why a relay has ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum RelayError {
    /// Another relay of this name has begun and goes on from here.
    Fenced {
        /// The name of both.
        name: String,
    },
    /// The store refuses, in a way that does not pass by itself. `WrongStore`: the store was restored from a
    /// backup since the last checkpoint, see [`crate::Relay::accept_restored`].
    Store(Error),
    /// The broker has refused an event as often as the retry policy allows.
    Broker {
        /// The event.
        event: Box<RecordedEvent>,
        /// What the broker said last.
        source: BrokerError,
    },
}

impl fmt::Display for RelayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fenced { name } => write!(f, "another relay `{name}` has taken over"),
            Self::Store(error) => write!(f, "store: {error}"),
            Self::Broker { event, source } => write!(
                f,
                "broker: the `{}` at position {}, event {} of `{}`, is not taken: {source}",
                event.event_type, event.position, event.revision, event.stream
            ),
        }
    }
}

impl std::error::Error for RelayError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Fenced { .. } => None,
            Self::Store(error) => Some(error),
            Self::Broker { source, .. } => Some(source.as_ref()),
        }
    }
}

impl From<Error> for RelayError {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}
