//! What Prometheus is told: the store's counters and the engine's figures, asked when it asks.

use crate::process;
use icecore_core::Result;
use icecore_eventstore::EventStore;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The metrics in the `OpenMetrics` text format.
pub(crate) async fn render(store: &EventStore) -> Result<String> {
    let mut registry = Registry::with_prefix("icecore");
    store.metrics().register(&mut registry);
    let stats = store.stats().await?;
    let mut gauge = |name: &str, help: &str, value: u64| {
        let gauge: Gauge = Gauge::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    };
    gauge(
        "last_position",
        "Position of the last event",
        stats.last_position.get(),
    );
    gauge("streams", "Streams that ever had an event", stats.streams);
    gauge("disk_bytes", "Bytes on disk", stats.disk_bytes);
    gauge(
        "subscription_lag_events_max",
        "How far the slowest subscription is behind",
        store.subscription_lag_events_max(),
    );
    for (name, value) in &stats.details {
        gauge(
            &format!("engine_{name}"),
            "A figure of the storage engine",
            *value,
        );
    }
    for (name, value) in process::figures() {
        gauge(&name, "A figure of the process", value);
    }
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|error| {
        icecore_core::Error::internal_from("encoding the metrics failed", error)
    })?;
    Ok(text)
}
