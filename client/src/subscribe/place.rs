//! The place of a subscription: where it goes on after a break, and in which store. Pure.

use icecore_core::{
    Error, Position, RecordedEvent, Result, Revision, Start, StoreId, Subscribe, SubscribeFrom,
    SubscriptionMessage,
};
use std::fmt;

/// What was asked for, moved on by what was handed out.
#[derive(Clone, Debug)]
pub(super) struct Place(Subscribe);

impl Place {
    pub(super) fn new(subscribe: Subscribe) -> Self {
        Self(subscribe)
    }

    /// The subscription that goes on from here.
    pub(super) fn resume(&self) -> Subscribe {
        self.0.clone()
    }

    /// What is followed, when it starts at an end that nobody has looked up yet.
    pub(super) fn at_end(&self) -> Option<&SubscribeFrom> {
        match &self.0.from {
            SubscribeFrom::All(Start::End) | SubscribeFrom::Stream(_, Start::End) => {
                Some(&self.0.from)
            }
            _ => None,
        }
    }

    /// The end of all streams is after this position, in this store.
    pub(super) fn anchor_all(&mut self, last: Position, store_id: Option<StoreId>) {
        self.0.from = SubscribeFrom::All(Start::After(last));
        self.0.store_id = self.0.store_id.or(store_id);
    }

    /// The end of the stream is after this revision, or it has no events.
    pub(super) fn anchor_stream(&mut self, last: Option<Revision>) {
        if let SubscribeFrom::Stream(_, start) = &mut self.0.from {
            *start = last.map_or(Start::Beginning, Start::After);
        }
    }

    /// Moves past what is handed out now.
    ///
    /// # Errors
    ///
    /// `WrongStore`, when another store answers than before; `Internal`, when an event comes out of
    /// its order.
    pub(super) fn advance(&mut self, message: &SubscriptionMessage) -> Result<()> {
        match message {
            SubscriptionMessage::Confirmed { store_id } => self.confirm(*store_id),
            SubscriptionMessage::Events(events) => {
                events.iter().try_for_each(|event| self.pass(event))
            }
            SubscriptionMessage::Checkpoint(position)
            | SubscriptionMessage::CaughtUp { position } => {
                self.look_past(*position);
                Ok(())
            }
        }
    }

    fn confirm(&mut self, actual: StoreId) -> Result<()> {
        match self.0.store_id.replace(actual) {
            Some(expected) if expected != actual => Err(Error::WrongStore { expected, actual }),
            _ => Ok(()),
        }
    }

    fn pass(&mut self, event: &RecordedEvent) -> Result<()> {
        let in_order = match &mut self.0.from {
            SubscribeFrom::All(start) => pass(start, event.position),
            SubscribeFrom::Stream(_, start) => pass(start, event.revision),
        };
        if in_order {
            Ok(())
        } else {
            Err(Error::internal(format!(
                "the event at position {} came out of order",
                event.position
            )))
        }
    }

    /// Everything up to `position` was looked at. For one stream that says nothing about revisions.
    fn look_past(&mut self, position: Position) {
        if let SubscribeFrom::All(start) = &mut self.0.from {
            pass(start, position);
        }
    }
}

/// Moves a start past `at`; tells whether it lay before that.
fn pass<At: Copy + Ord>(start: &mut Start<At>, at: At) -> bool {
    let before = !matches!(*start, Start::After(last) if last >= at);
    if before {
        *start = Start::After(at);
    }
    before
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.from {
            SubscribeFrom::All(start) => write_start(f, start),
            SubscribeFrom::Stream(stream, start) => {
                write!(f, "`{stream}` ")?;
                write_start(f, start)
            }
        }
    }
}

fn write_start<At: fmt::Display>(f: &mut fmt::Formatter<'_>, start: &Start<At>) -> fmt::Result {
    match start {
        Start::Beginning => f.write_str("from the beginning"),
        Start::End => f.write_str("from the end"),
        Start::After(at) => write!(f, "after {at}"),
    }
}
