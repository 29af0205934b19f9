//! What can be looked up, as bytes: a kind and a name. Byte order keeps kinds together and sorts
//! names, so streams and categories can be listed by prefix.
//!
//! ```text
//! 1 + stream name    all events of a stream
//! 2 + category       all events of its streams
//! 3 + event type
//! 4 + tag
//! 5                  the first event of each stream
//! 6 + correlation id
//! ```

use icecore_core::{RecordedEvent, Revision, StreamName};
use icecore_storage::{IndexTerm, correlation_id};

pub(crate) const STREAM: u8 = 1;
pub(crate) const CATEGORY: u8 = 2;
const EVENT_TYPE: u8 = 3;
const TAG: u8 = 4;
const FIRST_EVENT: u8 = 5;
const CORRELATION: u8 = 6;

/// The key of a term.
pub(crate) fn key(kind: u8, name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + name.len());
    key.push(kind);
    key.extend_from_slice(name.as_bytes());
    key
}

pub(crate) fn stream_key(stream: &StreamName) -> Vec<u8> {
    key(STREAM, stream.as_str())
}

pub(crate) fn term_key(term: &IndexTerm) -> Vec<u8> {
    match term {
        IndexTerm::Category(category) => key(CATEGORY, category.as_str()),
        IndexTerm::EventType(event_type) => key(EVENT_TYPE, event_type.as_str()),
        IndexTerm::Tag(tag) => key(TAG, tag.as_str()),
        IndexTerm::FirstEvent => vec![FIRST_EVENT],
        IndexTerm::Correlation(id) => key(CORRELATION, id.as_str()),
    }
}

/// Calls `visit` for each term of an event, its stream first. A tag may come twice.
pub(crate) fn for_each(event: &RecordedEvent, key: &mut Vec<u8>, mut visit: impl FnMut(&[u8])) {
    let mut term = |kind: u8, name: &str| {
        key.clear();
        key.push(kind);
        key.extend_from_slice(name.as_bytes());
        visit(key);
    };
    let stream = event.stream.as_str();
    term(STREAM, stream);
    if let Some((category, _)) = stream.split_once('-').filter(|(name, _)| !name.is_empty()) {
        term(CATEGORY, category);
    }
    term(EVENT_TYPE, event.event_type.as_str());
    for tag in &event.tags {
        term(TAG, tag.as_str());
    }
    if event.revision == Revision::FIRST {
        term(FIRST_EVENT, "");
    }
    if let Some(id) = correlation_id(&event.metadata) {
        term(CORRELATION, id.as_str());
    }
}

/// Whether an event that is erased is no longer found by this term.
pub(crate) fn goes_with_payload(term: &[u8]) -> bool {
    matches!(term.first(), Some(&(TAG | CORRELATION)))
}

/// Whether the postings of a term carry revisions.
pub(crate) fn has_revisions(term: &[u8]) -> bool {
    term.first() == Some(&STREAM)
}
