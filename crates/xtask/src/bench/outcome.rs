//! The object that `icecore bench --json` prints, and the drivers of peers too.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// What a load came to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) events: u64,
    pub(super) seconds: f64,
    pub(super) events_per_s: f64,
    /// Appends, or reads, or messages.
    pub(super) calls_per_s: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) server_cpu_s: Option<f64>,
}

impl Outcome {
    /// Reads it, and refuses what no load can have come to.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let json: Value = serde_json::from_str(text).context("read the JSON")?;
        let number = |value: &Value, name: &str| {
            let number = value.get(name).and_then(Value::as_f64);
            number.with_context(|| format!("find {name} in {json}"))
        };
        let latency = json.get("latency_us").context("find latency_us")?;
        let mut latencies = Vec::new();
        for name in ["p50", "p90", "p99", "p999", "max"] {
            latencies.push(number(latency, name)?);
        }
        let outcome = Self {
            events: json["events"].as_u64().context("find events")?,
            seconds: number(&json, "seconds")?,
            events_per_s: number(&json, "events_per_s")?,
            calls_per_s: number(&json, "appends_per_s")?,
            p50_us: latencies[0],
            p99_us: latencies[2],
            server_cpu_s: json.get("server_cpu_s").and_then(Value::as_f64),
        };
        ensure!(outcome.events > 0, "nothing happened: {json}");
        ensure!(latencies.is_sorted(), "the latencies do not rise: {json}");
        let expected = outcome.events_f64() / outcome.seconds;
        ensure!(
            (outcome.events_per_s - expected).abs() <= 1.0 + expected / 100.0,
            "the rate is not events over seconds: {json}"
        );
        Ok(outcome)
    }

    /// The events, to divide them.
    #[allow(clippy::cast_precision_loss, reason = "nobody measures so many")]
    pub(super) fn events_f64(&self) -> f64 {
        self.events as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(events: u64, per_second: u64, p99: u64) -> String {
        format!(
            r#"{{"events":{events},"seconds":2.0,"events_per_s":{per_second},"appends_per_s":5,
                "latency_us":{{"p50":3,"p90":4,"p99":{p99},"p999":60,"max":70}},"server_cpu_s":0.25}}"#
        )
    }

    #[test]
    fn what_was_printed_is_read() {
        let outcome = Outcome::parse(&printed(100, 50, 5)).unwrap();
        let expected = Outcome {
            events: 100,
            seconds: 2.0,
            events_per_s: 50.0,
            calls_per_s: 5.0,
            p50_us: 3.0,
            p99_us: 5.0,
            server_cpu_s: Some(0.25),
        };
        assert_eq!(outcome, expected);
        let without = printed(100, 50, 5).replace("0.25", "null");
        assert_eq!(Outcome::parse(&without).unwrap().server_cpu_s, None);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(Outcome::parse("").is_err());
        assert!(Outcome::parse("{}").is_err());
        assert!(Outcome::parse(&printed(0, 0, 5)).is_err());
        assert!(Outcome::parse(&printed(100, 70, 5)).is_err());
        assert!(Outcome::parse(&printed(100, 50, 2)).is_err());
    }
}
