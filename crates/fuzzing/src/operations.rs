//! Sequences of operations on a store, one after the other, held to the model after each of them. Every
//! operation is a few bytes, so that a fuzzer can cut and splice them.

use futures::TryStreamExt;
use icecore_core::{
    AppendBuilder, Condition, DeleteKind, EventData, ExpectedRevision, Filter, Position, Query,
    Read, RecordedEvent, Result, Revision, StoreId, StreamName, Timestamp,
};
use icecore_eventstore::{Clock, EventStore, Ids, StoreConfig};
use icecore_model::{Decision, Model, Outcome, Request};
use icecore_storage::{MemoryStorage, Storage};
use std::sync::Arc;
use uuid::Uuid;

/// Operations of a sequence at most.
const OPERATIONS_MAX: usize = 64;

/// Streams that the operations are about.
const STREAMS: u8 = 3;

/// The first byte is the size of a cache, the others are operations on a store in memory.
pub(crate) fn operations(bytes: &[u8]) {
    let Some((states, bytes)) = bytes.split_first() else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let runtime = runtime.expect("a runtime can be had");
    runtime.block_on(run(*states, &mut Bytes(bytes)));
}

/// What is left of the input; zeros behind its end.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    fn stream(&mut self) -> StreamName {
        let number = self.next() % STREAMS;
        StreamName::new(format!("s-{number}")).expect("it is a valid name")
    }

    fn expected(&mut self) -> ExpectedRevision {
        match self.next() {
            0..64 => ExpectedRevision::Any,
            64..96 => ExpectedRevision::NoStream,
            96..112 => ExpectedRevision::StreamExists,
            112..128 => ExpectedRevision::SoftDeleted,
            revision => ExpectedRevision::Exact(Revision::new(u64::from(revision - 128))),
        }
    }

    /// Events with ids from a small set, so that some are there already.
    fn events(&mut self) -> Vec<EventData> {
        let (first, count) = (self.next(), 1 + self.next() % 3);
        let ids = (0..count).map(|n| u128::from(first.saturating_add(n)) + (1 << 100));
        let event = |id| EventData::json(Uuid::from_u128(id), "T", "{}");
        let mut events: Vec<_> = ids.filter_map(|id| event(id).ok()).collect();
        events.dedup_by_key(|event| event.id);
        events
    }
}

enum Operation {
    Write(Request),
    Reopen,
}

fn operation(bytes: &mut Bytes<'_>, end: u64) -> Option<Operation> {
    let request = match bytes.next() % 8 {
        0..4 => append(bytes, end)?,
        4 => Request::SetMetadata(bytes.stream(), bytes.expected(), metadata(bytes).into()),
        5 => Request::Truncate(bytes.stream(), Revision::new(bytes.next().into())),
        6 => {
            let kind = match bytes.next() {
                0..32 => DeleteKind::Tombstone,
                _ => DeleteKind::Soft,
            };
            Request::Delete(bytes.stream(), bytes.expected(), kind)
        }
        _ => return Some(Operation::Reopen),
    };
    Some(Operation::Write(request))
}

/// An append to one stream or two; `None` when it is not a valid one.
fn append(bytes: &mut Bytes<'_>, end: u64) -> Option<Request> {
    let mut append = AppendBuilder::default();
    let streams = 1 + bytes.next() % 2;
    for _ in 0..streams {
        let stream = append.stream(bytes.stream(), bytes.expected()).ok()?;
        for event in bytes.events() {
            append.event(stream, event, None).ok()?;
        }
    }
    if bytes.next() >= 192 {
        append.condition(Condition {
            query: Query::default(),
            after: Position::new(end.saturating_sub(u64::from(bytes.next() % 8))),
        });
    }
    append.build().ok().map(Request::Append)
}

fn metadata(bytes: &mut Bytes<'_>) -> String {
    let number = bytes.next();
    match number % 3 {
        0 => "{}".to_owned(),
        1 => format!(r#"{{"$maxCount":{}}}"#, 1 + number / 3),
        _ => format!(r#"{{"$tb":{}}}"#, number / 3),
    }
}

async fn run(states: u8, bytes: &mut Bytes<'_>) {
    let id = StoreId::new(Uuid::from_u128(7));
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new(id));
    let mut store = open(&storage, states, 0).await;
    let mut model = Model::new();
    for starts in 1..=OPERATIONS_MAX as u64 {
        if bytes.0.is_empty() {
            break;
        }
        match operation(bytes, model.end()) {
            Some(Operation::Write(request)) => check(&store, &mut model, request).await,
            Some(Operation::Reopen) => {
                store.stop().await.expect("the writer ends in order");
                store = open(&storage, states, starts).await;
            }
            None => {}
        }
    }
}

async fn open(storage: &Arc<dyn Storage>, states: u8, starts: u64) -> EventStore {
    let config = StoreConfig {
        stream_states: states.into(),
        ..StoreConfig::default()
    };
    let (clock, _) = Clock::manual(Timestamp::from_nanos(1_000));
    let ids = Ids::counting(starts << 32);
    let opened = EventStore::open(Arc::clone(storage), config, clock, ids).await;
    opened.expect("memory can be opened")
}

/// The store does with this request what the model does, and shows what the model shows.
async fn check(store: &EventStore, model: &mut Model, request: Request) {
    let decision = model.decide(&request);
    let outcome = Outcome::from(write(store, request.clone()).await);
    let mut all = Read::all();
    all.filter = Filter::everything();
    let log = read(store, all).await.expect("everything can be read");
    let (before, new) = log.split_at(model.log().len());
    assert_eq!(before, model.log(), "what was there stays");
    let is_right = match (&decision, &outcome) {
        (Decision::Writes(events, answer), Outcome::Appended(appended)) => {
            let is_it = events.len() == new.len();
            let is_it = is_it && events.iter().zip(new).all(|(event, new)| event.is(new));
            is_it && appended.last_position == answer.last_position
        }
        (Decision::Answers(answer), Outcome::Appended(appended)) => {
            new.is_empty() && appended.last_position == answer.last_position
        }
        (Decision::Refuses(violations, condition), Outcome::Refused(refusal)) => {
            let is_why = refusal.violations == *violations && refusal.condition == *condition;
            new.is_empty() && is_why
        }
        (Decision::Forbids, Outcome::Refused(_) | Outcome::Forbidden) => new.is_empty(),
        _ => false,
    };
    assert!(is_right, "{request:?}: {outcome:?} and not {decision:?}");
    for event in new {
        model.apply(event);
    }
    for number in 0..STREAMS {
        let stream = StreamName::new(format!("s-{number}")).expect("it is a valid name");
        let found = read(store, Read::stream(stream.clone())).await.ok();
        assert_eq!(found, visible(model, &stream), "{stream} after {request:?}");
    }
}

/// What readers see of a stream; `None` when it is not there.
fn visible(model: &Model, stream: &StreamName) -> Option<Vec<RecordedEvent>> {
    let is_there = matches!(
        model.state(stream),
        icecore_core::StreamState::Living { .. }
    );
    let first = model.first_visible(stream);
    let events = model.events(stream).filter(|event| event.revision >= first);
    is_there.then(|| events.cloned().collect())
}

async fn write(store: &EventStore, request: Request) -> Result<icecore_core::Appended> {
    match request {
        Request::Append(append) => store.append(append).await,
        Request::SetMetadata(stream, expected, json) => {
            store.set_metadata(&stream, expected, &json).await
        }
        Request::Truncate(stream, before) => store.truncate(&stream, before).await,
        Request::Delete(stream, expected, kind) => store.delete(&stream, expected, kind).await,
    }
}

async fn read(store: &EventStore, read: Read) -> Result<Vec<RecordedEvent>> {
    let batches = store.read(read);
    batches
        .try_fold(Vec::new(), |mut events, batch| async move {
            events.extend(batch.events);
            Ok(events)
        })
        .await
}
