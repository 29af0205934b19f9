//! What the store counts, for Prometheus. Whoever serves it registers it under a prefix.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Counters of one store.
#[derive(Debug)]
pub struct Metrics {
    /// Appends that wrote something.
    pub appends: Counter,
    /// Events written.
    pub events: Counter,
    /// Bytes of events written.
    pub event_bytes: Counter,
    /// Appends that were recognised as retries.
    pub retries: Counter,
    /// Appends that were refused.
    pub refusals: Counter,
    /// Seconds from handing a group to the storage until it was durable.
    pub commit_seconds: Histogram,
    /// Appends in a group.
    pub group_appends: Histogram,
    /// Appends that wait for the writer.
    pub queue_appends: Gauge,
    /// Open subscriptions.
    pub subscriptions: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            appends: Counter::default(),
            events: Counter::default(),
            event_bytes: Counter::default(),
            retries: Counter::default(),
            refusals: Counter::default(),
            commit_seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 18)),
            group_appends: Histogram::new(exponential_buckets(1.0, 2.0, 13)),
            queue_appends: Gauge::default(),
            subscriptions: Gauge::default(),
        }
    }
}

impl Metrics {
    /// Adds everything to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "appends",
            "Appends that wrote something",
            self.appends.clone(),
        );
        registry.register("events", "Events written", self.events.clone());
        registry.register(
            "event_bytes",
            "Bytes of events written",
            self.event_bytes.clone(),
        );
        registry.register(
            "retries",
            "Appends recognised as retries",
            self.retries.clone(),
        );
        registry.register(
            "refusals",
            "Appends that were refused",
            self.refusals.clone(),
        );
        registry.register(
            "commit_seconds",
            "From handing a group to the storage until it was durable",
            self.commit_seconds.clone(),
        );
        registry.register(
            "group_appends",
            "Appends in a group",
            self.group_appends.clone(),
        );
        registry.register(
            "queue_appends",
            "Appends that wait for the writer",
            self.queue_appends.clone(),
        );
        registry.register(
            "subscriptions",
            "Open subscriptions",
            self.subscriptions.clone(),
        );
    }
}
