//! How far a relay is, kept in the store itself: the last event of `$relay-<name>`. Every checkpoint expects
//! the exact one before it, so that of two relays of a name only the younger goes on.

use super::RelayError;
use super::window::Place;
use crate::client::Client;
use crate::id::new_event_id;
use crate::retry::RetryPolicy;
use crate::subscribe::{passes, resolve_end};
use bytestring::ByteString;
use futures::TryStreamExt;
use icecore_core::{
    Append, Appended, Error, EventData, ExpectedRevision, Filter, Position, Read, RecordedEvent,
    Result, Revision, Start, StoreId, StreamName, Subscribe, SubscribeFrom,
};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use uuid::Uuid;

/// The streams of all relays begin with this.
pub(super) const STREAM_PREFIX: &str = "$relay-";

/// The type of their events.
const CHECKPOINT: &str = "$relayCheckpoint";

/// The data of a checkpoint.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Data {
    store_id: String,
    /// Everything up to here (inclusive) is published.
    position: u64,
    /// Of a relay of one stream: which, and the last revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
}

/// What a checkpoint of another store means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterRestore {
    Stop,
    GoOn,
}

/// The checkpoints of one relay.
#[derive(Clone, Debug)]
pub(super) struct Checkpoints {
    name: ByteString,
    stream: StreamName,
    store_id: StoreId,
    /// The stream that is followed, if it is one alone.
    followed: Option<StreamName>,
    /// Where the last checkpoint stands.
    last: Option<Revision>,
}

/// A relay that has begun.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) checkpoints: Checkpoints,
    /// Everything up to here is published.
    pub(super) reached: Place,
    /// What is to be followed from here.
    pub(super) subscribe: Subscribe,
}

/// The stream of a relay of this name.
pub(super) fn stream_of(name: &str) -> Result<StreamName> {
    if name.is_empty() {
        return Err(Error::invalid("name", "is empty"));
    }
    StreamName::new(format!("{STREAM_PREFIX}{name}"))
}

impl Checkpoints {
    /// Finds the last checkpoint and writes the next one, which fences any other relay of this name.
    pub(super) async fn open(
        client: &Client,
        name: &ByteString,
        source: Subscribe,
        after_restore: AfterRestore,
    ) -> Result<Opened, RelayError> {
        let (store_id, _) = end_of_store(client).await?;
        let stream = stream_of(name)?;
        let last = last_checkpoint(client, &stream).await?;
        keep_one(client, &stream).await?;
        let mut checkpoints = Self {
            name: name.clone(),
            stream,
            store_id,
            followed: match &source.from {
                SubscribeFrom::All(_) => None,
                SubscribeFrom::Stream(stream, _) => Some(stream.clone()),
            },
            last: last.as_ref().map(|event| event.revision),
        };
        let (reached, mut subscribe) = match &last {
            Some(event) => checkpoints.resume(event, source, after_restore)?,
            None => begin(client, source).await?,
        };
        subscribe.store_id = Some(store_id);
        let claim = checkpoints.next(reached)?;
        let claimed = client.append_request(&claim).await;
        checkpoints.saved(claimed)?;
        Ok(Opened {
            checkpoints,
            reached,
            subscribe,
        })
    }

    /// The append that writes the next checkpoint. Until it is known what became of it there must be no other.
    pub(super) fn next(&self, reached: Place) -> Result<Append> {
        let data = Data {
            store_id: self.store_id.to_string(),
            position: reached.position.get(),
            stream: self.followed.as_ref().map(ToString::to_string),
            revision: (self.followed.as_ref())
                .and(reached.revision)
                .map(Revision::get),
        };
        let data = serde_json::to_vec(&data)
            .map_err(|error| Error::internal_from("a checkpoint is not JSON", error))?;
        let event = EventData::json(new_event_id(), CHECKPOINT, data)?;
        let expected = match self.last {
            Some(revision) => ExpectedRevision::Exact(revision),
            None => ExpectedRevision::NoStream,
        };
        Append::to_stream(self.stream.clone(), expected, vec![event])
    }

    /// Takes what became of [`Self::next`]; the position is where the checkpoint stands.
    pub(super) fn saved(&mut self, outcome: Result<Appended>) -> Result<Position, RelayError> {
        match outcome {
            Ok(appended) if appended.store_id != self.store_id => {
                Err(RelayError::Store(Error::WrongStore {
                    expected: self.store_id,
                    actual: appended.store_id,
                }))
            }
            Ok(appended) => {
                let written = appended.streams.first();
                self.last = written.and_then(|stream| stream.last_revision);
                Ok(appended.last_position)
            }
            Err(Error::Refused(_)) => Err(RelayError::Fenced {
                name: self.name.to_string(),
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// Goes on after a checkpoint.
    fn resume(
        &self,
        event: &RecordedEvent,
        source: Subscribe,
        after_restore: AfterRestore,
    ) -> Result<(Place, Subscribe)> {
        let unfit = |reason: String| {
            Error::invalid(
                "name",
                format!("the checkpoint in `{}` {reason}", self.stream),
            )
        };
        let data: Data = serde_json::from_slice(&event.data)
            .map_err(|error| unfit(format!("is not understood: {error}")))?;
        let expected = Uuid::try_parse(&data.store_id).map(StoreId::new);
        let expected = expected.map_err(|error| unfit(format!("is not understood: {error}")))?;
        if expected != self.store_id && after_restore == AfterRestore::Stop {
            let actual = self.store_id;
            return Err(Error::WrongStore { expected, actual });
        }
        if data.stream.as_deref() != self.followed.as_ref().map(StreamName::as_str) {
            let other = data.stream.as_deref();
            let of = other.map_or("all streams".into(), |stream| format!("stream `{stream}`"));
            return Err(unfit(format!("is of a relay of {of}")));
        }
        let reached = Place {
            position: Position::new(data.position),
            revision: data.revision.map(Revision::new),
        };
        let from = match source.from {
            SubscribeFrom::All(_) => SubscribeFrom::All(Start::After(reached.position)),
            SubscribeFrom::Stream(stream, _) => {
                let start = reached.revision.map_or(Start::Beginning, Start::After);
                SubscribeFrom::Stream(stream, start)
            }
        };
        Ok((reached, Subscribe { from, ..source }))
    }
}

/// Begins where the source says. What its end is stands in the first checkpoint, so that nothing is left out
/// when the relay ends before the first event.
async fn begin(client: &Client, source: Subscribe) -> Result<(Place, Subscribe)> {
    let subscribe = resolve_end(client, source).await?;
    let mut reached = Place::default();
    match &subscribe.from {
        SubscribeFrom::All(Start::After(position)) => reached.position = *position,
        SubscribeFrom::Stream(_, Start::After(revision)) => reached.revision = Some(*revision),
        _ => {}
    }
    Ok((reached, subscribe))
}

/// Writes a checkpoint, for as long as the store cannot be reached, always with the same event id.
pub(super) async fn write(client: Client, append: Append) -> Result<Appended> {
    let mut failed = 0;
    loop {
        match client.append_request(&append).await {
            Err(error) if passes(&error) => {
                failed += 1;
                tracing::warn!(%error, failed, "checkpoint of a relay not written, trying again");
                let pause = RetryPolicy::FOR_EVER.pause_after(failed);
                sleep(pause.unwrap_or(RetryPolicy::FOR_EVER.pause_max)).await;
            }
            outcome => return outcome,
        }
    }
}

/// Which store this is, and its last position.
pub(super) async fn end_of_store(client: &Client) -> Result<(StoreId, Position)> {
    let read = Read {
        filter: Filter::everything(),
        ..Read::all()
    };
    let mut batches = client.read(read).backwards().limit(1).batches();
    let batch = batches.try_next().await?;
    let store_id = batches.store_id();
    let store_id = store_id.ok_or_else(|| Error::internal("the server does not name its store"))?;
    Ok((
        store_id,
        batch.map(|batch| batch.last_position).unwrap_or_default(),
    ))
}

async fn last_checkpoint(client: &Client, stream: &StreamName) -> Result<Option<RecordedEvent>> {
    match client.read_stream(stream).backwards().limit(1).await {
        Ok(events) => Ok(events.into_iter().next()),
        Err(Error::StreamNotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Of the checkpoints only the last one is of use. Who has said otherwise is left alone.
async fn keep_one(client: &Client, stream: &StreamName) -> Result<()> {
    match client.get_stream(stream).await {
        Ok(info) if info.metadata_revision.is_some() => return Ok(()),
        Ok(_) | Err(Error::StreamNotFound { .. }) => {}
        Err(error) => return Err(error),
    }
    let only_last = serde_json::json!({ "$maxCount": 1 });
    let expected = ExpectedRevision::NoStream;
    match client.set_metadata(stream, expected, &only_last).await {
        // Somebody else was as quick.
        Ok(_) | Err(Error::Refused(_)) => Ok(()),
        Err(error) => Err(error),
    }
}
