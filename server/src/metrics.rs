//! What Prometheus is told: the store's counters and the engine's figures, asked when it asks.

use crate::process;
use icecore_core::Result;
use icecore_eventstore::{EventStore, GroupFigures};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
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
    groups(&mut registry, &store.group_figures().await?);
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|error| {
        icecore_core::Error::internal_from("encoding the metrics failed", error)
    })?;
    Ok(text)
}

/// The figures of the groups, each under its key.
fn groups(registry: &mut Registry, figures: &[GroupFigures]) {
    type Figure = fn(&GroupFigures) -> u64;
    let gauges: [(&str, &str, Figure); 5] = [
        ("consumers", "Consumers of a group", |group| group.consumers),
        (
            "in_flight",
            "Events that consumers of a group have and have not answered",
            |group| group.in_flight,
        ),
        ("parked", "Events that a group has parked", |group| {
            group.parked
        }),
        (
            "lag",
            "Revisions or positions between what a group has done and the end of what it reads",
            |group| group.lag,
        ),
        (
            "write_put_off",
            "1 while what a group has done cannot be written",
            |group| group.put_off.into(),
        ),
    ];
    for (name, help, figure) in gauges {
        let family = Family::<Labels, Gauge>::default();
        for group in figures {
            let value = i64::try_from(figure(group)).unwrap_or(i64::MAX);
            family.get_or_create(&labels(group)).set(value);
        }
        registry.register(format!("consumer_group_{name}"), help, family);
    }
    let counters: [(&str, &str, Figure); 2] = [
        ("delivered", "Events handed out by a group", |group| {
            group.delivered
        }),
        (
            "retried",
            "Events handed out by a group that were handed out before",
            |group| group.retried,
        ),
    ];
    for (name, help, figure) in counters {
        let family = Family::<Labels, Counter>::default();
        for group in figures {
            family.get_or_create(&labels(group)).inc_by(figure(group));
        }
        registry.register(format!("consumer_group_{name}"), help, family);
    }
}

/// As many as [`EventStore::group_figures`] tells.
type Labels = [(&'static str, String); 1];

fn labels(group: &GroupFigures) -> Labels {
    [("group", group.group.to_string())]
}
