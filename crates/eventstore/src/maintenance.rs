//! What erasing and scavenging share: only one of them works at a time, what they did is an event, and
//! what was taken away is remembered for the conditions of appends.
//!
//! A condition asks what has been added since a position. What was taken away cannot be asked any
//! more, so for each event type the last position from which something was taken away is kept, and
//! one for all events with tags. Both are in the event that is written before anything goes.

use crate::request::Mode;
use crate::store::EventStore;
use bytes::Bytes;
use icecore_core::{
    Append, ContentType, Direction, Error, EventData, EventType, ExpectedRevision, PageLimit,
    Position, QueryItem, RecordedEvent, Result, Revision, StreamName, Timestamp, event_types,
    system_streams,
};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Mutex as AsyncMutex;

/// Event types whose last removed position is kept apart; further ones share one.
const TYPES_MAX: usize = 1_000;

/// Most events of one of our own streams that a start looks at.
const ACTS_MAX: usize = 16_384;
const ACTS_PER_PAGE: usize = 512;

/// Work on what is stored.
#[derive(Debug, Default)]
pub(crate) struct Maintenance {
    /// Held by whoever takes something away.
    pub(crate) at_work: AsyncMutex<()>,
    removals: Mutex<Removals>,
}

/// The last positions from which something was taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Removals {
    types: BTreeMap<String, Position>,
    other_types: Position,
    tagged: Position,
}

impl Removals {
    /// Takes in an event that is to be taken away.
    pub(crate) fn add(&mut self, event: &RecordedEvent) {
        self.add_type(event.event_type.as_str(), event.position);
        if !event.tags.is_empty() {
            self.tagged = self.tagged.max(event.position);
        }
    }

    /// Whether a removal of this event is among what is kept here.
    pub(crate) fn covers(&self, event: &RecordedEvent) -> bool {
        let of_type = self.of_type(event.event_type.as_str());
        of_type >= event.position && (event.tags.is_empty() || self.tagged >= event.position)
    }

    fn add_type(&mut self, event_type: &str, position: Position) {
        let has_room = self.types.len() < TYPES_MAX;
        let last = if self.types.contains_key(event_type) || has_room {
            self.types.entry(event_type.to_owned()).or_default()
        } else {
            &mut self.other_types
        };
        *last = position.max(*last);
    }

    fn of_type(&self, event_type: &str) -> Position {
        let own = self.types.get(event_type).copied();
        own.unwrap_or(self.other_types)
    }

    fn up_to(mut self, last: Position) -> Self {
        for position in self.types.values_mut() {
            *position = last.min(*position);
        }
        self.other_types = last.min(self.other_types);
        self.tagged = last.min(self.tagged);
        self
    }

    fn merge(&mut self, other: &Self) {
        for (event_type, position) in &other.types {
            self.add_type(event_type, *position);
        }
        self.other_types = self.other_types.max(other.other_types);
        self.tagged = self.tagged.max(other.tagged);
    }

    /// The last position from which something was taken away that the item may have matched.
    fn in_scope(&self, item: &QueryItem) -> Position {
        let types = if item.types.is_empty() {
            let all = self.types.values().copied().max().unwrap_or_default();
            all.max(self.other_types)
        } else {
            let each = item.types.iter();
            each.map(|name| self.of_type(name.as_str()))
                .max()
                .unwrap_or_default()
        };
        if item.tags.is_empty() {
            types
        } else {
            types.min(self.tagged)
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let types = self.types.iter();
        let types: Map<_, _> = types
            .map(|(event_type, position)| (event_type.clone(), position.get().into()))
            .collect();
        serde_json::json!({
            "types": types,
            "other_types": self.other_types.get(),
            "tagged": self.tagged.get(),
        })
    }

    pub(crate) fn from_json(json: &Value) -> Self {
        let number = |value: &Value| Position::new(value.as_u64().unwrap_or_default());
        let types = json["types"].as_object().into_iter().flatten();
        Self {
            types: types
                .map(|(event_type, at)| (event_type.clone(), number(at)))
                .collect(),
            other_types: number(&json["other_types"]),
            tagged: number(&json["tagged"]),
        }
    }
}

impl Maintenance {
    /// What has been taken away so far.
    pub(crate) fn removals(&self) -> Removals {
        self.lock().clone()
    }

    /// Takes in what is to be taken away. The event that says so is durable.
    pub(crate) fn note(&self, removals: &Removals) {
        self.lock().merge(removals);
    }

    /// The last position after `after` from which something was taken away that the item may have
    /// matched.
    pub(crate) fn removed_from_scope(&self, item: &QueryItem, after: Position) -> Option<Position> {
        Some(self.lock().in_scope(item)).filter(|removed| *removed > after)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Removals> {
        self.removals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventStore {
    /// Learns what was taken away before, and finishes what was interrupted. What cannot be finished
    /// is logged, not an error: the store serves what it has.
    pub(crate) async fn resume_maintenance(&self) {
        for stream in [system_streams::SCAVENGES, system_streams::ERASURES] {
            match self.latest_acts(stream).await {
                Ok(acts) => acts
                    .iter()
                    .for_each(|act| self.maintenance().note(&act.removals())),
                Err(error) => tracing::error!(stream, %error, "what was taken away is not known"),
            }
        }
        if let Err(error) = self.resume_erasure().await {
            tracing::error!(%error, "an erasure that was interrupted cannot be finished");
        }
    }

    /// The last event that one of our own streams holds and this store wrote.
    pub(crate) async fn last_act(&self, stream: &str) -> Result<Option<Act>> {
        let acts = self.latest_acts(stream).await?;
        let own = self.store_id().to_string();
        Ok(acts.into_iter().find(|act| act.store_id == own))
    }

    /// The last event of each store that wrote to one of our own streams: this one, the one that this
    /// one was restored from, and those from which events were imported. Newest first.
    async fn latest_acts(&self, stream: &str) -> Result<Vec<Act>> {
        let stream = own_stream(stream);
        let mut from = Revision::TOMBSTONE;
        let mut latest: Vec<Act> = Vec::new();
        for _ in 0..ACTS_MAX / ACTS_PER_PAGE {
            let limit = PageLimit::events(ACTS_PER_PAGE);
            let page = self
                .storage()
                .read_stream(&stream, from, Direction::Backwards, limit)
                .await?;
            for act in page.events.iter().filter_map(Act::read) {
                if latest.iter().all(|known| known.store_id != act.store_id) {
                    latest.push(act);
                }
            }
            if page.end {
                break;
            }
            from = page.next;
        }
        Ok(latest)
    }

    /// Writes an event about what is done to the store. Its data is an object; the store's identity
    /// is added, since an imported act says nothing about this store.
    pub(crate) async fn write_act(
        &self,
        stream: &str,
        event_type: &str,
        mut data: Value,
    ) -> Result<Position> {
        data["store_id"] = self.store_id().to_string().into();
        let event = EventData {
            id: self.next_id(),
            event_type: EventType::new(event_type)?,
            content_type: ContentType::JSON,
            data: Bytes::from(data.to_string()),
            metadata: Bytes::new(),
            tags: Vec::new(),
        };
        let append = Append::to_stream(own_stream(stream), ExpectedRevision::Any, vec![event])?;
        let written = self.write(append, Mode::Act).await?;
        Ok(written.appended.last_position)
    }
}

/// What was done to the store, by its own account.
#[derive(Clone, Debug)]
pub(crate) struct Act {
    store_id: String,
    position: Position,
    event_type: String,
    pub(crate) recorded_at: Timestamp,
    pub(crate) data: Value,
}

impl Act {
    fn read(event: &RecordedEvent) -> Option<Self> {
        let data: Value = serde_json::from_slice(&event.data).ok()?;
        Some(Self {
            store_id: data["store_id"].as_str()?.to_owned(),
            position: event.position,
            event_type: event.event_type.as_str().to_owned(),
            recorded_at: event.recorded_at,
            data,
        })
    }

    /// What was taken away by then. In an act of another store the positions may be those of that one,
    /// so none counts that lies after the act.
    pub(crate) fn removals(&self) -> Removals {
        Removals::from_json(&self.data["removals"]).up_to(self.position)
    }

    /// Whether the act was begun and nothing says that it was completed.
    pub(crate) fn is_unfinished(&self) -> bool {
        let begun = [event_types::EVENT_ERASED, event_types::SCAVENGE_STARTED];
        begun.contains(&self.event_type.as_str())
    }

    /// A text of its data.
    ///
    /// # Errors
    ///
    /// `Internal`, when it has none.
    pub(crate) fn text(&self, field: &str) -> Result<&str> {
        let text = self.data[field].as_str();
        text.ok_or_else(|| Error::internal(format!("an act has no `{field}`")))
    }

    /// A number of its data.
    ///
    /// # Errors
    ///
    /// `Internal`, when it has none.
    pub(crate) fn number(&self, field: &str) -> Result<u64> {
        let number = self.data[field].as_u64();
        number.ok_or_else(|| Error::internal(format!("an act has no `{field}`")))
    }
}

fn own_stream(name: &str) -> StreamName {
    StreamName::new(name.to_owned()).expect("it is a valid name")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_events::event;
    use icecore_core::Tag;

    fn item(types: &[&str], tags: &[&str]) -> QueryItem {
        QueryItem {
            types: types
                .iter()
                .map(|name| EventType::new(name.to_string()).unwrap())
                .collect(),
            tags: tags
                .iter()
                .map(|tag| Tag::new(tag.to_string()).unwrap())
                .collect(),
        }
    }

    fn removed(position: u64, event_type: &str, tagged: bool) -> RecordedEvent {
        let tags = if tagged {
            vec![Tag::new("a:b").unwrap()]
        } else {
            Vec::new()
        };
        RecordedEvent {
            event_type: EventType::new(event_type.to_owned()).unwrap(),
            tags,
            ..event("s-1", 0, position)
        }
    }

    #[test]
    fn a_scope_is_the_types_and_tags_that_were_taken_away() {
        let mut removals = Removals::default();
        removals.add(&removed(5, "A", true));
        removals.add(&removed(9, "B", false));
        for (item, expected) in [
            (item(&["A"], &[]), 5),
            (item(&["B"], &[]), 9),
            (item(&["B", "A"], &[]), 9),
            (item(&["C"], &[]), 0),
            (item(&[], &[]), 9),
            (item(&[], &["x:y"]), 5),
            (item(&["B"], &["x:y"]), 5),
            (item(&["C"], &["x:y"]), 0),
        ] {
            assert_eq!(removals.in_scope(&item).get(), expected, "{item:?}");
        }
        assert_eq!(Removals::from_json(&removals.to_json()), removals);
        assert!(removals.covers(&removed(5, "A", true)));
        assert!(!removals.covers(&removed(6, "A", false)));
        assert!(!removals.covers(&removed(8, "B", true)));
    }

    #[test]
    fn what_another_store_says_counts_up_to_where_it_stands() {
        let mut removals = Removals::default();
        removals.add(&removed(5, "A", true));
        removals.add(&removed(900, "B", true));
        let removals = removals.up_to(Position::new(20));
        let of = |types: &[&str], tags: &[&str]| removals.in_scope(&item(types, tags)).get();
        assert_eq!(
            (of(&["A"], &[]), of(&["B"], &[]), of(&[], &["x:y"])),
            (5, 20, 20)
        );
    }

    #[test]
    fn many_types_share_a_position() {
        let mut removals = Removals::default();
        for n in 1..=TYPES_MAX as u64 + 5 {
            removals.add(&removed(n, &format!("T{n}"), false));
        }
        let of = |name: &str| removals.in_scope(&item(&[name], &[])).get();
        assert_eq!(of("T1"), 1);
        assert_eq!(of("T1005"), 1_005);
        assert_eq!(of("never removed"), 1_005, "it may be one of them");
        assert_eq!(removals.types.len(), TYPES_MAX);
    }
}
