//! A nats-server with JetStream, and a stream that takes everything.

use crate::process::{Group, READY_PAUSE, READY_TRIES, free_port};
use crate::{Message, RealBroker};
use anyhow::{Context as _, Result};
use futures::{StreamExt, TryStreamExt};
use icecore_relay_nats::NatsBroker;
use icecore_relay_nats::async_nats::jetstream::consumer::{DeliverPolicy, pull};
use icecore_relay_nats::async_nats::jetstream::{self, stream};
use icecore_relay_nats::async_nats::{self, HeaderMap};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::sleep;

/// The stream and what its subjects begin with.
const STREAM: &str = "EVENTS";
const PREFIX: &str = "icecore";

/// A server.
#[derive(Debug)]
pub struct Nats {
    directory: TempDir,
    port: u16,
    server: Option<Group>,
}

impl Nats {
    /// A server without any stream.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub async fn without_stream() -> Result<Self> {
        let mut nats = Self {
            directory: tempfile::tempdir()?,
            port: free_port()?,
            server: None,
        };
        nats.run().await?;
        Ok(nats)
    }

    /// Makes the stream for all messages.
    ///
    /// # Errors
    ///
    /// When the server refuses.
    pub async fn create_stream(&self) -> Result<()> {
        let config = stream::Config {
            name: STREAM.into(),
            subjects: vec![format!("{PREFIX}.>")],
            ..stream::Config::default()
        };
        self.jetstream().await?.create_stream(config).await?;
        Ok(())
    }

    async fn run(&mut self) -> Result<()> {
        let mut command = Command::new("nats-server");
        command.args(["--addr", "127.0.0.1", "--port", &self.port.to_string()]);
        command.arg("--jetstream");
        command.arg("--store_dir").arg(self.directory.path());
        self.server = Some(Group::start(&mut command)?);
        for _ in 1..READY_TRIES {
            if self.is_ready().await.is_ok() {
                return Ok(());
            }
            sleep(READY_PAUSE).await;
        }
        self.is_ready().await.context("wait for nats-server")
    }

    async fn is_ready(&self) -> Result<()> {
        let mut names = self.jetstream().await?.stream_names();
        names.try_next().await?;
        Ok(())
    }

    async fn jetstream(&self) -> Result<jetstream::Context> {
        let client = async_nats::connect(format!("127.0.0.1:{}", self.port)).await?;
        Ok(jetstream::new(client))
    }
}

impl RealBroker for Nats {
    type Adapter = NatsBroker;

    async fn start() -> Result<Self> {
        let nats = Self::without_stream().await?;
        nats.create_stream().await?;
        Ok(nats)
    }

    async fn adapter(&self) -> Result<NatsBroker> {
        Ok(NatsBroker::new(self.jetstream().await?, PREFIX))
    }

    async fn arrived(&mut self) -> Result<Vec<Message>> {
        let jetstream = self.jetstream().await?;
        let mut stream = jetstream.get_stream(STREAM).await?;
        let count = stream.info().await?.state.messages;
        let count = usize::try_from(count)?;
        if count == 0 {
            return Ok(Vec::new());
        }
        let consumer = pull::OrderedConfig {
            deliver_policy: DeliverPolicy::All,
            ..pull::OrderedConfig::default()
        };
        let consumer = stream.create_consumer(consumer).await?;
        let mut messages = consumer.messages().await?.take(count);
        let mut arrived = Vec::with_capacity(count);
        while let Some(message) = messages.next().await {
            let message = message?.message;
            let headers = message.headers.as_ref().context("find headers")?;
            arrived.push(Message {
                id: text(headers, "Nats-Msg-Id"),
                to: message.subject.to_string(),
                headers: headers
                    .iter()
                    .map(|(name, _)| (name.to_string(), text(headers, name.as_ref())))
                    .collect(),
                data: message.payload.to_vec(),
            });
        }
        Ok(arrived)
    }

    async fn kill_and_restart(&mut self) -> Result<()> {
        if let Some(server) = self.server.take() {
            server.kill().await?;
        }
        self.run().await
    }
}

fn text(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name);
    value.map(ToString::to_string).unwrap_or_default()
}
