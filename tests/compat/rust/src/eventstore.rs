//! EventStoreDB's Rust client, and how it says what the newer one says in other words. What is done with
//! it is in `suite`.

mod suite;

use eventstore as db;

/// What this client calls differently.
mod words {
    use eventstore::{
        AppendToStreamOptions, Client, ClientSettings, DeleteStreamOptions, ReadAllOptions,
        RecordedEvent, SubscriptionEvent, SubscriptionFilter, TombstoneStreamOptions,
    };

    pub(crate) use eventstore::ExpectedRevision as Expected;

    pub(crate) const NAME: &str = "eventstore";
    pub(crate) const SCHEME: &str = "esdb";

    pub(crate) fn revision(revision: u64) -> Expected {
        Expected::Exact(revision)
    }

    pub(crate) fn appending(expected: Expected) -> AppendToStreamOptions {
        AppendToStreamOptions::default().expected_revision(expected)
    }

    pub(crate) fn deleting(expected: Expected) -> DeleteStreamOptions {
        DeleteStreamOptions::default().expected_revision(expected)
    }

    pub(crate) fn tombstoning(expected: Expected) -> TombstoneStreamOptions {
        TombstoneStreamOptions::default().expected_revision(expected)
    }

    pub(crate) fn connect(settings: ClientSettings) -> anyhow::Result<Client> {
        Ok(Client::new(settings)?)
    }

    pub(crate) fn stream_of(event: &RecordedEvent) -> &str {
        &event.stream_id
    }

    pub(crate) fn is_caught_up(event: &SubscriptionEvent) -> bool {
        matches!(event, SubscriptionEvent::CaughtUp)
    }

    /// This client filters subscriptions only.
    pub(crate) fn filtered(_: ReadAllOptions, _: SubscriptionFilter) -> Option<ReadAllOptions> {
        None
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    suite::run().await
}
