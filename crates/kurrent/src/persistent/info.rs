//! What a group tells about itself. Places in one stream are revisions; in all streams they are written as
//! `C:7/P:7`.

use crate::proto::event_store::client::persistent_subscriptions as proto;
use icecore_core::{ConsumerInfo, GroupId, GroupInfo, GroupStart, GroupStatus, StreamName};
use proto::subscription_info::{ConnectionInfo, Measurement};
use std::fmt::Display;
use std::time::Duration;

/// Who calls is not asked.
const USERNAME: &str = "anonymous";

/// The group in the words of these clients.
pub(super) fn shown(info: &GroupInfo) -> proto::SubscriptionInfo {
    let id = &info.group.id;
    let settings = &info.group.settings;
    let shown = |at: Option<u64>| at.map(|at| place(id, at)).unwrap_or_default();
    proto::SubscriptionInfo {
        event_source: id.stream().map_or("$all", StreamName::as_str).to_owned(),
        group_name: id.name().to_string(),
        status: match info.status {
            GroupStatus::Live => "Live",
            // Without consumers nothing is read.
            GroupStatus::Behind | GroupStatus::Idle => "Behind",
        }
        .to_owned(),
        connections: info.consumers.iter().map(connection).collect(),
        average_per_second: number(info.average_per_second),
        total_items: count(info.total_items),
        count_since_last_measurement: count(info.count_since_last_measurement),
        last_checkpointed_event_position: shown(info.last_checkpointed),
        last_known_event_position: shown(info.last_known),
        resolve_link_tos: settings.resolve_links,
        start_from: start(id, settings.start),
        message_timeout_milliseconds: millis(settings.message_timeout),
        extra_statistics: settings.extra_statistics,
        max_retry_count: number(settings.max_retry_count),
        live_buffer_size: number(settings.live_buffer_size),
        buffer_size: number(settings.history_buffer_size),
        read_batch_size: number(settings.read_batch_size),
        check_point_after_milliseconds: millis(settings.checkpoint_after),
        min_check_point_count: number(settings.min_checkpoint_count),
        max_check_point_count: number(settings.max_checkpoint_count),
        read_buffer_count: number(info.read_buffer_count),
        live_buffer_count: count(info.live_buffer_count),
        retry_buffer_count: number(info.retry_buffer_count),
        total_in_flight_messages: number(info.in_flight_count),
        outstanding_messages_count: number(info.in_flight_count),
        named_consumer_strategy: settings.strategy.to_string(),
        max_subscriber_count: number(settings.max_subscriber_count),
        parked_message_count: count(info.parked_count),
    }
}

fn connection(consumer: &ConsumerInfo) -> ConnectionInfo {
    let measurements = consumer.latencies.iter().map(|(key, value)| Measurement {
        key: key.clone(),
        value: count(*value),
    });
    ConnectionInfo {
        from: consumer.address.clone(),
        username: USERNAME.to_owned(),
        average_items_per_second: number(consumer.average_per_second),
        total_items: count(consumer.total_items),
        count_since_last_measurement: count(consumer.count_since_last_measurement),
        observed_measurements: measurements.collect(),
        available_slots: number(consumer.available_slots),
        in_flight_messages: number(consumer.in_flight_count),
        connection_name: consumer.name.clone(),
    }
}

fn start(id: &GroupId, start: GroupStart) -> String {
    match start {
        GroupStart::Beginning => place(id, 0),
        GroupStart::End => place(id, -1),
        GroupStart::From(from) => place(id, from),
    }
}

fn place(id: &GroupId, at: impl Display) -> String {
    match id.stream() {
        Some(_) => at.to_string(),
        None => format!("C:{at}/P:{at}"),
    }
}

fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

fn number(number: impl TryInto<i32>) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}

fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
