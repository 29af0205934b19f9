//! Reads: pages of all events, of a stream, of an index term. What is in memory is answered at once;
//! everything else by the same code on a blocking thread.

use crate::chunk::Chunk;
use crate::index::{Axis, Posting, Query, goes_with_payload, stream_key, term_key};
use crate::log::{Keep, corrupted};
use crate::store::Store;
use icecore_core::{
    Direction, Error, Page, PageLimit, Position, RecordedEvent, Result, Revision, StreamName,
};
use icecore_storage::{IndexTerm, StreamTail};
use std::sync::Arc;

/// Events that may be answered from memory on the caller's thread.
const INLINE_EVENTS_MAX: usize = 256;

/// Chunks that a brief read takes from the disk.
const BRIEF_CHUNKS_MAX: usize = 16;

/// Streams whose ends a brief read looks up.
const BRIEF_STREAMS_MAX: usize = 8;

/// Events that a page makes room for before it knows how many there are.
const RESERVED_EVENTS_MAX: usize = 1_024;

/// Where a read may look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Only what is in memory, and not too much of it.
    Memory,
    /// As [`Self::Memory`], and a few chunks and index blocks from the disk; it blocks for a moment.
    Brief,
    /// Everywhere; it blocks.
    Disk,
}

/// Why a read has no answer.
#[derive(Debug)]
pub(crate) enum Miss {
    /// It needs [`Access::Disk`].
    NotResident,
    Failed(Error),
}

impl From<Error> for Miss {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// See [`icecore_storage::Storage::read_all`].
pub(crate) fn all(
    store: &Store,
    access: Access,
    from: Position,
    direction: Direction,
    limit: PageLimit,
) -> Result<Page, Miss> {
    let last = store.log.last();
    let found = match direction {
        Direction::Forwards => {
            let positions = from.get().max(1)..=last;
            collect(store, access, Keep::Passing, positions, limit, |_| true)?
        }
        Direction::Backwards => {
            let positions = (1..=from.get().min(last)).rev();
            collect(store, access, Keep::Passing, positions, limit, |_| true)?
        }
    };
    Ok(position_page(found, direction, last))
}

/// See [`icecore_storage::Storage::read_term`].
pub(crate) fn term(
    store: &Store,
    access: Access,
    term: &IndexTerm,
    from: Position,
    direction: Direction,
    limit: PageLimit,
) -> Result<Page, Miss> {
    let last = store.log.last();
    let key = term_key(term);
    let query = Query {
        term: &key,
        axis: Axis::Position,
        from: from.get(),
        direction,
        take: limit.events.max(1).saturating_add(1),
        last,
    };
    let found = look_up(store, access, query, limit)?;
    Ok(position_page(found, direction, last))
}

/// See [`icecore_storage::Storage::read_stream`].
pub(crate) fn stream(
    store: &Store,
    access: Access,
    stream: &StreamName,
    from: Revision,
    direction: Direction,
    limit: PageLimit,
) -> Result<Page<Revision>, Miss> {
    let last = store.log.last();
    let key = stream_key(stream);
    let query = Query {
        term: &key,
        axis: Axis::Revision,
        from: from.get(),
        direction,
        take: limit.events.max(1).saturating_add(1),
        last,
    };
    let Collected { events, end } = look_up(store, access, query, limit)?;
    let next = match (direction, events.last()) {
        (Direction::Forwards, Some(reached)) => reached.revision.next(),
        (Direction::Forwards, None) => {
            let tail = last_posting(store, access, &key, last)?;
            let next = |posting: Posting| Revision::new(posting.revision).next();
            from.min(tail.map_or(Revision::FIRST, next))
        }
        (Direction::Backwards, Some(reached)) => {
            reached.revision.previous().unwrap_or(Revision::FIRST)
        }
        (Direction::Backwards, None) => Revision::FIRST,
    };
    Ok(Page { events, next, end })
}

/// The events of a term. An index may still name what was removed from the log, so it is asked again
/// until there is an event or the end.
fn look_up(
    store: &Store,
    access: Access,
    mut query: Query<'_>,
    limit: PageLimit,
) -> Result<Collected, Miss> {
    let goes = goes_with_payload(query.term);
    let wanted = |event: &RecordedEvent| !(goes && event.erased);
    loop {
        let found = find(store, access, &query)?;
        let positions = found.iter().map(|posting| posting.position);
        let collected = collect(store, access, Keep::Cached, positions, limit, wanted)?;
        if query.axis == Axis::Revision {
            check_revisions(&collected.events, &found)?;
        }
        let Some(more) = found.last().filter(|_| found.len() == query.take) else {
            return Ok(collected);
        };
        if !collected.events.is_empty() {
            let end = false;
            return Ok(Collected { end, ..collected });
        }
        let place = query.place(more);
        query.from = match query.direction {
            Direction::Forwards => place + 1,
            Direction::Backwards if place == 0 => return Ok(collected),
            Direction::Backwards => place - 1,
        };
    }
}

/// See [`icecore_storage::Storage::stream_tails`].
pub(crate) fn tails(
    store: &Store,
    access: Access,
    streams: &[StreamName],
) -> Result<Vec<Option<StreamTail>>, Miss> {
    let most = match access {
        Access::Memory => INLINE_EVENTS_MAX,
        Access::Brief => BRIEF_STREAMS_MAX,
        Access::Disk => usize::MAX,
    };
    if streams.len() > most {
        return Err(Miss::NotResident);
    }
    let last = store.log.last();
    let tail = |stream| {
        let posting = last_posting(store, access, &stream_key(stream), last)?;
        Ok(posting.map(|posting| StreamTail {
            last_revision: Revision::new(posting.revision),
            last_position: Position::new(posting.position),
        }))
    };
    streams.iter().map(tail).collect()
}

fn last_posting(
    store: &Store,
    access: Access,
    term: &[u8],
    last: u64,
) -> Result<Option<Posting>, Miss> {
    let direction = Direction::Backwards;
    let query = Query {
        term,
        axis: Axis::Position,
        from: last,
        direction,
        take: 1,
        last,
    };
    Ok(find(store, access, &query)?.pop())
}

fn find(store: &Store, access: Access, query: &Query<'_>) -> Result<Vec<Posting>, Miss> {
    let reader = (access != Access::Memory).then(|| store.run_reader());
    store.index.find(reader, query)
}

/// The index and the log must say the same of an event.
fn check_revisions(events: &[RecordedEvent], found: &[Posting]) -> Result<(), Miss> {
    let mut found = found.iter();
    for event in events {
        // What the index names and the log has not was removed.
        let posting = found.find(|posting| posting.position == event.position.get());
        if posting.is_none_or(|posting| posting.revision != event.revision.get()) {
            let named = posting.map_or(0, |posting| posting.revision);
            return Err(Miss::Failed(Error::corrupted(format!(
                "the index gives position {} revision {named}, the log {}",
                event.position, event.revision
            ))));
        }
    }
    Ok(())
}

/// Events that were found.
struct Collected {
    events: Vec<RecordedEvent>,
    /// All positions were looked at.
    end: bool,
}

/// As many of the events as the limit allows, at least one if there is one. A chunk is read once
/// for neighbouring positions.
fn collect(
    store: &Store,
    access: Access,
    keep: Keep,
    positions: impl Iterator<Item = u64>,
    limit: PageLimit,
    wanted: impl Fn(&RecordedEvent) -> bool,
) -> Result<Collected, Miss> {
    let fits = positions.size_hint().1.unwrap_or(usize::MAX);
    let mut events = Vec::with_capacity(fits.min(limit.events).min(RESERVED_EVENTS_MAX));
    let mut bytes = 0;
    let mut chunk: Option<Arc<Chunk>> = None;
    let mut end = true;
    let mut loaded = 0;
    for (looked_at, position) in positions.enumerate() {
        if events.len() >= limit.events.max(1) {
            end = false;
            break;
        }
        if access != Access::Disk && looked_at > INLINE_EVENTS_MAX {
            return Err(Miss::NotResident);
        }
        let held = chunk.take().filter(|chunk| chunk.contains(position));
        let current = if let Some(chunk) = held {
            chunk
        } else {
            loaded += 1;
            chunk_of(store, access, keep, position, loaded)?
        };
        let event = current
            .event(position)
            .map_err(|damage| corrupted(position, damage))?;
        chunk = Some(current);
        let Some(event) = event.filter(&wanted) else {
            continue;
        };
        bytes += event.size();
        if bytes > limit.bytes && !events.is_empty() {
            end = false;
            break;
        }
        events.push(event);
    }
    if let Some(chunk) = chunk.filter(|_| keep == Keep::Passing && access == Access::Disk) {
        // The next page begins where this one ends.
        store.log.remember(chunk);
    }
    Ok(Collected { events, end })
}

/// The chunk of a position, the `nth` of its read, from 1.
fn chunk_of(
    store: &Store,
    access: Access,
    keep: Keep,
    position: u64,
    nth: usize,
) -> Result<Arc<Chunk>, Miss> {
    let brief = access == Access::Brief && nth <= BRIEF_CHUNKS_MAX;
    if brief || access == Access::Disk {
        return Ok(store.log.load(&store.engine, position, keep)?);
    }
    store.log.resident(position).ok_or(Miss::NotResident)
}

/// Finishes a page that counts in positions.
fn position_page(found: Collected, direction: Direction, last: u64) -> Page {
    let Collected { events, end } = found;
    let next = match (direction, events.last()) {
        (Direction::Forwards, Some(reached)) if !end => reached.position.next(),
        (Direction::Forwards, _) => Position::new(last).next(),
        (Direction::Backwards, Some(reached)) if !end => reached.position.previous(),
        (Direction::Backwards, _) => Position::START,
    };
    Page { events, next, end }
}
