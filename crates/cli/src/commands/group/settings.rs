//! The settings of a group as flags, and as they are shown.

use crate::args::{by_flag, duration};
use crate::ndjson::Object;
use clap::{Args, ValueEnum};
use icecore_client::{ConsumerStrategy, Error, GroupSettings, GroupStart};
use std::io::{self, Write};
use std::time::Duration;

/// How a group behaves.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Settings")]
pub(super) struct SettingsArgs {
    /// Where to start without a checkpoint: start, end, or the first revision (without --stream
    /// position) to deliver
    #[arg(long, value_name = "start|end|N", default_value = "start", value_parser = start)]
    from: GroupStart,
    /// Who of several consumers gets an event
    #[arg(long, value_name = "STRATEGY", default_value = "ordered")]
    strategy: Strategy,
    /// Deliver a link with the event that it points at
    #[arg(long)]
    resolve_links: bool,
    /// Keep latencies of the consumers
    #[arg(long)]
    extra_statistics: bool,
    /// Deliver an event again that is not answered within this time; 0s waits for ever
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    message_timeout: Duration,
    /// Park an event after it was delivered again so many times
    #[arg(long, value_name = "N", default_value_t = 10)]
    max_retries: u32,
    /// Write the checkpoint after this time, when --checkpoint-min events are done
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    checkpoint_after: Duration,
    /// See --checkpoint-after
    #[arg(long, value_name = "N", default_value_t = 10)]
    checkpoint_min: u32,
    /// Write the checkpoint when so many events are done
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    checkpoint_max: u32,
    /// Most consumers; 0 for as many as the server allows
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_consumers: u32,
    /// Events that wait in memory while the group follows what comes
    #[arg(long, value_name = "N", default_value_t = 500)]
    live_buffer: u32,
    /// Events that are read at a time
    #[arg(long, value_name = "N", default_value_t = 200)]
    read_batch: u32,
    /// Events that wait in memory while the group is behind
    #[arg(long, value_name = "N", default_value_t = 500)]
    history_buffer: u32,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Strategy {
    /// Each stream strictly in order, with any number of consumers
    Ordered,
    /// Each consumer in turn
    RoundRobin,
    /// The first one, as long as it has room
    DispatchToSingle,
    /// The events of a stream to the same consumer
    Pinned,
    /// Events with the same $correlationId to the same consumer
    PinnedByCorrelation,
}

fn start(text: &str) -> Result<GroupStart, String> {
    match text {
        "start" => Ok(GroupStart::Beginning),
        "end" => Ok(GroupStart::End),
        number => {
            let number = number.parse().map(GroupStart::From);
            number.map_err(|_| "it is none of start, end or a number".to_owned())
        }
    }
}

impl SettingsArgs {
    pub(super) fn settings(&self) -> GroupSettings {
        GroupSettings {
            start: self.from,
            resolve_links: self.resolve_links,
            extra_statistics: self.extra_statistics,
            message_timeout: self.message_timeout,
            max_retry_count: self.max_retries,
            checkpoint_after: self.checkpoint_after,
            min_checkpoint_count: self.checkpoint_min,
            max_checkpoint_count: self.checkpoint_max,
            max_subscriber_count: self.max_consumers,
            live_buffer_size: self.live_buffer,
            read_batch_size: self.read_batch,
            history_buffer_size: self.history_buffer,
            strategy: match self.strategy {
                Strategy::Ordered => ConsumerStrategy::Ordered,
                Strategy::RoundRobin => ConsumerStrategy::RoundRobin,
                Strategy::DispatchToSingle => ConsumerStrategy::DispatchToSingle,
                Strategy::Pinned => ConsumerStrategy::Pinned,
                Strategy::PinnedByCorrelation => ConsumerStrategy::PinnedByCorrelation,
            },
        }
    }
}

/// The error with the flags that stand for the settings.
pub(super) fn named(error: Error) -> Error {
    let error = match error {
        Error::InvalidArgument { field, reason } => {
            let setting = field.strip_prefix("settings.").map(str::to_owned);
            let field = setting.map_or(field, Into::into);
            Error::InvalidArgument { field, reason }
        }
        other => other,
    };
    let flags = [
        ("start", "--from"),
        ("message_timeout", "--message-timeout"),
        ("checkpoint_after", "--checkpoint-after"),
        ("min_checkpoint_count", "--checkpoint-min"),
        ("max_checkpoint_count", "--checkpoint-max"),
        ("live_buffer_size", "--live-buffer"),
        ("read_batch_size", "--read-batch"),
        ("history_buffer_size", "--history-buffer"),
    ];
    by_flag(error, &flags)
}

/// The word that the flag takes.
pub(super) fn strategy_name(strategy: ConsumerStrategy) -> &'static str {
    match strategy {
        ConsumerStrategy::Ordered => "ordered",
        ConsumerStrategy::RoundRobin => "round-robin",
        ConsumerStrategy::DispatchToSingle => "dispatch-to-single",
        ConsumerStrategy::Pinned => "pinned",
        ConsumerStrategy::PinnedByCorrelation => "pinned-by-correlation",
    }
}

fn start_name(start: GroupStart) -> String {
    match start {
        GroupStart::Beginning => "start".to_owned(),
        GroupStart::End => "end".to_owned(),
        GroupStart::From(place) => place.to_string(),
    }
}

/// The settings for people.
pub(super) fn properties(settings: &GroupSettings) -> Vec<(&'static str, String)> {
    let time = |time: Duration| format!("{} ms", time.as_millis());
    let checkpoint = format!(
        "after {} and {} events, or {} events",
        time(settings.checkpoint_after),
        settings.min_checkpoint_count,
        settings.max_checkpoint_count
    );
    let buffers = format!(
        "{} live, {} behind, {} read at a time",
        settings.live_buffer_size, settings.history_buffer_size, settings.read_batch_size
    );
    vec![
        ("strategy", strategy_name(settings.strategy).to_owned()),
        ("starts with", start_name(settings.start)),
        ("message timeout", time(settings.message_timeout)),
        ("retries", settings.max_retry_count.to_string()),
        ("checkpoint is written", checkpoint),
        ("buffers", buffers),
    ]
}

/// The settings for programs, by the names of the protocol.
pub(super) fn write(json: &mut Object<'_, impl Write>, settings: &GroupSettings) -> io::Result<()> {
    let flag = |flag: bool| if flag { &b"true"[..] } else { &b"false"[..] };
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    json.string("strategy", strategy_name(settings.strategy))?;
    json.string("start", &start_name(settings.start))?;
    json.raw("resolve_links", flag(settings.resolve_links))?;
    json.raw("extra_statistics", flag(settings.extra_statistics))?;
    json.number("message_timeout_ms", millis(settings.message_timeout))?;
    json.number("max_retry_count", settings.max_retry_count.into())?;
    json.number("checkpoint_after_ms", millis(settings.checkpoint_after))?;
    for (name, size) in [
        ("min_checkpoint_count", settings.min_checkpoint_count),
        ("max_checkpoint_count", settings.max_checkpoint_count),
        ("max_subscriber_count", settings.max_subscriber_count),
        ("live_buffer_size", settings.live_buffer_size),
        ("read_batch_size", settings.read_batch_size),
        ("history_buffer_size", settings.history_buffer_size),
    ] {
        json.number(name, size.into())?;
    }
    Ok(())
}
