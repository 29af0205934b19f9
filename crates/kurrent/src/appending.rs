//! What all appends share: their parts as they are gathered, and the way to the store.

use crate::errors::AppendError;
use crate::event::Proposed;
use icecore_core::limits::{APPEND_BYTES_MAX, APPEND_EVENTS_MAX};
use icecore_core::{
    Append, AppendBuilder, Appended, Error, EventData, ExpectedRevision, Result, Revision, Role,
    StreamName,
};
use icecore_eventstore::{Admitted, EventStore, PendingAppend, Room};
use std::time::Duration;
use tokio::time::timeout;
use tonic::{Extensions, Status, Streaming};

/// The room that the messages of a call have taken.
pub(crate) fn admitted(extensions: &Extensions) -> Admitted {
    extensions.get::<Admitted>().cloned().unwrap_or_default()
}

/// The next message of a call that brings one append in parts. They take room, so they must not stop
/// coming.
pub(crate) async fn next_part<M>(
    store: &EventStore,
    messages: &mut Streaming<M>,
    limit: Duration,
) -> Result<Option<M>, Status> {
    tokio::select! {
        message = timeout(limit, messages.message()) => message.unwrap_or_else(|_| {
            let limit = limit.as_millis();
            Err(Status::aborted(format!(
                "the next part did not come within {limit} ms, nothing was written"
            )))
        }),
        () = store.stopping() => Err(Status::unavailable("the server is stopping")),
    }
}

/// Events for one stream, as they come in.
#[derive(Debug)]
pub(crate) struct Gathered {
    stream: StreamName,
    expected: ExpectedRevision,
    events: Vec<EventData>,
    bytes: usize,
}

impl Gathered {
    pub(crate) fn new(stream: StreamName, expected: ExpectedRevision) -> Self {
        Self {
            stream,
            expected,
            events: Vec::new(),
            bytes: 0,
        }
    }

    pub(crate) fn add(&mut self, Proposed(event): Proposed) -> Result<(), AppendError> {
        self.bytes += event.size();
        if self.bytes > APPEND_BYTES_MAX {
            return Err(AppendError::TooLarge);
        }
        if self.events.len() == APPEND_EVENTS_MAX {
            let reason = format!("more than {APPEND_EVENTS_MAX} events in one append");
            return Err(Error::invalid("proposed_messages", reason).into());
        }
        self.events.push(event);
        Ok(())
    }

    /// Hands the append to the writer. Also without events the stream is held to what an append that
    /// writes must find.
    pub(crate) async fn submit(
        self,
        store: &EventStore,
        room: Room,
    ) -> Result<PendingAppend, AppendError> {
        Ok(store.submit(self.build()?, room).await?)
    }

    fn build(self) -> Result<Append> {
        let mut append = AppendBuilder::default();
        let stream = append.stream(self.stream, self.expected)?;
        append.hold_as(stream, Role::Written);
        append.reserve(self.events.len());
        for event in self.events {
            append.event(stream, event, None)?;
        }
        append.build()
    }
}

/// What an append did, as far as these clients are told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    /// The stream's last revision; `None` when it has no event.
    pub(crate) revision: Option<u64>,
    /// The append's last position; `None` in an empty store.
    pub(crate) position: Option<u64>,
}

impl From<Appended> for Done {
    fn from(appended: Appended) -> Self {
        let last = appended.streams.first().and_then(|s| s.last_revision);
        let position = appended.last_position.get();
        Self {
            revision: last.map(Revision::get),
            position: (position > 0).then_some(position),
        }
    }
}
