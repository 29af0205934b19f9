//! The in-memory engine: the simplest thing that keeps the contract. Tests run on it, and other
//! engines are compared with it. It forgets everything when it is dropped.

use crate::{
    CategoryPage, Committed, Health, IndexTerm, Lease, NumberedAppend, Stats, Storage,
    StreamNamePage, StreamTail,
};
use async_trait::async_trait;
use icecore_core::{
    Category, Direction, Error, Page, PageLimit, Position, RecordedEvent, Result, Revision,
    StoreId, StreamName,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Keeps all events in memory.
#[derive(Debug)]
pub struct MemoryStorage {
    store_id: StoreId,
    state: Mutex<State>,
    last_position: watch::Sender<Position>,
}

#[derive(Debug, Default)]
struct State {
    epoch: u64,
    closed: bool,
    /// The event at position `p` is at index `p - 1`.
    events: Vec<RecordedEvent>,
    /// Positions of the events of each stream, in the order of their revisions.
    streams: BTreeMap<StreamName, Vec<Position>>,
    /// Positions of the events that carry each term, ascending.
    terms: HashMap<IndexTerm, Vec<Position>>,
    categories: BTreeSet<Category>,
}

impl MemoryStorage {
    /// An empty store with this identity.
    pub fn new(store_id: StoreId) -> Self {
        Self {
            store_id,
            state: Mutex::default(),
            last_position: watch::Sender::new(Position::START),
        }
    }

    /// The state is only ever changed by whole appends, so it is sound after a panic too.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    fn store_id(&self) -> StoreId {
        self.store_id
    }

    async fn lead(&self) -> Result<Lease> {
        let mut state = self.state();
        if state.closed {
            return Err(Error::unavailable("the store is closed"));
        }
        state.epoch += 1;
        Ok(Lease { epoch: state.epoch })
    }

    async fn commit(
        &self,
        lease: &Lease,
        after: Position,
        appends: Vec<NumberedAppend>,
    ) -> Committed {
        let mut state = self.state();
        if state.closed || lease.epoch != state.epoch {
            return Committed::Fenced;
        }
        if after != state.last_position() {
            return Committed::Unknown(Error::internal(format!(
                "commit after position {after}, but the store ends at {}",
                state.last_position()
            )));
        }
        for event in appends.iter().flat_map(|append| append.events.iter()) {
            state.add(event.clone());
        }
        // Under the lock, so that nothing is shown before it is announced.
        self.last_position.send_replace(state.last_position());
        Committed::Done
    }

    async fn read_all(
        &self,
        from: Position,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<Page> {
        let state = self.state();
        let count = state.events.len();
        let index = |position: Position| usize::try_from(position.get()).unwrap_or(usize::MAX);
        let events = match direction {
            Direction::Forwards => {
                let first = index(from).saturating_sub(1).min(count);
                take(state.events[first..].iter(), limit)
            }
            Direction::Backwards => {
                take(state.events[..index(from).min(count)].iter().rev(), limit)
            }
        };
        Ok(position_page(
            events,
            direction,
            state.last_position(),
            |first| match direction {
                Direction::Forwards => first == state.last_position(),
                Direction::Backwards => first == Position::FIRST,
            },
        ))
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Revision,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<Page<Revision>> {
        let state = self.state();
        let positions = state.streams.get(stream).map_or(&[][..], Vec::as_slice);
        let found = |position: &Position| state.event(*position);
        let in_order = positions.iter().map(found);
        let (events, total) = match direction {
            Direction::Forwards => {
                let rest = in_order.filter(|event| event.revision >= from);
                (take(rest.clone(), limit), rest.count())
            }
            Direction::Backwards => {
                let rest = in_order.rev().filter(|event| event.revision <= from);
                (take(rest.clone(), limit), rest.count())
            }
        };
        let end = events.len() == total;
        let last = events.last().map(|event| event.revision);
        let next = match (direction, last) {
            (Direction::Forwards, Some(last)) => last.next(),
            (Direction::Forwards, None) => from.min(
                positions
                    .last()
                    .map_or(Revision::FIRST, |last| state.event(*last).revision.next()),
            ),
            (Direction::Backwards, Some(last)) => last.previous().unwrap_or(Revision::FIRST),
            (Direction::Backwards, None) => Revision::FIRST,
        };
        Ok(Page { events, next, end })
    }

    async fn read_term(
        &self,
        term: &IndexTerm,
        from: Position,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<Page> {
        let state = self.state();
        let positions = state.terms.get(term).map_or(&[][..], Vec::as_slice);
        let found = |position: &Position| state.event(*position);
        let (events, edge) = match direction {
            Direction::Forwards => {
                let first = positions.partition_point(|position| *position < from);
                (
                    take(positions[first..].iter().map(found), limit),
                    positions.last(),
                )
            }
            Direction::Backwards => {
                let end = positions.partition_point(|position| *position <= from);
                (
                    take(positions[..end].iter().rev().map(found), limit),
                    positions.first(),
                )
            }
        };
        let edge = edge.copied();
        Ok(position_page(
            events,
            direction,
            state.last_position(),
            |last| Some(last) == edge,
        ))
    }

    async fn stream_tails(&self, streams: &[StreamName]) -> Result<Vec<Option<StreamTail>>> {
        let state = self.state();
        let tail = |stream: &StreamName| {
            let last_position = *state.streams.get(stream)?.last()?;
            let last_revision = state.event(last_position).revision;
            Some(StreamTail {
                last_revision,
                last_position,
            })
        };
        Ok(streams.iter().map(tail).collect())
    }

    async fn stream_names(
        &self,
        prefix: &str,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<StreamNamePage> {
        let state = self.state();
        let mut names = state
            .streams
            .keys()
            .filter(|name| name.as_str().starts_with(prefix))
            .filter(|name| after.is_none_or(|after| *name > after))
            .cloned();
        let page = names.by_ref().take(limit).collect();
        Ok(StreamNamePage {
            names: page,
            end: names.next().is_none(),
        })
    }

    async fn categories(&self, after: Option<&Category>, limit: usize) -> Result<CategoryPage> {
        let state = self.state();
        let mut categories = state
            .categories
            .iter()
            .filter(|category| after.is_none_or(|after| *category > after))
            .cloned();
        let page = categories.by_ref().take(limit).collect();
        Ok(CategoryPage {
            categories: page,
            end: categories.next().is_none(),
        })
    }

    fn last_position(&self) -> watch::Receiver<Position> {
        self.last_position.subscribe()
    }

    fn health(&self) -> Health {
        if self.state().closed {
            return Health::Failed("the store is closed".to_owned());
        }
        Health::Healthy
    }

    async fn stats(&self) -> Result<Stats> {
        let state = self.state();
        Ok(Stats {
            last_position: state.last_position(),
            streams: state.streams.len() as u64,
            disk_bytes: 0,
            details: Vec::new(),
        })
    }

    async fn close(&self) -> Result<()> {
        self.state().closed = true;
        Ok(())
    }
}

impl State {
    fn last_position(&self) -> Position {
        Position::new(self.events.len() as u64)
    }

    /// The event at a position that an index of this store gave.
    fn event(&self, position: Position) -> &RecordedEvent {
        let index = usize::try_from(position.get() - 1).expect("positions count events in memory");
        &self.events[index]
    }

    fn add(&mut self, event: RecordedEvent) {
        let position = event.position;
        assert_eq!(position, self.last_position().next(), "positions are dense");
        for term in terms_of(&event) {
            self.terms.entry(term).or_default().push(position);
        }
        self.categories.extend(event.stream.category());
        self.streams
            .entry(event.stream.clone())
            .or_default()
            .push(position);
        self.events.push(event);
    }
}

fn terms_of(event: &RecordedEvent) -> impl Iterator<Item = IndexTerm> {
    let tags: BTreeSet<_> = event.tags.iter().cloned().collect();
    let first = event.revision == Revision::FIRST;
    std::iter::once(IndexTerm::EventType(event.event_type.clone()))
        .chain(event.stream.category().map(IndexTerm::Category))
        .chain(tags.into_iter().map(IndexTerm::Tag))
        .chain(first.then_some(IndexTerm::FirstEvent))
}

/// As many events as the limit allows, at least one if there is one.
fn take<'a>(
    events: impl Iterator<Item = &'a RecordedEvent>,
    limit: PageLimit,
) -> Vec<RecordedEvent> {
    let mut bytes = 0;
    let mut page = Vec::new();
    for event in events.take(limit.events) {
        bytes += event.size();
        if bytes > limit.bytes && !page.is_empty() {
            break;
        }
        page.push(event.clone());
    }
    page
}

/// Finishes a page that counts in positions; `is_last` says whether there is nothing beyond one.
fn position_page(
    events: Vec<RecordedEvent>,
    direction: Direction,
    last_position: Position,
    is_last: impl Fn(Position) -> bool,
) -> Page {
    let reached = events.last().map(|event| event.position);
    let end = reached.is_none_or(is_last);
    let next = match (direction, reached) {
        (Direction::Forwards, Some(reached)) if !end => reached.next(),
        (Direction::Forwards, _) => last_position.next(),
        (Direction::Backwards, Some(reached)) if !end => reached.previous(),
        (Direction::Backwards, _) => Position::START,
    };
    Page { events, next, end }
}
