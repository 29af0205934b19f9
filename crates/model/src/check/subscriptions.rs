//! Subscriptions: every event after the start that is asked for, once, in order, without a gap.

use super::order::Window;
use super::timeline::Timelines;
use super::{Kind, Violation, name};
use crate::filter::admits;
use crate::history::{Connection, Tick};
use icecore_core::{
    Error, Position, RecordedEvent, Start, StreamName, SubscribeFrom, SubscriptionMessage,
};

/// What is wrong with this connection.
pub(crate) fn check(
    connection: &Connection,
    log: &[RecordedEvent],
    timelines: &Timelines,
    window: &Window,
) -> Option<Violation> {
    let mut following = Following::new(connection, log, timelines, window);
    let complaint = following.follow().err()?;
    let (request, done) = (&connection.request, following.done);
    Some(Violation {
        kind: Kind::Subscription,
        text: format!(
            "{complaint}, after {done} was done: {request:?} sent at {} heard {}",
            connection.sent,
            in_short(&connection.messages)
        ),
    })
}

/// What was heard, with positions for events.
fn in_short(messages: &[(Tick, SubscriptionMessage)]) -> String {
    let message = |(tick, message): &(Tick, SubscriptionMessage)| match message {
        SubscriptionMessage::Events(events) => {
            let positions = events.iter().map(|event| event.position.get());
            format!("{tick}: {:?}", positions.collect::<Vec<_>>())
        }
        other => format!("{tick}: {other:?}"),
    };
    messages.iter().map(message).collect::<Vec<_>>().join(", ")
}

struct Following<'a> {
    connection: &'a Connection,
    log: &'a [RecordedEvent],
    timelines: &'a Timelines,
    window: &'a Window,
    stream: Option<&'a StreamName>,
    /// Everything up to here (inclusive) is accounted for.
    done: u64,
    /// The position of the last event that came.
    delivered: u64,
    /// It begins somewhere up to here (inclusive), where the first event says: who asks for what is
    /// to come does not know where that is.
    begins_by: u64,
    closed: bool,
}

impl<'a> Following<'a> {
    fn new(
        connection: &'a Connection,
        log: &'a [RecordedEvent],
        timelines: &'a Timelines,
        window: &'a Window,
    ) -> Self {
        let confirmed = connection.messages.first().map_or(Tick::MAX, |(t, _)| *t);
        let from_end = (window.first(connection.sent), window.last(confirmed));
        let (stream, (done, begins_by)) = match &connection.request.from {
            SubscribeFrom::All(Start::Beginning) => (None, (0, 0)),
            SubscribeFrom::All(Start::After(after)) => (None, (after.get(), after.get())),
            SubscribeFrom::All(Start::End) => (None, from_end),
            SubscribeFrom::Stream(stream, Start::End) => (Some(stream), from_end),
            SubscribeFrom::Stream(stream, _) => (Some(stream), (0, 0)),
        };
        Self {
            connection,
            log,
            timelines,
            window,
            stream,
            done,
            delivered: 0,
            begins_by,
            closed: false,
        }
    }

    fn follow(&mut self) -> Result<(), String> {
        let mut messages = self.connection.messages.iter();
        match messages.next() {
            Some((_, SubscriptionMessage::Confirmed { .. })) | None => {}
            Some((_, other)) => return Err(format!("it begins with {other:?}")),
        }
        for (tick, message) in messages {
            match message {
                SubscriptionMessage::Confirmed { .. } => return Err("confirmed twice".into()),
                SubscriptionMessage::Events(events) => {
                    for event in events {
                        self.event(*tick, event)?;
                    }
                }
                SubscriptionMessage::Checkpoint(position)
                | SubscriptionMessage::CaughtUp { position } => {
                    self.nothing_up_to(*tick, *position)?;
                }
            }
        }
        self.ends_well()
    }

    fn event(&mut self, tick: Tick, event: &RecordedEvent) -> Result<(), String> {
        let position = event.position.get();
        let there = self
            .log
            .get(usize::try_from(position - 1).unwrap_or(usize::MAX));
        if there != Some(event) {
            return Err(format!("{} is not in the log at {position}", name(event)));
        }
        // A tombstone comes whatever the start.
        let comes_anyway = event.is_tombstone() && self.stream.is_some() && !self.closed;
        // What was hidden may be shown again, by other metadata.
        let comes_back =
            position > self.delivered && self.was_hidden(event, self.window.last(tick));
        if position <= self.done && !comes_anyway && !comes_back {
            return Err(format!("{} comes at {position}", name(event)));
        }
        if position > self.window.last(tick) {
            return Err(format!("{} comes before it was sent", name(event)));
        }
        if !self.asks_for(event) {
            return Err(format!("{} was not asked for", name(event)));
        }
        self.no_gap(tick, position - 1)?;
        self.done = self.done.max(position);
        (self.delivered, self.begins_by) = (position, self.done);
        self.closed |= event.is_tombstone() && self.stream.is_some();
        Ok(())
    }

    fn nothing_up_to(&mut self, tick: Tick, position: Position) -> Result<(), String> {
        let position = position.get();
        if position < self.done || position > self.window.last(tick) {
            return Err(format!("it speaks of position {position}"));
        }
        self.no_gap(tick, position)?;
        self.done = position;
        self.begins_by = position;
        Ok(())
    }

    /// Nothing that is asked for lies behind what is done and up to `last` (inclusive).
    fn no_gap(&self, tick: Tick, last: u64) -> Result<(), String> {
        let begins = self.done.max(self.begins_by.min(last));
        let begins = usize::try_from(begins).unwrap_or(usize::MAX);
        let count = usize::try_from(last).unwrap_or(usize::MAX);
        let skipped = self.log.get(begins..count).unwrap_or_default();
        let missing = skipped
            .iter()
            .find(|event| self.asks_for(event) && !self.was_hidden(event, self.window.last(tick)));
        match missing {
            Some(event) => Err(format!("{} at {} is missing", name(event), event.position)),
            None => Ok(()),
        }
    }

    fn asks_for(&self, event: &RecordedEvent) -> bool {
        let begins = match &self.connection.request.from {
            SubscribeFrom::Stream(_, Start::After(after)) => {
                event.revision > *after || event.is_tombstone()
            }
            _ => true,
        };
        begins && admits(&self.connection.request.filter, self.stream, event)
    }

    /// Whether readers of the one stream could not see the event at some moment up to `last`.
    fn was_hidden(&self, event: &RecordedEvent, last: u64) -> bool {
        let Some(stream) = self.stream.filter(|_| !event.is_tombstone()) else {
            return false;
        };
        let moments = self.timelines.between(stream, event.position.get(), last);
        moments.iter().any(|moment| event.revision < moment.first)
    }

    fn ends_well(&self) -> Result<(), String> {
        match &self.connection.ended {
            None
            | Some(
                Error::Unavailable { .. }
                | Error::Corrupted { .. }
                | Error::Unreachable { .. }
                | Error::OutcomeUnknown { .. },
            ) => Ok(()),
            Some(Error::StreamDeleted { .. }) if self.closed => Ok(()),
            Some(Error::StreamDeleted { .. }) => match self.unseen_tombstone() {
                Some(position) => self.no_gap(Tick::MAX, position),
                None => Err("it ends as if the stream were deleted".to_owned()),
            },
            Some(error) => Err(format!("it ends with {error}")),
        }
    }

    /// The end of the stream, when it is not to be delivered: a filter may not let it through, and a
    /// metadata stream ends with its stream.
    fn unseen_tombstone(&self) -> Option<u64> {
        let stream = self.stream?;
        let base = stream.metadata_of().unwrap_or_else(|| stream.clone());
        let ends = |event: &&RecordedEvent| event.stream == base && event.is_tombstone();
        let tombstone = self.log.iter().find(ends)?;
        Some(tombstone.position.get())
    }
}
