//! What a measurement has found, for people and for programs.

use super::measure::per_second;
use crate::output;
use anyhow::Result;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

/// A measurement that is over.
pub(super) struct Report {
    pub(super) events: u64,
    /// Appends, or reads.
    pub(super) appends: u64,
    pub(super) elapsed: Duration,
    /// Microseconds.
    pub(super) latency: Histogram<u64>,
    pub(super) server_cpu: Option<Duration>,
    pub(super) json: bool,
}

/// What programs get. The names are part of what the command promises.
#[derive(Serialize)]
struct Json {
    events: u64,
    seconds: f64,
    events_per_s: u64,
    appends_per_s: u64,
    latency_us: LatencyJson,
    /// Null, when the server does not say.
    server_cpu_s: Option<f64>,
}

#[derive(Serialize)]
struct LatencyJson {
    p50: u64,
    p90: u64,
    p99: u64,
    p999: u64,
    max: u64,
}

impl Report {
    /// Shows it; `calls` is what the calls were, in the plural, and `latency` what was waited for.
    pub(super) fn show(&self, calls: &str, latency: &str) -> Result<()> {
        if self.json {
            return output::print(serde_json::to_string(&self.as_json())?);
        }
        let json = self.as_json();
        let rate = |name: &str, rate: u64| (format!("{name}/s"), rate.to_string());
        let mut properties = vec![
            ("events".to_owned(), self.events.to_string()),
            ("seconds".to_owned(), format!("{:.2}", json.seconds)),
            rate("events", json.events_per_s),
            rate(calls, json.appends_per_s),
            (latency.to_owned(), json.latency_us.to_string()),
        ];
        if let Some(cpu) = json.server_cpu_s {
            #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
            let per_million = cpu / (self.events.max(1) as f64 / 1e6);
            let text = format!("{cpu:.2} s, {per_million:.2} s per million events");
            properties.push(("server's CPU".to_owned(), text));
        }
        let properties: Vec<_> = properties
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        output::show_properties(output::Format::Table, &properties, |_| Ok(()))
    }

    fn as_json(&self) -> Json {
        let latency = |quantile| self.latency.value_at_quantile(quantile);
        Json {
            events: self.events,
            seconds: self.elapsed.as_secs_f64(),
            events_per_s: per_second(self.events, self.elapsed),
            appends_per_s: per_second(self.appends, self.elapsed),
            latency_us: LatencyJson {
                p50: latency(0.5),
                p90: latency(0.9),
                p99: latency(0.99),
                p999: latency(0.999),
                max: self.latency.max(),
            },
            server_cpu_s: self.server_cpu.map(|cpu| cpu.as_secs_f64()),
        }
    }
}

impl std::fmt::Display for LatencyJson {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            p50,
            p90,
            p99,
            p999,
            max,
        } = self;
        write!(
            f,
            "p50 {p50} us, p90 {p90}, p99 {p99}, p99.9 {p999}, max {max}"
        )
    }
}
