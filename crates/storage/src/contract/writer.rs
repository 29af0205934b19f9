//! The writer of the rules: leads, numbers, commits, and remembers what the store must now hold.

use super::generate::Numbering;
use crate::{Committed, Lease, NumberedAppend, Storage};
use icecore_core::{Position, RecordedEvent};

/// The one writer of a store, from its first event.
pub(super) struct Writer<'a> {
    storage: &'a dyn Storage,
    pub(super) lease: Lease,
    pub(super) numbering: Numbering,
    /// Everything that was committed.
    pub(super) events: Vec<RecordedEvent>,
}

impl<'a> Writer<'a> {
    /// Leads a store that is still empty.
    pub(super) async fn lead(storage: &'a dyn Storage) -> Self {
        Self {
            storage,
            lease: storage.lead().await.expect("a fresh store can be led"),
            numbering: Numbering::default(),
            events: Vec::new(),
        }
    }

    /// Commits one append of `count` small events to a stream.
    pub(super) async fn append(&mut self, stream: &str, count: usize) {
        let append = self.numbering.append(stream, count);
        self.commit(vec![append]).await;
    }

    /// Commits these events as one append.
    pub(super) async fn write(&mut self, events: Vec<RecordedEvent>) {
        let events = events.into_iter().collect();
        self.commit(vec![NumberedAppend { events }]).await;
    }

    /// Commits one append of one event for each of these streams.
    pub(super) async fn write_to_each(&mut self, streams: &[&str]) {
        let event = |stream: &&str| self.numbering.event(stream);
        let events = streams.iter().map(event).collect();
        self.write(events).await;
    }

    /// Commits a group.
    pub(super) async fn commit(&mut self, group: Vec<NumberedAppend>) {
        let written = group
            .iter()
            .flat_map(|append| append.events.iter().cloned());
        let written: Vec<_> = written.collect();
        let after = self.last_position();
        let committed = self.storage.commit(&self.lease, after, group).await;
        assert!(
            matches!(committed, Committed::Done),
            "a commit of the leader after {after} ended as {committed:?}"
        );
        self.events.extend(written);
    }

    /// Where the store ends, if it did what it said.
    pub(super) fn last_position(&self) -> Position {
        let last = self.events.last();
        last.map_or(Position::START, |event| event.position)
    }
}
