//! Clients that live and do nothing: they must not keep others out.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use futures::stream::{StreamExt, iter, pending};
use icecore_core::{Append, EventData, ExpectedRevision, StreamName};
use icecore_server::{Config, Engine, serve};
use icecore_wire::proto::AppendRequest;
use icecore_wire::proto::streams_client::StreamsClient;
use icecore_wire::session_requests;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

const MIB: usize = 1_024 * 1_024;

/// Room for all appends under way; the store allows no less.
const ROOM: usize = 81 * MIB;

/// A server in this process. It ends with the test.
async fn server() -> String {
    server_with(Config {
        message_timeout: Duration::from_millis(300),
        // Longer than the test may take: whoever is kept out makes it fail by its own deadline.
        admission_timeout: Duration::from_secs(600),
        ..Config::new(Engine::Memory)
    })
    .await
}

async fn server_with(config: Config) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, config, std::future::pending()));
    format!("http://{address}")
}

/// A connection that says nothing.
async fn silent(server: &str) -> TcpStream {
    let address = server.trim_start_matches("http://");
    TcpStream::connect(address).await.unwrap()
}

/// Waits until the server has closed a connection.
async fn is_closed(mut connection: TcpStream) {
    let mut byte = [0];
    let read = connection.read(&mut byte);
    let read = tokio::time::timeout(Duration::from_secs(60), read).await;
    let read = read.expect("the connection stays open");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

async fn client(server: &str) -> StreamsClient<Channel> {
    let endpoint = Endpoint::from_shared(server.to_owned()).unwrap();
    StreamsClient::new(endpoint.connect().await.unwrap())
}

fn append(stream: &str, id: u128, bytes: usize) -> Append {
    let event = EventData::json(Uuid::from_u128(id), "T", vec![b'1'; bytes]).unwrap();
    let stream = StreamName::new(stream.to_owned()).unwrap();
    Append::to_stream(stream, ExpectedRevision::Any, vec![event]).unwrap()
}

/// A small append of somebody else, which must go through soon.
async fn check_that_others_append(server: &str) {
    let request = AppendRequest::try_from(&append("other", 1, 10)).unwrap();
    let mut client = client(server).await;
    let appended = tokio::time::timeout(Duration::from_secs(60), client.append(request)).await;
    appended.expect("others are kept out").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_stops_within_an_append_gives_its_room_back() {
    let server = server().await;
    let mut open = Vec::new();
    for session in 0..6 {
        // 15 MiB that never become an append.
        let mut parts = session_requests(1, &append("stalled", session, 15 * MIB)).unwrap();
        for part in &mut parts {
            part.more = true;
        }
        let requests = iter(parts).chain(pending());
        open.push(
            client(&server)
                .await
                .append_session(requests)
                .await
                .unwrap(),
        );
    }
    check_that_others_append(&server).await;
    for session in open {
        let end = session.into_inner().message().await.unwrap_err();
        assert_eq!(end.code(), tonic::Code::Unavailable, "{end}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_reads_no_answers_keeps_no_room() {
    let server = server().await;
    let appends = u128::try_from(2 * ROOM / MIB).unwrap();
    let requests = (0..appends).flat_map(|n| {
        let sequence = u64::try_from(n).unwrap() + 1;
        session_requests(sequence, &append("unread", n, MIB)).unwrap()
    });
    let endpoint = Endpoint::from_shared(server.clone()).unwrap();
    // Not even one answer fits.
    let endpoint = endpoint
        .initial_stream_window_size(16)
        .initial_connection_window_size(65_535);
    let mut unread = StreamsClient::new(endpoint.connect().await.unwrap());
    let session = unread
        .append_session(iter(requests).chain(pending()))
        .await
        .unwrap();
    check_that_others_append(&server).await;

    // All of them are written although nobody asks how they went.
    let last = StreamName::new("unread").unwrap();
    let mut client = client(&server).await;
    for _ in 0..6_000 {
        let info = client
            .get_stream(icecore_wire::proto::GetStreamRequest::from(last.clone()))
            .await;
        let written = info.ok().and_then(|info| info.into_inner().last);
        if written.is_some_and(|last| u128::from(last.revision) + 1 == appends) {
            drop(session);
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the session stands still");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_says_nothing_is_closed() {
    let server = server_with(Config {
        greeting_timeout: Duration::from_millis(200),
        ..Config::new(Engine::Memory)
    })
    .await;
    // Whoever has said something may rest.
    let mut client = client(&server).await;
    is_closed(silent(&server).await).await;
    let request = AppendRequest::try_from(&append("resting", 1, 10)).unwrap();
    client.append(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_are_closed_and_come_in_when_others_leave() {
    let server = server_with(Config {
        connections_max: 2,
        greeting_timeout: Duration::from_secs(600),
        ..Config::new(Engine::Memory)
    })
    .await;
    let (one, _two) = (silent(&server).await, silent(&server).await);
    is_closed(silent(&server).await).await;
    drop(one);
    // The place is free once the server has seen that its holder is gone.
    let request = AppendRequest::try_from(&append("others", 1, 10)).unwrap();
    for _ in 0..6_000 {
        let endpoint = Endpoint::from_shared(server.clone()).unwrap();
        let mut client = StreamsClient::new(endpoint.connect_lazy());
        if client.append(request.clone()).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nobody comes in");
}
