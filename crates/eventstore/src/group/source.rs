//! What a group reads: events as they come, streams behind a parked event, and what was parked. It
//! goes through the store's own subscription and reader, and through `links.rs`.

use super::arrival::{Arrival, Cursor};
use super::config::GroupRecord;
use super::machine::BacklogRead;
use crate::links::Resolved;
use crate::state::base;
use crate::store::EventStore;
use crate::virtual_stream::VirtualStream;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use icecore_core::{
    Direction, Error, Filter, GroupId, Position, Read, ReadFrom, RecordedEvent, Result, Revision,
    Start, StreamName, Subscribe, SubscribeFrom, SubscriptionMessage,
};
use std::collections::VecDeque;
use std::sync::Arc;

/// Events that are read at a time for a stream behind a parked event.
const BEHIND_AT_ONCE: usize = 16;

/// Events that are looked at, at a time, when such a stream is found by its links only.
const LOOKED_AT_ONCE: usize = 1_024;

/// The events that a group reads, as they come.
pub(super) struct Source {
    store: EventStore,
    record: Arc<GroupRecord>,
    messages: BoxStream<'static, Result<SubscriptionMessage>>,
    /// Events before this place are left out.
    from: u64,
    /// What was read and not looked at.
    read: VecDeque<RecordedEvent>,
    /// What is ready to be taken.
    found: VecDeque<Found>,
    live: bool,
    ended: bool,
}

/// What the source has.
#[derive(Debug)]
pub(super) enum Found {
    /// An event.
    Event(Box<Arrival>),
    /// Everything up to here (inclusive) was looked at.
    Passed(u64),
}

impl Source {
    /// Begins at a place (inclusive).
    pub(super) async fn new(
        store: EventStore,
        record: Arc<GroupRecord>,
        from: u64,
    ) -> Result<Self> {
        let before = from.checked_sub(1);
        let from_end = |last: Option<u64>| before.min(last);
        let group = &record.group;
        let target = match group.id.stream() {
            None => {
                let last = store.last_position().get();
                let after = from_end(Some(last))
                    .map_or(Start::Beginning, |after| Start::After(Position::new(after)));
                SubscribeFrom::All(after)
            }
            Some(stream) => {
                let last = store.last_place_of(stream).await?;
                let after = from_end(last)
                    .map_or(Start::Beginning, |after| Start::After(Revision::new(after)));
                SubscribeFrom::Stream(stream.clone(), after)
            }
        };
        let subscribe = Subscribe {
            from: target,
            filter: group.filter.clone(),
            store_id: None,
        };
        Ok(Self {
            messages: store.subscribe(subscribe).boxed(),
            store,
            record,
            from,
            read: VecDeque::new(),
            found: VecDeque::new(),
            live: false,
            ended: false,
        })
    }

    /// The next of what is ready.
    pub(super) fn take(&mut self) -> Option<Found> {
        self.found.pop_front()
    }

    /// Whether everything there is has been taken.
    pub(super) fn is_live(&self) -> bool {
        self.live && self.read.is_empty() && self.found.is_empty()
    }

    /// Whether nothing will come any more: the stream is closed.
    pub(super) fn has_ended(&self) -> bool {
        self.ended && self.read.is_empty() && self.found.is_empty()
    }

    /// Reads until something is ready, unless there is. Can be dropped at any time and loses nothing.
    ///
    /// # Errors
    ///
    /// As [`EventStore::subscribe`], but for the end of a stream.
    pub(super) async fn fill(&mut self) -> Result<()> {
        while self.found.is_empty() && !self.has_ended() {
            if self.read.is_empty() {
                match self.messages.try_next().await {
                    Ok(Some(message)) => self.take_in(message),
                    Ok(None) | Err(Error::StreamDeleted { .. }) => self.ended = true,
                    Err(error) => return Err(error),
                }
            }
            self.look_at_next().await?;
        }
        Ok(())
    }

    /// Looks at the next of what was read, as many as are to be read at a time.
    async fn look_at_next(&mut self) -> Result<()> {
        let at_once = self.record.group.settings.read_batch_size as usize;
        let mut next = self.read.iter().take(at_once).cloned().collect();
        let arrivals = self.store.arrivals(&self.record, &mut next).await?;
        self.read.drain(..arrivals.len());
        let of_stream = self.record.group.id.stream().is_some();
        for arrival in arrivals {
            let (place, original) = (arrival.cursor.place, arrival.original());
            if place < self.from || original.is_tombstone() && of_stream {
                continue;
            }
            self.found.push_back(if GroupId::owns(&original.stream) {
                Found::Passed(place)
            } else {
                Found::Event(Box::new(arrival))
            });
        }
        Ok(())
    }

    fn take_in(&mut self, message: SubscriptionMessage) {
        match message {
            SubscriptionMessage::Confirmed { .. } => {}
            SubscriptionMessage::Events(events) => self.read.extend(events),
            SubscriptionMessage::Checkpoint(position) => self.pass(position),
            SubscriptionMessage::CaughtUp { position } => {
                self.live = true;
                self.pass(position);
            }
        }
    }

    fn pass(&mut self, position: Position) {
        if self.record.group.id.stream().is_none() {
            self.found.push_back(Found::Passed(position.get()));
        }
    }
}

impl GroupRecord {
    /// Where an event stands in what the group reads.
    fn place(&self, event: &RecordedEvent) -> u64 {
        match self.group.id.stream() {
            Some(_) => event.revision.get(),
            None => event.position.get(),
        }
    }
}

/// What was found for a stream behind a parked event.
pub(super) struct Behind {
    pub(super) events: Vec<Arrival>,
    /// Everything up to here (inclusive) was looked at.
    pub(super) reached: Cursor,
    /// There is no more up to where the group is.
    pub(super) end: bool,
}

impl EventStore {
    /// The last place in a stream; `None` when it has none.
    pub(super) async fn last_place_of(&self, stream: &StreamName) -> Result<Option<u64>> {
        // What is read from an index ends where the store ends.
        if VirtualStream::named(stream).is_some() {
            return Ok(Some(self.last_position().get()).filter(|last| *last > 0));
        }
        let state = self.record(&base(stream)).await?.state_of(stream);
        Ok(state.last_revision().map(Revision::get))
    }

    /// Takes events from the front as a group gets them, with the links resolved if it wants that; as
    /// many as make a page.
    async fn arrivals(
        &self,
        record: &GroupRecord,
        events: &mut VecDeque<RecordedEvent>,
    ) -> Result<Vec<Arrival>> {
        let resolved = if record.group.settings.resolve_links {
            self.resolve_links(events).await?
        } else {
            events.drain(..).map(Resolved::plain).collect()
        };
        let arrivals = resolved.into_iter().filter_map(|Resolved { event, link }| {
            let original = link.as_ref().or(event.as_ref())?;
            let cursor = Cursor {
                place: record.place(original),
                revision: original.revision,
            };
            Some(Arrival {
                cursor,
                event,
                link,
            })
        });
        Ok(arrivals.collect())
    }

    /// An event of a stream; `None` when its readers do not see it.
    async fn visible_event(
        &self,
        stream: &StreamName,
        revision: Revision,
    ) -> Result<Option<RecordedEvent>> {
        let read = Read {
            from: ReadFrom::Stream(stream.clone(), Some(revision)),
            limit: Some(1),
            ..Read::all()
        };
        let mut read = std::pin::pin!(self.read(read));
        match read.try_next().await {
            Ok(batch) => {
                let first = batch.and_then(|batch| batch.events.into_iter().next());
                Ok(first.filter(|event| event.revision == revision))
            }
            Err(Error::StreamNotFound { .. } | Error::StreamDeleted { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// An event that was parked; `None` when it is not there any more.
    pub(super) async fn parked_event(
        &self,
        record: &GroupRecord,
        stream: &StreamName,
        revision: Revision,
    ) -> Result<Option<Arrival>> {
        let found = self.visible_event(stream, revision).await?;
        let mut found = found.into_iter().collect();
        Ok(self.arrivals(record, &mut found).await?.pop())
    }

    /// The next events of a stream behind a parked one.
    pub(super) async fn read_behind(
        &self,
        record: &GroupRecord,
        behind: &BacklogRead,
    ) -> Result<Behind> {
        if record.group.settings.resolve_links {
            self.look_behind(record, behind).await
        } else {
            self.read_lane(record, behind).await
        }
    }

    /// A lane is a stream, so it is read as one.
    async fn read_lane(&self, record: &GroupRecord, behind: &BacklogRead) -> Result<Behind> {
        let filter = Filter {
            stream: None,
            category: None,
            ..record.group.filter.clone()
        };
        let read = Read {
            from: ReadFrom::Stream(behind.stream.clone(), Some(behind.after.revision.next())),
            direction: Direction::Forwards,
            filter,
            limit: Some(BEHIND_AT_ONCE as u64),
            as_of: None,
        };
        let read = self.read_some(read, BEHIND_AT_ONCE).await?;
        let mut end = read.len() < BEHIND_AT_ONCE;
        let mut events = Vec::with_capacity(read.len());
        for event in read {
            let place = record.place(&event);
            if place > behind.up_to || event.is_tombstone() {
                end = true;
                break;
            }
            events.push(Arrival::new(place, event));
        }
        let reached = events.last().map_or(behind.after, |last| last.cursor);
        Ok(Behind {
            events,
            reached,
            end,
        })
    }

    /// A lane is what the links point at, so all of them are looked at.
    async fn look_behind(&self, record: &GroupRecord, behind: &BacklogRead) -> Result<Behind> {
        let next = behind.after.place.saturating_add(1);
        let group = &record.group;
        let from = match group.id.stream() {
            Some(stream) => ReadFrom::Stream(stream.clone(), Some(Revision::new(next))),
            None => ReadFrom::All(Some(Position::new(next))),
        };
        let read = Read {
            from,
            direction: Direction::Forwards,
            filter: group.filter.clone(),
            limit: Some(LOOKED_AT_ONCE as u64),
            as_of: None,
        };
        let mut read = VecDeque::from(self.read_some(read, LOOKED_AT_ONCE).await?);
        let mut end = read.len() < LOOKED_AT_ONCE;
        let is_beyond = |event: &RecordedEvent| {
            let ends_stream = event.is_tombstone() && group.id.stream().is_some();
            record.place(event) > behind.up_to || ends_stream
        };
        if let Some(beyond) = read.iter().position(is_beyond) {
            read.truncate(beyond);
            end = true;
        }
        let (mut events, mut reached) = (Vec::new(), behind.after);
        while events.len() < BEHIND_AT_ONCE && !read.is_empty() {
            for arrival in self.arrivals(record, &mut read).await? {
                reached = arrival.cursor;
                if arrival.lane() == behind.stream {
                    events.push(arrival);
                }
            }
        }
        Ok(Behind {
            events,
            reached,
            end: end && read.is_empty(),
        })
    }

    /// Reads at most so many events; of a stream that is not there, none.
    async fn read_some(&self, read: Read, events_max: usize) -> Result<Vec<RecordedEvent>> {
        let mut batches = std::pin::pin!(self.read(read));
        let mut events = Vec::new();
        loop {
            match batches.try_next().await {
                Ok(Some(batch)) => events.extend(batch.events),
                Ok(None) | Err(Error::StreamNotFound { .. } | Error::StreamDeleted { .. }) => break,
                Err(error) => return Err(error),
            }
            if events.len() >= events_max {
                break;
            }
        }
        Ok(events)
    }
}
