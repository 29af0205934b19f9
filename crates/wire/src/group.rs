//! Groups of persistent subscriptions: which one, how it behaves, what it tells of itself. What passes
//! between it and its consumers: `group/consume.rs`; what it has parked: `group/parked.rs`.

mod consume;
mod parked;

pub use consume::{ConsumeMessage, Join, decode_deliveries, joined_consumer};
pub use parked::{ListParked, ReplayParked};

use crate::field::{
    InField, required, stored_stream, stream_bytes, text, text_bytes, unknown, uuid, uuid_bytes,
};
use crate::filter::filter;
use crate::proto;
use crate::proto::group_info::Status;
use crate::proto::group_settings::start::{Boundary, Start};
use crate::proto::group_settings::{Start as StartMessage, Strategy};
use icecore_core::{
    ConsumerId, ConsumerInfo, ConsumerStrategy, DeliveryNumber, Error, Finish, Group, GroupId,
    GroupInfo, GroupName, GroupSettings, GroupStart, GroupStatus, Result,
};
use std::time::Duration;

impl TryFrom<proto::GroupId> for GroupId {
    type Error = Error;

    fn try_from(message: proto::GroupId) -> Result<Self> {
        let name = text(message.name).and_then(GroupName::new).named("name")?;
        match message.stream {
            Some(stream) => Self::of_stream(stored_stream(stream)?, name),
            None => Ok(Self::of_all(name)),
        }
    }
}

impl From<GroupId> for proto::GroupId {
    fn from(id: GroupId) -> Self {
        Self {
            stream: id.stream().cloned().map(stream_bytes),
            name: text_bytes(id.name().clone().into_inner()),
        }
    }
}

/// The group that a request is about.
pub fn group_id(message: Option<proto::GroupId>) -> Result<GroupId> {
    required(message, "group")?
        .try_into()
        .inside(|| "group".into())
}

impl TryFrom<proto::CreateGroupRequest> for Group {
    type Error = Error;

    fn try_from(request: proto::CreateGroupRequest) -> Result<Self> {
        let group = Self {
            id: group_id(request.group)?,
            filter: filter(request.filter)?,
            settings: settings(request.settings)?,
        };
        group.check().inside_settings()?;
        Ok(group)
    }
}

impl From<Group> for proto::CreateGroupRequest {
    fn from(group: Group) -> Self {
        Self {
            group: Some(group.id.into()),
            filter: Some(group.filter.into()),
            settings: Some(group.settings.into()),
        }
    }
}

impl TryFrom<proto::UpdateGroupRequest> for (GroupId, GroupSettings) {
    type Error = Error;

    fn try_from(request: proto::UpdateGroupRequest) -> Result<Self> {
        let settings = settings(request.settings)?;
        settings.check().inside_settings()?;
        Ok((group_id(request.group)?, settings))
    }
}

impl From<(GroupId, GroupSettings)> for proto::UpdateGroupRequest {
    fn from((id, settings): (GroupId, GroupSettings)) -> Self {
        Self {
            group: Some(id.into()),
            settings: Some(settings.into()),
        }
    }
}

fn settings(message: Option<proto::GroupSettings>) -> Result<GroupSettings> {
    let settings = message.map(GroupSettings::try_from).transpose();
    settings
        .inside(|| "settings".into())
        .map(Option::unwrap_or_default)
}

trait InsideSettings {
    fn inside_settings(self) -> Self;
}

impl InsideSettings for Result<()> {
    /// A filter says by itself where it stands; everything else is a setting.
    fn inside_settings(self) -> Self {
        match self {
            Err(Error::InvalidArgument { ref field, .. }) if !field.starts_with("filter") => {
                self.inside(|| "settings".into())
            }
            other => other,
        }
    }
}

impl TryFrom<proto::GroupSettings> for GroupSettings {
    type Error = Error;

    fn try_from(message: proto::GroupSettings) -> Result<Self> {
        let default = Self::default();
        let millis = |given: Option<u64>, otherwise| given.map_or(otherwise, Duration::from_millis);
        Ok(Self {
            start: start(message.start)?,
            resolve_links: message.resolve_links,
            extra_statistics: message.extra_statistics,
            message_timeout: millis(message.message_timeout_ms, default.message_timeout),
            max_retry_count: message.max_retry_count.unwrap_or(default.max_retry_count),
            checkpoint_after: millis(message.checkpoint_after_ms, default.checkpoint_after),
            min_checkpoint_count: message
                .min_checkpoint_count
                .unwrap_or(default.min_checkpoint_count),
            max_checkpoint_count: message
                .max_checkpoint_count
                .unwrap_or(default.max_checkpoint_count),
            max_subscriber_count: message
                .max_subscriber_count
                .unwrap_or(default.max_subscriber_count),
            live_buffer_size: message.live_buffer_size.unwrap_or(default.live_buffer_size),
            read_batch_size: message.read_batch_size.unwrap_or(default.read_batch_size),
            history_buffer_size: message
                .history_buffer_size
                .unwrap_or(default.history_buffer_size),
            strategy: match Strategy::try_from(message.strategy) {
                Ok(Strategy::Ordered) => ConsumerStrategy::Ordered,
                Ok(Strategy::RoundRobin) => ConsumerStrategy::RoundRobin,
                Ok(Strategy::DispatchToSingle) => ConsumerStrategy::DispatchToSingle,
                Ok(Strategy::Pinned) => ConsumerStrategy::Pinned,
                Ok(Strategy::PinnedByCorrelation) => ConsumerStrategy::PinnedByCorrelation,
                Err(_) => return unknown("strategy", message.strategy),
            },
        })
    }
}

impl From<GroupSettings> for proto::GroupSettings {
    fn from(settings: GroupSettings) -> Self {
        let strategy = match settings.strategy {
            ConsumerStrategy::Ordered => Strategy::Ordered,
            ConsumerStrategy::RoundRobin => Strategy::RoundRobin,
            ConsumerStrategy::DispatchToSingle => Strategy::DispatchToSingle,
            ConsumerStrategy::Pinned => Strategy::Pinned,
            ConsumerStrategy::PinnedByCorrelation => Strategy::PinnedByCorrelation,
        };
        let start = match settings.start {
            GroupStart::Beginning => Start::Boundary(Boundary::Beginning.into()),
            GroupStart::End => Start::Boundary(Boundary::End.into()),
            GroupStart::From(place) => Start::From(place),
        };
        Self {
            start: Some(StartMessage { start: Some(start) }),
            resolve_links: settings.resolve_links,
            extra_statistics: settings.extra_statistics,
            message_timeout_ms: Some(millis(settings.message_timeout)),
            max_retry_count: Some(settings.max_retry_count),
            checkpoint_after_ms: Some(millis(settings.checkpoint_after)),
            min_checkpoint_count: Some(settings.min_checkpoint_count),
            max_checkpoint_count: Some(settings.max_checkpoint_count),
            max_subscriber_count: Some(settings.max_subscriber_count),
            live_buffer_size: Some(settings.live_buffer_size),
            read_batch_size: Some(settings.read_batch_size),
            history_buffer_size: Some(settings.history_buffer_size),
            strategy: strategy.into(),
        }
    }
}

fn start(message: Option<StartMessage>) -> Result<GroupStart> {
    match message.and_then(|message| message.start) {
        None => Ok(GroupStart::Beginning),
        Some(Start::From(place)) => Ok(GroupStart::From(place)),
        Some(Start::Boundary(boundary)) => match Boundary::try_from(boundary) {
            Ok(Boundary::Beginning) => Ok(GroupStart::Beginning),
            Ok(Boundary::End) => Ok(GroupStart::End),
            Err(_) => unknown("start.boundary", boundary),
        },
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl From<GroupInfo> for proto::GroupInfo {
    fn from(info: GroupInfo) -> Self {
        let Group {
            id,
            filter,
            settings,
        } = info.group;
        let status = match info.status {
            GroupStatus::Idle => Status::Idle,
            GroupStatus::Behind => Status::Behind,
            GroupStatus::Live => Status::Live,
        };
        Self {
            group: Some(id.into()),
            filter: Some(filter.into()),
            settings: Some(settings.into()),
            status: status.into(),
            consumers: info.consumers.into_iter().map(Into::into).collect(),
            last_checkpointed: info.last_checkpointed,
            last_known: info.last_known,
            average_per_second: info.average_per_second,
            total_items: info.total_items,
            count_since_last_measurement: info.count_since_last_measurement,
            read_buffer_count: info.read_buffer_count,
            live_buffer_count: info.live_buffer_count,
            retry_buffer_count: info.retry_buffer_count,
            in_flight_count: info.in_flight_count,
            parked_count: info.parked_count,
            waiting_streams: info.waiting_streams,
            trouble: info.trouble.unwrap_or_default().into(),
        }
    }
}

impl TryFrom<proto::GroupInfo> for GroupInfo {
    type Error = Error;

    fn try_from(message: proto::GroupInfo) -> Result<Self> {
        let status = match Status::try_from(message.status) {
            Ok(Status::Idle) => GroupStatus::Idle,
            Ok(Status::Behind) => GroupStatus::Behind,
            Ok(Status::Live) => GroupStatus::Live,
            Err(_) => return unknown("status", message.status),
        };
        let consumers = message.consumers.into_iter().map(ConsumerInfo::try_from);
        Ok(Self {
            group: Group {
                id: group_id(message.group)?,
                filter: filter(message.filter)?,
                settings: settings(message.settings)?,
            },
            status,
            consumers: consumers.collect::<Result<_>>()?,
            last_checkpointed: message.last_checkpointed,
            last_known: message.last_known,
            average_per_second: message.average_per_second,
            total_items: message.total_items,
            count_since_last_measurement: message.count_since_last_measurement,
            read_buffer_count: message.read_buffer_count,
            live_buffer_count: message.live_buffer_count,
            retry_buffer_count: message.retry_buffer_count,
            in_flight_count: message.in_flight_count,
            parked_count: message.parked_count,
            waiting_streams: message.waiting_streams,
            trouble: Some(text(message.trouble).named("trouble")?.to_string())
                .filter(|trouble| !trouble.is_empty()),
        })
    }
}

impl From<ConsumerInfo> for proto::ConsumerInfo {
    fn from(info: ConsumerInfo) -> Self {
        let latencies = info.latencies.into_iter();
        let latencies = latencies.map(|(name, millis)| proto::consumer_info::Latency {
            name: name.into(),
            millis,
        });
        Self {
            consumer: uuid_bytes(info.id.0),
            address: info.address.into(),
            name: info.name.into(),
            average_per_second: info.average_per_second,
            total_items: info.total_items,
            count_since_last_measurement: info.count_since_last_measurement,
            available_slots: info.available_slots,
            in_flight_count: info.in_flight_count,
            latencies: latencies.collect(),
        }
    }
}

impl TryFrom<proto::ConsumerInfo> for ConsumerInfo {
    type Error = Error;

    fn try_from(message: proto::ConsumerInfo) -> Result<Self> {
        let latencies = message.latencies.into_iter();
        let latencies = latencies.map(|latency| {
            let name = text(latency.name).named("latencies.name")?;
            Ok((name.to_string(), latency.millis))
        });
        Ok(Self {
            id: uuid(&message.consumer).map(ConsumerId).named("consumer")?,
            address: text(message.address).named("address")?.to_string(),
            name: text(message.name).named("name")?.to_string(),
            average_per_second: message.average_per_second,
            total_items: message.total_items,
            count_since_last_measurement: message.count_since_last_measurement,
            available_slots: message.available_slots,
            in_flight_count: message.in_flight_count,
            latencies: latencies.collect::<Result<_>>()?,
        })
    }
}

impl TryFrom<proto::Finish> for Finish {
    type Error = Error;

    fn try_from(message: proto::Finish) -> Result<Self> {
        if message.deliveries.is_empty() {
            return Err(Error::invalid("deliveries", "is empty"));
        }
        Ok(Self {
            group: group_id(message.group)?,
            consumer: uuid(&message.consumer).map(ConsumerId).named("consumer")?,
            deliveries: message.deliveries.into_iter().map(DeliveryNumber).collect(),
        })
    }
}

impl From<Finish> for proto::Finish {
    fn from(finish: Finish) -> Self {
        Self {
            group: Some(finish.group.into()),
            consumer: uuid_bytes(finish.consumer.0),
            deliveries: finish.deliveries.iter().map(|number| number.0).collect(),
        }
    }
}
