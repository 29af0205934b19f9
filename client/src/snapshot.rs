//! Snapshots: where they stand, when one is due, what makes one useless.
//!
//! The snapshot of the stream `s` is the last event of `$snapshot-s`, which keeps one. It is written when
//! an aggregate is loaded that had many events behind its last snapshot; a command never waits for more
//! than one attempt at that, and what goes wrong with it is logged.
//!
//! Snapshot and tail are asked for at the same time, so a load takes one round trip: the tail is read
//! backwards, as many events as may stand behind a snapshot. Only when there are more, what lies between
//! is read too.

use crate::aggregate::Aggregate;
use crate::client::Client;
use crate::id::new_event_id;
use crate::json::RecordedEventExt;
use crate::repository::{Loaded, each_batch, read_on};
use futures::future::try_join;
use icecore_core::{
    Append, AppendBuilder, DeleteKind, Error, EventData, ExpectedRevision, Position, RecordedEvent,
    Result, Revision, StreamName, Timestamp, event_types,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::fmt;
use std::time::Duration;
use uuid::Uuid;

/// The type of the event that a snapshot is.
const SNAPSHOT: &str = "$snapshot";

/// How many ids of events a snapshot remembers, so that a command that is sent again is recognised.
const IDS_MAX: usize = 256;

/// How many events are read backwards when the policy does not say how many there may be.
const TAIL_EVENTS: u64 = 256;

/// An aggregate whose state can be stored. Nothing has to be written but this line:
/// `impl Snapshot for Account {}`.
pub trait Snapshot: Aggregate + Serialize + DeserializeOwned {
    /// To be raised when the state changes its shape or its meaning: snapshots of other versions are
    /// ignored.
    const SNAPSHOT_VERSION: u32 = 1;
}

/// When a snapshot is taken.
///
/// ```
/// use icecore_client::SnapshotPolicy;
/// use std::time::Duration;
///
/// // After a hundred events, or when there are newer events and the last one is a day older than they.
/// let policy = SnapshotPolicy::every(100).or_after(Duration::from_secs(86_400));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotPolicy {
    events: Option<u64>,
    age: Option<Duration>,
}

impl SnapshotPolicy {
    /// When an aggregate is loaded and so many events, at least 1, stand behind its last snapshot.
    pub const fn every(events: u64) -> Self {
        let events = if events == 0 { 1 } else { events };
        Self {
            events: Some(events),
            age: None,
        }
    }

    /// When an aggregate is loaded and its last event was recorded that long after its last snapshot, or
    /// after its first event when there is none.
    pub const fn after(age: Duration) -> Self {
        Self {
            events: None,
            age: Some(age),
        }
    }

    /// That long after the last one, too.
    #[must_use]
    pub const fn or_after(self, age: Duration) -> Self {
        Self {
            age: Some(age),
            ..self
        }
    }

    /// Whether `events` behind the snapshot, over this time, are enough for another one.
    fn is_due(&self, events: u64, nanos: i64) -> bool {
        let old = |age: Duration| u128::try_from(nanos).is_ok_and(|nanos| nanos >= age.as_nanos());
        self.events.is_some_and(|most| events >= most) || (events > 0 && self.age.is_some_and(old))
    }
}

/// The metadata of a stream of snapshots: it keeps the newest one.
const KEEP_ONE: &str = r#"{"$maxCount":1}"#;

/// What a snapshot stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SnapshotPlace {
    pub(crate) revision: Revision,
    pub(crate) position: Position,
    pub(crate) recorded_at: Timestamp,
}

/// The data of the event that a snapshot is.
#[derive(Serialize, Deserialize)]
struct Stored<State> {
    version: u32,
    revision: u64,
    position: u64,
    ids: Vec<Uuid>,
    state: State,
}

/// Takes snapshots and loads from them.
pub(crate) struct Snapshots<A> {
    policy: SnapshotPolicy,
    version: u32,
    /// Serde's functions of the state, so that only who takes snapshots needs them.
    write: fn(&A) -> serde_json::Result<Box<RawValue>>,
    read: fn(&str) -> serde_json::Result<A>,
}

impl<A: Aggregate> Snapshots<A> {
    pub(crate) fn new(policy: SnapshotPolicy) -> Self
    where
        A: Snapshot,
    {
        Self {
            policy,
            version: A::SNAPSHOT_VERSION,
            write: |state| serde_json::value::to_raw_value(state),
            read: |json| serde_json::from_str(json),
        }
    }

    /// Loads an aggregate, and takes a snapshot of it if one is due.
    pub(crate) async fn load(&self, client: &Client, stream: StreamName) -> Result<Loaded<A>> {
        let Some(snapshots) = stream_of(&stream) else {
            return whole(client, stream).await;
        };
        let limit = self
            .policy
            .events
            .map_or(TAIL_EVENTS, |events| events.saturating_add(1));
        let (last, tail) = try_join(
            last_snapshot(client, &snapshots),
            Tail::read(client, &stream, limit),
        )
        .await?;
        let loaded = match last.as_ref().and_then(|last| self.read(&stream, last)) {
            Some(loaded) => continued(client, loaded, tail).await?,
            None if tail.is_all => tail.alone(stream)?,
            None => whole(client, stream).await?,
        };
        if self.is_due(&loaded) {
            self.take(client, &snapshots, &loaded, last.is_none()).await;
        }
        Ok(loaded)
    }

    /// The aggregate as the snapshot has it; `None` when it is of another version or not readable.
    fn read(&self, stream: &StreamName, event: &RecordedEvent) -> Option<Loaded<A>> {
        let useless = |reason: &dyn fmt::Display| {
            tracing::debug!(%stream, position = %event.position, %reason, "snapshot is not used");
        };
        let stored: Stored<&RawValue> = serde_json::from_slice(&event.data)
            .inspect_err(|error| useless(error))
            .ok()?;
        if stored.version != self.version {
            useless(&format_args!(
                "its version is {}, not {}",
                stored.version, self.version
            ));
            return None;
        }
        let state = (self.read)(stored.state.get());
        let state = state.inspect_err(|error| useless(error)).ok()?;
        let place = SnapshotPlace {
            revision: Revision::new(stored.revision),
            position: Position::new(stored.position),
            recorded_at: event.recorded_at,
        };
        Some(Loaded::from_snapshot(
            stream.clone(),
            state,
            stored.ids,
            place,
        ))
    }

    fn is_due(&self, loaded: &Loaded<A>) -> bool {
        let (Some(revision), Some((since, newest))) = (loaded.revision(), loaded.span()) else {
            return false;
        };
        let behind = match loaded.snapshot() {
            Some(snapshot) => revision.get().saturating_sub(snapshot.revision.get()),
            None => loaded.ids().len() as u64,
        };
        self.policy.is_due(behind, newest.nanos() - since.nanos())
    }

    /// Writes a snapshot. What is loaded is good without it, so a failure is only logged.
    async fn take(&self, client: &Client, stream: &StreamName, loaded: &Loaded<A>, first: bool) {
        let taken = async {
            let append = self.append(stream, loaded, first)?;
            client.trying_once().append_request(&append).await
        };
        match taken.await {
            Ok(_) => tracing::debug!(%stream, revision = ?loaded.revision(), "took a snapshot"),
            Err(error) => tracing::warn!(%stream, %error, "could not take a snapshot"),
        }
    }

    fn append(&self, stream: &StreamName, loaded: &Loaded<A>, first: bool) -> Result<Append> {
        let invalid = |error: serde_json::Error| Error::invalid("snapshot", error.to_string());
        let ids = loaded.ids();
        let stored = Stored {
            version: self.version,
            revision: loaded.revision().map_or(0, Revision::get),
            position: loaded.position().get(),
            ids: ids[ids.len().saturating_sub(IDS_MAX)..].to_vec(),
            state: (self.write)(loaded.state()).map_err(invalid)?,
        };
        let data = serde_json::to_vec(&stored).map_err(invalid)?;
        let mut append = AppendBuilder::default();
        let snapshots = append.stream(stream.clone(), ExpectedRevision::Any)?;
        append.event(
            snapshots,
            EventData::json(new_event_id(), SNAPSHOT, data)?,
            None,
        )?;
        if first && let Some(metadata) = stream.metadata_stream() {
            let keep_one = EventData::json(new_event_id(), event_types::METADATA, KEEP_ONE)?;
            let metadata = append.stream(metadata, ExpectedRevision::Any)?;
            append.event(metadata, keep_one, None)?;
        }
        append.build()
    }
}

/// The stream of the snapshots of a stream; `None` when its name would be too long.
pub(crate) fn stream_of(stream: &StreamName) -> Option<StreamName> {
    StreamName::new(format!("$snapshot-{stream}")).ok()
}

/// Puts an empty snapshot, which nobody uses, in the place of the one that is there.
pub(crate) async fn clear(client: &Client, stream: &StreamName) -> Result<()> {
    let Some(snapshots) = stream_of(stream) else {
        return Ok(());
    };
    let empty = EventData::json(new_event_id(), SNAPSHOT, "{}")?;
    let exists = ExpectedRevision::StreamExists;
    match client.append(&snapshots, exists, [empty]).await {
        Err(Error::Refused(_)) => Ok(()), // there is none
        cleared => cleared.map(drop),
    }
}

async fn last_snapshot(client: &Client, stream: &StreamName) -> Result<Option<RecordedEvent>> {
    let mut last = None;
    let read = client.read_stream(stream).backwards().limit(1);
    each_batch(read, |events| {
        last = events.into_iter().next();
        Ok(())
    })
    .await?;
    Ok(last)
}

/// The newest events of a stream.
struct Tail {
    /// In the order in which they happened.
    events: Vec<RecordedEvent>,
    /// Whether there are no others, of a stream that is there.
    is_all: bool,
}

impl Tail {
    async fn read(client: &Client, stream: &StreamName, limit: u64) -> Result<Self> {
        let mut events = Vec::new();
        let read = client.read_stream(stream).backwards().limit(limit);
        let exists = each_batch(read, |batch| {
            events.extend(batch);
            Ok(())
        })
        .await?;
        events.reverse();
        // Of a stream without events somebody has to look whether it is new or all is hidden.
        let is_all = exists && !events.is_empty() && (events.len() as u64) < limit;
        Ok(Self { events, is_all })
    }

    fn alone<A: Aggregate>(self, stream: StreamName) -> Result<Loaded<A>> {
        let mut loaded = Loaded::new(stream);
        loaded.take_all(&self.events)?;
        Ok(loaded)
    }
}

/// An aggregate from all its events.
async fn whole<A: Aggregate>(client: &Client, stream: StreamName) -> Result<Loaded<A>> {
    let mut loaded = Loaded::new(stream);
    read_on(client, &mut loaded).await?;
    Ok(loaded)
}

/// What a snapshot has, and what happened since. A snapshot after which something is missing is of no
/// use, nor is one from before a deletion.
async fn continued<A: Aggregate>(
    client: &Client,
    mut loaded: Loaded<A>,
    tail: Tail,
) -> Result<Loaded<A>> {
    let next = loaded.next_revision();
    let stream = loaded.stream().clone();
    let Some(first) = tail.events.first().map(|first| first.revision) else {
        let without: Loaded<A> = whole(client, stream).await?;
        let same = without.revision() == loaded.revision();
        return Ok(if same { loaded } else { without });
    };
    // As long as an event can be seen that is in the snapshot, the stream was not deleted since.
    if first >= next && was_deleted(client, &stream, loaded.position()).await? {
        return whole(client, stream).await;
    }
    if first > next {
        read_on(client, &mut loaded).await?;
    } else {
        let behind = tail.events.partition_point(|event| event.revision < next);
        loaded.take_all(&tail.events[behind..])?;
    }
    Ok(loaded)
}

/// Whether a stream was deleted after this position.
async fn was_deleted(client: &Client, stream: &StreamName, after: Position) -> Result<bool> {
    let Some(metadata) = stream.metadata_stream() else {
        return Ok(false);
    };
    let hides_all = |event: &RecordedEvent| {
        let metadata = event.json::<Value>();
        metadata.is_ok_and(|metadata| metadata["$tb"].as_i64() == Some(i64::MAX))
    };
    let mut deleted = false;
    each_batch(client.read_stream(&metadata), |events| {
        deleted |= events
            .iter()
            .any(|event| event.position > after && hides_all(event));
        Ok(())
    })
    .await?;
    Ok(deleted)
}

/// Deletes the snapshots of a stream, if there are any.
pub(crate) async fn delete_of(client: &Client, stream: &StreamName) -> Result<()> {
    let Some(snapshots) = stream_of(stream) else {
        return Ok(());
    };
    match client.get_stream(&snapshots).await {
        Ok(info) if info.last.is_some() => {}
        Ok(_) | Err(Error::StreamNotFound { .. }) => return Ok(()),
        Err(error) => return Err(error),
    }
    let (any, soft) = (ExpectedRevision::Any, DeleteKind::Soft);
    match client.delete(&snapshots, any, soft).await {
        // Somebody else was faster.
        Ok(_) | Err(Error::Refused(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

impl<A> Clone for Snapshots<A> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<A> fmt::Debug for Snapshots<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.policy.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_due_by_number_and_by_age() {
        let second = Duration::from_secs(1);
        let nanos = 1_000_000_000;
        for (policy, events, over, due) in [
            (SnapshotPolicy::every(10), 9, i64::MAX, false),
            (SnapshotPolicy::every(10), 10, 0, true),
            (SnapshotPolicy::every(0), 0, 0, false),
            (SnapshotPolicy::every(0), 1, 0, true),
            (SnapshotPolicy::after(second), 1, nanos - 1, false),
            (SnapshotPolicy::after(second), 1, nanos, true),
            (SnapshotPolicy::after(second), 0, nanos, false),
            (SnapshotPolicy::after(second), 1, -1, false),
            (SnapshotPolicy::every(10).or_after(second), 2, nanos, true),
            (SnapshotPolicy::every(10).or_after(second), 10, 0, true),
        ] {
            assert_eq!(
                policy.is_due(events, over),
                due,
                "{policy:?} {events} {over}"
            );
        }
    }
}
