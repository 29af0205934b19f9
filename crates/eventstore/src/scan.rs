//! Reads the events that match, page by page, from the log or from as many index terms as the filter
//! needs. Readers, subscriptions and conditions all stand on it.

use crate::matcher::Matcher;
use icecore_core::{Direction, PageLimit, Position, RecordedEvent, Result};
use icecore_storage::{IndexTerm, Storage};
use std::collections::VecDeque;
use std::sync::Arc;

/// A walk over the events of all streams that match, between two positions.
pub(crate) struct Scan {
    storage: Arc<dyn Storage>,
    matcher: Matcher,
    direction: Direction,
    /// The last position to look at, in the direction of the walk (inclusive).
    bound: Position,
    source: Source,
    /// Events that were looked at.
    pub(crate) considered: u64,
}

/// One step of a walk.
pub(crate) struct Step {
    /// What matched; may be empty before the end.
    pub(crate) events: Vec<RecordedEvent>,
    /// Everything up to here (inclusive) was looked at.
    pub(crate) reached: Position,
    /// There is no more up to the bound.
    pub(crate) end: bool,
}

enum Source {
    /// Every event, from here on.
    Log(Position),
    /// The events of some terms, merged.
    Terms(Vec<TermCursor>),
}

/// A place in the events of one term.
struct TermCursor {
    term: IndexTerm,
    read: VecDeque<RecordedEvent>,
    next: Position,
    end: bool,
}

impl Scan {
    /// Walks from `from` (inclusive) to `bound` (inclusive).
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        matcher: Matcher,
        direction: Direction,
        from: Position,
        bound: Position,
    ) -> Self {
        let cursor = |term| TermCursor {
            term,
            read: VecDeque::new(),
            next: from,
            end: false,
        };
        let source = match matcher.terms() {
            Some(terms) => Source::Terms(terms.into_iter().map(cursor).collect()),
            None => Source::Log(from),
        };
        Self {
            storage,
            matcher,
            direction,
            bound,
            source,
            considered: 0,
        }
    }

    /// The next page's worth of events.
    pub(crate) async fn step(&mut self, limit: PageLimit) -> Result<Step> {
        let (events, reached, end) = match &mut self.source {
            Source::Log(next) => {
                let page = self.storage.read_all(*next, self.direction, limit).await?;
                *next = page.next;
                let reached = page
                    .events
                    .last()
                    .map_or(self.bound, |event| event.position);
                (page.events, reached, page.end)
            }
            Source::Terms(cursors) => {
                merge(&*self.storage, cursors, self.direction, self.bound, limit).await?
            }
        };
        self.considered += events.len() as u64;
        let passed = is_past(self.direction, reached, self.bound);
        let mut matching = Vec::with_capacity(events.len());
        for event in events {
            let beyond =
                event.position != self.bound && is_past(self.direction, event.position, self.bound);
            if !beyond && self.matcher.matches(&event)? {
                matching.push(event);
            }
        }
        let end = end || passed;
        Ok(Step {
            events: matching,
            reached: if end { self.bound } else { reached },
            end,
        })
    }
}

/// Whether nothing up to the bound is left after `position`.
fn is_past(direction: Direction, position: Position, bound: Position) -> bool {
    match direction {
        Direction::Forwards => position >= bound,
        Direction::Backwards => position <= bound,
    }
}

/// The next events of all terms in the order of the walk, each once.
async fn merge(
    storage: &dyn Storage,
    cursors: &mut [TermCursor],
    direction: Direction,
    bound: Position,
    limit: PageLimit,
) -> Result<(Vec<RecordedEvent>, Position, bool)> {
    let mut events: Vec<RecordedEvent> = Vec::new();
    let mut bytes = 0;
    while events.len() < limit.events && bytes < limit.bytes {
        for cursor in cursors.iter_mut() {
            cursor.fill(storage, direction, limit).await?;
        }
        let heads = cursors.iter().filter_map(|cursor| cursor.read.front());
        let next = match direction {
            Direction::Forwards => heads.map(|event| event.position).min(),
            Direction::Backwards => heads.map(|event| event.position).max(),
        };
        let Some(next) = next.filter(|next| *next == bound || !is_past(direction, *next, bound))
        else {
            return Ok((events, bound, true));
        };
        let mut found = cursors.iter_mut().filter_map(|cursor| cursor.take(next));
        if let Some(event) = found.next() {
            bytes += event.size();
            events.push(event);
        }
        found.for_each(drop);
    }
    let reached = events.last().map_or(bound, |event| event.position);
    Ok((events, reached, false))
}

impl TermCursor {
    /// The next event, if it stands at this position.
    fn take(&mut self, position: Position) -> Option<RecordedEvent> {
        self.read
            .front()
            .filter(|event| event.position == position)?;
        self.read.pop_front()
    }

    /// Reads on, when everything read has been taken. Whatever the storage takes in while the walk
    /// lasts lies beyond its bound, so that the end stays the end.
    async fn fill(
        &mut self,
        storage: &dyn Storage,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<()> {
        while self.read.is_empty() && !self.end {
            let page = storage
                .read_term(&self.term, self.next, direction, limit)
                .await?;
            self.read = page.events.into();
            self.next = page.next;
            self.end = page.end;
        }
        Ok(())
    }
}
