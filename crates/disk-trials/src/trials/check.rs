//! Compares a store with what must be in it: each event once, in order, with equal content, and every
//! index in agreement with the log.

use super::history::{History, Promised, removals};
use icecore_core::{
    Category, Direction, Error, PageLimit, Position, RecordedEvent, Revision, StreamName,
};
use icecore_storage::{IndexTerm, NumberedAppend, RemovalKind, Storage};
use std::collections::{BTreeSet, HashMap};

/// Why a trial ends early.
#[derive(Debug)]
pub(crate) enum Finding {
    /// A promise is broken.
    Wrong(String),
    /// The store says itself what is damaged, or that it cannot go on.
    Named(String),
}

impl From<Error> for Finding {
    fn from(error: Error) -> Self {
        Self::Named(error.to_string())
    }
}

/// A way to read the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum View {
    All,
    Stream(StreamName),
    Term(IndexTerm),
}

/// Checks everything that the store holds; returns the position at which it ends.
pub(crate) async fn check(
    store: &dyn Storage,
    history: &mut History,
    promised: Promised,
) -> Result<u64, Finding> {
    let acknowledged = promised.acknowledged;
    let last = store.last_position().borrow().get();
    if last < acknowledged {
        return Err(Finding::Wrong(format!(
            "position {acknowledged} was acknowledged, and the store ends at {last} without a word"
        )));
    }
    let Some(appends) = history.up_to(last) else {
        return Err(Finding::Wrong(format!(
            "the store ends at {last}, within an append"
        )));
    };
    // What is named as damaged here must not hide what is wrong there.
    let mut named = None;
    let fates = Fates::new(appends, last, promised.removed);
    for (view, expected) in views(appends) {
        let expected: Vec<_> = expected
            .into_iter()
            .map(|event| fates.expected(&view, event))
            .collect();
        match check_view(store, &view, &expected).await {
            Err(Finding::Named(what)) => named = Some(what),
            other => other?,
        }
    }
    check_names(store, appends).await?;
    named = named.or(check_index(store).await?);
    named.map_or(Ok(last), |what| Err(Finding::Named(what)))
}

/// Everything that can be asked, with its answer.
fn views(appends: &[NumberedAppend]) -> HashMap<View, Vec<&RecordedEvent>> {
    let mut views: HashMap<_, Vec<_>> = HashMap::from([(View::All, Vec::new())]);
    for event in appends.iter().flat_map(|append| append.events.iter()) {
        let mut of_event = BTreeSet::new();
        let mut add = |view: View| {
            // A tag may be there twice.
            if of_event.insert(format!("{view:?}")) {
                views.entry(view).or_default().push(event);
            }
        };
        add(View::All);
        add(View::Stream(event.stream.clone()));
        add(View::Term(IndexTerm::EventType(event.event_type.clone())));
        if let Some(category) = event.stream.category() {
            add(View::Term(IndexTerm::Category(category)));
        }
        for tag in &event.tags {
            add(View::Term(IndexTerm::Tag(tag.clone())));
        }
        if event.revision == Revision::FIRST {
            add(View::Term(IndexTerm::FirstEvent));
        }
    }
    views
}

/// Which events are gone, and which may be: what was to be taken away when the process ended.
struct Fates {
    gone: HashMap<Position, RemovalKind>,
    going: HashMap<Position, RemovalKind>,
}

impl Fates {
    fn new(appends: &[NumberedAppend], last: u64, removed: u64) -> Self {
        let fates = |bound| {
            let removals = removals(appends, bound).into_iter();
            removals
                .map(|removal| (removal.position, removal.kind))
                .collect()
        };
        Self {
            gone: fates(removed),
            going: fates(last),
        }
    }

    fn expected<'e>(&self, view: &View, event: &'e RecordedEvent) -> Expected<'e> {
        let is_tag = matches!(view, View::Term(term) if term.goes_with_payload());
        let kind = |fates: &HashMap<Position, RemovalKind>| fates.get(&event.position).copied();
        // A tag goes with the payload.
        let leaves = |kind: RemovalKind| kind == RemovalKind::Event || is_tag;
        let gone = kind(&self.gone);
        Expected {
            event,
            may_be_whole: gone.is_none(),
            may_be_erased: !is_tag && kind(&self.going) == Some(RemovalKind::Payload),
            may_be_absent: gone.or(kind(&self.going)).is_some_and(leaves),
        }
    }
}

/// An event of a view, and what may have become of it.
#[derive(Clone, Copy)]
struct Expected<'e> {
    event: &'e RecordedEvent,
    may_be_whole: bool,
    may_be_erased: bool,
    may_be_absent: bool,
}

impl Expected<'_> {
    fn is(&self, found: &RecordedEvent) -> bool {
        let is_whole = self.may_be_whole && self.event == found;
        is_whole || (self.may_be_erased && self.event.clone().into_erased() == *found)
    }
}

async fn check_view(
    store: &dyn Storage,
    view: &View,
    expected: &[Expected<'_>],
) -> Result<(), Finding> {
    let wrong = |what: String| Err(Finding::Wrong(format!("{view:?}: {what}")));
    let mut expected = expected.iter().peekable();
    let mut from = 0;
    loop {
        let (events, next, end) = page(store, view, from).await?;
        for found in events {
            let is_passed = |expected: &&Expected<'_>| {
                expected.may_be_absent && expected.event.position < found.position
            };
            while expected.next_if(is_passed).is_some() {}
            match expected.next() {
                Some(known) if known.is(&found) => {}
                Some(known) if known.event.position == found.position => {
                    return wrong(format!("the event at {} is another one", found.position));
                }
                Some(known) => {
                    let (found, expected) = (found.position, known.event.position);
                    return wrong(format!("position {found} comes where {expected} should"));
                }
                None => return wrong(format!("position {} is too many", found.position)),
            }
        }
        if end {
            break;
        }
        from = next;
    }
    match expected.find(|expected| !expected.may_be_absent) {
        None => Ok(()),
        Some(known) => wrong(format!(
            "it ends before position {} without a word",
            known.event.position
        )),
    }
}

async fn page(
    store: &dyn Storage,
    view: &View,
    from: u64,
) -> Result<(Vec<RecordedEvent>, u64, bool), Finding> {
    let (direction, limit) = (Direction::Forwards, PageLimit::MAX);
    let page = match view {
        View::All => store.read_all(Position::new(from), direction, limit).await,
        View::Term(term) => {
            let from = Position::new(from);
            store.read_term(term, from, direction, limit).await
        }
        View::Stream(stream) => {
            let from = Revision::new(from);
            let page = store.read_stream(stream, from, direction, limit).await?;
            return Ok((page.events, page.next.get(), page.end));
        }
    };
    let page = page?;
    Ok((page.events, page.next.get(), page.end))
}

/// What the store itself finds wrong with its indexes; in what was read above it was not seen.
async fn check_index(store: &dyn Storage) -> Result<Option<String>, Finding> {
    let mut from = Position::START;
    loop {
        let found = store.check_index(from).await?;
        if let Some(damage) = found.damage.first() {
            return Ok(Some(format!("an index: {damage:?}")));
        }
        if found.end {
            return Ok(None);
        }
        from = found.next;
    }
}

/// Names, categories and tails.
async fn check_names(store: &dyn Storage, appends: &[NumberedAppend]) -> Result<(), Finding> {
    let mut tails = HashMap::new();
    for event in appends.iter().flat_map(|append| append.events.iter()) {
        tails.insert(event.stream.clone(), (event.revision, event.position));
    }
    let streams: BTreeSet<_> = tails.keys().cloned().collect();
    let found = store.stream_names("", None, usize::MAX).await?.names;
    if !found.iter().eq(&streams) {
        return Err(Finding::Wrong("the names of streams are others".into()));
    }
    let categories: BTreeSet<Category> = streams.iter().filter_map(StreamName::category).collect();
    let found = store.categories(None, usize::MAX).await?.categories;
    if !found.iter().eq(&categories) {
        return Err(Finding::Wrong("the categories are others".into()));
    }
    let streams: Vec<_> = streams.into_iter().collect();
    let found = store.stream_tails(&streams).await?;
    for (stream, tail) in streams.iter().zip(found) {
        let tail = tail.map(|tail| (tail.last_revision, tail.last_position));
        if tail.as_ref() != tails.get(stream) {
            return Err(Finding::Wrong(format!("`{stream}` ends elsewhere")));
        }
    }
    Ok(())
}
