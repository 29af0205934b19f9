//! Reads the events that match, page by page, from the log or from as many index terms as the filter
//! needs. Readers, subscriptions and conditions all stand on it.

use crate::matcher::Matcher;
use icecore_core::{Direction, PageLimit, Position, RecordedEvent, Result};
use icecore_storage::{IndexTerm, Storage};
use std::collections::VecDeque;
use std::sync::Arc;

/// Events that a step looks at, at most, so that it comes back with a place to go on from.
const CONSIDERED_MAX: usize = 4_096;

/// Events of a page at least, when most of them may not match.
const PAGE_EVENTS: usize = 64;

/// A walk over the events of all streams that match, between two positions.
pub(crate) struct Scan {
    storage: Arc<dyn Storage>,
    matcher: Matcher,
    direction: Direction,
    /// The last position to look at, in the direction of the walk (inclusive).
    bound: Position,
    /// The log, or the terms of which every matching event has one.
    cursors: Vec<Cursor>,
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

/// A place in the events of one source.
struct Cursor {
    source: Source,
    read: VecDeque<RecordedEvent>,
    next: Position,
    end: bool,
}

enum Source {
    Log,
    Term(IndexTerm),
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
        let sources = match matcher.terms() {
            Some(terms) => terms.into_iter().map(Source::Term).collect(),
            None => vec![Source::Log],
        };
        let cursor = |source| Cursor {
            source,
            read: VecDeque::new(),
            next: from,
            end: false,
        };
        Self {
            storage,
            matcher,
            direction,
            bound,
            cursors: sources.into_iter().map(cursor).collect(),
            considered: 0,
        }
    }

    /// The next events that match, as many as the limit allows, or a place to go on from.
    pub(crate) async fn step(&mut self, limit: PageLimit) -> Result<Step> {
        if !self.matcher.is_selective() && self.cursors.len() == 1 {
            return self.page(limit).await;
        }
        let (mut events, mut bytes, mut considered) = (Vec::new(), 0, 0);
        loop {
            let Some(event) = self.next_event(limit).await? else {
                return Ok(self.ended(events));
            };
            considered += 1;
            self.considered += 1;
            let reached = event.position;
            if self.matcher.matches(&event)? {
                bytes += event.size();
                events.push(event);
            }
            if reached == self.bound {
                return Ok(self.ended(events));
            }
            let is_full = events.len() >= limit.events || bytes >= limit.bytes;
            if is_full || considered == CONSIDERED_MAX {
                let end = false;
                return Ok(Step {
                    events,
                    reached,
                    end,
                });
            }
        }
    }

    /// A step where most events match and all stand in one source: its page as it is.
    async fn page(&mut self, limit: PageLimit) -> Result<Step> {
        let cursor = &mut self.cursors[0];
        cursor.fill(&*self.storage, self.direction, limit).await?;
        let mut events = Vec::from(std::mem::take(&mut cursor.read));
        let within = events.partition_point(|event| match self.direction {
            Direction::Forwards => event.position <= self.bound,
            Direction::Backwards => event.position >= self.bound,
        });
        events.truncate(within);
        self.considered += events.len() as u64;
        let Some(reached) = events.last().map(|event| event.position) else {
            return Ok(self.ended(events));
        };
        let mut outcome = Ok(());
        events.retain(|event| match self.matcher.matches(event) {
            Ok(matches) => matches,
            Err(error) => {
                outcome = Err(error);
                false
            }
        });
        outcome?;
        if reached == self.bound {
            return Ok(self.ended(events));
        }
        let end = false;
        Ok(Step {
            events,
            reached,
            end,
        })
    }

    fn ended(&self, events: Vec<RecordedEvent>) -> Step {
        Step {
            events,
            reached: self.bound,
            end: true,
        }
    }

    /// The next event of all cursors in the order of the walk; `None` when there is none up to the
    /// bound. Whatever the storage takes in while the walk lasts lies beyond that.
    async fn next_event(&mut self, limit: PageLimit) -> Result<Option<RecordedEvent>> {
        let page = if self.matcher.is_selective() {
            let events = limit.events.max(PAGE_EVENTS);
            PageLimit { events, ..limit }
        } else {
            limit
        };
        for cursor in &mut self.cursors {
            cursor.fill(&*self.storage, self.direction, page).await?;
        }
        let heads = self.cursors.iter().filter_map(|cursor| cursor.read.front());
        let next = match self.direction {
            Direction::Forwards => heads.map(|event| event.position).min(),
            Direction::Backwards => heads.map(|event| event.position).max(),
        };
        let Some(next) = next.filter(|next| self.reaches(*next)) else {
            return Ok(None);
        };
        // An event may have several of the terms.
        let mut taken = None;
        for cursor in &mut self.cursors {
            taken = cursor.take(next).or(taken);
        }
        Ok(taken)
    }

    /// Whether the walk goes as far as this position.
    fn reaches(&self, position: Position) -> bool {
        match self.direction {
            Direction::Forwards => position <= self.bound,
            Direction::Backwards => position >= self.bound,
        }
    }
}

impl Cursor {
    /// The next event, if it stands at this position.
    fn take(&mut self, position: Position) -> Option<RecordedEvent> {
        self.read
            .front()
            .filter(|event| event.position == position)?;
        self.read.pop_front()
    }

    /// Reads on, when everything read has been taken.
    async fn fill(
        &mut self,
        storage: &dyn Storage,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<()> {
        while self.read.is_empty() && !self.end {
            let page = match &self.source {
                Source::Log => storage.read_all(self.next, direction, limit).await?,
                Source::Term(term) => storage.read_term(term, self.next, direction, limit).await?,
            };
            self.read = page.events.into();
            self.next = page.next;
            self.end = page.end;
        }
        Ok(())
    }
}
