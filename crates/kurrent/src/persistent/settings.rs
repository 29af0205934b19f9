//! Settings of groups: how these clients say them, and the clients before them.

use super::wanted::Start;
use crate::proto::event_store::client::persistent_subscriptions::{create_req, update_req};
use create_req::Settings;
use create_req::settings::{CheckpointAfter, MessageTimeout};
use icecore_core::{ConsumerStrategy, Error, GroupSettings, Result};
use std::time::Duration;

/// Ticks of 100 ns.
const TICKS_PER_MILLISECOND: u64 = 10_000;

/// How a group shall behave, as it was said.
#[derive(Debug)]
pub(super) struct Behaviour {
    pub(super) start: Start,
    pub(super) settings: Settings,
}

impl Behaviour {
    /// The settings.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for one that no group can have.
    pub(super) fn settings(self) -> Result<GroupSettings> {
        let Self { start, settings } = self;
        let unsaid = GroupSettings::default();
        Ok(GroupSettings {
            start: start.map_err(|reason| Error::invalid("position", reason))?,
            resolve_links: settings.resolve_links,
            extra_statistics: settings.extra_statistics,
            message_timeout: match settings.message_timeout {
                Some(MessageTimeout::MessageTimeoutMs(time)) => millis("message_timeout", time)?,
                Some(MessageTimeout::MessageTimeoutTicks(time)) => ticks("message_timeout", time)?,
                None => unsaid.message_timeout,
            },
            max_retry_count: size("max_retry_count", settings.max_retry_count)?,
            checkpoint_after: match settings.checkpoint_after {
                Some(CheckpointAfter::CheckpointAfterMs(time)) => millis("checkpoint_after", time)?,
                Some(CheckpointAfter::CheckpointAfterTicks(time)) => {
                    ticks("checkpoint_after", time)?
                }
                None => unsaid.checkpoint_after,
            },
            min_checkpoint_count: size("min_checkpoint_count", settings.min_checkpoint_count)?,
            max_checkpoint_count: size("max_checkpoint_count", settings.max_checkpoint_count)?,
            max_subscriber_count: size("max_subscriber_count", settings.max_subscriber_count)?,
            live_buffer_size: size("live_buffer_size", settings.live_buffer_size)?,
            read_batch_size: size("read_batch_size", settings.read_batch_size)?,
            history_buffer_size: size("history_buffer_size", settings.history_buffer_size)?,
            strategy: strategy(
                &settings.consumer_strategy,
                settings.named_consumer_strategy,
            )?,
        })
    }
}

/// The strategy by its name, or by its number where old clients say none.
fn strategy(name: &str, number: i32) -> Result<ConsumerStrategy> {
    if !name.is_empty() {
        return name.parse();
    }
    match create_req::ConsumerStrategy::try_from(number) {
        Ok(create_req::ConsumerStrategy::DispatchToSingle) => {
            Ok(ConsumerStrategy::DispatchToSingle)
        }
        Ok(create_req::ConsumerStrategy::RoundRobin) => Ok(ConsumerStrategy::RoundRobin),
        Ok(create_req::ConsumerStrategy::Pinned) => Ok(ConsumerStrategy::Pinned),
        Err(_) => Err(Error::invalid(
            "strategy",
            format!("has no number {number}"),
        )),
    }
}

/// The strategy of a group after a change. A change says it by number, where 0 is both the first one and
/// nothing at all; so who has one without a number keeps it.
pub(super) fn updated(before: ConsumerStrategy, said: ConsumerStrategy) -> ConsumerStrategy {
    use ConsumerStrategy::{DispatchToSingle, Ordered, PinnedByCorrelation};
    match (before, said) {
        (Ordered | PinnedByCorrelation, DispatchToSingle) => before,
        _ => said,
    }
}

fn size(field: &'static str, size: i32) -> Result<u32> {
    u32::try_from(size).map_err(|_| Error::invalid(field, "is negative"))
}

fn millis(field: &'static str, millis: i32) -> Result<Duration> {
    size(field, millis).map(|millis| Duration::from_millis(millis.into()))
}

fn ticks(field: &'static str, ticks: i64) -> Result<Duration> {
    let ticks = u64::try_from(ticks).map_err(|_| Error::invalid(field, "is negative"))?;
    Ok(Duration::from_millis(ticks / TICKS_PER_MILLISECOND))
}

/// The settings of a change, in the words of a creation. Strategies have the same numbers.
impl From<update_req::Settings> for Settings {
    fn from(settings: update_req::Settings) -> Self {
        use update_req::settings::{
            CheckpointAfter as UpdateAfter, MessageTimeout as UpdateTimeout,
        };
        Self {
            resolve_links: settings.resolve_links,
            revision: settings.revision,
            extra_statistics: settings.extra_statistics,
            max_retry_count: settings.max_retry_count,
            min_checkpoint_count: settings.min_checkpoint_count,
            max_checkpoint_count: settings.max_checkpoint_count,
            max_subscriber_count: settings.max_subscriber_count,
            live_buffer_size: settings.live_buffer_size,
            read_batch_size: settings.read_batch_size,
            history_buffer_size: settings.history_buffer_size,
            named_consumer_strategy: settings.named_consumer_strategy,
            consumer_strategy: String::new(),
            message_timeout: settings.message_timeout.map(|time| match time {
                UpdateTimeout::MessageTimeoutMs(time) => MessageTimeout::MessageTimeoutMs(time),
                UpdateTimeout::MessageTimeoutTicks(time) => {
                    MessageTimeout::MessageTimeoutTicks(time)
                }
            }),
            checkpoint_after: settings.checkpoint_after.map(|time| match time {
                UpdateAfter::CheckpointAfterMs(time) => CheckpointAfter::CheckpointAfterMs(time),
                UpdateAfter::CheckpointAfterTicks(time) => {
                    CheckpointAfter::CheckpointAfterTicks(time)
                }
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use icecore_core::GroupStart;

    fn behaviour(settings: Settings) -> Behaviour {
        Behaviour {
            start: Ok(GroupStart::Beginning),
            settings,
        }
    }

    #[test]
    fn old_clients_count_ticks_and_strategies() {
        let old = Settings {
            message_timeout: Some(MessageTimeout::MessageTimeoutTicks(300_000_000)),
            checkpoint_after: Some(CheckpointAfter::CheckpointAfterTicks(19_999)),
            named_consumer_strategy: 2,
            ..Settings::default()
        };
        let settings = behaviour(old.clone()).settings().unwrap();
        assert_eq!(settings.message_timeout, Duration::from_secs(30));
        assert_eq!(settings.checkpoint_after, Duration::from_millis(1));
        assert_eq!(settings.strategy, ConsumerStrategy::Pinned);
        let named = Settings {
            consumer_strategy: "PinnedByCorrelation".to_owned(),
            ..old
        };
        let settings = behaviour(named).settings().unwrap();
        assert_eq!(settings.strategy, ConsumerStrategy::PinnedByCorrelation);
    }

    #[test]
    fn what_no_group_can_have_is_refused() {
        let negative = || MessageTimeout::MessageTimeoutTicks(-1);
        for (field, bad) in [
            (
                "strategy",
                Settings {
                    consumer_strategy: "Any".to_owned(),
                    ..Settings::default()
                },
            ),
            (
                "strategy",
                Settings {
                    named_consumer_strategy: 3,
                    ..Settings::default()
                },
            ),
            (
                "max_retry_count",
                Settings {
                    max_retry_count: -1,
                    ..Settings::default()
                },
            ),
            (
                "message_timeout",
                Settings {
                    message_timeout: Some(negative()),
                    ..Settings::default()
                },
            ),
        ] {
            match behaviour(bad).settings() {
                Err(Error::InvalidArgument { field: found, .. }) => assert_eq!(found, field),
                other => panic!("{field}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_change_that_says_no_strategy_keeps_one_that_has_no_number() {
        use ConsumerStrategy::{
            DispatchToSingle, Ordered, Pinned, PinnedByCorrelation, RoundRobin,
        };
        assert_eq!(updated(Ordered, DispatchToSingle), Ordered);
        assert_eq!(
            updated(PinnedByCorrelation, DispatchToSingle),
            PinnedByCorrelation
        );
        assert_eq!(updated(Ordered, RoundRobin), RoundRobin);
        assert_eq!(updated(Pinned, DispatchToSingle), DispatchToSingle);
    }
}
