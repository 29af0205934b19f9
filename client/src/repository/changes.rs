//! What aggregates have decided, as one append.

use super::Loaded;
use crate::aggregate::Aggregate;
use crate::client::Client;
use crate::context::Context;
use crate::event::{Event, encode};
use crate::id::new_event_id;
use icecore_core::limits::MISSED_EVENTS_MAX;
use icecore_core::{
    Append, AppendBuilder, Appended, Error, EventData, ExpectedRevision, Result, StreamName,
};
use uuid::Uuid;

/// The events of one aggregate that wait to be appended. Together with those of others they are one
/// append: all of them or none.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "changes take effect when they are appended"]
pub struct Changes {
    stream: StreamName,
    expected: ExpectedRevision,
    events: Vec<EventData>,
}

impl Changes {
    /// Events for a stream that is no aggregate's.
    pub fn new(stream: StreamName, expected: ExpectedRevision, events: Vec<EventData>) -> Self {
        Self {
            stream,
            expected,
            events,
        }
    }

    /// The stream that they go to.
    pub fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// The events, in order.
    pub fn events(&self) -> &[EventData] {
        &self.events
    }

    /// All changes as one append. What has no events is checked all the same: its stream must still be
    /// as it was loaded.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, as [`AppendBuilder::build`]; a stream that comes twice, too.
    pub fn append(changes: impl IntoIterator<Item = Self>) -> Result<Append> {
        let mut append = AppendBuilder::default();
        for changes in changes {
            let stream = append.stream(changes.stream, changes.expected)?;
            for event in changes.events {
                append.event(stream, event, None)?;
            }
        }
        append.missed_limit(MISSED_EVENTS_MAX);
        append.build()
    }
}

impl<A: Aggregate> Loaded<A> {
    /// What it has decided, for [`Client::append_changes`]. The ids of the events follow from the id of
    /// the command; without one they are new.
    ///
    /// # Errors
    ///
    /// As [`crate::encode`]; `InvalidArgument` for field `command_id`, when the command is done already
    /// ([`Self::has_done`]).
    pub fn changes(&self, context: &Context) -> Result<Changes> {
        self.changes_of(self.decided(), context)
    }

    pub(crate) fn changes_of(&self, events: &[A::Event], context: &Context) -> Result<Changes> {
        let context = context.clone().identified();
        let done = context.command().filter(|id| self.has_done(*id));
        if let Some(id) = done
            && !events.is_empty()
        {
            let reason = format!("`{}` has done the command {id} already", self.stream());
            return Err(Error::invalid("command_id", reason));
        }
        let events = encode_all(self.stream(), events, &context)?;
        Ok(Changes::new(self.stream().clone(), self.expected(), events))
    }
}

impl Client {
    /// Appends what several aggregates have decided: all of it or nothing.
    ///
    /// # Errors
    ///
    /// As [`Self::append_request`]; `Refused`, when one of them was changed in the meantime: load and
    /// decide again. `InvalidArgument`, when nothing was decided at all.
    pub async fn append_changes(
        &self,
        changes: impl IntoIterator<Item = Changes>,
    ) -> Result<Appended> {
        let append = Changes::append(changes)?;
        if append.events().is_empty() {
            return Err(Error::invalid("events", "nothing was decided"));
        }
        self.append_request(&append).await
    }
}

/// Values as events of a command in a stream.
pub(crate) fn encode_all<'a, E: Event>(
    stream: &StreamName,
    events: impl IntoIterator<Item = &'a E>,
    context: &Context,
) -> Result<Vec<EventData>> {
    let command = context.command().unwrap_or_else(new_event_id);
    let events = events.into_iter().enumerate();
    let encode =
        |(number, event)| encode(event, event_id(command, stream.as_str(), number), context);
    events.map(encode).collect()
}

/// The id of an event that a command makes: a v5 UUID of the command and `<scope>/<number>`. The scope is
/// the stream, the number counts from 0 in it.
pub(crate) fn event_id(command_id: Uuid, scope: &str, number: usize) -> Uuid {
    Uuid::new_v5(&command_id, format!("{scope}/{number}").as_bytes())
}
