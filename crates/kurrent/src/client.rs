//! The little of a client that a benchmark of this door needs: it reads all events and appends in
//! batches, many under way. Programs use the clients of their language.

use crate::event::identifier;
use crate::id::halves;
use crate::proto::event_store::client::streams::streams_client::StreamsClient;
use crate::proto::event_store::client::streams::{
    BatchAppendReq, BatchAppendResp, ReadReq, batch_append_req, batch_append_req::proposed_message,
    batch_append_resp, read_req, read_resp,
};
use crate::proto::event_store::client::{Empty, Uuid as ProtoUuid, uuid};
use ::uuid::Uuid;
use icecore_core::limits::MESSAGE_BYTES_MAX;
use icecore_core::{Append, Error, ExpectedRevision, Result};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

/// Batches that wait for the connection.
const WAITING: usize = 16;

/// A connection to the door.
#[derive(Clone, Debug)]
pub struct Client(StreamsClient<Channel>);

/// A call that takes batches, and the answers to them.
#[derive(Debug)]
pub struct Batches {
    requests: mpsc::Sender<BatchAppendReq>,
    answers: Streaming<BatchAppendResp>,
    sent: u64,
}

impl Client {
    /// Connects to a server, like `http://localhost:2113`.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for `server`, and `Unavailable`.
    pub async fn connect(server: &str) -> Result<Self> {
        let endpoint = Endpoint::from_shared(server.to_owned())
            .map_err(|error| Error::invalid("server", error.to_string()))?;
        let channel = endpoint.tcp_nodelay(true).connect().await;
        let channel = channel.map_err(|error| Error::unavailable(error.to_string()))?;
        let client = StreamsClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Self(client))
    }

    /// Reads all events, system streams too, in their order; `take` hears of each.
    ///
    /// # Errors
    ///
    /// What the server says, as `Unavailable`.
    pub async fn read_all(&mut self, mut take: impl FnMut()) -> Result<()> {
        use read_req::options::{AllOptions, all_options, uuid_option};
        use read_req::options::{CountOption, FilterOption, StreamOption, UuidOption};
        let all = AllOptions {
            all_option: Some(all_options::AllOption::Start(Empty {})),
        };
        let options = read_req::Options {
            stream_option: Some(StreamOption::All(all)),
            count_option: Some(CountOption::Count(u64::MAX)),
            filter_option: Some(FilterOption::NoFilter(Empty {})),
            uuid_option: Some(UuidOption {
                content: Some(uuid_option::Content::String(Empty {})),
            }),
            ..read_req::Options::default()
        };
        let request = ReadReq {
            options: Some(options),
        };
        let mut answers = self.0.read(request).await.map_err(refused)?.into_inner();
        while let Some(answer) = answers.message().await.map_err(refused)? {
            if let Some(read_resp::Content::Event(_)) = answer.content {
                take();
            }
        }
        Ok(())
    }

    /// Opens a call that takes batches.
    ///
    /// # Errors
    ///
    /// What the server says, as `Unavailable`.
    pub async fn batches(&mut self) -> Result<Batches> {
        let (requests, receiver) = mpsc::channel(WAITING);
        let answers = self.0.batch_append(ReceiverStream::new(receiver)).await;
        Ok(Batches {
            requests,
            answers: answers.map_err(refused)?.into_inner(),
            sent: 0,
        })
    }
}

impl Batches {
    /// Sends an append to one stream. Returns its number, which its answer has.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for an append to several streams, `Unavailable` when the call has ended.
    pub async fn send(&mut self, append: &Append) -> Result<u64> {
        let number = self.sent;
        let request = request(append, number)?;
        let sent = self.requests.send(request).await;
        sent.map_err(|_| Error::unavailable("the call has ended"))?;
        self.sent += 1;
        Ok(number)
    }

    /// The number of an append that is durable.
    ///
    /// # Errors
    ///
    /// `Unavailable` when one is refused or the call ends.
    pub async fn answer(&mut self) -> Result<u64> {
        let answer = self.answers.message().await.map_err(refused)?;
        let answer = answer.ok_or_else(|| Error::unavailable("the call has ended"))?;
        match (answer.correlation_id.and_then(|id| id.value), answer.result) {
            (Some(uuid::Value::Structured(id)), Some(batch_append_resp::Result::Success(_))) => {
                Ok(id.least_significant_bits.cast_unsigned())
            }
            (_, result) => Err(Error::unavailable(format!(
                "an append was refused: {result:?}"
            ))),
        }
    }
}

fn request(append: &Append, number: u64) -> Result<BatchAppendReq> {
    use batch_append_req::options::ExpectedStreamPosition;
    let [target] = append.streams() else {
        return Err(Error::invalid("streams", "a batch goes to one stream"));
    };
    let expected = match target.expected {
        ExpectedRevision::Any => ExpectedStreamPosition::Any(()),
        ExpectedRevision::NoStream => ExpectedStreamPosition::NoStream(()),
        ExpectedRevision::StreamExists => ExpectedStreamPosition::StreamExists(()),
        ExpectedRevision::Exact(revision) => ExpectedStreamPosition::StreamPosition(revision.get()),
        ExpectedRevision::SoftDeleted | ExpectedRevision::Tombstoned => {
            return Err(Error::invalid(
                "expected",
                "a batch cannot expect a deleted stream",
            ));
        }
    };
    let events = append.events().iter().map(|event| {
        let event = &event.event;
        let metadata = [
            ("type", event.event_type.as_str()),
            ("content-type", event.content_type.as_str()),
        ];
        batch_append_req::ProposedMessage {
            id: Some(id(event.id)),
            metadata: metadata
                .map(|(key, value)| proposed_message::MetadataEntry {
                    key: key.into(),
                    value: value.to_owned().into(),
                })
                .into(),
            custom_metadata: event.metadata.clone(),
            data: event.data.clone(),
        }
    });
    Ok(BatchAppendReq {
        correlation_id: Some(id(Uuid::from_u128(number.into()))),
        options: Some(batch_append_req::Options {
            stream_identifier: Some(identifier(target.stream.clone())),
            expected_stream_position: Some(expected),
            deadline_option: None,
        }),
        proposed_messages: events.collect(),
        is_final: true,
    })
}

fn id(id: Uuid) -> ProtoUuid {
    ProtoUuid {
        value: Some(uuid::Value::Structured(halves(id))),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "it maps errors")]
fn refused(status: Status) -> Error {
    Error::unavailable(format!("{:?}: {}", status.code(), status.message()))
}
