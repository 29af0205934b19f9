//! The in-memory engine: the simplest thing that keeps the contract. Tests run on it, and other
//! engines are compared with it. It forgets everything when it is dropped.

use crate::correlation_id;
use crate::{
    CategoryPage, Committed, Health, IndexCheck, IndexTerm, Lease, LogPage, NumberedAppend,
    ROOTS_PER_GROUP, Removal, RemovalKind, Removed, Stats, Storage, StreamNamePage, StreamTail,
};
use async_trait::async_trait;
use icecore_core::{
    Category, Direction, EntryContent, Error, Hash, LogEntry, Mark, Page, PageLimit, Position,
    RecordedEvent, Result, Revision, Salt, StoreId, StreamName,
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
    /// Position `p` is at index `p - 1`.
    entries: Vec<LogEntry>,
    /// Positions of the events of each stream, in the order of their revisions.
    streams: BTreeMap<StreamName, Vec<Position>>,
    /// Positions of the events that carry each term, ascending.
    terms: HashMap<IndexTerm, Vec<Position>>,
    categories: BTreeSet<Category>,
    /// Streams that have had an event.
    streams_begun: BTreeSet<StreamName>,
    /// Groups of subtree roots.
    roots: BTreeMap<u64, Vec<Hash>>,
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
        for append in &appends {
            let count = append.events.len();
            for (nth, event) in (1..).zip(&*append.events) {
                state.add(whole(
                    event.clone(),
                    if nth == count { Mark::End } else { Mark::Inner },
                ));
            }
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
        let count = state.entries.len();
        let index = |position: Position| usize::try_from(position.get()).unwrap_or(usize::MAX);
        let mut all = state.entries.iter().filter_map(LogEntry::event);
        let (events, edge) = match direction {
            Direction::Forwards => {
                let first = index(from).saturating_sub(1).min(count);
                let rest = state.entries[first..].iter().filter_map(LogEntry::event);
                (take(rest, limit), all.next_back())
            }
            Direction::Backwards => {
                let rest = state.entries[..index(from).min(count)].iter().rev();
                (take(rest.filter_map(LogEntry::event), limit), all.next())
            }
        };
        let edge = edge.map(|event| event.position);
        let last_position = state.last_position();
        let is_last = |last| Some(last) == edge;
        Ok(position_page(events, direction, last_position, is_last))
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

    async fn read_log(&self, from: Position, limit: PageLimit) -> Result<LogPage> {
        let state = self.state();
        let first = usize::try_from(from.get().max(1) - 1).unwrap_or(usize::MAX);
        let rest = state.entries.get(first..).unwrap_or_default();
        let size = |entry: &LogEntry| entry.event().map_or(0, RecordedEvent::size);
        let mut bytes = 0;
        let fits = |entry: &&LogEntry| {
            let first = bytes == 0;
            bytes += size(entry);
            first || bytes <= limit.bytes
        };
        let entries: Vec<_> = rest
            .iter()
            .take(limit.events.max(1))
            .take_while(fits)
            .cloned()
            .collect();
        Ok(LogPage {
            next: entries.last().map_or(from, |entry| entry.position.next()),
            end: entries.len() == rest.len(),
            entries,
            damage: None,
        })
    }

    async fn check_index(&self, _: Position) -> Result<IndexCheck> {
        let next = self.state().last_position().next();
        Ok(IndexCheck {
            damage: Vec::new(),
            next,
            end: true,
        })
    }

    async fn remove(&self, lease: &Lease, removals: Vec<Removal>) -> Result<Removed> {
        let mut state = self.state();
        state.check_lease(lease)?;
        let mut removed = Removed::default();
        for removal in removals {
            if let Some(bytes) = state.remove(removal) {
                removed.positions += 1;
                removed.bytes += bytes;
            }
        }
        Ok(removed)
    }

    async fn compact(&self, lease: &Lease, _: Position, _: Position) -> Result<()> {
        // The indexes have followed already.
        self.state().check_lease(lease)
    }

    async fn restore(&self, lease: &Lease, after: Position, entries: Vec<LogEntry>) -> Committed {
        let mut state = self.state();
        if state.closed || lease.epoch != state.epoch {
            return Committed::Fenced;
        }
        if after != state.last_position() {
            return Committed::Unknown(Error::internal("a log is restored in order"));
        }
        for entry in entries {
            state.add(entry);
        }
        self.last_position.send_replace(state.last_position());
        Committed::Done
    }

    async fn subtree_roots(&self, from: u64) -> Result<Vec<Hash>> {
        let group = from / ROOTS_PER_GROUP as u64;
        let skip = usize::try_from(from % ROOTS_PER_GROUP as u64).unwrap_or(0);
        let roots = self.state().roots.get(&group).cloned().unwrap_or_default();
        Ok(roots.into_iter().skip(skip).collect())
    }

    async fn keep_roots(&self, lease: &Lease, group: u64, roots: Vec<Hash>) -> Result<()> {
        let mut state = self.state();
        state.check_lease(lease)?;
        state.roots.insert(group, roots);
        Ok(())
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
            streams: state.streams_begun.len() as u64,
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
        Position::new(self.entries.len() as u64)
    }

    fn check_lease(&self, lease: &Lease) -> Result<()> {
        if self.closed || lease.epoch != self.epoch {
            return Err(Error::unavailable(
                "another writer leads, or the store is closed",
            ));
        }
        Ok(())
    }

    /// The event at a position that an index of this store gave.
    fn event(&self, position: Position) -> &RecordedEvent {
        let index = usize::try_from(position.get() - 1).expect("positions count events in memory");
        self.entries[index]
            .event()
            .expect("indexes forget what is removed")
    }

    fn add(&mut self, entry: LogEntry) {
        let position = entry.position;
        assert_eq!(position, self.last_position().next(), "positions are dense");
        if let Some(event) = entry.event() {
            for term in terms_of(event) {
                self.terms.entry(term).or_default().push(position);
            }
            self.categories.extend(event.stream.category());
            self.streams_begun.insert(event.stream.clone());
            self.streams
                .entry(event.stream.clone())
                .or_default()
                .push(position);
        }
        self.entries.push(entry);
    }

    /// Returns the bytes that went, if any did.
    fn remove(&mut self, removal: Removal) -> Option<u64> {
        let Removal { position, kind } = removal;
        let index = usize::try_from(position.get().checked_sub(1)?).ok()?;
        let entry = self.entries.get(index)?;
        let event = entry.event()?.clone();
        let content = match kind {
            RemovalKind::Payload if event.erased => return None,
            RemovalKind::Payload => entry.content.clone().into_erased(),
            RemovalKind::Event => EntryContent::Removed {
                leaf: entry.leaf_hash(),
            },
        };
        for term in terms_of(&event) {
            let goes = kind == RemovalKind::Event || term.goes_with_payload();
            if let Some(positions) = self.terms.get_mut(&term).filter(|_| goes) {
                positions.retain(|at| *at != position);
            }
        }
        if kind == RemovalKind::Event
            && let Some(positions) = self.streams.get_mut(&event.stream)
        {
            positions.retain(|at| *at != position);
            if positions.is_empty() {
                self.streams.remove(&event.stream);
            }
        }
        self.entries[index].content = content;
        Some(event.size() as u64)
    }
}

/// An entry of the log as it is when it is new. What is in memory can be read by whoever could guess
/// its salt, so any salt will do.
fn whole(event: RecordedEvent, mark: Mark) -> LogEntry {
    let salt = Salt::derive(Salt([0; 16]), event.position);
    LogEntry {
        position: event.position,
        mark,
        content: EntryContent::Whole { event, salt },
    }
}

fn terms_of(event: &RecordedEvent) -> impl Iterator<Item = IndexTerm> {
    let tags: BTreeSet<_> = event.tags.iter().cloned().collect();
    let first = event.revision == Revision::FIRST;
    std::iter::once(IndexTerm::EventType(event.event_type.clone()))
        .chain(event.stream.category().map(IndexTerm::Category))
        .chain(tags.into_iter().map(IndexTerm::Tag))
        .chain(first.then_some(IndexTerm::FirstEvent))
        .chain(correlation_id(&event.metadata).map(IndexTerm::Correlation))
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
