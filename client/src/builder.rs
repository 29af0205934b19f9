//! How a client is set up: address, deadlines, keep-alive, retries.

use crate::client::Client;
use crate::retry::RetryPolicy;
use icecore_core::{Error, Result};
use std::time::Duration;
use tonic::transport::Endpoint;

const USER_AGENT: &str = concat!("icecore-client/", env!("CARGO_PKG_VERSION"));

/// Bytes that the server may send ahead on one stream: a page. It is what a slow reader holds.
const STREAM_WINDOW_BYTES: u32 = 4 * 1_024 * 1_024;

/// Bytes that the server may send ahead on the connection. So many that streams are held back only by
/// their own windows: a subscriber that stands still must not stop the appends beside it.
const CONNECTION_WINDOW_BYTES: u32 = 1_024 * 1_024 * 1_024;

/// Largest HTTP/2 frame; the default of 16 KiB costs a page hundreds of frames.
const FRAME_BYTES_MAX: u32 = 256 * 1_024;

/// Sets up a [`Client`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ClientBuilder {
    url: String,
    connect_timeout: Duration,
    call_timeout: Duration,
    keep_alive_interval: Duration,
    keep_alive_timeout: Duration,
    retry: RetryPolicy,
}

impl ClientBuilder {
    pub(crate) fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(30),
            keep_alive_interval: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(10),
            retry: RetryPolicy::CALLS,
        }
    }

    /// How long a connection may take to be made; 5 s unless set.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long one attempt of a call may take, and how long a read or subscription may take to begin;
    /// 30 s unless set.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// How often a silent connection is tested (10 s unless set), and how long the answer may take
    /// (10 s unless set) before the connection counts as broken.
    pub fn keep_alive(mut self, interval: Duration, timeout: Duration) -> Self {
        self.keep_alive_interval = interval;
        self.keep_alive_timeout = timeout;
        self
    }

    /// How often a call that found no server, or broke off, is sent again; [`RetryPolicy::CALLS`]
    /// unless set, [`RetryPolicy::NEVER`] turns it off.
    ///
    /// Appends and imports are sent with the same event ids, so what did arrive is not written twice.
    /// Changes of metadata, truncations and deletions are only sent again when nothing was written.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for field `server`, when the address is none; `Unreachable`, when nobody
    /// answers there.
    pub async fn connect(self) -> Result<Client> {
        let channel = self.endpoint()?.connect().await.map_err(|error| {
            let mut cause: &dyn std::error::Error = &error;
            while let Some(source) = cause.source() {
                cause = source;
            }
            Error::Unreachable {
                server: self.url.clone(),
                reason: cause.to_string(),
            }
        })?;
        Ok(Client::new(
            channel,
            self.url,
            self.call_timeout,
            self.retry,
        ))
    }

    /// Connects with the first call. Must be called inside of a Tokio runtime.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for field `server`, when the address is none.
    pub fn connect_lazy(self) -> Result<Client> {
        let channel = self.endpoint()?.connect_lazy();
        Ok(Client::new(
            channel,
            self.url,
            self.call_timeout,
            self.retry,
        ))
    }

    fn endpoint(&self) -> Result<Endpoint> {
        let invalid = |reason: String| {
            Error::invalid(
                "server",
                format!("`{}` {reason}; it is like http://127.0.0.1:2113", self.url),
            )
        };
        let endpoint = Endpoint::from_shared(self.url.clone())
            .and_then(|endpoint| endpoint.user_agent(USER_AGENT))
            .map_err(|_| invalid("is no address".into()))?;
        match endpoint.uri().scheme_str() {
            Some("http") => {}
            Some("https") => return Err(invalid("asks for TLS, which is not supported".into())),
            _ => return Err(invalid("does not begin with http://".into())),
        }
        Ok(endpoint
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(self.keep_alive_interval)
            .keep_alive_timeout(self.keep_alive_timeout)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES_MAX))
    }
}
