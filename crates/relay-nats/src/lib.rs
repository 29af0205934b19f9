//! Publishes events of Icecore to NATS JetStream: the broker behind an [`icecore_client::Relay`].
//!
//! Owns what a message looks like and when it counts as taken. Order, retries and checkpoints are the relay's;
//! the connection, with its reconnects, is `async-nats`'.
//!
//! ```no_run
//! use icecore_client::{Client, Relay};
//! use icecore_relay_nats::{NatsBroker, async_nats};
//!
//! # async fn publish() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let nats = async_nats::connect("127.0.0.1:4222").await?;
//! let nats = NatsBroker::new(async_nats::jetstream::new(nats), "icecore");
//! let client = Client::connect("http://127.0.0.1:2113").await?;
//! let relay = Relay::new("to-nats", client.subscribe_all(), nats)?;
//! relay.run(async { /* until Ctrl-C, say */ }).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A stream of JetStream has to take the subjects, here `icecore.>`; without one nothing is confirmed, and
//! the relay waits. For TLS depend on `async-nats` with its feature `ring` or `aws-lc-rs`.

pub use async_nats;

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::stream::RawMessageErrorKind;
use icecore_client::{Broker, BrokerError, RecordedEvent, message_headers};
use std::fmt::{self, Write};

/// Stands for the category of a stream that has none. No category has this name.
const NO_CATEGORY: &str = "-";

/// Chooses the subject of an event.
type Subject = Box<dyn Fn(&RecordedEvent) -> String + Send + Sync>;

/// Publishes to JetStream. An event is taken when a stream of JetStream has acknowledged it.
///
/// The payload is the data of the event; the headers are those of [`message_headers`]. `Nats-Msg-Id` is the id
/// of the event, so what a relay sends again within the stream's duplicate window is there once. Ids of events
/// are unique within their stream only: where JetStream takes an event for a duplicate that is another one, it
/// is sent with the id `<event id>@<stream>`.
pub struct NatsBroker {
    jetstream: Context,
    subject: Subject,
}

impl NatsBroker {
    /// Publishes to the subjects `<prefix>.<category>.<event type>`, both escaped by [`token`]; the category of
    /// a stream without one is `-`.
    pub fn new(jetstream: Context, prefix: impl Into<String>) -> Self {
        let prefix = prefix.into();
        Self {
            jetstream,
            subject: Box::new(move |event| {
                let category = event.stream.category();
                let category = category.map(|category| token(category.as_str()));
                let category = category.as_deref().unwrap_or(NO_CATEGORY);
                format!("{prefix}.{category}.{}", token(event.event_type.as_str()))
            }),
        }
    }

    /// Publishes to the subjects that this function gives.
    #[must_use]
    pub fn subject(
        mut self,
        subject: impl Fn(&RecordedEvent) -> String + Send + Sync + 'static,
    ) -> Self {
        self.subject = Box::new(subject);
        self
    }

    async fn send(&self, event: &RecordedEvent, id: &str) -> Result<PublishAck, BrokerError> {
        let mut headers = HeaderMap::new();
        for (name, value) in message_headers(event) {
            headers.insert(name, value);
        }
        let message = PublishMessage::build()
            .headers(headers)
            .payload(event.data.clone())
            .message_id(id);
        let subject = (self.subject)(event);
        let acknowledged = self.jetstream.send_publish(subject, message).await?;
        Ok(acknowledged.await?)
    }

    /// Whether the message that JetStream took ours for carries the same event. One that is gone does not
    /// tell.
    async fn is_same(&self, event: &RecordedEvent, ack: &PublishAck) -> Result<bool, BrokerError> {
        let stream = self.jetstream.get_stream_no_info(&ack.stream).await?;
        let earlier = match stream.get_raw_message(ack.sequence).await {
            Ok(earlier) => earlier,
            Err(error) if is_not_found(&error.kind()) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let told = |name: &str| earlier.headers.get(name).map(ToString::to_string);
        Ok(told("icecore-stream") == Some(event.stream.to_string())
            && told("icecore-revision") == Some(event.revision.to_string()))
    }
}

fn is_not_found(kind: &RawMessageErrorKind) -> bool {
    match kind {
        RawMessageErrorKind::NoMessageFound => true,
        RawMessageErrorKind::JetStream(error) => error.code() == 404,
        _ => false,
    }
}

impl Broker for NatsBroker {
    async fn publish(&self, event: &RecordedEvent) -> Result<(), BrokerError> {
        let id = event.id.to_string();
        let ack = self.send(event, &id).await?;
        if ack.duplicate && !self.is_same(event, &ack).await? {
            self.send(event, &format!("{id}@{}", event.stream)).await?;
        }
        Ok(())
    }
}

impl fmt::Debug for NatsBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsBroker").finish_non_exhaustive()
    }
}

/// A text as one token of a subject: what NATS gives a meaning, spaces and control characters are escaped as
/// `%XX`, byte by byte. Different texts give different tokens.
///
/// ```
/// assert_eq!(icecore_relay_nats::token("Stock reserved"), "Stock%20reserved");
/// assert_eq!(icecore_relay_nats::token("v1.Placed"), "v1%2EPlaced");
/// ```
pub fn token(text: &str) -> String {
    let mut token = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_whitespace() || c.is_control() || ".*>%".contains(c) {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                // Writing to a string does not fail.
                let _ = write!(token, "%{byte:02X}");
            }
        } else {
            token.push(c);
        }
    }
    token
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_nothing_that_nats_understands() {
        for (text, expected) in [
            ("OrderPlaced", "OrderPlaced"),
            ("a.b*c>d%e", "a%2Eb%2Ac%3Ed%25e"),
            ("a b\tc\u{a0}", "a%20b%09c%C2%A0"),
            ("注文-grün", "注文-grün"),
            ("$streamDeleted", "$streamDeleted"),
        ] {
            assert_eq!(token(text), expected);
        }
    }
}
