//! A rabbitmq-server with its own name, ports and epmd, an exchange, and a queue that takes everything.

use crate::process::{Group, READY_PAUSE, READY_TRIES, free_port};
use crate::{Message, RealBroker};
use anyhow::{Context, Result};
use icecore_relay_rabbitmq::RabbitBroker;
use icecore_relay_rabbitmq::lapin::options::{
    BasicGetOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use icecore_relay_rabbitmq::lapin::types::{AMQPValue, FieldTable};
use icecore_relay_rabbitmq::lapin::{
    Channel, Connection, ConnectionProperties, ExchangeKind, message::BasicGetMessage,
};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::sleep;

/// The exchange of the trials.
pub const EXCHANGE: &str = "events";
const QUEUE: &str = "all";

/// The server's own program: Debian's wrapper would become another user and use that user's directories.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// A server. Its clients know it by `port`, its own tools by the other two.
#[derive(Debug)]
pub struct Rabbit {
    directory: TempDir,
    port: u16,
    distribution_port: u16,
    epmd_port: u16,
    server: Option<Group>,
    _epmd: Group,
    /// What was taken out of the queue.
    arrived: Vec<Message>,
}

impl Rabbit {
    /// A server whose exchange has no queue.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub async fn without_queue() -> Result<Self> {
        let epmd_port = free_port()?;
        let mut epmd = Command::new("epmd");
        epmd.args(["-address", "127.0.0.1", "-port", &epmd_port.to_string()]);
        let mut rabbit = Self {
            directory: tempfile::tempdir()?,
            port: free_port()?,
            distribution_port: free_port()?,
            epmd_port,
            server: None,
            _epmd: Group::start(&mut epmd)?,
            arrived: Vec::new(),
        };
        rabbit.run().await?;
        let (_connection, channel) = rabbit.channel().await?;
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let (none, kind) = (FieldTable::default(), ExchangeKind::Topic);
        let declared = channel.exchange_declare(EXCHANGE.into(), kind, durable, none);
        declared.await?;
        Ok(rabbit)
    }

    /// Makes the queue for all messages.
    ///
    /// # Errors
    ///
    /// When the server refuses.
    pub async fn create_queue(&self) -> Result<()> {
        let (_connection, channel) = self.channel().await?;
        let durable = QueueDeclareOptions::durable();
        let none = FieldTable::default();
        let declared = channel.queue_declare(QUEUE.into(), durable, none.clone());
        declared.await?;
        let options = QueueBindOptions::default();
        let bound = channel.queue_bind(QUEUE.into(), EXCHANGE.into(), "#".into(), options, none);
        bound.await?;
        Ok(())
    }

    /// An adapter to the exchange.
    pub fn broker(&self) -> RabbitBroker {
        RabbitBroker::new(self.uri(), EXCHANGE)
    }

    fn uri(&self) -> String {
        format!("amqp://127.0.0.1:{}/%2f", self.port)
    }

    async fn run(&mut self) -> Result<()> {
        let directory = self.directory.path();
        let mut command = Command::new(SERVER);
        command
            .env("HOME", directory)
            .env("RABBITMQ_NODENAME", "icecore@localhost")
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.port.to_string())
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("RABBITMQ_MNESIA_BASE", directory.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", directory.join("log"))
            .env("RABBITMQ_CONF_ENV_FILE", directory.join("no-environment"))
            .env("RABBITMQ_CONFIG_FILE", directory.join("no-config"))
            .env(
                "RABBITMQ_ENABLED_PLUGINS_FILE",
                directory.join("no-plugins"),
            );
        self.server = Some(Group::start(&mut command)?);
        for _ in 1..READY_TRIES {
            if self.channel().await.is_ok() {
                return Ok(());
            }
            sleep(READY_PAUSE).await;
        }
        self.channel().await.context("wait for rabbitmq-server")?;
        Ok(())
    }

    async fn channel(&self) -> Result<(Connection, Channel)> {
        let properties = ConnectionProperties::default();
        let connection = Connection::connect(&self.uri(), properties).await?;
        let channel = connection.create_channel().await?;
        Ok((connection, channel))
    }
}

impl RealBroker for Rabbit {
    type Adapter = RabbitBroker;

    async fn start() -> Result<Self> {
        let rabbit = Self::without_queue().await?;
        rabbit.create_queue().await?;
        Ok(rabbit)
    }

    async fn adapter(&self) -> Result<RabbitBroker> {
        Ok(self.broker())
    }

    async fn arrived(&mut self) -> Result<Vec<Message>> {
        let (_connection, channel) = self.channel().await?;
        let options = BasicGetOptions { no_ack: true };
        while let Some(message) = channel.basic_get(QUEUE.into(), options).await? {
            self.arrived.push(taken(&message));
        }
        Ok(self.arrived.clone())
    }

    async fn kill_and_restart(&mut self) -> Result<()> {
        if let Some(server) = self.server.take() {
            server.kill().await?;
        }
        self.run().await
    }
}

fn taken(message: &BasicGetMessage) -> Message {
    let properties = &message.delivery.properties;
    let headers = properties.headers().clone().unwrap_or_default();
    let headers = headers.inner().iter().map(|(name, value)| {
        let value = match value {
            AMQPValue::LongString(value) => String::from_utf8_lossy(value.as_bytes()).into_owned(),
            other => format!("{other:?}"),
        };
        (name.to_string(), value)
    });
    let id = properties.message_id().as_ref();
    Message {
        id: id.map(ToString::to_string).unwrap_or_default(),
        to: message.delivery.routing_key.to_string(),
        headers: headers.collect(),
        data: message.delivery.data.clone(),
    }
}
