//! Reads to the end, page by page, and checks on the way what holds for every page.

use crate::{IndexTerm, Storage, correlation_id};
use icecore_core::{
    Direction, Page, PageLimit, Position, RecordedEvent, Result, Revision, StreamName,
};
use std::collections::HashSet;
use std::fmt;

/// What a read looks at. The numbers of a read are positions, in a stream revisions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Scope {
    All,
    Stream(StreamName),
    Term(IndexTerm),
}

/// A page with its numbers bare, so that one walk serves all three reads.
struct Numbers {
    events: Vec<RecordedEvent>,
    next: u64,
    end: bool,
}

/// Where and how a read begins; says so when a check fails.
#[derive(Clone, Copy)]
struct Call<'a> {
    scope: &'a Scope,
    from: u64,
    direction: Direction,
    limit: PageLimit,
}

impl Scope {
    /// Whether an event is found in this scope.
    pub(super) fn holds(&self, event: &RecordedEvent) -> bool {
        match self {
            Self::All => true,
            Self::Stream(stream) => event.stream == *stream,
            Self::Term(term) => term.holds(event),
        }
    }

    /// Every scope in which an event is found, each once, but for that of all events.
    pub(super) fn of(event: &RecordedEvent) -> HashSet<Self> {
        let first = Self::Term(IndexTerm::FirstEvent);
        let category = event.stream.category().map(IndexTerm::Category);
        let tags = event.tags.iter().cloned().map(IndexTerm::Tag);
        let mut scopes = HashSet::from([
            Self::Stream(event.stream.clone()),
            Self::Term(IndexTerm::EventType(event.event_type.clone())),
        ]);
        scopes.extend(category.into_iter().chain(tags).map(Self::Term));
        scopes.extend(first.holds(event).then_some(first));
        let correlation = correlation_id(&event.metadata).map(IndexTerm::Correlation);
        scopes.extend(correlation.map(Self::Term));
        scopes
    }

    fn number(&self, event: &RecordedEvent) -> u64 {
        match self {
            Self::Stream(_) => event.revision.get(),
            Self::All | Self::Term(_) => event.position.get(),
        }
    }
}

/// Checks that each way to read a scope gives these events, which are the scope's, in order: both
/// directions, several limits, several places to begin.
pub(super) async fn check_reads(storage: &dyn Storage, scope: &Scope, expected: &[RecordedEvent]) {
    // One event a page where that is affordable.
    let small = PageLimit::events(1 + expected.len() / 64);
    let some_bytes = PageLimit {
        bytes: 5_000,
        ..PageLimit::MAX
    };
    for limit in [small, PageLimit::events(7), some_bytes] {
        check_walk(storage, scope, 0, Direction::Forwards, limit, expected).await;
        check_walk(
            storage,
            scope,
            u64::MAX,
            Direction::Backwards,
            limit,
            expected,
        )
        .await;
    }
    for from in places(scope, expected) {
        for direction in [Direction::Forwards, Direction::Backwards] {
            check_walk(storage, scope, from, direction, PageLimit::MAX, expected).await;
        }
    }
}

/// Checks that the reads of a scope give those of `written` that belong to it.
pub(super) async fn check_scope(storage: &dyn Storage, scope: &Scope, written: &[RecordedEvent]) {
    let expected = written.iter().filter(|event| scope.holds(event)).cloned();
    check_reads(storage, scope, &expected.collect::<Vec<_>>()).await;
}

/// Checks that a walk from `from` gives what lies there of these events, which are all of the scope.
pub(super) async fn check_walk(
    storage: &dyn Storage,
    scope: &Scope,
    from: u64,
    direction: Direction,
    limit: PageLimit,
    all: &[RecordedEvent],
) {
    let found = walk(storage, scope, from, direction, limit).await;
    let expected: Vec<_> = match direction {
        Direction::Forwards => {
            let rest = all.iter().filter(|event| scope.number(event) >= from);
            rest.collect()
        }
        Direction::Backwards => {
            let rest = all.iter().rev().filter(|event| scope.number(event) <= from);
            rest.collect()
        }
    };
    let call = Call {
        scope,
        from,
        direction,
        limit,
    };
    for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert!(
            found == *expected,
            "{call}: event {index} is {}, expected {}",
            brief(found),
            brief(expected)
        );
    }
    assert_eq!(found.len(), expected.len(), "{call}: number of events");
}

/// Everything from `from` on, in pages; each page is checked.
pub(super) async fn walk(
    storage: &dyn Storage,
    scope: &Scope,
    from: u64,
    direction: Direction,
    limit: PageLimit,
) -> Vec<RecordedEvent> {
    let mut call = Call {
        scope,
        from,
        direction,
        limit,
    };
    let mut events = Vec::new();
    loop {
        let page = call.page(storage).await;
        call.check_page(&page);
        events.extend(page.events);
        if page.end {
            call.check_end(storage, page.next).await;
            return events;
        }
        call.from = page.next;
    }
}

/// Everything of a scope, in pages of a hundred events, as it is while others write: nothing is
/// checked, and later pages may know more than earlier ones.
pub(super) async fn read_unchecked(storage: &dyn Storage, scope: &Scope) -> Vec<RecordedEvent> {
    let mut call = Call {
        scope,
        from: 0,
        direction: Direction::Forwards,
        limit: PageLimit::events(100),
    };
    let mut events = Vec::new();
    loop {
        let page = call.page(storage).await;
        events.extend(page.events);
        if page.end {
            return events;
        }
        call.from = page.next;
    }
}

impl Call<'_> {
    async fn page(&self, storage: &dyn Storage) -> Numbers {
        let Self {
            from,
            direction,
            limit,
            ..
        } = *self;
        let at = Position::new(from);
        match self.scope {
            Scope::All => self.positions(storage.read_all(at, direction, limit).await),
            Scope::Term(term) => {
                self.positions(storage.read_term(term, at, direction, limit).await)
            }
            Scope::Stream(stream) => {
                let at = Revision::new(from);
                let page = storage.read_stream(stream, at, direction, limit).await;
                let page = page.unwrap_or_else(|error| panic!("{self}: {error}"));
                Numbers {
                    events: page.events,
                    next: page.next.get(),
                    end: page.end,
                }
            }
        }
    }

    fn positions(&self, page: Result<Page>) -> Numbers {
        let page = page.unwrap_or_else(|error| panic!("{self}: {error}"));
        Numbers {
            events: page.events,
            next: page.next.get(),
            end: page.end,
        }
    }

    /// What holds for every page, wherever it lies.
    fn check_page(&self, page: &Numbers) {
        let Self { scope, limit, .. } = self;
        let bytes: usize = page.events.iter().map(RecordedEvent::size).sum();
        let count = page.events.len();
        assert!(count <= limit.events, "{self}: {count} events in a page");
        assert!(
            count <= 1 || bytes <= limit.bytes,
            "{self}: {bytes} bytes in a page of {count} events"
        );
        assert!(
            count > 0 || page.end,
            "{self}: a page is empty and does not say that it is the end"
        );
        let mut bound = None;
        for event in &page.events {
            let number = scope.number(event);
            let in_order = match (self.direction, bound) {
                (Direction::Forwards, None) => number >= self.from,
                (Direction::Forwards, Some(last)) => number > last,
                (Direction::Backwards, None) => number <= self.from,
                (Direction::Backwards, Some(last)) => number < last,
            };
            assert!(in_order, "{self}: {} is out of order", brief(event));
            bound = Some(number);
        }
        if let Some(last) = bound.filter(|_| !page.end) {
            let beyond = match self.direction {
                Direction::Forwards => page.next > last,
                Direction::Backwards => page.next < last,
            };
            assert!(
                beyond,
                "{self}: the page ends with {last} and says that the next begins with {}",
                page.next
            );
        }
    }

    /// At the end, `next` is where the next event will stand, and there is nothing there yet.
    async fn check_end(mut self, storage: &dyn Storage, next: u64) {
        match (self.direction, self.scope) {
            (Direction::Forwards, Scope::Stream(stream)) => {
                let tails = storage.stream_tails(std::slice::from_ref(stream)).await;
                let tail = tails.unwrap_or_else(|error| panic!("{self}: {error}"))[0];
                let expected = tail.map_or(Revision::FIRST, |tail| tail.last_revision.next());
                // Behind a tombstone no event will ever stand.
                let closed = expected > Revision::TOMBSTONE && next > Revision::TOMBSTONE.get();
                assert!(
                    closed || next == expected.get(),
                    "{self}: at the end `next` is {next}, expected {expected}"
                );
            }
            (Direction::Forwards, Scope::All | Scope::Term(_)) => {
                let expected = storage.last_position().borrow().next();
                assert_eq!(next, expected.get(), "{self}: `next` at the end");
            }
            // No revision stands before the first, so `next` cannot say that there is no more.
            (Direction::Backwards, Scope::Stream(_)) => return,
            (Direction::Backwards, Scope::All | Scope::Term(_)) => {}
        }
        self.from = next;
        let page = self.page(storage).await;
        assert!(
            page.events.is_empty(),
            "{self}: there is more after the end"
        );
        assert!(page.end, "{self}: what lies beyond the end has no end");
    }
}

/// Numbers at which a read of these events may go wrong.
fn places(scope: &Scope, events: &[RecordedEvent]) -> Vec<u64> {
    let mut places = vec![0, 1, Revision::TOMBSTONE.get(), u64::MAX];
    let last = events.len().saturating_sub(1);
    for event in [0, last / 2, last]
        .into_iter()
        .filter_map(|n| events.get(n))
    {
        let number = scope.number(event);
        places.extend([number.saturating_sub(1), number, number.saturating_add(1)]);
    }
    places.sort_unstable();
    places.dedup();
    places
}

/// An event for a message of a failed check, with the beginning of its contents only.
pub(super) fn brief(event: &RecordedEvent) -> String {
    let short = RecordedEvent {
        data: event.data.slice(..event.data.len().min(32)),
        metadata: event.metadata.slice(..event.metadata.len().min(32)),
        ..event.clone()
    };
    let (data, metadata) = (event.data.len(), event.metadata.len());
    format!("{short:?} ({data} bytes of data, {metadata} of metadata)")
}

impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scope,
            from,
            direction,
            limit,
        } = self;
        write!(f, "{scope:?} {direction:?} from {from}, {limit:?}")
    }
}
