//! The services over a store in memory, and short ways to call them.

use icecore_core::{
    AppendBuilder, ContentType, EventData, EventType, ExpectedRevision, StoreId, StreamName,
    Timestamp,
};
use icecore_eventstore::{Clock, EventStore, Ids, StoreConfig};
use icecore_kurrent::Kurrent;
use icecore_kurrent::proto::event_store::client as shared;
use icecore_kurrent::proto::event_store::client::persistent_subscriptions as proto;
use icecore_storage::MemoryStorage;
use proto::create_req::{self, Settings, settings};
use proto::persistent_subscriptions_client::PersistentSubscriptionsClient;
use proto::{get_info_req, read_req, read_resp};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming};
use uuid::Uuid;

const BEGIN: Timestamp = Timestamp::from_nanos(1_700_000_000_123_456_789);

/// How long a consumer may take to say what it wants.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Nothing comes within this time, if anything is to come at all.
const A_MOMENT: Duration = Duration::from_millis(50);

/// The services over a store in memory.
pub(crate) struct Door {
    pub(crate) store: EventStore,
    pub(crate) storage: Arc<MemoryStorage>,
    pub(crate) kurrent: Kurrent,
}

impl Door {
    pub(crate) async fn open() -> Self {
        Self::over(Arc::new(MemoryStorage::new(StoreId::new(Uuid::from_u128(
            7,
        )))))
        .await
    }

    /// Stops the store and opens it again.
    pub(crate) async fn reopen(self) -> Self {
        self.store.stop().await.unwrap();
        Self::over(self.storage).await
    }

    async fn over(storage: Arc<MemoryStorage>) -> Self {
        let (clock, _) = Clock::manual(BEGIN);
        let config = StoreConfig::default();
        let store = EventStore::open(storage.clone(), config, clock, Ids::random()).await;
        let store = store.unwrap();
        Self {
            kurrent: Kurrent::new(&store, MESSAGE_TIMEOUT),
            store,
            storage,
        }
    }

    pub(crate) fn groups(&self) -> PersistentSubscriptionsClient<Kurrent> {
        PersistentSubscriptionsClient::new(self.kurrent.clone())
    }

    /// Appends small events with these ids to a stream.
    pub(crate) async fn put(&self, stream: &str, ids: &[u128]) {
        for id in ids {
            self.put_event(stream, *id, "T", "{}").await;
        }
    }

    pub(crate) async fn put_event(&self, stream: &str, id: u128, event_type: &str, data: &str) {
        let mut append = AppendBuilder::default();
        let stream = StreamName::new(stream.to_owned()).unwrap();
        let to = append.stream(stream, ExpectedRevision::Any).unwrap();
        let event = EventData {
            id: Uuid::from_u128(id),
            event_type: EventType::new(event_type.to_owned()).unwrap(),
            content_type: ContentType::JSON,
            data: data.to_owned().into(),
            metadata: bytes::Bytes::new(),
            tags: Vec::new(),
        };
        append.event(to, event, None).unwrap();
        self.store.append(append.build().unwrap()).await.unwrap();
    }

    pub(crate) async fn create(&self, options: create_req::Options) -> Result<(), Status> {
        let options = Some(options);
        let created = self.groups().create(proto::CreateReq { options }).await;
        created.map(drop)
    }

    pub(crate) async fn info(
        &self,
        stream: Option<&str>,
        group: &str,
    ) -> Result<proto::SubscriptionInfo, Status> {
        use get_info_req::options::StreamOption;
        let options = Some(get_info_req::Options {
            stream_option: Some(match stream {
                Some(stream) => StreamOption::StreamIdentifier(identifier(stream)),
                None => StreamOption::All(shared::Empty {}),
            }),
            group_name: group.to_owned(),
        });
        let found = self
            .groups()
            .get_info(proto::GetInfoReq { options })
            .await?;
        Ok(found.into_inner().subscription_info.unwrap())
    }

    /// Joins the group of a stream, or of all.
    pub(crate) async fn join(&self, stream: Option<&str>, group: &str) -> Result<Consumer, Status> {
        self.begin(read_options(stream, group), "tester").await
    }

    /// Joins as these options say, and waits until that is confirmed.
    pub(crate) async fn begin(
        &self,
        options: read_req::Options,
        name: &str,
    ) -> Result<Consumer, Status> {
        let (requests, messages) = mpsc::channel(64);
        requests
            .send(message(read_req::Content::Options(options)))
            .await
            .unwrap();
        let mut request = Request::new(ReceiverStream::new(messages));
        if !name.is_empty() {
            let name = name.parse().unwrap();
            request.metadata_mut().insert("connection-name", name);
        }
        let answers = self.groups().read(request).await?.into_inner();
        let mut consumer = Consumer {
            requests: Some(requests),
            answers,
        };
        match consumer.answer().await? {
            Some(read_resp::Content::SubscriptionConfirmation(confirmation)) => {
                assert!(confirmation.subscription_id.contains("::"));
                Ok(consumer)
            }
            other => panic!("not confirmed: {other:?}"),
        }
    }
}

fn message(content: read_req::Content) -> proto::ReadReq {
    proto::ReadReq {
        content: Some(content),
    }
}

pub(crate) fn read_options(stream: Option<&str>, group: &str) -> read_req::Options {
    use read_req::options::{StreamOption, UuidOption, uuid_option};
    read_req::Options {
        group_name: group.to_owned(),
        buffer_size: 2,
        uuid_option: Some(UuidOption {
            content: Some(uuid_option::Content::String(shared::Empty {})),
        }),
        stream_option: Some(match stream {
            Some(stream) => StreamOption::StreamIdentifier(identifier(stream)),
            None => StreamOption::All(shared::Empty {}),
        }),
    }
}

/// A consumer whose call is under way.
pub(crate) struct Consumer {
    /// `None` when it has nothing more to say.
    requests: Option<mpsc::Sender<proto::ReadReq>>,
    answers: Streaming<proto::ReadResp>,
}

impl Consumer {
    pub(crate) async fn answer(&mut self) -> Result<Option<read_resp::Content>, Status> {
        let answer = self.answers.message().await?;
        Ok(answer.map(|answer| answer.content.unwrap()))
    }

    pub(crate) async fn event(&mut self) -> read_resp::ReadEvent {
        match self.answer().await.unwrap() {
            Some(read_resp::Content::Event(event)) => event,
            other => panic!("no event: {other:?}"),
        }
    }

    /// The next event as `STREAM/REVISION`, with ` again N` after N tries; `-` when none comes.
    pub(crate) async fn next(&mut self) -> String {
        let Ok(found) = tokio::time::timeout(A_MOMENT, self.event()).await else {
            return "-".to_owned();
        };
        let event = found.event.unwrap();
        let stream = event.stream_identifier.unwrap().stream_name;
        let stream = String::from_utf8(stream.to_vec()).unwrap();
        let place = format!("{stream}/{}", event.stream_revision);
        match found.count.unwrap() {
            read_resp::read_event::Count::RetryCount(0) => place,
            read_resp::read_event::Count::RetryCount(tries) => format!("{place} again {tries}"),
            read_resp::read_event::Count::NoRetryCount(_) => panic!("no count of tries"),
        }
    }

    pub(crate) async fn gets(&mut self, wanted: &[&str]) {
        for wanted in wanted {
            assert_eq!(self.next().await, *wanted);
        }
    }

    pub(crate) async fn send(&mut self, content: read_req::Content) {
        let requests = self.requests.as_ref().unwrap();
        requests.send(message(content)).await.unwrap();
    }

    pub(crate) async fn ack(&mut self, id: u128) {
        let ids = vec![text_id(id)];
        let id = bytes::Bytes::new();
        self.send(read_req::Content::Ack(read_req::Ack { id, ids }))
            .await;
    }

    pub(crate) async fn nack(&mut self, id: u128, action: read_req::nack::Action) {
        let nack = read_req::Nack {
            ids: vec![text_id(id)],
            action: action.into(),
            reason: "cannot".to_owned(),
            ..read_req::Nack::default()
        };
        self.send(read_req::Content::Nack(nack)).await;
    }

    /// Has nothing more to say.
    pub(crate) fn finish(&mut self) {
        self.requests = None;
    }

    /// How the call ends: the status, if it is not OK.
    pub(crate) async fn end(&mut self) -> Option<Status> {
        loop {
            match self.answer().await {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(status) => return Some(status),
            }
        }
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

/// What a client sends that chooses nothing.
pub(crate) fn default_settings() -> Settings {
    Settings {
        message_timeout: Some(settings::MessageTimeout::MessageTimeoutMs(30_000)),
        checkpoint_after: Some(settings::CheckpointAfter::CheckpointAfterMs(2_000)),
        max_retry_count: 10,
        min_checkpoint_count: 10,
        max_checkpoint_count: 1_000,
        live_buffer_size: 500,
        read_batch_size: 20,
        history_buffer_size: 500,
        consumer_strategy: "RoundRobin".to_owned(),
        ..Settings::default()
    }
}

/// A group of a stream, from its start.
pub(crate) fn of_stream(stream: &str, group: &str) -> create_req::Options {
    use create_req::stream_options::RevisionOption;
    from_revision(stream, group, RevisionOption::Start(shared::Empty {}))
}

pub(crate) fn from_revision(
    stream: &str,
    group: &str,
    from: create_req::stream_options::RevisionOption,
) -> create_req::Options {
    let options = create_req::StreamOptions {
        stream_identifier: Some(identifier(stream)),
        revision_option: Some(from),
    };
    create_req::Options {
        stream_identifier: None,
        group_name: group.to_owned(),
        settings: Some(default_settings()),
        stream_option: Some(create_req::options::StreamOption::Stream(options)),
    }
}

/// A group of all streams.
pub(crate) fn of_all(
    group: &str,
    from: create_req::all_options::AllOption,
    filter: Option<create_req::all_options::FilterOptions>,
) -> create_req::Options {
    use create_req::all_options::FilterOption;
    let options = create_req::AllOptions {
        all_option: Some(from),
        filter_option: Some(match filter {
            Some(filter) => FilterOption::Filter(filter),
            None => FilterOption::NoFilter(shared::Empty {}),
        }),
    };
    create_req::Options {
        stream_identifier: None,
        group_name: group.to_owned(),
        settings: Some(default_settings()),
        stream_option: Some(create_req::options::StreamOption::All(options)),
    }
}

pub(crate) const START: create_req::all_options::AllOption =
    create_req::all_options::AllOption::Start(shared::Empty {});

/// The stream names that begin so.
pub(crate) fn prefixed(prefix: &str) -> create_req::all_options::FilterOptions {
    use create_req::all_options::filter_options::{Expression, Filter, Window};
    create_req::all_options::FilterOptions {
        checkpoint_interval_multiplier: 1,
        filter: Some(Filter::StreamIdentifier(Expression {
            regex: String::new(),
            prefix: vec![prefix.to_owned()],
        })),
        window: Some(Window::Max(32)),
    }
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

/// The status of a group that is not there.
#[track_caller]
pub(crate) fn check_missing(status: &Status, stream: &str, group: &str) {
    let trailers = [
        ("exception", "persistent-subscription-does-not-exist"),
        ("stream-name", stream),
        ("group-name", group),
    ];
    check_status(status, Code::NotFound, &trailers);
    let text = format!("Subscription group {group} on stream {stream} does not exist.");
    assert_eq!(status.message(), text);
}
