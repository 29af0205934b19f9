//! Plain HTTP on the same port: health, metrics, and a plain word for those who come to a gRPC path
//! without gRPC.

use crate::{event, exact, fill, stream};
use icecore_client::Error;
use icecore_testing::TestServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer of HTTP/1.1: its status, its head, its text.
struct Answer {
    status: u16,
    head: String,
    text: String,
}

/// Asks as a simple tool asks: one request, and the connection ends with the answer.
async fn ask(server: &TestServer, request: &str, header: &str, body: &[u8]) -> Answer {
    let mut socket = TcpStream::connect(server.address()).await.unwrap();
    let length = body.len();
    let head = format!(
        "{request} HTTP/1.1\r\nHost: icecore\r\nConnection: close\r\n{header}Content-Length: \
         {length}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap();
    Answer {
        status: status.parse().unwrap(),
        head: head.to_lowercase(),
        text: text.to_owned(),
    }
}

#[tokio::test]
async fn health_is_told() {
    let server = TestServer::start().await;
    let live = ask(&server, "GET /health/live", "", b"").await;
    assert_eq!((live.status, live.text.trim()), (200, "live"));
    let ready = ask(&server, "GET /health/ready", "", b"").await;
    assert_eq!((ready.status, ready.text.trim()), (200, "ready"));
    server.stop().await;
}

/// What the issue of a dashboard needs is there, with values that follow what happens.
#[tokio::test]
async fn metrics_count_what_happens() {
    let server = TestServer::start().await;
    let client = server.client();
    fill(&client, "order-1", 3).await;
    let refused = client
        .append(&stream("order-1"), exact(0), [event("Late")])
        .await;
    assert!(matches!(refused, Err(Error::Refused(_))));
    let subscription = client.subscribe_all().start();
    let _open = futures::StreamExt::next(&mut { subscription }).await;

    let metrics = ask(&server, "GET /metrics", "", b"").await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.head.contains("application/openmetrics-text"));
    let value = |name: &str| {
        let line = metrics
            .text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = line.unwrap_or_else(|| panic!("no {name} in:\n{}", metrics.text));
        value.parse::<f64>().unwrap()
    };
    let count = |name: &str, expected: u32| {
        assert!(
            (value(name) - f64::from(expected)).abs() < 0.5,
            "{name} is {}, expected {expected}",
            value(name)
        );
    };
    count("icecore_appends_total", 3);
    count("icecore_events_total", 3);
    count("icecore_refusals_total", 1);
    count("icecore_last_position", 3);
    count("icecore_streams", 1);
    assert!(value("icecore_event_bytes_total") > 3.0);
    assert!(value("icecore_commit_seconds_count") >= 1.0);
    assert!(value("icecore_group_appends_count") >= 1.0);
    assert!(value("icecore_disk_bytes") > 0.0);
    for name in [
        "icecore_queue_appends",
        "icecore_subscriptions",
        "icecore_subscription_lag_events_max",
    ] {
        assert!(value(name) >= 0.0, "{name}");
    }
    assert!(metrics.text.ends_with("# EOF\n"));
    server.stop().await;
}

/// Waits until the metrics have all of these lines.
async fn until_metrics_have(server: &TestServer, wanted: &[String]) {
    let has_all = async {
        loop {
            let metrics = ask(server, "GET /metrics", "", b"").await.text;
            if wanted
                .iter()
                .all(|line| metrics.contains(&format!("\n{line}\n")))
            {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let within = tokio::time::timeout(std::time::Duration::from_secs(60), has_all).await;
    if within.is_err() {
        let metrics = ask(server, "GET /metrics", "", b"").await.text;
        panic!("not all of {wanted:?} are in:\n{metrics}");
    }
}

#[tokio::test]
async fn metrics_tell_what_groups_do_also_after_a_restart() {
    use icecore_client::{Group, GroupId, GroupName, NackAction};
    let mut server = TestServer::start().await;
    let client = server.client();
    fill(&client, "order-1", 1).await;
    fill(&client, "order-2", 2).await;
    let group = GroupId::of_stream(stream("order-2"), GroupName::new("g").unwrap()).unwrap();
    client
        .create_group(Group::new(group.clone()))
        .await
        .unwrap();
    let mut events = client.consume(&group).buffer_size(1).start();
    let mut next = async || {
        futures::StreamExt::next(&mut events)
            .await
            .unwrap()
            .unwrap()
    };
    next().await.nack(NackAction::Retry, "later").await.unwrap();
    next().await.ack().await.unwrap();
    let last = next().await;
    let figure = |name: &str, value: u32| {
        format!("icecore_consumer_group_{name}{{group=\"order-2::g\"}} {value}")
    };
    let busy = [
        ("consumers", 1),
        ("in_flight", 1),
        ("parked", 0),
        ("lag", 1),
        ("write_put_off", 0),
        ("delivered_total", 3),
        ("retried_total", 1),
    ];
    until_metrics_have(&server, &busy.map(|(name, value)| figure(name, value))).await;
    last.nack(NackAction::Park, "never").await.unwrap();
    events.leave().await.unwrap();
    let resting = [("consumers", 0), ("parked", 1), ("lag", 0)];
    let resting = resting.map(|(name, value)| figure(name, value));
    until_metrics_have(&server, &resting).await;
    server.restart().await;
    until_metrics_have(&server, &resting).await;
    server.stop().await;
}

#[tokio::test]
async fn a_grpc_path_without_grpc_gets_a_plain_word() {
    let server = TestServer::start().await;
    for (header, body) in [
        ("", &b""[..]),
        ("Content-Type: application/json\r\n", b"{}"),
        ("Content-Type: application/grpc\r\n", b"\0\0\0\0\0"),
    ] {
        let request = "POST /icecore.v1.Streams/Append";
        let answer = ask(&server, request, header, body).await;
        assert_eq!(answer.status, 415, "{header}{}", answer.text);
        assert!(answer.text.contains("gRPC"), "{}", answer.text);
    }
    let browser = ask(&server, "GET /icecore.v1.Streams/Read", "", b"").await;
    assert_eq!(browser.status, 415);
    assert_eq!(
        server.client().stats().await.unwrap().last_position.get(),
        0
    );
    server.stop().await;
}

#[tokio::test]
async fn other_paths_say_what_there_is() {
    let server = TestServer::start().await;
    let answer = ask(&server, "GET /", "", b"").await;
    assert_eq!(answer.status, 404);
    assert!(answer.text.contains("/health/live") && answer.text.contains("/metrics"));
    let wrong_verb = ask(&server, "POST /health/live", "", b"").await;
    assert_eq!(wrong_verb.status, 405);
    server.stop().await;
}
