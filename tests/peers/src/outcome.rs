//! What is counted while a load runs, and the object that says it.

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, Instant};

/// Latencies are told apart down to a thousandth of themselves.
const DIGITS: u8 = 3;

/// Longer ones count as this.
const LATENCY_MAX: Duration = Duration::from_hours(1);

/// How often a second the system counts a process's time.
const TICKS: u64 = 100;

/// What one task has done.
pub(crate) struct Lap {
    pub(crate) events: u64,
    pub(crate) appends: u64,
    latency: Histogram<u64>,
}

impl Lap {
    pub(crate) fn new() -> Self {
        let latency = Histogram::new(DIGITS).expect("the number of digits is valid");
        Self {
            events: 0,
            appends: 0,
            latency,
        }
    }

    /// An append or a read that was begun then is done.
    pub(crate) fn done(&mut self, since: Instant, events: u64) {
        self.appends += 1;
        self.events += events;
        self.latency(since.elapsed());
    }

    /// A latency that was measured elsewhere.
    pub(crate) fn latency(&mut self, latency: Duration) {
        let latency = latency.min(LATENCY_MAX).as_micros();
        let micros = u64::try_from(latency).expect("an hour is few of them");
        self.latency.record(micros).expect("the histogram grows");
    }

    /// Takes another task's part over.
    pub(crate) fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.appends += other.appends;
        self.latency += &other.latency;
    }
}

/// A load that is under way.
pub(crate) struct Measured {
    server_pid: Option<u32>,
    cpu_ticks: Option<u64>,
    since: Instant,
}

impl Measured {
    /// Begins here.
    pub(crate) fn begin(server_pid: Option<u32>) -> Result<Self> {
        Ok(Self {
            server_pid,
            cpu_ticks: server_pid.map(cpu_ticks).transpose()?,
            since: Instant::now(),
        })
    }

    /// When it began.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// Ends here, and says what came of it.
    pub(crate) fn end(self, lap: &Lap) -> Result<Value> {
        let elapsed = self.since.elapsed();
        let cpu_ticks = self.server_pid.map(cpu_ticks).transpose()?;
        let cpu_ticks = cpu_ticks.zip(self.cpu_ticks);
        let cpu = cpu_ticks.map(|(after, before)| (after - before) * 1_000 / TICKS);
        let at = |quantile| lap.latency.value_at_quantile(quantile);
        Ok(json!({
            "events": lap.events,
            "seconds": elapsed.as_secs_f64(),
            "events_per_s": per_second(lap.events, elapsed),
            "appends_per_s": per_second(lap.appends, elapsed),
            "latency_us": {
                "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p999": at(0.999),
                "max": lap.latency.max(),
            },
            "server_cpu_s": cpu.map(|millis| Duration::from_millis(millis).as_secs_f64()),
        }))
    }
}

/// How many a second, rounded.
fn per_second(count: u64, time: Duration) -> u64 {
    let micros = time.as_micros().max(1);
    u64::try_from(u128::from(count) * 1_000_000 / micros).unwrap_or(u64::MAX)
}

/// How long a process has been computing, for itself and in the system.
fn cpu_ticks(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    ticks(&stat).with_context(|| format!("understand {path}"))
}

/// Fields 14 and 15; the second field is a name in parentheses, which may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_have_any_name() {
        let stat = "1 (a) b) S 0 1 1 0 -1 4194560 1 2 3 4 150 50 0 0 20 0";
        assert_eq!(ticks(stat), Some(200));
        assert_eq!(ticks("1 (a) S 0"), None);
    }

    #[test]
    fn the_parts_of_all_tasks_are_said_together() {
        let mut all = Lap::new();
        for milliseconds in 1..=100 {
            let mut lap = Lap::new();
            lap.events = 10;
            lap.latency(Duration::from_millis(milliseconds));
            all.add(&lap);
        }
        let measured = Measured::begin(Some(std::process::id())).expect("this process is there");
        let outcome = measured.end(&all).expect("this process is there");
        assert_eq!(outcome["events"], 1_000);
        let p50 = outcome["latency_us"]["p50"].as_u64().expect("a number");
        assert!((49_900..=50_100).contains(&p50), "{outcome}");
        assert!(outcome["server_cpu_s"].is_number(), "{outcome}");
    }
}
