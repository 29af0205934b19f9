//! What is counted while it runs: events, appends, latencies, the server's CPU; and the line that shows
//! how far it is.

use super::ShowArgs;
use super::report::Report;
use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use icecore_client::Client;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Latencies are told apart down to a thousandth of themselves.
const DIGITS: u8 = 3;

/// Longer than anybody measures.
const LONG: Duration = Duration::from_secs(1 << 30);

/// How often the progress line is written anew.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Where the server says how much CPU it has used, in microseconds.
const CPU_FIGURE: &str = "process_cpu_us";

/// What several tasks count together.
#[derive(Default)]
pub(super) struct Counts {
    events: AtomicU64,
    appends: AtomicU64,
}

impl Counts {
    /// An append, or a read, is done.
    pub(super) fn appended(&self) {
        self.appends.fetch_add(1, Ordering::Relaxed);
    }

    /// So many events are where they belong.
    pub(super) fn delivered(&self, events: u64) {
        self.events.fetch_add(events, Ordering::Relaxed);
    }
}

/// One task's part of a measurement.
pub(super) struct Lap {
    counts: Arc<Counts>,
    end: Option<Instant>,
    /// Events that the task may still begin, if they are limited.
    left: Option<u64>,
    latency: Histogram<u64>,
}

impl Lap {
    /// Whether one more, of so many events, is to be begun.
    pub(super) fn goes_on(&mut self, events: u64) -> bool {
        match &mut self.left {
            Some(0) => return false,
            Some(left) => *left = left.saturating_sub(events),
            None => {}
        }
        self.end.is_none_or(|end| Instant::now() < end)
    }

    /// One that was begun then is done.
    pub(super) fn done(&mut self, since: Instant, events: u64) {
        self.counts.appended();
        self.counts.delivered(events);
        self.latency_us(u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX));
    }

    /// A latency that was measured elsewhere.
    pub(super) fn latency_us(&mut self, micros: u64) {
        let recorded = self.latency.record(micros);
        recorded.expect("the histogram grows with what it is given");
    }

    /// When time is up; without a limit, some day.
    pub(super) fn end(&self) -> Instant {
        self.end.unwrap_or_else(|| Instant::now() + LONG)
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }
}

/// Several tasks that are measured together.
pub(super) struct Measurement {
    client: Client,
    counts: Arc<Counts>,
    end: Option<Instant>,
    /// How many events each task shall begin, if that is limited; the next task's comes first.
    shares: Vec<u64>,
    show: ShowArgs,
    tasks: JoinSet<Result<Histogram<u64>>>,
    cpu: Option<Duration>,
    since: Instant,
}

/// When a measurement ends.
pub(super) enum End {
    /// When its tasks say so.
    ByItself,
    After(Duration),
    /// When so many tasks have begun so many events, each its share, rounded up to whole appends.
    Events {
        events: u64,
        tasks: u64,
    },
}

impl Measurement {
    /// Begins now; the client is asked about the server.
    pub(super) async fn begin(client: Client, end: End, show: ShowArgs) -> Result<Self> {
        let cpu = cpu(&client).await?;
        let since = Instant::now();
        let (end, shares) = match end {
            End::ByItself => (None, Vec::new()),
            End::After(duration) => (Some(since + duration), Vec::new()),
            End::Events { events, tasks } => {
                let up_to = |task| u128::from(events) * u128::from(task) / u128::from(tasks);
                let share = |task| u64::try_from(up_to(task + 1) - up_to(task));
                let shares: Result<_, _> = (0..tasks).map(share).collect();
                (None, shares.context("share out the events")?)
            }
        };
        Ok(Self {
            client,
            counts: Arc::default(),
            end,
            shares,
            show,
            tasks: JoinSet::new(),
            cpu,
            since,
        })
    }

    /// Begins one more task.
    pub(super) fn spawn<F>(&mut self, task: impl FnOnce(Lap) -> F)
    where
        F: Future<Output = Result<Lap>> + Send + 'static,
    {
        let lap = Lap {
            counts: Arc::clone(&self.counts),
            end: self.end,
            left: self.shares.pop(),
            latency: Histogram::new(DIGITS).expect("the number of digits is valid"),
        };
        let task = task(lap);
        self.tasks.spawn(async move { Ok(task.await?.latency) });
    }

    /// Waits for all tasks. The first that fails ends it.
    pub(super) async fn finish(mut self) -> Result<Report> {
        let progress = (!self.show.json).then(|| self.progress()).transpose()?;
        let mut latency = Histogram::new(DIGITS).expect("the number of digits is valid");
        while let Some(ended) = self.tasks.join_next().await {
            latency += ended.context("run a task")??;
        }
        let elapsed = self.since.elapsed();
        drop(progress);
        let cpu = cpu(&self.client).await?;
        Ok(Report {
            events: self.counts.events.load(Ordering::Relaxed),
            appends: self.counts.appends.load(Ordering::Relaxed),
            elapsed,
            latency,
            server_cpu: cpu
                .zip(self.cpu)
                .map(|(after, before)| after.saturating_sub(before)),
            json: self.show.json,
        })
    }

    fn progress(&self) -> Result<Progress> {
        let bar =
            ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {msg}")?);
        let (counts, since) = (Arc::clone(&self.counts), self.since);
        let line = tokio::spawn({
            let bar = bar.clone();
            async move {
                let (mut last, mut at) = (0, since);
                loop {
                    tokio::time::sleep(PROGRESS_INTERVAL).await;
                    let (events, now) = (counts.events.load(Ordering::Relaxed), Instant::now());
                    let rate = per_second(events - last, now - at);
                    bar.set_message(format!(
                        "{:.0} s  {} events, {}/s",
                        since.elapsed().as_secs_f64(),
                        HumanCount(events),
                        HumanCount(rate)
                    ));
                    bar.tick();
                    (last, at) = (events, now);
                }
            }
        });
        Ok(Progress {
            bar,
            line: line.abort_handle(),
        })
    }
}

/// The line that is shown meanwhile; it goes when this is dropped.
struct Progress {
    bar: ProgressBar,
    line: tokio::task::AbortHandle,
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.line.abort();
        self.bar.finish_and_clear();
    }
}

/// How many a second, rounded.
pub(super) fn per_second(count: u64, time: Duration) -> u64 {
    let micros = time.as_micros().max(1);
    u64::try_from(u128::from(count) * 1_000_000 / micros).unwrap_or(u64::MAX)
}

/// The CPU time that the server has used so far, if it can say.
async fn cpu(client: &Client) -> Result<Option<Duration>> {
    let stats = client.stats().await?;
    let figure = stats.details.iter().find(|(name, _)| name == CPU_FIGURE);
    Ok(figure.map(|(_, micros)| Duration::from_micros(*micros)))
}
