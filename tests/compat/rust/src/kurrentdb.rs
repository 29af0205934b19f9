//! KurrentDB's Rust client, and how it says what the older one says in other words. What is done with it
//! is in `suite`.

mod suite;

use kurrentdb as db;

/// What this client calls differently.
mod words {
    use kurrentdb::{
        AppendToStreamOptions, Client, ClientSettings, DeleteStreamOptions, ReadAllOptions,
        RecordedEvent, SubscriptionEvent, SubscriptionFilter, TombstoneStreamOptions,
    };

    pub(crate) use kurrentdb::StreamState as Expected;

    pub(crate) const NAME: &str = "kurrentdb";
    pub(crate) const SCHEME: &str = "kurrentdb";

    pub(crate) fn revision(revision: u64) -> Expected {
        Expected::StreamRevision(revision)
    }

    pub(crate) fn appending(expected: Expected) -> AppendToStreamOptions {
        AppendToStreamOptions::default().stream_state(expected)
    }

    pub(crate) fn deleting(expected: Expected) -> DeleteStreamOptions {
        DeleteStreamOptions::default().stream_state(expected)
    }

    pub(crate) fn tombstoning(expected: Expected) -> TombstoneStreamOptions {
        TombstoneStreamOptions::default().stream_state(expected)
    }

    pub(crate) fn connect(settings: ClientSettings) -> anyhow::Result<Client> {
        Client::new(settings).map_err(|error| anyhow::anyhow!("{error}"))
    }

    pub(crate) fn stream_of(event: &RecordedEvent) -> &str {
        event.stream_id()
    }

    pub(crate) fn is_caught_up(event: &SubscriptionEvent) -> bool {
        matches!(event, SubscriptionEvent::CaughtUp(Some(_)))
    }

    /// Reads with a filter, which the older client cannot.
    #[expect(clippy::unnecessary_wraps, reason = "the older client has nothing")]
    pub(crate) fn filtered(
        options: ReadAllOptions,
        filter: SubscriptionFilter,
    ) -> Option<ReadAllOptions> {
        Some(options.filter(filter))
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    suite::run().await
}
