//! An event on its way into a group: what was read, where it stands, and which stream its order
//! belongs to.

use icecore_core::{EventType, RecordedEvent, Revision, StreamName, event_types};

/// Where an event stands that a group reads. Of a resolved link it is the link's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cursor {
    /// Revision in the stream that the group reads, or position.
    pub(crate) place: u64,
    /// Revision in its own stream.
    pub(crate) revision: Revision,
}

/// An event that a group has read.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) cursor: Cursor,
    /// `None` where a link points at nothing.
    pub(crate) event: Option<RecordedEvent>,
    /// The link by which it was found, where links are resolved.
    pub(crate) link: Option<RecordedEvent>,
}

impl Arrival {
    /// An event that stands in what the group reads at this place.
    pub(crate) fn new(place: u64, event: RecordedEvent) -> Self {
        let revision = event.revision;
        Self {
            cursor: Cursor { place, revision },
            event: Some(event),
            link: None,
        }
    }

    /// The event that stands in what the group reads.
    pub(crate) fn original(&self) -> &RecordedEvent {
        let original = self.link.as_ref().or(self.event.as_ref());
        original.expect("an arrival is an event or a link")
    }

    /// The stream among whose events its order counts: that of the event, also where only a link that
    /// was to be resolved is there.
    pub(crate) fn lane(&self) -> StreamName {
        match &self.event {
            Some(event) => event.stream.clone(),
            None => self.target(),
        }
    }

    /// The stream of the event, or the one that a link points at.
    pub(crate) fn target(&self) -> StreamName {
        let event = self.event.as_ref().unwrap_or_else(|| self.original());
        let target = link_target(&event.event_type, &event.data).map(|(stream, _)| stream);
        target.unwrap_or_else(|| event.stream.clone())
    }

    /// Bytes that it takes.
    pub(crate) fn size(&self) -> usize {
        let events = self.event.iter().chain(&self.link);
        events.map(RecordedEvent::size).sum()
    }
}

/// What a link points at; `None` for an event that is none.
pub(crate) fn link_target(event_type: &EventType, data: &[u8]) -> Option<(StreamName, Revision)> {
    if event_type.as_str() != event_types::LINK {
        return None;
    }
    let text = std::str::from_utf8(data).ok()?;
    let (revision, stream) = text.split_once('@')?;
    let revision = Revision::new(revision.parse().ok()?);
    let stream = StreamName::derived(stream.to_owned()).ok()?;
    Some((stream, revision))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_events::event;

    fn link(data: &'static str) -> RecordedEvent {
        RecordedEvent {
            event_type: EventType::new(event_types::LINK).unwrap(),
            data: data.into(),
            ..event("links", 3, 9)
        }
    }

    #[test]
    fn order_counts_among_the_events_that_links_point_at() {
        assert_eq!(Arrival::new(1, event("a", 0, 1)).lane().as_str(), "a");
        assert_eq!(Arrival::new(3, link("7@b@c")).target().as_str(), "b@c");
        assert_eq!(Arrival::new(3, link("7@b")).lane().as_str(), "links");
        assert_eq!(Arrival::new(3, link("x@b")).target().as_str(), "links");
        let resolved = Arrival {
            event: Some(event("b", 7, 2)),
            link: Some(link("7@b")),
            ..Arrival::new(3, link("7@b"))
        };
        assert_eq!(resolved.lane().as_str(), "b");
        assert_eq!(resolved.original().stream.as_str(), "links");
        let gone = Arrival {
            event: None,
            ..resolved
        };
        assert_eq!(gone.lane().as_str(), "b");
    }
}
