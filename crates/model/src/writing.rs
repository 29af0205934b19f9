//! The events of one append and the places that they get, with those that the store adds.

use crate::decide::{Content, Expected};
use crate::model::Model;
use crate::retention::Metadata;
use icecore_core::{Append, Position, Revision, StreamName, StreamState};

/// The events of one append, as they get their places.
pub(crate) struct Writing<'a> {
    model: &'a Model,
    streams: Vec<StreamName>,
    /// Those that get events of the caller's.
    written: Vec<StreamName>,
    pub(crate) events: Vec<Expected>,
    pub(crate) last_position: Position,
}

impl<'a> Writing<'a> {
    pub(crate) fn over(model: &'a Model, streams: Vec<StreamName>) -> Self {
        let last_position = Position::new(model.end());
        Self {
            model,
            streams,
            written: Vec::new(),
            events: Vec::new(),
            last_position,
        }
    }

    pub(crate) fn new(model: &'a Model, append: &Append) -> Self {
        let streams: Vec<_> = append.streams().iter().map(|e| e.stream.clone()).collect();
        let mut writing = Self::over(model, streams);
        let is_written = |index: &usize| append.events().iter().any(|e| e.stream == *index);
        let written = (0..writing.streams.len()).filter(is_written);
        writing.written = written
            .map(|index| writing.streams[index].clone())
            .collect();
        writing
    }

    pub(crate) fn add(&mut self, stream: StreamName, content: Content) -> Revision {
        let of_stream = |event: &&Expected| event.stream == stream;
        let last = match self.events.iter().rev().find(of_stream) {
            Some(event) => Some(event.revision),
            None => self.model.state(&stream).last_revision(),
        };
        let revision = last.map_or(Revision::FIRST, Revision::next);
        self.events.push(Expected {
            stream,
            revision,
            content,
        });
        revision
    }

    /// A deleted stream goes on, and what was there stays hidden; unless the append says itself what
    /// becomes of it.
    pub(crate) fn reopen_streams(&mut self) {
        for stream in self.written.clone() {
            let state = self.model.state(&stream);
            let target = stream.metadata_stream();
            if let (StreamState::SoftDeleted { last }, Some(target)) = (state, target)
                && !self.written.contains(&target)
            {
                let metadata = self.model.metadata(&stream).truncated_before(last.next());
                self.add(target, Content::Metadata(metadata));
            }
        }
    }

    /// Metadata for a deleted stream must not show again what was deleted.
    pub(crate) fn keep_deleted_events_hidden(&mut self) {
        for target in self.written.clone() {
            let Some(stream) = target.metadata_of() else {
                continue;
            };
            let StreamState::SoftDeleted { last } = self.model.state(&stream) else {
                continue;
            };
            let of_target = |event: &&Expected| event.stream == target;
            let Some(written) = self.events.iter().rev().find(of_target) else {
                continue;
            };
            let metadata = match &written.content {
                Content::Given(event) => Metadata::read(&event.data),
                Content::Metadata(metadata) => metadata.clone(),
                Content::Tombstone => continue,
            };
            let truncation = metadata.truncate_before();
            if truncation.is_none_or(|before| before <= last) {
                let hiding = metadata.truncated_before(last.next());
                self.add(target, Content::Metadata(hiding));
            }
        }
    }

    pub(crate) fn last_revisions(&self) -> Vec<Option<Revision>> {
        let given = |event: &&Expected| matches!(event.content, Content::Given(_));
        let last = |stream: &StreamName| {
            let events = self.events.iter().rev().filter(given);
            let written = events.clone().find(|event| event.stream == *stream);
            written.map_or(self.model.state(stream).last_revision(), |event| {
                Some(event.revision)
            })
        };
        self.streams.iter().map(last).collect()
    }
}
