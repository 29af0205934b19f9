//! A group has two doors: what is created, consumed, parked and replayed through one is the same through
//! the other.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use futures::StreamExt;
use icecore_client::{
    Append, Client, Error, EventData, ExpectedRevision, Group, GroupEvents, GroupId, GroupName,
    GroupProblem, GroupSettings, NackAction, ParkedRange, RetryPolicy, Revision, StreamName,
};
use icecore_kurrent::proto::event_store::client as shared;
use icecore_kurrent::proto::event_store::client::persistent_subscriptions as kurrent;
use icecore_server::{Config, Engine, serve};
use kurrent::persistent_subscriptions_client::PersistentSubscriptionsClient;
use kurrent::read_req::nack::Action;
use kurrent::{create_req, delete_req, get_info_req, read_req, read_resp, replay_parked_req};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

const GROUP: &str = "g";
const STREAM: &str = "s";

/// Both doors of a server in this process, which ends with the test.
struct Doors {
    icecore: Client,
    kurrent: PersistentSubscriptionsClient<Channel>,
}

async fn doors() -> Doors {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let config = Config::new(Engine::Memory);
    tokio::spawn(serve(listener, config, std::future::pending()));
    let channel = Endpoint::from_shared(url.clone()).unwrap();
    Doors {
        icecore: Client::builder(url).connect_lazy().unwrap(),
        kurrent: PersistentSubscriptionsClient::new(channel.connect().await.unwrap()),
    }
}

fn group() -> GroupId {
    let name = GroupName::new(GROUP).unwrap();
    GroupId::of_stream(StreamName::new(STREAM).unwrap(), name).unwrap()
}

fn identifier() -> shared::StreamIdentifier {
    shared::StreamIdentifier {
        stream_name: STREAM.into(),
    }
}

/// Nothing is waited for longer than this.
async fn soon<F: Future>(future: F) -> F::Output {
    let within = tokio::time::timeout(Duration::from_secs(60), future).await;
    within.expect("it takes too long")
}

impl Doors {
    /// Appends events with ids that count from 1.
    async fn put(&self, count: u128) {
        let events = (1..=count).map(|id| EventData::json(Uuid::from_u128(id), "T", "{}").unwrap());
        let stream = StreamName::new(STREAM).unwrap();
        let append = Append::to_stream(stream, ExpectedRevision::Any, events.collect()).unwrap();
        self.icecore.append_request(&append).await.unwrap();
    }

    fn consume(&self) -> GroupEvents {
        let call = self.icecore.consume(&group()).buffer_size(1);
        call.reconnection(RetryPolicy::NEVER).start()
    }

    async fn create_as_kurrent(&mut self) {
        use create_req::settings::{CheckpointAfter, MessageTimeout};
        use create_req::stream_options::RevisionOption;
        let settings = create_req::Settings {
            max_retry_count: 10,
            min_checkpoint_count: 1,
            max_checkpoint_count: 10,
            live_buffer_size: 10,
            read_batch_size: 10,
            history_buffer_size: 10,
            consumer_strategy: "RoundRobin".to_owned(),
            message_timeout: Some(MessageTimeout::MessageTimeoutMs(600_000)),
            checkpoint_after: Some(CheckpointAfter::CheckpointAfterMs(1_000)),
            ..create_req::Settings::default()
        };
        let of_stream = create_req::StreamOptions {
            stream_identifier: Some(identifier()),
            revision_option: Some(RevisionOption::Start(shared::Empty {})),
        };
        let options = create_req::Options {
            group_name: GROUP.to_owned(),
            settings: Some(settings),
            stream_option: Some(create_req::options::StreamOption::Stream(of_stream)),
            ..create_req::Options::default()
        };
        let options = Some(options);
        let request = kurrent::CreateReq { options };
        self.kurrent.create(request).await.unwrap();
    }

    async fn join_as_kurrent(&mut self) -> KurrentConsumer {
        use read_req::options::{StreamOption, UuidOption, uuid_option};
        let (requests, waiting) = mpsc::channel(10);
        let options = read_req::Options {
            group_name: GROUP.to_owned(),
            buffer_size: 1,
            uuid_option: Some(UuidOption {
                content: Some(uuid_option::Content::String(shared::Empty {})),
            }),
            stream_option: Some(StreamOption::StreamIdentifier(identifier())),
        };
        let mut consumer = KurrentConsumer {
            requests,
            answers: None,
        };
        consumer.say(read_req::Content::Options(options)).await;
        let answers = self.kurrent.read(ReceiverStream::new(waiting)).await;
        consumer.answers = Some(answers.unwrap().into_inner());
        consumer
    }

    async fn parked_as_kurrent(&mut self) -> i64 {
        let options = Some(get_info_req::Options {
            group_name: GROUP.to_owned(),
            stream_option: Some(get_info_req::options::StreamOption::StreamIdentifier(
                identifier(),
            )),
        });
        let request = kurrent::GetInfoReq { options };
        let info = self.kurrent.get_info(request).await.unwrap().into_inner();
        info.subscription_info.unwrap().parked_message_count
    }

    async fn replay_as_kurrent(&mut self) {
        let options = Some(replay_parked_req::Options {
            group_name: GROUP.to_owned(),
            stream_option: Some(replay_parked_req::options::StreamOption::StreamIdentifier(
                identifier(),
            )),
            ..replay_parked_req::Options::default()
        });
        let request = kurrent::ReplayParkedReq { options };
        self.kurrent.replay_parked(request).await.unwrap();
    }

    async fn delete_as_kurrent(&mut self) {
        let options = Some(delete_req::Options {
            group_name: GROUP.to_owned(),
            stream_option: Some(delete_req::options::StreamOption::StreamIdentifier(
                identifier(),
            )),
        });
        self.kurrent
            .delete(kurrent::DeleteReq { options })
            .await
            .unwrap();
    }

    /// Waits until so many events are parked, as the other door says.
    async fn parked_as_icecore(&self, count: u64) {
        let parked = async || self.icecore.get_group(&group()).await.unwrap().parked_count;
        soon(async {
            while parked().await != count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

/// A consumer that speaks Kurrent's protocol.
struct KurrentConsumer {
    requests: mpsc::Sender<kurrent::ReadReq>,
    answers: Option<Streaming<kurrent::ReadResp>>,
}

impl KurrentConsumer {
    async fn say(&self, content: read_req::Content) {
        let content = Some(content);
        let said = self.requests.send(kurrent::ReadReq { content }).await;
        said.unwrap();
    }

    /// The revision of the next event.
    async fn next(&mut self) -> u64 {
        let answers = self.answers.as_mut().unwrap();
        loop {
            let answer = soon(answers.message()).await.unwrap().unwrap();
            if let Some(read_resp::Content::Event(event)) = answer.content {
                return event.event.unwrap().stream_revision;
            }
        }
    }

    /// Has nothing more to say, and waits until the server has heard everything.
    async fn end(self) {
        drop(self.requests);
        let mut answers = self.answers.unwrap();
        assert!(soon(answers.message()).await.unwrap().is_none());
    }

    async fn ack(&self, id: u128) {
        let ids = vec![text_id(id)];
        let ack = read_req::Ack {
            ids,
            ..read_req::Ack::default()
        };
        self.say(read_req::Content::Ack(ack)).await;
    }

    async fn park(&self, id: u128) {
        let nack = read_req::Nack {
            ids: vec![text_id(id)],
            action: Action::Park.into(),
            reason: "not for me".to_owned(),
            ..read_req::Nack::default()
        };
        self.say(read_req::Content::Nack(nack)).await;
    }
}

fn text_id(id: u128) -> shared::Uuid {
    let text = Uuid::from_u128(id).to_string();
    shared::Uuid {
        value: Some(shared::uuid::Value::String(text)),
    }
}

#[tokio::test]
async fn what_kurrents_consumer_parks_is_replayed_through_icecore() {
    let mut doors = doors().await;
    doors.put(2).await;
    // In strict order, which Kurrent's clients cannot ask for and get.
    let new = Group::new(group());
    doors.icecore.create_group(new).await.unwrap();
    let mut theirs = doors.join_as_kurrent().await;
    assert_eq!(theirs.next().await, 0);
    theirs.park(1).await;
    doors.parked_as_icecore(1).await;
    let page = doors
        .icecore
        .parked_events(&group(), Revision::FIRST, 0)
        .await;
    let parked = &page.unwrap().events[0];
    assert_eq!((parked.revision.get(), &*parked.reason), (0, "not for me"));
    assert!(parked.waiting_stream.is_some(), "the stream waits");
    let replayed = doors
        .icecore
        .replay_parked(&group(), ParkedRange::All)
        .await;
    assert_eq!(replayed.unwrap(), 1);
    assert_eq!(theirs.next().await, 0);
    theirs.ack(1).await;
    assert_eq!(theirs.next().await, 1);
    // What it has goes to a consumer of the other door, and has not been tried.
    let mut ours = doors.consume();
    drop(theirs.requests);
    let event = soon(ours.next()).await.unwrap().unwrap();
    assert_eq!(event.event().unwrap().revision.get(), 1);
    assert_eq!(event.delivery().retry_count, 0);
    event.ack().await.unwrap();
    ours.leave().await.unwrap();
    assert_eq!(doors.parked_as_kurrent().await, 0);
}

#[tokio::test]
async fn what_icecores_consumer_parks_is_replayed_through_kurrent() {
    let mut doors = doors().await;
    doors.put(1).await;
    doors.create_as_kurrent().await;
    let settings = doors
        .icecore
        .get_group(&group())
        .await
        .unwrap()
        .group
        .settings;
    let long = Duration::from_secs(600);
    assert_eq!(
        (settings.message_timeout, settings.max_checkpoint_count),
        (long, 10)
    );
    let mut ours = doors.consume();
    let event = soon(ours.next()).await.unwrap().unwrap();
    event.nack(NackAction::Park, "cannot").await.unwrap();
    doors.parked_as_icecore(1).await;
    assert_eq!(doors.parked_as_kurrent().await, 1);
    ours.leave().await.unwrap();

    let mut theirs = doors.join_as_kurrent().await;
    doors.replay_as_kurrent().await;
    assert_eq!(theirs.next().await, 0);
    theirs.ack(1).await;
    theirs.end().await;

    // Both hear what becomes of the group.
    let other = GroupSettings::default();
    doors.icecore.update_group(&group(), other).await.unwrap();
    let mut ours = doors.consume();
    let joined = futures::poll!(ours.next());
    assert!(joined.is_pending());
    soon(async {
        while doors
            .icecore
            .get_group(&group())
            .await
            .unwrap()
            .consumers
            .is_empty()
        {
            assert!(futures::poll!(ours.next()).is_pending());
        }
    })
    .await;
    doors.delete_as_kurrent().await;
    let end = soon(ours.next()).await.unwrap();
    assert!(
        matches!(
            &end,
            Err(Error::Group {
                problem: GroupProblem::NotFound,
                ..
            })
        ),
        "{end:?}"
    );
}
