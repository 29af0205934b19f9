//! An aggregate in memory: its state, the place in its stream, and what has been decided and not yet
//! appended. No I/O.

use super::changes::event_id;
use crate::aggregate::Aggregate;
use crate::event::decode;
use crate::snapshot::SnapshotPlace;
use icecore_core::{
    ExpectedRevision, Position, RecordedEvent, Result, Revision, StreamName, Timestamp,
};
use std::fmt;
use uuid::Uuid;

/// An aggregate as it was loaded, moved on by what it has decided since.
///
/// ```
/// # use icecore_client::*;
/// # async fn transfer<Account: Aggregate>(
/// #     client: &Client, accounts: &Repository<Account>,
/// #     withdraw: Account::Command, deposit: Account::Command,
/// # ) -> std::result::Result<(), Box<dyn std::error::Error>> {
/// // A transfer between two accounts: both take effect or neither.
/// let context = Context::new().by("anna").identified();
/// let (mut from, mut to) = (accounts.load("anna").await?, accounts.load("berta").await?);
/// if context.command().is_some_and(|id| from.has_done(id)) {
///     return Ok(()); // It was sent again.
/// }
/// from.handle(&withdraw)?;
/// to.handle(&deposit)?;
/// client.append_changes([from.changes(&context)?, to.changes(&context)?]).await?;
/// # Ok(())
/// # }
/// ```
pub struct Loaded<A: Aggregate> {
    stream: StreamName,
    state: A,
    revision: Option<Revision>,
    /// Where its last event stands; the start, when it has none.
    position: Position,
    /// The ids of its events, the newest last; those from before a snapshot are the newest only.
    ids: Vec<Uuid>,
    /// When its snapshot or else the first of its events was recorded, and when the last one.
    span: Option<(Timestamp, Timestamp)>,
    snapshot: Option<SnapshotPlace>,
    decided: Vec<A::Event>,
}

impl<A: Aggregate> Loaded<A> {
    /// Its stream.
    pub fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// What it is, with everything that it has decided.
    pub fn state(&self) -> &A {
        &self.state
    }

    /// The last event of the stream that is in the state; `None` when there is none. What was decided
    /// since has no revision yet.
    pub fn revision(&self) -> Option<Revision> {
        self.revision
    }

    /// What it has decided since it was loaded.
    pub fn decided(&self) -> &[A::Event] {
        &self.decided
    }

    /// Lets it decide, and takes over what it decided. Several commands may follow each other.
    ///
    /// # Errors
    ///
    /// The domain's; nothing is changed then.
    pub fn handle(&mut self, command: &A::Command) -> Result<(), A::Error> {
        let events = self.state.handle(command)?;
        for event in &events {
            self.state.apply(event);
        }
        self.decided.extend(events);
        Ok(())
    }

    /// Whether the events of a command with this id are in the stream. With snapshots, only what stands
    /// behind the snapshot and the 256 events before it are known.
    pub fn has_done(&self, command_id: Uuid) -> bool {
        let first = event_id(command_id, self.stream.as_str(), 0);
        self.ids.contains(&first)
    }

    pub(crate) fn new(stream: StreamName) -> Self {
        Self {
            stream,
            state: A::default(),
            revision: None,
            position: Position::START,
            ids: Vec::new(),
            span: None,
            snapshot: None,
            decided: Vec::new(),
        }
    }

    /// As a snapshot has it.
    pub(crate) fn from_snapshot(
        stream: StreamName,
        state: A,
        ids: Vec<Uuid>,
        snapshot: SnapshotPlace,
    ) -> Self {
        Self {
            state,
            revision: Some(snapshot.revision),
            position: snapshot.position,
            ids,
            span: Some((snapshot.recorded_at, snapshot.recorded_at)),
            snapshot: Some(snapshot),
            ..Self::new(stream)
        }
    }

    pub(crate) fn take_all(&mut self, events: &[RecordedEvent]) -> Result<()> {
        events.iter().try_for_each(|event| self.take(event))
    }

    /// Takes over the next event of the stream.
    pub(crate) fn take(&mut self, event: &RecordedEvent) -> Result<()> {
        debug_assert!(
            self.decided.is_empty(),
            "what was decided is behind what happened"
        );
        if let Some(event) = decode::<A::Event>(event)? {
            self.state.apply(&event);
        }
        self.revision = Some(event.revision);
        self.position = event.position;
        let since = self.span.map_or(event.recorded_at, |(since, _)| since);
        self.span = Some((since, event.recorded_at));
        self.ids.push(event.id);
        Ok(())
    }

    /// There are events up to here that nobody can see any more.
    pub(crate) fn stand_behind(&mut self, last: Option<Revision>) {
        self.revision = last;
    }

    pub(crate) fn next_revision(&self) -> Revision {
        self.revision.map_or(Revision::FIRST, Revision::next)
    }

    pub(crate) fn expected(&self) -> ExpectedRevision {
        self.revision
            .map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact)
    }

    pub(crate) fn position(&self) -> Position {
        self.position
    }

    pub(crate) fn snapshot(&self) -> Option<SnapshotPlace> {
        self.snapshot
    }

    pub(crate) fn ids(&self) -> &[Uuid] {
        &self.ids
    }

    pub(crate) fn span(&self) -> Option<(Timestamp, Timestamp)> {
        self.span
    }

    /// The state with events that are appended behind it.
    pub(crate) fn into_state(mut self, appended: &[A::Event]) -> A {
        for event in appended {
            self.state.apply(event);
        }
        self.state
    }
}

impl<A: Aggregate> fmt::Debug for Loaded<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("stream", &self.stream)
            .field("revision", &self.revision)
            .field("decided", &self.decided.len())
            .finish_non_exhaustive()
    }
}
