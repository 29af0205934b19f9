//! What KurrentDB's clients learn only over a socket: where consumers come from, and how a message ends that
//! is too large to be read.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use futures::stream::{self, StreamExt};
use icecore_core::limits::MESSAGE_BYTES_MAX;
use icecore_kurrent::proto::event_store::client as shared;
use icecore_kurrent::proto::event_store::client::persistent_subscriptions as groups;
use icecore_kurrent::proto::event_store::client::streams;
use icecore_kurrent::proto::google::rpc;
use icecore_kurrent::proto::kurrentdb::protocol::v2::streams as v2;
use icecore_server::{Config, Engine, ServeError, serve};
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// A server in memory, and a connection to it.
struct Served {
    channel: Channel,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServeError>>,
}

impl Served {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(listener, Config::new(Engine::Memory), async {
            let _ = stopped.await;
        }));
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        Self {
            channel: endpoint.connect().await.unwrap(),
            stop,
            task,
        }
    }

    async fn stop(self) {
        drop(self.channel);
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

fn identifier(stream: &str) -> shared::StreamIdentifier {
    shared::StreamIdentifier {
        stream_name: stream.to_owned().into(),
    }
}

fn creation() -> groups::CreateReq {
    use groups::create_req::stream_options::RevisionOption;
    use groups::create_req::{Options, Settings, StreamOptions, options, settings};
    let from = StreamOptions {
        stream_identifier: Some(identifier("s")),
        revision_option: Some(RevisionOption::Start(shared::Empty {})),
    };
    let settings = Settings {
        message_timeout: Some(settings::MessageTimeout::MessageTimeoutMs(30_000)),
        checkpoint_after: Some(settings::CheckpointAfter::CheckpointAfterMs(2_000)),
        min_checkpoint_count: 10,
        max_checkpoint_count: 1_000,
        live_buffer_size: 500,
        read_batch_size: 20,
        history_buffer_size: 500,
        consumer_strategy: "RoundRobin".to_owned(),
        ..Settings::default()
    };
    let options = Some(Options {
        stream_identifier: None,
        group_name: "g".to_owned(),
        settings: Some(settings),
        stream_option: Some(options::StreamOption::Stream(from)),
    });
    groups::CreateReq { options }
}

fn consumption() -> groups::ReadReq {
    use groups::read_req::options::{StreamOption, UuidOption, uuid_option};
    use groups::read_req::{Content, Options};
    let options = Options {
        group_name: "g".to_owned(),
        buffer_size: 2,
        uuid_option: Some(UuidOption {
            content: Some(uuid_option::Content::String(shared::Empty {})),
        }),
        stream_option: Some(StreamOption::StreamIdentifier(identifier("s"))),
    };
    let content = Some(Content::Options(options));
    groups::ReadReq { content }
}

#[tokio::test]
async fn the_info_of_a_group_says_where_its_consumers_come_from() {
    use groups::get_info_req::{Options, options::StreamOption};
    let server = Served::start().await;
    let channel = server.channel.clone();
    let mut client =
        groups::persistent_subscriptions_client::PersistentSubscriptionsClient::new(channel);
    client.create(creation()).await.unwrap();
    let messages = stream::iter([consumption()]).chain(stream::pending());
    let mut answers = client.read(messages).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap();
    let options = Some(Options {
        stream_option: Some(StreamOption::StreamIdentifier(identifier("s"))),
        group_name: "g".to_owned(),
    });
    let info = client.get_info(groups::GetInfoReq { options }).await;
    let info = info.unwrap().into_inner().subscription_info.unwrap();
    let [consumer] = &info.connections[..] else {
        panic!("not one consumer: {info:?}");
    };
    let from: std::net::SocketAddr = consumer.from.parse().unwrap();
    assert!(from.ip().is_loopback() && from.port() > 0, "{from}");
    drop((client, answers));
    server.stop().await;
}

fn too_large() -> bytes::Bytes {
    vec![b'1'; MESSAGE_BYTES_MAX].into()
}

#[track_caller]
fn check_first_version(status: &Status) {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let trailer = |name| status.metadata().get(name).map(|v| v.to_str().unwrap());
    assert_eq!(trailer("exception"), Some("maximum-append-size-exceeded"));
    let limit = MESSAGE_BYTES_MAX.to_string();
    assert_eq!(trailer("maximum-append-size"), Some(limit.as_str()));
    assert!(status.details().is_empty(), "{status:?}");
}

#[track_caller]
fn check_second_version(status: &Status) {
    assert_eq!(status.code(), Code::Aborted, "{status:?}");
    let details = rpc::Status::decode(status.details()).unwrap().details;
    let [name, detail] = &details[..] else {
        panic!("not two details: {details:?}");
    };
    let name = rpc::ErrorInfo::decode(&name.value[..]).unwrap();
    let reason = "STREAMS_ERROR_APPEND_TRANSACTION_SIZE_EXCEEDED";
    assert_eq!(name.reason, reason);
    let detail =
        v2::errors::AppendTransactionSizeExceededErrorDetails::decode(&detail.value[..]).unwrap();
    let limit = i32::try_from(MESSAGE_BYTES_MAX).unwrap();
    assert_eq!((detail.size, detail.max_size), (limit + 1, limit));
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_in_the_words_of_its_service() {
    let server = Served::start().await;
    let mut client = v2::streams_service_client::StreamsServiceClient::new(server.channel.clone());
    let record = v2::AppendRecord {
        stream: "s".to_owned(),
        data: too_large(),
        ..v2::AppendRecord::default()
    };
    let request = v2::AppendRecordsRequest {
        records: vec![record.clone()],
        checks: Vec::new(),
    };
    let status = client.append_records(request).await.unwrap_err();
    check_second_version(&status);
    let request = v2::AppendRequest {
        stream: "s".to_owned(),
        records: vec![record],
        expected_revision: None,
    };
    let status = client.append_session(stream::iter([request])).await;
    check_second_version(&status.unwrap_err());

    let mut client = streams::streams_client::StreamsClient::new(server.channel.clone());
    let event = streams::append_req::ProposedMessage {
        data: too_large(),
        ..Default::default()
    };
    let content = Some(streams::append_req::Content::ProposedMessage(event));
    let status = client.append(stream::iter([streams::AppendReq { content }]));
    check_first_version(&status.await.unwrap_err());
    let event = streams::batch_append_req::ProposedMessage {
        data: too_large(),
        ..Default::default()
    };
    let request = streams::BatchAppendReq {
        proposed_messages: vec![event],
        ..Default::default()
    };
    let answers = client.batch_append(stream::iter([request])).await.unwrap();
    let status = answers.into_inner().message().await.unwrap_err();
    check_first_version(&status);
    drop(client);
    server.stop().await;
}
