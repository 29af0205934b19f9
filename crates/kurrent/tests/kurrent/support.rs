//! The services over a store whose clock stands still, and short ways to call them.

use futures::{StreamExt, stream};
use icecore_core::{ExpectedRevision, Revision, StoreId, Timestamp};
use icecore_eventstore::{Clock, EventStore, Ids, ManualClock, StoreConfig};
use icecore_kurrent::Kurrent;
use icecore_kurrent::proto::event_store::client as shared;
use icecore_kurrent::proto::event_store::client::streams::append_req::options::ExpectedStreamRevision;
use icecore_kurrent::proto::event_store::client::streams::append_req::proposed_message::MetadataEntry;
use icecore_kurrent::proto::event_store::client::streams::streams_client::StreamsClient;
use icecore_kurrent::proto::event_store::client::streams::{
    AppendReq, AppendResp, ReadReq, ReadResp, append_req, append_resp, delete_req, read_req,
    read_resp, tombstone_req,
};
use icecore_storage::MemoryStorage;
use std::sync::Arc;
use std::time::Duration;
use tonic::{Code, Status, Streaming};
use uuid::Uuid;

pub(crate) use ExpectedRevision::{Any, NoStream, StreamExists};
pub(crate) use read_req::Options;
pub(crate) use read_req::options::{
    AllOptions, CountOption, FilterOption, ReadDirection, StreamOption, StreamOptions, all_options,
    stream_options,
};
pub(crate) use read_resp::Content;

/// When every test begins.
pub(crate) const BEGIN: Timestamp = Timestamp::from_nanos(1_700_000_000_123_456_789);
pub(crate) const SECOND: i64 = 1_000_000_000;

/// How long the parts of an append may take.
pub(crate) const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// The services over a store in memory.
pub(crate) struct Door {
    pub(crate) store: EventStore,
    pub(crate) clock: ManualClock,
    pub(crate) kurrent: Kurrent,
}

impl Door {
    pub(crate) async fn open() -> Self {
        let storage = MemoryStorage::new(StoreId::new(Uuid::from_u128(7)));
        let (clock, manual) = Clock::manual(BEGIN);
        let (config, ids) = (StoreConfig::default(), Ids::counting(1 << 40));
        let store = EventStore::open(Arc::new(storage), config, clock, ids).await;
        let store = store.unwrap();
        Self {
            kurrent: Kurrent::new(&store, MESSAGE_TIMEOUT),
            store,
            clock: manual,
        }
    }

    pub(crate) fn streams(&self) -> StreamsClient<Kurrent> {
        StreamsClient::new(self.kurrent.clone())
    }

    /// Appends small events with these ids.
    pub(crate) async fn put(
        &self,
        stream: &str,
        expected: ExpectedRevision,
        ids: &[u128],
    ) -> Result<AppendResp, Status> {
        let events = ids.iter().map(|id| event(*id, "T", "{}"));
        self.append(stream, expected, events).await
    }

    pub(crate) async fn append(
        &self,
        stream: &str,
        expected: ExpectedRevision,
        events: impl IntoIterator<Item = append_req::ProposedMessage>,
    ) -> Result<AppendResp, Status> {
        let options = append_req::Options {
            stream_identifier: Some(identifier(stream)),
            expected_stream_revision: Some(append_expectation(expected)),
        };
        let first = append_req::Content::Options(options);
        let events = events.into_iter().map(append_req::Content::ProposedMessage);
        self.send([first].into_iter().chain(events)).await
    }

    /// Sends these messages as one append.
    pub(crate) async fn send(
        &self,
        contents: impl IntoIterator<Item = append_req::Content>,
    ) -> Result<AppendResp, Status> {
        let messages = contents.into_iter().map(|content| AppendReq {
            content: Some(content),
        });
        let messages: Vec<_> = messages.collect();
        let answer = self.streams().append(stream::iter(messages)).await?;
        Ok(answer.into_inner())
    }

    pub(crate) async fn begin_read(&self, options: Options) -> Result<Streaming<ReadResp>, Status> {
        let options = Some(options);
        let answer = self.streams().read(ReadReq { options }).await?;
        Ok(answer.into_inner())
    }

    /// All messages of a read.
    pub(crate) async fn read(&self, options: Options) -> Result<Vec<Content>, Status> {
        let answers = self.begin_read(options).await?;
        let contents = answers.map(|answer| answer.map(|answer| answer.content.unwrap()));
        contents.collect::<Vec<_>>().await.into_iter().collect()
    }

    /// Revisions of the events that a read finds.
    pub(crate) async fn revisions(&self, options: Options) -> Result<Vec<u64>, Status> {
        Ok(events(self.read(options).await?)
            .iter()
            .map(|event| event.stream_revision)
            .collect())
    }

    /// Positions of the events that a read finds.
    pub(crate) async fn positions(&self, options: Options) -> Result<Vec<u64>, Status> {
        Ok(events(self.read(options).await?)
            .iter()
            .map(|event| event.commit_position)
            .collect())
    }

    pub(crate) async fn delete(
        &self,
        stream: &str,
        expected: ExpectedRevision,
    ) -> Result<u64, Status> {
        use delete_req::options::ExpectedStreamRevision as Expected;
        use icecore_kurrent::proto::event_store::client::streams::delete_resp::PositionOption;
        let expected = match expected {
            ExpectedRevision::Exact(revision) => Expected::Revision(revision.get()),
            NoStream => Expected::NoStream(shared::Empty {}),
            StreamExists => Expected::StreamExists(shared::Empty {}),
            _ => Expected::Any(shared::Empty {}),
        };
        let options = Some(delete_req::Options {
            stream_identifier: Some(identifier(stream)),
            expected_stream_revision: Some(expected),
        });
        let request = icecore_kurrent::proto::event_store::client::streams::DeleteReq { options };
        let answer = self.streams().delete(request).await?.into_inner();
        match answer.position_option {
            Some(PositionOption::Position(position)) => Ok(position.commit_position),
            other => panic!("no position: {other:?}"),
        }
    }

    pub(crate) async fn tombstone(
        &self,
        stream: &str,
        expected: ExpectedRevision,
    ) -> Result<u64, Status> {
        use icecore_kurrent::proto::event_store::client::streams::tombstone_resp::PositionOption;
        use tombstone_req::options::ExpectedStreamRevision as Expected;
        let expected = match expected {
            ExpectedRevision::Exact(revision) => Expected::Revision(revision.get()),
            NoStream => Expected::NoStream(shared::Empty {}),
            StreamExists => Expected::StreamExists(shared::Empty {}),
            _ => Expected::Any(shared::Empty {}),
        };
        let options = Some(tombstone_req::Options {
            stream_identifier: Some(identifier(stream)),
            expected_stream_revision: Some(expected),
        });
        let request =
            icecore_kurrent::proto::event_store::client::streams::TombstoneReq { options };
        let answer = self.streams().tombstone(request).await?.into_inner();
        match answer.position_option {
            Some(PositionOption::Position(position)) => Ok(position.commit_position),
            other => panic!("no position: {other:?}"),
        }
    }

    /// Writes metadata of a stream, whatever it was before.
    pub(crate) async fn set_metadata(&self, stream: &str, id: u128, json: &str) {
        let event = event(id, "$metadata", json);
        let written = self.append(&format!("$${stream}"), Any, [event]).await;
        success(written.unwrap());
    }
}

pub(crate) fn exact(revision: u64) -> ExpectedRevision {
    ExpectedRevision::Exact(Revision::new(revision))
}

pub(crate) fn append_expectation(expected: ExpectedRevision) -> ExpectedStreamRevision {
    match expected {
        ExpectedRevision::Exact(revision) => ExpectedStreamRevision::Revision(revision.get()),
        NoStream => ExpectedStreamRevision::NoStream(shared::Empty {}),
        StreamExists => ExpectedStreamRevision::StreamExists(shared::Empty {}),
        _ => ExpectedStreamRevision::Any(shared::Empty {}),
    }
}

pub(crate) fn identifier(stream: &str) -> shared::StreamIdentifier {
    shared::StreamIdentifier {
        stream_name: stream.to_owned().into(),
    }
}

pub(crate) fn text_id(id: u128) -> shared::Uuid {
    let text = Uuid::from_u128(id).to_string();
    shared::Uuid {
        value: Some(shared::uuid::Value::String(text)),
    }
}

/// An event with JSON data.
pub(crate) fn event(id: u128, event_type: &str, data: &str) -> append_req::ProposedMessage {
    let entry = |key: &str, value: &str| MetadataEntry {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
    };
    append_req::ProposedMessage {
        id: Some(text_id(id)),
        metadata: vec![
            entry("type", event_type),
            entry("content-type", "application/json"),
        ],
        custom_metadata: bytes::Bytes::new(),
        data: data.to_owned().into(),
    }
}

/// What an append that went well did: the last revision and the position.
pub(crate) fn success(answer: AppendResp) -> (Option<u64>, Option<u64>) {
    use append_resp::success::{CurrentRevisionOption as Current, PositionOption};
    let Some(append_resp::Result::Success(success)) = answer.result else {
        panic!("not written: {answer:?}");
    };
    let revision = match success.current_revision_option {
        Some(Current::CurrentRevision(revision)) => Some(revision),
        Some(Current::NoStream(_)) => None,
        None => panic!("neither a revision nor none: {success:?}"),
    };
    let position = match success.position_option {
        Some(PositionOption::Position(position)) => {
            assert_eq!(position.commit_position, position.prepare_position);
            Some(position.commit_position)
        }
        Some(PositionOption::NoPosition(_)) => None,
        None => panic!("neither a position nor none: {success:?}"),
    };
    (revision, position)
}

/// What was expected wrongly, in an answer.
pub(crate) fn wrong_version(answer: AppendResp) -> append_resp::WrongExpectedVersion {
    match answer.result {
        Some(append_resp::Result::WrongExpectedVersion(wrong)) => wrong,
        other => panic!("it went well: {other:?}"),
    }
}

/// A read of a whole stream, or of all with [`of_all`].
pub(crate) fn of_stream(stream: &str) -> Options {
    of(StreamOption::Stream(StreamOptions {
        stream_identifier: Some(identifier(stream)),
        revision_option: Some(stream_options::RevisionOption::Start(shared::Empty {})),
    }))
}

/// A read of one stream, from a revision on.
pub(crate) fn from_revision(stream: &str, revision: u64) -> Options {
    of(StreamOption::Stream(StreamOptions {
        stream_identifier: Some(identifier(stream)),
        revision_option: Some(stream_options::RevisionOption::Revision(revision)),
    }))
}

/// A read of one stream from its end.
pub(crate) fn from_end(stream: &str) -> Options {
    of(StreamOption::Stream(StreamOptions {
        stream_identifier: Some(identifier(stream)),
        revision_option: Some(stream_options::RevisionOption::End(shared::Empty {})),
    }))
}

pub(crate) fn of_all(from: all_options::AllOption) -> Options {
    of(StreamOption::All(AllOptions {
        all_option: Some(from),
    }))
}

pub(crate) fn at(position: u64) -> all_options::AllOption {
    all_options::AllOption::Position(read_req::options::Position {
        commit_position: position,
        prepare_position: position,
    })
}

pub(crate) const START: all_options::AllOption = all_options::AllOption::Start(shared::Empty {});
pub(crate) const END: all_options::AllOption = all_options::AllOption::End(shared::Empty {});

/// Forwards, as much as there is, ids as text, links as they are.
fn of(stream_option: StreamOption) -> Options {
    Options {
        stream_option: Some(stream_option),
        read_direction: ReadDirection::Forwards.into(),
        resolve_links: false,
        count_option: Some(CountOption::Count(u64::MAX)),
        filter_option: Some(FilterOption::NoFilter(shared::Empty {})),
        uuid_option: Some(read_req::options::UuidOption {
            content: Some(read_req::options::uuid_option::Content::String(
                shared::Empty {},
            )),
        }),
        control_option: None,
    }
}

pub(crate) fn backwards(options: Options) -> Options {
    Options {
        read_direction: ReadDirection::Backwards.into(),
        ..options
    }
}

pub(crate) fn counted(options: Options, count: u64) -> Options {
    Options {
        count_option: Some(CountOption::Count(count)),
        ..options
    }
}

pub(crate) fn followed(options: Options) -> Options {
    let subscription = read_req::options::SubscriptionOptions {};
    Options {
        count_option: Some(CountOption::Subscription(subscription)),
        ..options
    }
}

pub(crate) type Recorded = read_resp::read_event::RecordedEvent;

/// The events among these messages.
pub(crate) fn events(contents: Vec<Content>) -> Vec<Recorded> {
    let events = contents.into_iter().filter_map(|content| match content {
        Content::Event(found) => found.event,
        _ => None,
    });
    events.collect()
}

/// Holds a status to its code and the trailers that clients look at.
#[track_caller]
pub(crate) fn check_status(status: &Status, code: Code, trailers: &[(&str, &str)]) {
    assert_eq!(status.code(), code, "{status:?}");
    for (name, value) in trailers {
        let found = status.metadata().get(*name).map(|v| v.to_str().unwrap());
        assert_eq!(found, Some(*value), "{name} of {status:?}");
    }
    assert!(status.details().is_empty(), "{status:?}");
}

/// The state in which a stream stands before it is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Before {
    Absent,
    OnlyMetadata,
    /// The last revision is 1.
    Living,
    /// The last revision is 1.
    SoftDeleted,
    Tombstoned,
}

impl Door {
    /// Brings a new stream into a state.
    pub(crate) async fn bring(&self, stream: &str, before: Before) {
        match before {
            Before::Absent => {}
            Before::OnlyMetadata => self.set_metadata(stream, 900, r#"{"owner":"me"}"#).await,
            Before::Living | Before::SoftDeleted | Before::Tombstoned => {
                success(self.put(stream, NoStream, &[901, 902]).await.unwrap());
            }
        }
        match before {
            Before::SoftDeleted => assert!(self.delete(stream, Any).await.is_ok()),
            Before::Tombstoned => assert!(self.tombstone(stream, Any).await.is_ok()),
            _ => {}
        }
    }
}
