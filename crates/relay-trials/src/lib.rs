//! Relays against real brokers: the servers as processes of their own, and what has arrived there.
//!
//! Owns how nats-server and rabbitmq-server are started, killed and looked into, on free ports and in
//! directories that go with them. The trials stand in `tests/brokers`; they need the feature `real-servers`,
//! since `cargo test --workspace` must not need the servers. `examples/rates.rs` measures.

mod nats;
mod process;
mod rabbitmq;

pub use nats::Nats;
pub use rabbitmq::{EXCHANGE, Rabbit};

use anyhow::Result;
use icecore_client::Broker;

/// A message as a consumer of the broker has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its id, as the broker knows it.
    pub id: String,
    /// The subject or routing key.
    pub to: String,
    /// The headers, by name.
    pub headers: Vec<(String, String)>,
    /// What it carries.
    pub data: Vec<u8>,
}

impl Message {
    /// The value of a header; empty without it.
    pub fn header(&self, name: &str) -> &str {
        let header = self.headers.iter().find(|(found, _)| found == name);
        header.map_or("", |(_, value)| value)
    }
}

/// A real broker under trial.
pub trait RealBroker: Sized + Send {
    /// The adapter.
    type Adapter: Broker + 'static;

    /// Starts a server on a new directory, with a place for all messages.
    fn start() -> impl Future<Output = Result<Self>> + Send;

    /// An adapter with a connection of its own.
    fn adapter(&self) -> impl Future<Output = Result<Self::Adapter>> + Send;

    /// All messages that have arrived so far, in the order in which they did.
    fn arrived(&mut self) -> impl Future<Output = Result<Vec<Message>>> + Send;

    /// Kills the server, as `kill -9` does, and starts it again on the same directory.
    fn kill_and_restart(&mut self) -> impl Future<Output = Result<()>> + Send;
}
