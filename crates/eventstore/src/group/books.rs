//! What a group remembers, as events of two streams of its own: the checkpoint, and what is parked.
//! Folding the events gives [`Books`]; [`Entry`] gives the events of what is to be remembered more.
//! How they are read and written: `books/store.rs`.
//!
//! ```text
//! $persistentsubscription-KEY-checkpoint
//!   $SubscriptionCheckpoint   data "REVISION" or "C:POSITION/P:POSITION", as KurrentDB writes it;
//!                             metadata {"seen": PLACE, "unfinished": {PLACE: TRIES},
//!                             "history": {"store": ID, "position", "leaf": HEX}?}: with one that is not
//!                             this store's the group does not wake (`books/history.rs`)
//! $persistentsubscription-KEY-parked
//!   $>              REVISION@STREAM is parked; metadata as KurrentDB writes it:
//!                   {"added", "reason", "subscriptionEventNumber": PLACE, "waitingStream"?}
//!   $parkedReplay   {"parked": [REVISION of this stream]}: these go to consumers again
//!   $parkedDone     {"parked": [REVISION of this stream]}: these are over;
//!                   {"streams": {STREAM: {"place", "revision"} | null}}: so far is a stream that goes
//!                   on behind a parked event, null when it has caught up
//! ```

mod checkpoint;
mod history;
mod store;

pub(super) use history::History;
pub(super) use store::BooksAppend;

use super::arrival::{Cursor, link_target};
use super::machine::{Changes, Park, WaitingLane};
use super::progress::Checkpoint;
use crate::state::base;
use bytes::Bytes;
use icecore_core::{
    ContentType, EventData, EventType, GroupId, ParkedRange, RecordedEvent, Revision, StreamName,
    Timestamp, event_types,
};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashSet};
use uuid::Uuid;

const CHECKPOINT: &str = "$SubscriptionCheckpoint";
const PARKED_REPLAY: &str = "$parkedReplay";
const PARKED_DONE: &str = "$parkedDone";

/// Parked events that are over before the parked stream is truncated, unless none is left. Few in
/// tests, so that they come to it.
const TRUNCATED_AT_ONCE: u64 = if cfg!(test) { 2 } else { 256 };

/// What a group remembers.
#[derive(Clone, Debug)]
pub(super) struct Books {
    group: GroupId,
    /// The last event of the checkpoint stream.
    checkpoint_last: Option<Revision>,
    /// The last event of the parked stream.
    parked_last: Option<Revision>,
    /// What is parked, by its revision in the parked stream.
    parked: BTreeMap<u64, Parked>,
    /// Streams that go on behind a parked event.
    lanes: BTreeMap<StreamName, LaneMark>,
    truncated_before: u64,
    /// What the checkpoint says of the store that it belongs to.
    history: Option<History>,
}

/// An event that is parked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parked {
    pub(super) stream: StreamName,
    pub(super) cursor: Cursor,
    /// The stream that waits behind it.
    pub(super) waiting: Option<StreamName>,
    pub(super) replaying: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LaneMark {
    after: Cursor,
    /// The event of the parked stream that says so.
    recorded: u64,
}

/// What is to be remembered more.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    pub(super) checkpoint: Option<Checkpoint>,
    pub(super) changes: Changes,
    /// Parked events that are to be replayed, as revisions of the parked stream.
    pub(super) replays: Vec<u64>,
}

/// The events of an entry.
#[derive(Clone, Debug, Default)]
pub(super) struct EntryEvents {
    pub(super) checkpoint: Option<EventData>,
    pub(super) parked: Vec<EventData>,
    /// New metadata for the parked stream.
    pub(super) truncation: Option<u64>,
}

impl Books {
    /// Of a group that remembers nothing; its streams end here.
    pub(super) fn new(
        group: GroupId,
        checkpoint_last: Option<Revision>,
        parked_last: Option<Revision>,
    ) -> Self {
        Self {
            group,
            checkpoint_last,
            parked_last,
            parked: BTreeMap::new(),
            lanes: BTreeMap::new(),
            truncated_before: 0,
            history: None,
        }
    }

    /// To which history the checkpoint belongs, if it says so.
    pub(super) fn history(&self) -> Option<&History> {
        self.history.as_ref()
    }

    /// From now on checkpoints belong to this history.
    pub(super) fn set_history(&mut self, history: Option<History>) {
        self.history = history;
    }

    /// What is parked, by its revision in the parked stream.
    pub(super) fn parked(&self) -> &BTreeMap<u64, Parked> {
        &self.parked
    }

    /// Whether the books stand in this stream or its metadata.
    pub(super) fn owns(&self, stream: &StreamName) -> bool {
        let base = base(stream);
        base == self.group.checkpoint_stream() || base == self.group.parked_stream()
    }

    /// The streams that wait behind a parked event or go on behind one.
    pub(super) fn waiting(&self) -> impl Iterator<Item = WaitingLane> {
        let behind = self.parked.iter().filter_map(|(link, parked)| {
            Some(WaitingLane {
                stream: parked.waiting.clone()?,
                head: Some(*link),
                after: parked.cursor,
            })
        });
        let going_on = self.lanes.iter().map(|(stream, mark)| WaitingLane {
            stream: stream.clone(),
            head: None,
            after: mark.after,
        });
        behind.chain(going_on)
    }

    /// Takes in an event of the parked stream.
    pub(super) fn fold(&mut self, event: &RecordedEvent) {
        let RecordedEvent {
            event_type,
            data,
            metadata,
            ..
        } = event;
        self.fold_parts(event.revision, event_type, data, metadata);
    }

    fn fold_parts(&mut self, at: Revision, event_type: &EventType, data: &[u8], metadata: &[u8]) {
        match link_target(event_type, data) {
            Some(target) => {
                let metadata = serde_json::from_slice(metadata).unwrap_or(Value::Null);
                self.fold_link(at.get(), target, &metadata);
            }
            None => self.fold_mark(at.get(), event_type.as_str(), data),
        }
        self.parked_last = Some(at);
    }

    fn fold_link(&mut self, link: u64, target: (StreamName, Revision), metadata: &Value) {
        let (stream, revision) = target;
        let place = metadata["subscriptionEventNumber"].as_u64();
        let place = place.unwrap_or(revision.get());
        let waiting = metadata["waitingStream"].as_str();
        let waiting = waiting.and_then(|name| StreamName::derived(name.to_owned()).ok());
        if let Some(waiting) = &waiting {
            self.lanes.remove(waiting);
        }
        let parked = Parked {
            stream,
            cursor: Cursor { place, revision },
            waiting,
            replaying: false,
        };
        self.parked.insert(link, parked);
    }

    fn fold_mark(&mut self, at: u64, event_type: &str, data: &[u8]) {
        let data: Value = serde_json::from_slice(data).unwrap_or(Value::Null);
        let listed = data["parked"].as_array().into_iter().flatten();
        let listed = listed.filter_map(Value::as_u64);
        match event_type {
            PARKED_REPLAY => {
                for link in listed {
                    if let Some(parked) = self.parked.get_mut(&link) {
                        parked.replaying = true;
                    }
                }
            }
            PARKED_DONE => {
                for link in listed {
                    self.parked.remove(&link);
                }
                for (stream, cursor) in data["streams"].as_object().into_iter().flatten() {
                    self.fold_lane(at, stream, cursor);
                }
            }
            _ => {}
        }
    }

    fn fold_lane(&mut self, at: u64, stream: &str, cursor: &Value) {
        let Ok(stream) = StreamName::derived(stream.to_owned()) else {
            return;
        };
        let number = |key: &str| cursor[key].as_u64();
        let mark = number("place").zip(number("revision"));
        let mark = mark.map(|(place, revision)| LaneMark {
            after: Cursor {
                place,
                revision: Revision::new(revision),
            },
            recorded: at,
        });
        match mark {
            Some(mark) => drop(self.lanes.insert(stream, mark)),
            None => drop(self.lanes.remove(&stream)),
        }
    }

    /// The events that say what the entry says, with ids and the time from outside. `store.rs` writes
    /// them and brings them back to [`Self::written`].
    pub(super) fn events(
        &self,
        entry: &Entry,
        now: Timestamp,
        mut next_id: impl FnMut() -> Uuid,
    ) -> EntryEvents {
        let Changes {
            parks,
            resolved,
            lanes,
        } = &entry.changes;
        let replaced = parks.iter().filter_map(|park| park.replaces);
        let over: HashSet<_> = resolved.iter().copied().chain(replaced).collect();
        let mut parked = Vec::with_capacity(parks.len() + 2);
        if !over.is_empty() || !lanes.is_empty() {
            let streams = lanes.iter().map(|(stream, cursor)| {
                let cursor = cursor.map_or(Value::Null, cursor_json);
                (stream.as_str().to_owned(), cursor)
            });
            let streams: Map<_, _> = streams.collect();
            let data = json!({"parked": sorted(&over), "streams": streams});
            parked.push(own_event(next_id(), PARKED_DONE, &data, Bytes::new()));
        }
        if !entry.replays.is_empty() {
            let data = json!({"parked": entry.replays});
            parked.push(own_event(next_id(), PARKED_REPLAY, &data, Bytes::new()));
        }
        let marks = parked.len() as u64;
        // After what is over: a link opens the lane again that it may have closed.
        parked.extend(parks.iter().map(|park| link_event(next_id(), park, now)));
        let checkpoint = entry.checkpoint.as_ref();
        let checkpoint = checkpoint.map(|checkpoint| {
            let (data, mut metadata) = checkpoint::encode(&self.group, checkpoint);
            if let Some(history) = &self.history {
                metadata["history"] = history.encode();
            }
            own_event(next_id(), CHECKPOINT, &data, metadata.to_string().into())
        });
        EntryEvents {
            checkpoint,
            truncation: self.truncation(entry, &over, marks),
            parked,
        }
    }

    /// Before which revision the parked stream is of no use once the entry is in it, with so many marks
    /// before its links, when it is time to say so.
    fn truncation(&self, entry: &Entry, over: &HashSet<u64>, marks: u64) -> Option<u64> {
        let Changes { parks, lanes, .. } = &entry.changes;
        let next = self.next_parked().get();
        let link = (!parks.is_empty()).then_some(next + marks);
        let parked = self.parked.keys().find(|link| !over.contains(link));
        let replaced = |stream: &StreamName| {
            let parks_it = |park: &Park| park.waiting.as_ref() == Some(stream);
            lanes.contains_key(stream) || parks.iter().any(parks_it)
        };
        let kept = self.lanes.iter().filter(|(stream, _)| !replaced(stream));
        let kept = kept.map(|(_, mark)| mark.recorded).min();
        let lane = lanes.values().any(Option::is_some).then_some(next);
        let first = [link, parked.copied(), kept, lane]
            .into_iter()
            .flatten()
            .min();
        let before = first.unwrap_or(next + marks);
        let is_time = first.is_none() || before >= self.truncated_before + TRUNCATED_AT_ONCE;
        (before > self.truncated_before && is_time && marks > 0).then_some(before)
    }

    /// The range without what will be parked.
    pub(super) fn bounded(&self, range: ParkedRange) -> ParkedRange {
        match range {
            ParkedRange::All => ParkedRange::Before(self.next_parked()),
            range => range,
        }
    }

    fn next_parked(&self) -> Revision {
        self.parked_last.map_or(Revision::FIRST, Revision::next)
    }

    /// The events were written. Gives each parked event of the entry its revision in the parked
    /// stream.
    pub(super) fn written(&mut self, entry: &Entry, events: &EntryEvents) -> Vec<(u64, u64)> {
        let marks = events.parked.len() - entry.changes.parks.len();
        let first = self.next_parked().get() + marks as u64;
        for event in &events.parked {
            let at = self.next_parked();
            self.fold_parts(at, &event.event_type, &event.data, &event.metadata);
        }
        if events.checkpoint.is_some() {
            let next = self.checkpoint_last.map_or(Revision::FIRST, Revision::next);
            self.checkpoint_last = Some(next);
        }
        if let Some(before) = events.truncation {
            self.truncated_before = before;
        }
        let parks = entry.changes.parks.iter().zip(first..);
        parks.map(|(park, link)| (park.entry, link)).collect()
    }
}

fn sorted(numbers: &HashSet<u64>) -> Vec<u64> {
    let mut sorted: Vec<_> = numbers.iter().copied().collect();
    sorted.sort_unstable();
    sorted
}

fn cursor_json(cursor: Cursor) -> Value {
    json!({"place": cursor.place, "revision": cursor.revision.get()})
}

fn link_event(id: Uuid, park: &Park, now: Timestamp) -> EventData {
    let mut metadata = json!({
        "added": now.to_string(),
        "reason": &*park.reason,
        "subscriptionEventNumber": park.cursor.place,
    });
    if let Some(waiting) = &park.waiting {
        metadata["waitingStream"] = waiting.as_str().into();
    }
    EventData {
        id,
        event_type: EventType::new(event_types::LINK).expect("it is a valid type"),
        content_type: ContentType::OCTET_STREAM,
        data: format!("{}@{}", park.cursor.revision, park.stream).into(),
        metadata: metadata.to_string().into(),
        tags: Vec::new(),
    }
}

fn own_event(id: Uuid, event_type: &'static str, data: &Value, metadata: Bytes) -> EventData {
    EventData {
        id,
        event_type: EventType::new(event_type).expect("it is a valid type"),
        content_type: ContentType::JSON,
        data: data.to_string().into(),
        metadata,
        tags: Vec::new(),
    }
}
