//! Links: events of type `$>` whose data names another event as `revision@stream`. A reader who asks
//! for it gets the other event together with the link, or the link alone when the other is gone.
//!
//! A link is resolved once; what a link leads to may be a link itself and stays one.

use crate::state::base;
use crate::store::EventStore;
use crate::virtual_stream::VirtualStream;
use crate::visibility::Visibility;
use icecore_core::{
    Direction, PageLimit, Position, RecordedEvent, Result, Revision, StreamName, StreamState,
    event_types,
};
use std::collections::{HashMap, VecDeque};

/// What is read of a target stream at once, after its first event was asked for.
const PAGE: PageLimit = PageLimit {
    events: 64,
    bytes: 64 * 1_024,
};

/// Target streams of which something is kept at a time.
const STREAMS_MAX: usize = 64;

/// Bytes of events that one step finds, beside the last one.
const STEP_BYTES: usize = 1_024 * 1_024;

/// An event as a reader who asks for links gets it. One of the two is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The event itself, or what the link leads to; `None` when that is gone.
    pub event: Option<RecordedEvent>,
    /// The link; `None` for an event that is none.
    pub link: Option<RecordedEvent>,
}

impl Resolved {
    /// An event that is no link, or is not resolved.
    pub fn plain(event: RecordedEvent) -> Self {
        Self {
            event: Some(event),
            link: None,
        }
    }
}

/// Where a link leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Target {
    stream: StreamName,
    revision: Revision,
}

impl Target {
    /// What a link's data names. Data that names no event is as if the event were gone.
    fn read(data: &[u8]) -> Option<Self> {
        let (revision, stream) = std::str::from_utf8(data).ok()?.split_once('@')?;
        Some(Self {
            stream: StreamName::derived(stream.to_owned()).ok()?,
            revision: revision.parse().ok().map(Revision::new)?,
        })
    }
}

impl EventStore {
    /// Takes events from the front and puts what they lead to beside those of them that are links.
    /// Small links may lead to large events, so it takes only as many as make a page; call it again
    /// until none are left.
    ///
    /// # Errors
    ///
    /// `Corrupted`, and `Unavailable` when the store is closed.
    pub async fn resolve_links(
        &self,
        events: &mut VecDeque<RecordedEvent>,
    ) -> Result<Vec<Resolved>> {
        let mut targets = Targets::new(self);
        let (mut resolved, mut bytes) = (Vec::with_capacity(events.len()), 0);
        while bytes < STEP_BYTES
            && let Some(event) = events.pop_front()
        {
            let next = targets.resolve(event).await?;
            let found = next.event.iter().chain(&next.link);
            bytes += found.map(RecordedEvent::size).sum::<usize>();
            resolved.push(next);
        }
        Ok(resolved)
    }
}

/// Finds the targets of one page of links. Links mostly lead to events that stand one behind the other,
/// so a page of each stream is kept.
struct Targets<'a> {
    store: &'a EventStore,
    streams: HashMap<StreamName, TargetStream>,
    /// The virtual stream whose links were resolved last, and what some of them lead to.
    found: Option<(VirtualStream, Vec<RecordedEvent>)>,
}

/// A stream that links lead to.
struct TargetStream {
    /// What its readers see; `None` when that is nothing.
    visibility: Option<Visibility>,
    page: Vec<RecordedEvent>,
}

impl<'a> Targets<'a> {
    fn new(store: &'a EventStore) -> Self {
        Self {
            store,
            streams: HashMap::new(),
            found: None,
        }
    }

    async fn resolve(&mut self, event: RecordedEvent) -> Result<Resolved> {
        if event.event_type.as_str() != event_types::LINK {
            return Ok(Resolved::plain(event));
        }
        let found = match (
            VirtualStream::named(&event.stream),
            Target::read(&event.data),
        ) {
            (Some(stream), _) => self.get_found(stream, event.position).await?,
            (None, Some(target)) => self.get(&target).await?,
            (None, None) => None,
        };
        Ok(Resolved {
            event: found,
            link: Some(event),
        })
    }

    /// The event, unless it is gone or hidden.
    async fn get(&mut self, target: &Target) -> Result<Option<RecordedEvent>> {
        let Target { stream, revision } = target;
        let mut known = match self.streams.remove(stream) {
            Some(known) => known,
            None => self.look_up(stream).await?,
        };
        let found = match known.visibility {
            Some(visibility) => {
                self.read_to(&mut known.page, target).await?;
                let event = find(&known.page, *revision);
                event.filter(|event| visibility.shows(event)).cloned()
            }
            None => None,
        };
        self.keep(stream.clone(), known);
        Ok(found)
    }

    /// The event at a position that an index has found, unless it is gone or hidden.
    async fn get_found(
        &mut self,
        stream: VirtualStream,
        position: Position,
    ) -> Result<Option<RecordedEvent>> {
        let mut page = match self.found.take() {
            Some((last, page)) if last == stream => page,
            _ => Vec::new(),
        };
        let at = |page: &[RecordedEvent]| {
            page.iter()
                .find(|found| found.position == position)
                .cloned()
        };
        let mut event = at(&page);
        if event.is_none() {
            // Links are resolved in their order or against it.
            let direction = match page.last() {
                Some(last) if last.position > position => Direction::Backwards,
                _ => Direction::Forwards,
            };
            let storage = self.store.storage();
            let read = storage.read_term(&stream.term, position, direction, PAGE);
            page = read.await?.events;
            event = at(&page);
        }
        self.found = Some((stream, page));
        let Some(event) = event else { return Ok(None) };
        let known = match self.streams.remove(&event.stream) {
            Some(known) => known,
            None => self.look_up(&event.stream).await?,
        };
        let is_shown = known
            .visibility
            .is_some_and(|visibility| visibility.shows(&event));
        self.keep(event.stream.clone(), known);
        Ok(is_shown.then_some(event))
    }

    fn keep(&mut self, stream: StreamName, known: TargetStream) {
        if self.streams.len() == STREAMS_MAX {
            self.streams.clear();
        }
        self.streams.insert(stream, known);
    }

    async fn look_up(&self, stream: &StreamName) -> Result<TargetStream> {
        let record = self.store.record(&base(stream)).await?;
        let is_there = matches!(record.state_of(stream), StreamState::Living { .. });
        let visibility = is_there.then(|| Visibility::of(stream, &record, self.store.now()));
        Ok(TargetStream {
            visibility,
            page: Vec::new(),
        })
    }

    /// Reads a page that begins with the target, unless the target is on the one that was read. The
    /// first page of a stream is that one event: most streams are asked for no more.
    async fn read_to(&self, page: &mut Vec<RecordedEvent>, target: &Target) -> Result<()> {
        if find(page, target.revision).is_some() {
            return Ok(());
        }
        let Target { stream, revision } = target;
        let events = if page.is_empty() { 1 } else { PAGE.events };
        let limit = PageLimit { events, ..PAGE };
        let storage = self.store.storage();
        let read = storage.read_stream(stream, *revision, Direction::Forwards, limit);
        *page = read.await?.events;
        Ok(())
    }
}

fn find(page: &[RecordedEvent], revision: Revision) -> Option<&RecordedEvent> {
    let at = page.binary_search_by_key(&revision, |event| event.revision);
    at.ok().map(|at| &page[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(data: &'static [u8]) -> Option<(String, u64)> {
        let target = Target::read(data)?;
        Some((target.stream.to_string(), target.revision.get()))
    }

    #[test]
    fn a_link_names_a_revision_and_a_stream() {
        assert_eq!(target(b"7@order-1"), Some(("order-1".into(), 7)));
        assert_eq!(target(b"0@a@b"), Some(("a@b".into(), 0)));
        for bad in [
            &b"order-1"[..],
            b"x@order-1",
            b"7@",
            b"-1@a",
            b"\xff@a",
            b"",
        ] {
            assert_eq!(target(bad), None, "{bad:?}");
        }
    }
}
