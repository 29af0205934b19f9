//! Streams of links that nobody writes: the events of a category, of a type, of a correlation id, and
//! the first event of each stream, under the names that KurrentDB's system projections have. They are
//! read from the indexes. A link has the position of its target as its revision, so revisions increase
//! and have gaps.

use crate::state::base;
use icecore_core::{
    Append, Category, ContentType, CorrelationId, Error, EventType, Filter, RecordedEvent, Result,
    Revision, StoreId, StreamName, event_types,
};
use icecore_storage::IndexTerm;
use uuid::Uuid;

/// What stands before the name of a category, an event type, a correlation id.
const CATEGORY: &str = "$ce-";
const EVENT_TYPE: &str = "$et-";
const CORRELATION: &str = "$bc-";

/// The stream of the first events.
const STREAMS: &str = "$streams";

/// A stream that is read from an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VirtualStream {
    pub(crate) name: StreamName,
    pub(crate) term: IndexTerm,
}

impl VirtualStream {
    /// The virtual stream of this name; `None` when the name is that of an ordinary stream.
    pub(crate) fn named(name: &StreamName) -> Option<Self> {
        let text = name.as_str();
        if !text.starts_with('$') {
            return None;
        }
        let rest = |prefix| text.strip_prefix(prefix).map(str::to_owned);
        let term = if text == STREAMS {
            IndexTerm::FirstEvent
        } else if let Some(category) = rest(CATEGORY) {
            IndexTerm::Category(Category::new(category).ok()?)
        } else if let Some(event_type) = rest(EVENT_TYPE) {
            IndexTerm::EventType(EventType::new(event_type).ok()?)
        } else {
            IndexTerm::Correlation(CorrelationId::new(rest(CORRELATION)?).ok()?)
        };
        Some(Self {
            name: name.clone(),
            term,
        })
    }

    /// The link to an event, as an event of this stream.
    pub(crate) fn link(&self, store: StoreId, target: &RecordedEvent) -> RecordedEvent {
        let id = format!("{}@{}", target.position, self.name);
        RecordedEvent {
            stream: self.name.clone(),
            revision: Revision::new(target.position.get()),
            position: target.position,
            id: Uuid::new_v5(&store.get(), id.as_bytes()),
            event_type: EventType::new(event_types::LINK).expect("the type of links is one"),
            content_type: ContentType::OCTET_STREAM,
            data: format!("{}@{}", target.revision, target.stream).into(),
            metadata: bytes::Bytes::new(),
            tags: Vec::new(),
            recorded_at: target.recorded_at,
            created_at: None,
            erased: false,
        }
    }
}

/// Refuses what would write to a virtual stream, or to its metadata.
pub(crate) fn check_append(append: &Append) -> Result<()> {
    let mut streams = append.streams().iter();
    streams.try_for_each(|expectation| check_ordinary(&expectation.stream))
}

/// Refuses virtual streams and their metadata streams.
pub(crate) fn check_ordinary(stream: &StreamName) -> Result<()> {
    if !stream.is_system() || VirtualStream::named(&base(stream)).is_none() {
        return Ok(());
    }
    Err(Error::invalid(
        "stream",
        format!(
            "`{stream}` is read from an index: nobody writes to it, deletes it or gives it metadata"
        ),
    ))
}

/// Refuses a filter on links: all of them have one type and no tags.
pub(crate) fn check_filter(filter: &Filter) -> Result<()> {
    if filter.event_type.is_some() || !filter.tags.is_empty() {
        return Err(Error::invalid(
            "filter",
            "a stream of links has one type and no tags: filter the events of all streams",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_looked_up() {
        let term = |name: &str| {
            VirtualStream::named(&StreamName::new(name.to_owned()).unwrap()).map(|found| found.term)
        };
        let category =
            |name: &str| Some(IndexTerm::Category(Category::new(name.to_owned()).unwrap()));
        assert_eq!(term("$ce-order"), category("order"));
        assert_eq!(
            term("$et-Order-Placed"),
            Some(IndexTerm::EventType(
                EventType::new("Order-Placed").unwrap()
            ))
        );
        assert_eq!(
            term("$bc-7"),
            Some(IndexTerm::Correlation(CorrelationId::new("7").unwrap()))
        );
        assert_eq!(term("$streams"), Some(IndexTerm::FirstEvent));
        for ordinary in [
            "order-1",
            "$ce",
            "$ce-",
            "$et-",
            "$bc-",
            "$streams-1",
            "ce-order",
            "$all",
        ] {
            assert_eq!(term(ordinary), None, "{ordinary}");
        }
    }
}
