//! Where users' projections are kept: which there are, as the last event of `$projections-$all`, and each
//! as the last event of `$projections-<name>`. What belongs together is one append.

use super::definition::{Definition, Status as Standing};
use crate::errors::status;
use bytes::Bytes;
use futures::TryStreamExt;
use icecore_core::{
    AppendBuilder, ContentType, Direction, Error, EventData, EventType, ExpectedRevision, Read,
    RecordedEvent, StreamName,
};
use icecore_eventstore::EventStore;
use serde_json::json;
use std::collections::BTreeSet;
use std::pin::pin;
use tokio::sync::Mutex;
use tonic::Status;

/// What the streams begin with.
const PREFIX: &str = "$projections-";

/// In place of a name: which there are.
const ALL: &str = "$all";

/// Most projections of users.
const PROJECTIONS_MAX: usize = 1_000;

/// Types of the events.
mod event_type {
    pub(super) const LISTED: &str = "$ProjectionsListed";
    pub(super) const UPDATED: &str = "$ProjectionUpdated";
    pub(super) const DELETED: &str = "$ProjectionDeleted";
}

/// The projections of users.
pub(super) struct Books {
    store: EventStore,
    /// One change at a time.
    turn: Mutex<()>,
}

impl Books {
    pub(super) fn new(store: EventStore) -> Self {
        Self {
            store,
            turn: Mutex::default(),
        }
    }

    /// All of them, in the order of their names.
    pub(super) async fn all(&self) -> Result<Vec<(String, Definition)>, Status> {
        let mut all = Vec::new();
        for name in self.names().await?.names {
            if let Some(entry) = self.entry(&name).await? {
                all.push((name, entry.definition));
            }
        }
        Ok(all)
    }

    /// The one of this name.
    pub(super) async fn find(&self, name: &str) -> Result<Definition, Status> {
        let entry = self.entry(name).await?;
        entry
            .map(|entry| entry.definition)
            .ok_or_else(|| not_found(name))
    }

    /// Adds a projection.
    pub(super) async fn create(&self, name: &str, definition: &Definition) -> Result<(), Status> {
        let _turn = self.turn.lock().await;
        let mut list = self.names().await?;
        if list.names.contains(name) {
            return Err(exists(name));
        }
        if list.names.len() >= PROJECTIONS_MAX {
            let text = format!("there are {PROJECTIONS_MAX} projections and may be no more");
            return Err(Status::resource_exhausted(text));
        }
        list.names.insert(name.to_owned());
        let written = self.event(event_type::UPDATED, definition.encode());
        self.write(name, ExpectedRevision::Any, written, Some(list))
            .await
    }

    /// Changes a projection.
    pub(super) async fn change(
        &self,
        name: &str,
        change: impl FnOnce(&mut Definition),
    ) -> Result<(), Status> {
        let _turn = self.turn.lock().await;
        let found = self.entry(name).await?;
        let mut entry = found.ok_or_else(|| not_found(name))?;
        change(&mut entry.definition);
        let changed = self.event(event_type::UPDATED, entry.definition.encode());
        self.write(name, entry.expected, changed, None).await
    }

    /// Takes a projection away that is not switched on.
    pub(super) async fn delete(&self, name: &str) -> Result<(), Status> {
        let _turn = self.turn.lock().await;
        let found = self.entry(name).await?;
        let entry = found.ok_or_else(|| not_found(name))?;
        if entry.definition.status == Standing::Running {
            let text = format!("projection `{name}` is running: disable it first");
            return Err(Status::failed_precondition(text));
        }
        let mut list = self.names().await?;
        list.names.remove(name);
        let deleted = self.event(event_type::DELETED, Bytes::from_static(b"{}"));
        self.write(name, entry.expected, deleted, Some(list)).await
    }

    async fn names(&self) -> Result<List, Status> {
        let Some(event) = self.last(&stream(ALL).map_err(status)?).await? else {
            return Ok(List {
                names: BTreeSet::new(),
                expected: ExpectedRevision::NoStream,
            });
        };
        let names = serde_json::from_slice(&event.data);
        let unreadable = |_| status(Error::corrupted("the list of projections is unreadable"));
        Ok(List {
            names: names.map_err(unreadable)?,
            expected: ExpectedRevision::Exact(event.revision),
        })
    }

    async fn entry(&self, name: &str) -> Result<Option<Entry>, Status> {
        let Some(event) = self.last(&stream_of(name)?).await? else {
            return Ok(None);
        };
        if event.event_type.as_str() == event_type::DELETED {
            return Ok(None);
        }
        Ok(Some(Entry {
            definition: Definition::decode(&event.data).map_err(status)?,
            expected: ExpectedRevision::Exact(event.revision),
        }))
    }

    /// The last event of a stream.
    async fn last(&self, stream: &StreamName) -> Result<Option<RecordedEvent>, Status> {
        let mut read = Read::stream(stream.clone());
        read.direction = Direction::Backwards;
        read.limit = Some(1);
        let mut batches = pin!(self.store.read(read));
        match batches.try_next().await {
            Ok(batch) => Ok(batch.and_then(|batch| batch.events.into_iter().next())),
            Err(Error::StreamNotFound { .. }) => Ok(None),
            Err(error) => Err(status(error)),
        }
    }

    /// Writes what becomes of one, and which there are if that changes.
    async fn write(
        &self,
        name: &str,
        expected: ExpectedRevision,
        event: EventData,
        list: Option<List>,
    ) -> Result<(), Status> {
        let stream = stream_of(name)?;
        let append = || {
            let mut append = AppendBuilder::default();
            let entry = append.stream(stream, expected)?;
            append.event(entry, event, None)?;
            if let Some(List { names, expected }) = list {
                let all = append.stream(self::stream(ALL)?, expected)?;
                let listed = self.event(event_type::LISTED, json!(names).to_string().into());
                append.event(all, listed, None)?;
            }
            append.build()
        };
        let written = self.store.append(append().map_err(status)?).await;
        written.map(drop).map_err(status)
    }

    fn event(&self, event_type: &'static str, data: Bytes) -> EventData {
        EventData {
            id: self.store.next_id(),
            event_type: EventType::new(event_type).expect("it is a valid type"),
            content_type: ContentType::JSON,
            data,
            metadata: Bytes::new(),
            tags: Vec::new(),
        }
    }
}

/// Which projections there are.
struct List {
    names: BTreeSet<String>,
    /// That nobody has written to the list since.
    expected: ExpectedRevision,
}

/// A projection as it was found.
struct Entry {
    definition: Definition,
    /// That nobody has written to it since.
    expected: ExpectedRevision,
}

fn stream(name: &str) -> icecore_core::Result<StreamName> {
    StreamName::new(format!("{PREFIX}{name}"))
}

/// The stream of one projection.
fn stream_of(name: &str) -> Result<StreamName, Status> {
    if name.is_empty() || name == ALL {
        let text = format!("`{name}` is no name of a projection");
        return Err(Status::invalid_argument(text));
    }
    stream(name).map_err(status)
}

fn not_found(name: &str) -> Status {
    Status::not_found(format!("projection `{name}` does not exist"))
}

pub(super) fn exists(name: &str) -> Status {
    Status::already_exists(format!("projection `{name}` already exists"))
}
