//! Publishes events of Icecore to RabbitMQ: the broker behind an [`icecore_client::Relay`].
//!
//! Owns what a message looks like, where it goes, when it counts as taken, and the connection, which is made
//! again when it breaks. Order, retries and checkpoints are the relay's.
//!
//! ```no_run
//! use icecore_client::{Client, Relay};
//! use icecore_relay_rabbitmq::RabbitBroker;
//!
//! # async fn publish() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let rabbit = RabbitBroker::new("amqp://127.0.0.1:5672/%2f", "events");
//! let client = Client::connect("http://127.0.0.1:2113").await?;
//! let relay = Relay::new("to-rabbitmq", client.subscribe_all(), rabbit)?;
//! relay.run(async { /* until Ctrl-C, say */ }).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The exchange has to be there, usually a topic exchange; without it the relay waits. For `amqps://` depend
//! on `lapin` with its feature `rustls`.

mod connection;

pub use lapin;

use connection::Connector;
use icecore_client::{Broker, BrokerError, RecordedEvent, message_headers};
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{BasicProperties, Confirmation};
use std::fmt;

/// Delivery mode of a message that survives a restart of the broker in a durable queue.
const PERSISTENT: u8 = 2;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The exchange.
    pub exchange: String,
    /// What the exchange looks at; at most 255 bytes.
    pub routing_key: String,
}

/// What a message is that the exchange gives to no queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unroutable {
    /// An error: the relay sends the event again until there is a queue for it.
    Fails,
    /// Taken: nobody wants it, and the relay goes on.
    Passes,
}

/// Publishes to RabbitMQ. An event is taken when the broker has confirmed it: from a durable queue it is not
/// lost any more.
///
/// The body is the data of the event; `message_id` is its id, `type` its type, `content_type` and `timestamp`
/// are filled in, and the headers are those of [`message_headers`]. Messages are persistent. RabbitMQ does not
/// remove duplicates: who receives a message id twice, of the same stream, has the same event.
pub struct RabbitBroker {
    connector: Connector,
    route: Box<dyn Fn(&RecordedEvent) -> Route + Send + Sync>,
    unroutable: Unroutable,
}

impl RabbitBroker {
    /// Publishes to this exchange with the routing keys `<category>.<event type>`, both escaped by [`word`]; the
    /// category of a stream without one is `-`. The connection is made with the first event.
    pub fn new(uri: impl Into<String>, exchange: impl Into<String>) -> Self {
        let exchange = exchange.into();
        Self {
            connector: Connector::new(uri.into()),
            route: Box::new(move |event| Route {
                exchange: exchange.clone(),
                routing_key: routing_key(event),
            }),
            unroutable: Unroutable::Fails,
        }
    }

    /// Publishes where this function says.
    #[must_use]
    pub fn route(
        mut self,
        route: impl Fn(&RecordedEvent) -> Route + Send + Sync + 'static,
    ) -> Self {
        self.route = Box::new(route);
        self
    }

    /// What a message is that no queue gets; an error unless set.
    #[must_use]
    pub fn unroutable(mut self, unroutable: Unroutable) -> Self {
        self.unroutable = unroutable;
        self
    }

    async fn send(
        &self,
        channel: &lapin::Channel,
        event: &RecordedEvent,
    ) -> Result<Confirmation, BrokerError> {
        let Route {
            exchange,
            routing_key,
        } = (self.route)(event);
        let options = BasicPublishOptions {
            mandatory: self.unroutable == Unroutable::Fails,
            ..BasicPublishOptions::default()
        };
        let exchange = ShortString::try_new(exchange)?;
        let routing_key = ShortString::try_new(routing_key)?;
        let properties = properties(event);
        let sent = channel.basic_publish(exchange, routing_key, options, &event.data, properties);
        Ok(sent.await?.await?)
    }
}

impl Broker for RabbitBroker {
    async fn publish(&self, event: &RecordedEvent) -> Result<(), BrokerError> {
        let channel = self.connector.channel().await?;
        let confirmation = self.send(&channel, event).await?;
        match confirmation {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)) => {
                let reason = returned.reply_text.as_str();
                Err(format!("the message was returned: {reason}").into())
            }
            Confirmation::Nack(None) => Err("the broker could not take the message".into()),
            Confirmation::NotRequested => Err("the channel has no confirms".into()),
        }
    }
}

impl fmt::Debug for RabbitBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitBroker")
            .field("unroutable", &self.unroutable)
            .finish_non_exhaustive()
    }
}

fn properties(event: &RecordedEvent) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in message_headers(event) {
        headers.insert(name.into(), AMQPValue::LongString(LongString::from(value)));
    }
    let mut properties = BasicProperties::default()
        .with_message_id(event.id.to_string().into())
        .with_delivery_mode(PERSISTENT)
        .with_headers(headers);
    // What does not fit into these is in the headers.
    if let Ok(event_type) = ShortString::try_new(event.event_type.as_str()) {
        properties = properties.with_type(event_type);
    }
    if let Ok(content_type) = ShortString::try_new(event.content_type.as_str()) {
        properties = properties.with_content_type(content_type);
    }
    let seconds = event.recorded_at.nanos().div_euclid(NANOS_PER_SECOND);
    if let Ok(seconds) = u64::try_from(seconds) {
        properties = properties.with_timestamp(seconds);
    }
    properties
}

fn routing_key(event: &RecordedEvent) -> String {
    let category = event.stream.category();
    let category = category.map(|category| word(category.as_str()));
    let category = category.as_deref().unwrap_or("-");
    format!("{category}.{}", word(event.event_type.as_str()))
}

/// A text as one word of a routing key: `.` and `%` are escaped as `%2E` and `%25`.
///
/// ```
/// assert_eq!(icecore_relay_rabbitmq::word("v1.Placed"), "v1%2EPlaced");
/// ```
pub fn word(text: &str) -> String {
    text.replace('%', "%25").replace('.', "%2E")
}
