//! Calls that no client makes: the stubs of the protocol, and below them frames of HTTP/2.

use bytes::{BufMut, Bytes, BytesMut};
use http::Request;
use icecore_client::Error;
use icecore_testing::TestServer;
use icecore_wire::proto::operations_client::OperationsClient;
use icecore_wire::proto::streams_client::StreamsClient;
use icecore_wire::{proto, status};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// The stubs over one connection.
pub(crate) struct Stubs {
    pub(crate) channel: Channel,
    pub(crate) streams: StreamsClient<Channel>,
    pub(crate) operations: OperationsClient<Channel>,
}

impl Stubs {
    pub(crate) async fn connect(server: &TestServer) -> Self {
        let endpoint = Endpoint::from_shared(server.url()).unwrap();
        let channel = endpoint.connect().await.unwrap();
        Self {
            streams: StreamsClient::new(channel.clone()),
            operations: OperationsClient::new(channel.clone()),
            channel,
        }
    }
}

/// Checks that a call failed with a code and an error of ours, which names a field or is of a kind.
#[track_caller]
pub(crate) fn check_status(what: &str, status: &Status, code: Code, names: &str) {
    let error = status::to_error(status, "the server");
    assert_eq!(status.code(), code, "{what}: {status}");
    let is = match &error {
        Error::InvalidArgument { field, .. } => field.to_string(),
        Error::Refused(_) => "refused".into(),
        Error::StreamNotFound { .. } => "stream_not_found".into(),
        Error::StreamDeleted { .. } => "stream_deleted".into(),
        Error::Unavailable { .. } => "unavailable".into(),
        Error::Exhausted { limit, .. } => limit.to_string(),
        Error::WrongStore { .. } => "wrong_store".into(),
        other => format!("{other:?}"),
    };
    assert_eq!(is, names, "{what}: {status}");
}

/// An append of one event that nothing is wrong with.
pub(crate) fn append(stream: impl Into<Bytes>) -> proto::AppendRequest {
    proto::AppendRequest {
        streams: vec![expectation(stream, proto::ExpectedState::Any as i32)],
        events: vec![event()],
        ..Default::default()
    }
}

pub(crate) fn event() -> proto::EventData {
    proto::EventData {
        id: Bytes::copy_from_slice(icecore_client::new_event_id().as_bytes()),
        r#type: "Noted".into(),
        data: "{}".into(),
        ..Default::default()
    }
}

pub(crate) fn expectation(stream: impl Into<Bytes>, state: i32) -> proto::StreamExpectation {
    proto::StreamExpectation {
        stream: stream.into(),
        expected: Some(proto::ExpectedRevision {
            expected: Some(proto::expected_revision::Expected::State(state)),
        }),
    }
}

/// A message as gRPC frames it: a flag, a length, the bytes.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut frame = prefix(message.len());
    frame.extend_from_slice(message);
    frame.freeze()
}

/// What stands in front of a message of this many bytes.
pub(crate) fn prefix(bytes: usize) -> BytesMut {
    let mut prefix = BytesMut::new();
    prefix.put_u8(0);
    prefix.put_u32(u32::try_from(bytes).unwrap());
    prefix
}

/// A call as frames of HTTP/2, on a connection of its own.
pub(crate) struct Frames {
    connection: JoinHandle<Result<(), h2::Error>>,
    pings: h2::PingPong,
    response: h2::client::ResponseFuture,
    body: h2::SendStream<Bytes>,
}

impl Frames {
    /// Begins a call.
    pub(crate) async fn open(server: &TestServer, path: &str) -> Self {
        let socket = TcpStream::connect(server.address()).await.unwrap();
        let (mut requests, mut connection) = h2::client::handshake(socket).await.unwrap();
        let pings = connection.ping_pong().unwrap();
        let connection = tokio::spawn(connection);
        let request = Request::post(format!("{}{path}", server.url()))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        let (response, body) = requests.send_request(request, false).unwrap();
        Self {
            connection,
            pings,
            response,
            body,
        }
    }

    /// Sends a part of the body, as far as the server takes it.
    pub(crate) fn send(&mut self, part: impl Into<Bytes>) {
        self.body.send_data(part.into(), false).unwrap();
    }

    /// Waits until the server has received what was sent.
    pub(crate) async fn ping(&mut self) {
        self.pings.ping(h2::Ping::opaque()).await.unwrap();
    }

    /// Ends the body and gives the status of the answer.
    pub(crate) async fn finish(mut self) -> Status {
        self.body.send_data(Bytes::new(), true).unwrap();
        self.status().await
    }

    /// The status of the answer: from the trailers, or from the headers of an answer that has nothing
    /// else.
    pub(crate) async fn status(self) -> Status {
        let (head, mut body) = self.response.await.unwrap().into_parts();
        if let Some(status) = Status::from_header_map(&head.headers) {
            return status;
        }
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
        }
        let trailers = body.trailers().await.unwrap().unwrap();
        Status::from_header_map(&trailers).unwrap()
    }

    /// Cuts the connection as a process does that is killed.
    pub(crate) async fn vanish(self) {
        self.connection.abort();
        assert!(self.connection.await.unwrap_err().is_cancelled());
    }
}
