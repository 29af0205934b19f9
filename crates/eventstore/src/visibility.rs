//! Which events of a stream its readers see: what truncation, age, count and deletion leave. Reads of
//! all streams, index terms and conditions see hidden events too, until they are scavenged.

use crate::state::StreamRecord;
use icecore_core::{RecordedEvent, Revision, StreamName, Timestamp};

/// The visible part of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Visibility {
    /// The first revision that count and truncation leave.
    pub(crate) first: Revision,
    /// Events recorded before this moment are too old.
    oldest: Option<Timestamp>,
}

impl Visibility {
    /// What is visible of `stream`, whose record this is. A metadata stream has no metadata and is
    /// visible as a whole.
    pub(crate) fn of(stream: &StreamName, record: &StreamRecord, now: Timestamp) -> Self {
        if stream.is_metadata() {
            return Self {
                first: Revision::FIRST,
                oldest: None,
            };
        }
        let metadata = &record.metadata;
        let last = record.tail.map_or(0, |tail| tail.last_revision.get());
        let by_count = metadata
            .max_count
            .map_or(0, |count| last.saturating_add(1).saturating_sub(count));
        let by_truncation = metadata.truncate_before.unwrap_or(Revision::FIRST);
        let oldest = metadata.max_age.map(|age| {
            let nanos = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
            now.plus_nanos(nanos.saturating_neg())
        });
        Self {
            first: Revision::new(by_count).max(by_truncation),
            oldest,
        }
    }

    /// Whether readers of the stream see this event of it. A tombstone is always seen.
    pub(crate) fn shows(&self, event: &RecordedEvent) -> bool {
        let is_young = self.oldest.is_none_or(|oldest| event.recorded_at >= oldest);
        event.is_tombstone() || (event.revision >= self.first && is_young)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::StreamMetadata;
    use crate::test_events::event;
    use icecore_core::Position;
    use icecore_storage::StreamTail;
    use std::sync::Arc;

    fn visible(metadata: &str) -> Vec<u64> {
        let tail = StreamTail {
            last_revision: Revision::new(9),
            last_position: Position::new(10),
        };
        let record = StreamRecord {
            tail: Some(tail),
            metadata: Arc::new(StreamMetadata::read(metadata.as_bytes())),
            ..StreamRecord::default()
        };
        let stream = StreamName::new("s-1").unwrap();
        let now = Timestamp::from_nanos(9_000_000_000);
        let visibility = Visibility::of(&stream, &record, now);
        let event = |revision: u64| RecordedEvent {
            recorded_at: Timestamp::from_nanos(i64::try_from(revision).unwrap() * 1_000_000_000),
            ..event("s-1", revision, revision + 1)
        };
        (0..10)
            .map(event)
            .filter(|e| visibility.shows(e))
            .map(|e| e.revision.get())
            .collect()
    }

    #[test]
    fn count_truncation_and_age_hide_the_oldest() {
        assert_eq!(visible("{}").len(), 10);
        assert_eq!(visible(r#"{"$maxCount":3}"#), [7, 8, 9]);
        assert_eq!(visible(r#"{"$tb":8}"#), [8, 9]);
        assert_eq!(visible(r#"{"$maxAge":2}"#), [7, 8, 9]);
        assert_eq!(visible(r#"{"$maxCount":5,"$tb":6,"$maxAge":1}"#), [8, 9]);
        assert_eq!(visible(r#"{"$tb":9223372036854775807}"#), Vec::<u64>::new());
    }
}
