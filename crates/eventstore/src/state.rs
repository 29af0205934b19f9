//! What the writer knows of each stream, and the bounded memory that keeps it.
//!
//! A stream and its metadata stream are one record, since each changes what may be done to the other.

use crate::metadata::StreamMetadata;
use icecore_core::{Position, RecordedEvent, StreamName, StreamState};
use icecore_storage::StreamTail;
use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

/// A stream `s` together with `$$s`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct StreamRecord {
    /// Where `s` ends.
    pub(crate) tail: Option<StreamTail>,
    /// Where `$$s` ends.
    pub(crate) metadata_tail: Option<StreamTail>,
    /// What the last event of `$$s` says.
    pub(crate) metadata: Arc<StreamMetadata>,
}

impl StreamRecord {
    /// State of `stream`, which is `s` or `$$s`.
    pub(crate) fn state_of(&self, stream: &StreamName) -> StreamState {
        if stream.is_metadata() {
            self.metadata_state()
        } else {
            self.state()
        }
    }

    /// State of `s`.
    pub(crate) fn state(&self) -> StreamState {
        match self.tail {
            None if self.metadata_tail.is_none() => StreamState::Absent,
            None => StreamState::OnlyMetadata,
            Some(_) if self.is_tombstoned() => StreamState::Tombstoned,
            Some(StreamTail {
                last_revision: last,
                ..
            }) if self.metadata.is_soft_deleted() => StreamState::SoftDeleted { last },
            Some(StreamTail {
                last_revision: last,
                ..
            }) => StreamState::Living { last },
        }
    }

    /// State of `$$s`. It shares the end of its stream.
    fn metadata_state(&self) -> StreamState {
        match self.metadata_tail {
            _ if self.is_tombstoned() => StreamState::Tombstoned,
            None => StreamState::Absent,
            Some(StreamTail {
                last_revision: last,
                ..
            }) => StreamState::Living { last },
        }
    }

    fn is_tombstoned(&self) -> bool {
        self.tail
            .is_some_and(|tail| tail.last_revision == icecore_core::Revision::TOMBSTONE)
    }

    /// Where `stream`, which is `s` or `$$s`, ends.
    pub(crate) fn tail_of(&self, stream: &StreamName) -> Option<StreamTail> {
        if stream.is_metadata() {
            self.metadata_tail
        } else {
            self.tail
        }
    }

    /// The last position that changed this record.
    pub(crate) fn changed_at(&self) -> Position {
        let position = |tail: Option<StreamTail>| tail.map(|tail| tail.last_position);
        position(self.tail)
            .max(position(self.metadata_tail))
            .unwrap_or_default()
    }

    /// Takes in an event of `s` or `$$s`.
    pub(crate) fn add(&mut self, event: &RecordedEvent) {
        let tail = Some(StreamTail {
            last_revision: event.revision,
            last_position: event.position,
        });
        if event.stream.is_metadata() {
            self.metadata_tail = tail;
            self.metadata = Arc::new(StreamMetadata::read(&event.data));
        } else {
            self.tail = tail;
        }
    }
}

/// The stream under whose name a record is kept: `s` for `s` and `$$s`.
pub(crate) fn base(stream: &StreamName) -> StreamName {
    stream.metadata_of().unwrap_or_else(|| stream.clone())
}

/// Records of the streams that were used last.
///
/// It is truth: a record in here is what the writer has decided so far, durable or not. Records are
/// kept in two generations; when the young one is full, the old one is dropped whole, so that every
/// operation takes constant time. What was dropped might be missing in what a caller has read before,
/// therefore [`Self::forgotten_up_to`] is remembered.
#[derive(Debug)]
pub(crate) struct StateCache {
    young: HashMap<StreamName, StreamRecord>,
    old: HashMap<StreamName, StreamRecord>,
    generation_max: usize,
    forgotten_up_to: Position,
}

impl StateCache {
    /// An empty cache of at most `records_max` records.
    pub(crate) fn new(records_max: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            generation_max: (records_max / 2).max(1),
            forgotten_up_to: Position::START,
        }
    }

    /// A record that was read from the storage when the last position was lower than this may be
    /// out of date.
    pub(crate) fn forgotten_up_to(&self) -> Position {
        self.forgotten_up_to
    }

    /// The record of a [`base`] stream, if it is in here.
    pub(crate) fn get(&self, base: &StreamName) -> Option<&StreamRecord> {
        self.young.get(base).or_else(|| self.old.get(base))
    }

    /// Takes in the record of a [`base`] stream as it is from now on.
    pub(crate) fn put(&mut self, base: &StreamName, record: StreamRecord) {
        if let Some(young) = self.young.get_mut(base) {
            *young = record;
            return;
        }
        let known = self.old.remove_entry(base);
        let name = known.map_or_else(|| base.detached(), |(name, _)| name);
        self.make_room();
        self.young.insert(name, record);
    }

    /// Forgets everything; whatever was decided up to `position` may be missing in older reads.
    pub(crate) fn clear(&mut self, position: Position) {
        self.young.clear();
        self.old.clear();
        self.forgotten_up_to = position;
    }

    fn make_room(&mut self) {
        if self.young.len() < self.generation_max {
            return;
        }
        let dropped = mem::replace(&mut self.old, mem::take(&mut self.young));
        let newest = dropped
            .values()
            .map(StreamRecord::changed_at)
            .max()
            .unwrap_or_default();
        self.forgotten_up_to = self.forgotten_up_to.max(newest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use icecore_core::Revision;

    fn record(position: u64) -> StreamRecord {
        let tail = StreamTail {
            last_revision: Revision::FIRST,
            last_position: Position::new(position),
        };
        StreamRecord {
            tail: Some(tail),
            ..StreamRecord::default()
        }
    }

    #[test]
    fn what_is_dropped_is_remembered_by_its_position() {
        let mut cache = StateCache::new(4);
        let name = |n: u64| StreamName::new(format!("s-{n}")).unwrap();
        for n in 1..=6 {
            cache.put(&name(n), record(n));
        }
        assert_eq!(cache.get(&name(1)), None);
        assert_eq!(cache.get(&name(6)), Some(&record(6)));
        assert_eq!(cache.forgotten_up_to(), Position::new(2));
    }

    #[test]
    fn a_name_does_not_keep_the_message_alive_that_it_came_in() {
        let message = bytes::Bytes::from(vec![b'a'; 64 * 1_024]);
        let slice = bytestring::ByteString::try_from(message.slice(..8)).unwrap();
        let mut cache = StateCache::new(4);
        cache.put(&StreamName::new(slice).unwrap(), record(1));
        assert!(message.is_unique(), "somebody still holds the message");
        assert_eq!(
            cache.get(&StreamName::new("aaaaaaaa").unwrap()),
            Some(&record(1))
        );
    }

    #[test]
    fn what_is_used_survives() {
        let mut cache = StateCache::new(4);
        let name = |n: u64| StreamName::new(format!("s-{n}")).unwrap();
        for n in 1..=20 {
            cache.put(&name(n), record(n));
            assert!(cache.get(&name(1)).is_some(), "it was in use all the time");
            cache.put(&name(1), record(1));
        }
    }
}
