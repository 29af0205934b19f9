//! The client itself: a connection that is shared by its clones. What can be called stands beside the
//! subjects: `append.rs`, `session.rs`, `read.rs`, `subscribe.rs`, `streams.rs`, `operations.rs`,
//! `maintenance.rs`, `group.rs`.

use crate::builder::ClientBuilder;
use crate::retry::RetryPolicy;
use icecore_core::limits::MESSAGE_BYTES_MAX;
use icecore_core::{Error, Result};
use icecore_wire::proto::groups_client::GroupsClient;
use icecore_wire::proto::maintenance_client::MaintenanceClient;
use icecore_wire::proto::operations_client::OperationsClient;
use icecore_wire::proto::streams_client::StreamsClient;
use icecore_wire::status;
use std::sync::Arc;
use std::time::Duration;
use tonic::Status;
use tonic::transport::Channel;

/// A connection to an Icecore server. Cloning it is cheap and shares the connection, over which any
/// number of calls run at the same time; it is made again when it breaks.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    server: Arc<str>,
    call_timeout: Duration,
    retry: RetryPolicy,
}

impl Client {
    /// Connects to a server, like `http://127.0.0.1:2113`, with the defaults of [`ClientBuilder`].
    ///
    /// # Errors
    ///
    /// As [`ClientBuilder::connect`].
    pub async fn connect(url: impl Into<String>) -> Result<Self> {
        Self::builder(url).connect().await
    }

    /// A client that connects with its first call. Must be called inside of a Tokio runtime.
    ///
    /// # Errors
    ///
    /// As [`ClientBuilder::connect_lazy`].
    pub fn connect_lazy(url: impl Into<String>) -> Result<Self> {
        Self::builder(url).connect_lazy()
    }

    /// Sets up a client for a server, like `http://127.0.0.1:2113`.
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(url)
    }

    /// The address of the server, as it was given.
    pub fn server(&self) -> &str {
        &self.server
    }

    pub(crate) fn new(
        channel: Channel,
        server: String,
        call_timeout: Duration,
        retry: RetryPolicy,
    ) -> Self {
        Self {
            channel,
            server: server.into(),
            call_timeout,
            retry,
        }
    }

    pub(crate) fn streams(&self) -> StreamsClient<Channel> {
        StreamsClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn operations(&self) -> OperationsClient<Channel> {
        OperationsClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn maintenance(&self) -> MaintenanceClient<Channel> {
        MaintenanceClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    pub(crate) fn groups(&self) -> GroupsClient<Channel> {
        GroupsClient::new(self.channel.clone())
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn call_timeout(&self) -> Duration {
        self.call_timeout
    }

    pub(crate) fn retry_policy(&self) -> RetryPolicy {
        self.retry
    }

    /// The same client, which sends nothing twice.
    pub(crate) fn trying_once(&self) -> Self {
        let retry = RetryPolicy::NEVER;
        Self {
            retry,
            ..self.clone()
        }
    }

    /// The error that a status of this server stands for.
    pub(crate) fn error(&self, status: &Status) -> Error {
        status::to_error(status, &self.server)
    }
}
