//! What a reader and a subscriber ask for, and what they get.

use crate::{
    Direction, Error, Filter, Position, RecordedEvent, Result, Revision, StoreId, StreamName,
    Timestamp,
};

/// A read: from where, which way, what of it, how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// One stream or all, and the first place to look at.
    pub from: ReadFrom,
    /// Which way.
    pub direction: Direction,
    /// What to return. For one stream its name is not filtered.
    pub filter: Filter,
    /// Most events to return; `None` reads to the end.
    pub limit: Option<u64>,
    /// Only what had been recorded by then (inclusive), under today's retention.
    pub as_of: Option<Timestamp>,
}

/// What is read, and the first place that is looked at (inclusive). `None` begins where the
/// direction begins: at the first event forwards, at the last backwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// The whole store in its global order.
    All(Option<Position>),
    /// One stream.
    Stream(StreamName, Option<Revision>),
}

impl Read {
    /// Everything from the first event on, without system streams.
    pub fn all() -> Self {
        Self {
            from: ReadFrom::All(None),
            direction: Direction::Forwards,
            filter: Filter::default(),
            limit: None,
            as_of: None,
        }
    }

    /// A stream from its first event on.
    pub fn stream(stream: StreamName) -> Self {
        Self {
            from: ReadFrom::Stream(stream, None),
            ..Self::all()
        }
    }

    /// Checks what the types leave open.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` that names the field.
    pub fn check(&self) -> Result<()> {
        if self.limit == Some(0) {
            return Err(Error::invalid(
                "limit",
                "is 0: leave it out to read everything",
            ));
        }
        check_filter(&self.filter, matches!(self.from, ReadFrom::Stream(..)))
    }
}

/// Some events of a read, in its direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadBatch {
    /// The events; may be empty only in the first batch of a read that finds nothing.
    pub events: Vec<RecordedEvent>,
    /// The last position of the store when the read began. Nothing behind it is in the read, and a read
    /// forwards that ended by itself has everything up to it: what a condition is made after.
    pub last_position: Position,
}

/// A subscription: from where on, what of it, and whose history is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// One stream or all, and where it starts.
    pub from: SubscribeFrom,
    /// What to deliver. For one stream its name is not filtered.
    pub filter: Filter,
    /// The store that the starting point belongs to; a mismatch is refused.
    pub store_id: Option<StoreId>,
}

/// What is followed, and where it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscribeFrom {
    /// The whole store in its global order.
    All(Start<Position>),
    /// One stream, whether it exists yet or not.
    Stream(StreamName, Start<Revision>),
}

/// Where a subscription starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start<At> {
    /// With the first event.
    Beginning,
    /// With the first event that is appended from now on.
    End,
    /// With the first event after this one (exclusive).
    After(At),
}

impl Subscribe {
    /// Follows everything from the first event on, without system streams.
    pub fn all() -> Self {
        Self {
            from: SubscribeFrom::All(Start::Beginning),
            filter: Filter::default(),
            store_id: None,
        }
    }

    /// Follows one stream from its first event on.
    pub fn stream(stream: StreamName) -> Self {
        Self {
            from: SubscribeFrom::Stream(stream, Start::Beginning),
            ..Self::all()
        }
    }

    /// Checks what the types leave open.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` that names the field.
    pub fn check(&self) -> Result<()> {
        check_filter(&self.filter, matches!(self.from, SubscribeFrom::Stream(..)))
    }
}

/// What a subscription delivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionMessage {
    /// The first message: the subscription stands.
    Confirmed {
        /// The store that is followed; it goes with every checkpoint.
        store_id: StoreId,
    },
    /// Events, in order, at least one.
    Events(Vec<RecordedEvent>),
    /// Everything up to here (inclusive) was looked at: resume after it. Comes with filters, where
    /// the last delivered event may lie far behind.
    Checkpoint(Position),
    /// There is nothing more for now: what follows is live. Comes each time that the subscription
    /// turns live: at first, and again when it had fallen behind.
    CaughtUp {
        /// Everything up to here (inclusive) was looked at.
        position: Position,
    },
}

fn check_filter(filter: &Filter, one_stream: bool) -> Result<()> {
    if one_stream && (filter.stream.is_some() || filter.category.is_some()) {
        return Err(Error::invalid(
            "filter",
            "one stream has one name: a filter on names or categories goes with all streams",
        ));
    }
    filter.check()
}
