//! Groups of persistent subscriptions: who they are, what they read and how they behave. What they
//! deliver and tell about themselves stands in `group/delivery.rs` and `group/info.rs`; how they do
//! it is `eventstore`'s to know.

mod delivery;
mod info;

pub use delivery::{
    Consume, ConsumerId, DeliveryNumber, Finish, GroupDelivery, NackAction, Settled,
};
pub use info::{ConsumerInfo, GroupInfo, GroupStatus, ParkedEvent, ParkedPage, ParkedRange};

use crate::limits::{GROUP_BUFFER_MAX, GROUP_NAME_BYTES_MAX};
use crate::text::{check, text};
use crate::{Error, Filter, Result, StreamName};
use bytestring::ByteString;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What the streams that a group remembers itself in begin with.
const OWN_PREFIX: &str = "$persistentsubscription-";

/// The stream that holds what groups there are.
const CONFIG_STREAM: &str = "$persistentSubscriptionConfig";

/// How all streams are called where a name of a stream is expected.
const ALL: &str = "$all";

/// Longest time between a delivery and its answer.
const TIMEOUT_MAX: Duration = Duration::from_millis(i32::MAX as u64);

/// Validated name of a group: not empty, at most [`GROUP_NAME_BYTES_MAX`] bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupName(ByteString);

text!(GroupName);

impl GroupName {
    /// Takes a name as a caller gave it.
    pub fn new(name: impl Into<ByteString>) -> Result<Self> {
        let name = name.into();
        check("group", &name, GROUP_NAME_BYTES_MAX)?;
        Ok(Self(name))
    }
}

/// Which group: its name is unique among the groups of one stream, or among those of all streams.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId {
    stream: Option<StreamName>,
    name: GroupName,
}

impl GroupId {
    /// A group that reads one stream.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for field `stream`: a stream in which groups remember themselves, or `$all`,
    /// which is no stream.
    pub fn of_stream(stream: StreamName, name: GroupName) -> Result<Self> {
        if stream.as_str() == ALL || Self::owns(&stream) {
            return Err(Error::invalid(
                "stream",
                format!("`{stream}` is the store's own, no group reads it"),
            ));
        }
        Ok(Self {
            stream: Some(stream),
            name,
        })
    }

    /// A group that reads all streams.
    pub fn of_all(name: GroupName) -> Self {
        Self { stream: None, name }
    }

    /// The stream that it reads; `None` for all.
    pub fn stream(&self) -> Option<&StreamName> {
        self.stream.as_ref()
    }

    /// Its name.
    pub fn name(&self) -> &GroupName {
        &self.name
    }

    /// The stream that keeps what the group has finished.
    pub fn checkpoint_stream(&self) -> StreamName {
        self.own_stream("checkpoint")
    }

    /// The stream that keeps what the group has parked.
    pub fn parked_stream(&self) -> StreamName {
        self.own_stream("parked")
    }

    fn own_stream(&self, suffix: &str) -> StreamName {
        own(format!("{OWN_PREFIX}{self}-{suffix}"))
    }

    /// The stream that holds what groups there are.
    pub fn config_stream() -> StreamName {
        own(CONFIG_STREAM.to_owned())
    }

    /// Whether the groups remember themselves in this stream, or in its metadata. None of them gets
    /// such events.
    pub fn owns(stream: &StreamName) -> bool {
        let name = stream.as_str();
        let name = name.strip_prefix("$$").unwrap_or(name);
        name.starts_with(OWN_PREFIX) || name == CONFIG_STREAM
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stream = self.stream.as_ref().map_or(ALL, StreamName::as_str);
        write!(f, "{stream}::{}", self.name)
    }
}

fn own(name: String) -> StreamName {
    StreamName::derived(name)
        .expect("names of streams and groups are shorter than a derived name may be")
}

/// A group: who it is, what it reads and how it behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name and what it reads.
    pub id: GroupId,
    /// What it wants of that. For one stream its name is not filtered.
    pub filter: Filter,
    /// How it behaves.
    pub settings: GroupSettings,
}

impl Group {
    /// A group with the settings that Icecore chooses.
    pub fn new(id: GroupId) -> Self {
        Self {
            id,
            filter: Filter::default(),
            settings: GroupSettings::default(),
        }
    }

    /// Checks what the types leave open.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` that names the field.
    pub fn check(&self) -> Result<()> {
        let of_one_stream = self.id.stream.is_some();
        if of_one_stream && (self.filter.stream.is_some() || self.filter.category.is_some()) {
            return Err(Error::invalid(
                "filter",
                "one stream has one name: a filter on names or categories goes with all streams",
            ));
        }
        self.filter.check()?;
        self.settings.check()
    }
}

/// Where a group starts that has not finished anything yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupStart {
    /// With the first event.
    #[default]
    Beginning,
    /// With the first event that is appended after its creation.
    End,
    /// With this revision (one stream) or position (all streams), inclusive.
    From(u64),
}

/// Who of several consumers gets an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConsumerStrategy {
    /// Each stream in strict order: an event goes to one consumer or another, and the next one of its
    /// stream only when it is done. One that cannot be processed is parked, and its stream waits
    /// behind it; the others go on.
    #[default]
    Ordered,
    /// Each in turn.
    RoundRobin,
    /// The first one, as long as it has room.
    DispatchToSingle,
    /// The events of a stream to the same consumer, as long as consumers neither come nor go.
    Pinned,
    /// As [`Self::Pinned`], by `$correlationId` in the metadata where there is one.
    PinnedByCorrelation,
}

impl ConsumerStrategy {
    /// Every strategy.
    pub const EACH: [Self; 5] = [
        Self::Ordered,
        Self::RoundRobin,
        Self::DispatchToSingle,
        Self::Pinned,
        Self::PinnedByCorrelation,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ordered => "Ordered",
            Self::RoundRobin => "RoundRobin",
            Self::DispatchToSingle => "DispatchToSingle",
            Self::Pinned => "Pinned",
            Self::PinnedByCorrelation => "PinnedByCorrelation",
        }
    }
}

impl fmt::Display for ConsumerStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ConsumerStrategy {
    type Err = Error;

    /// Reads what [`fmt::Display`] writes.
    fn from_str(text: &str) -> Result<Self> {
        let found = Self::EACH.into_iter().find(|each| each.as_str() == text);
        found.ok_or_else(|| {
            let names = Self::EACH.map(Self::as_str).join(", ");
            Error::invalid("strategy", format!("`{text}` is none of {names}"))
        })
    }
}

/// How a group behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// Where it starts.
    pub start: GroupStart,
    /// A link is delivered together with the event that it points at.
    pub resolve_links: bool,
    /// Latencies of the consumers are kept and told.
    pub extra_statistics: bool,
    /// An event that is not answered within this time goes to a consumer again; zero waits for ever.
    pub message_timeout: Duration,
    /// An event is delivered again so many times before it is parked.
    pub max_retry_count: u32,
    /// The checkpoint is written when this time has passed and `min_checkpoint_count` events are done.
    pub checkpoint_after: Duration,
    /// See `checkpoint_after`.
    pub min_checkpoint_count: u32,
    /// The checkpoint is written when so many events are done.
    pub max_checkpoint_count: u32,
    /// So many consumers may there be; 0 for as many as the store allows.
    pub max_subscriber_count: u32,
    /// Newest events that are kept for delivery when the group is live.
    pub live_buffer_size: u32,
    /// Events that are read at a time.
    pub read_batch_size: u32,
    /// Events that are kept for delivery while the group is behind.
    pub history_buffer_size: u32,
    /// Who of several consumers gets an event.
    pub strategy: ConsumerStrategy,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            start: GroupStart::Beginning,
            resolve_links: false,
            extra_statistics: false,
            message_timeout: Duration::from_secs(30),
            max_retry_count: 10,
            checkpoint_after: Duration::from_secs(2),
            min_checkpoint_count: 10,
            max_checkpoint_count: 1_000,
            max_subscriber_count: 0,
            live_buffer_size: 500,
            read_batch_size: 200,
            history_buffer_size: 500,
            strategy: ConsumerStrategy::Ordered,
        }
    }
}

impl GroupSettings {
    /// Checks each setting and those that belong together.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` that names the setting.
    pub fn check(&self) -> Result<()> {
        for (field, time) in [
            ("message_timeout", self.message_timeout),
            ("checkpoint_after", self.checkpoint_after),
        ] {
            if time > TIMEOUT_MAX {
                let limit = TIMEOUT_MAX.as_millis();
                return Err(Error::invalid(field, format!("is over {limit} ms")));
            }
        }
        for (field, size) in [
            ("live_buffer_size", self.live_buffer_size),
            ("read_batch_size", self.read_batch_size),
            ("history_buffer_size", self.history_buffer_size),
            ("max_checkpoint_count", self.max_checkpoint_count),
        ] {
            if size == 0 || size > GROUP_BUFFER_MAX {
                let reason = format!("is {size}, it must be from 1 to {GROUP_BUFFER_MAX}");
                return Err(Error::invalid(field, reason));
            }
        }
        not_over(
            ("read_batch_size", self.read_batch_size),
            ("history_buffer_size", self.history_buffer_size),
        )?;
        not_over(
            ("min_checkpoint_count", self.min_checkpoint_count),
            ("max_checkpoint_count", self.max_checkpoint_count),
        )
    }
}

fn not_over(small: (&'static str, u32), large: (&'static str, u32)) -> Result<()> {
    if small.1 > large.1 {
        let reason = format!("is {}, more than {} with {}", small.1, large.0, large.1);
        return Err(Error::invalid(small.0, reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{DERIVED_STREAM_NAME_BYTES_MAX, STREAM_NAME_BYTES_MAX};

    fn name(name: &str) -> GroupName {
        GroupName::new(name.to_owned()).unwrap()
    }

    fn field(result: Result<()>) -> String {
        match result {
            Err(Error::InvalidArgument { field, .. }) => field.into_owned(),
            other => panic!("it should be invalid, but is {other:?}"),
        }
    }

    #[test]
    fn names_of_own_streams_follow_kurrentdb_and_fit() {
        let of_all = GroupId::of_all(name("workers"));
        assert_eq!(of_all.to_string(), "$all::workers");
        let orders = StreamName::new("orders").unwrap();
        let id = GroupId::of_stream(orders, name("g")).unwrap();
        assert_eq!(
            (id.checkpoint_stream().as_str(), id.parked_stream().as_str()),
            (
                "$persistentsubscription-orders::g-checkpoint",
                "$persistentsubscription-orders::g-parked"
            )
        );
        let longest = StreamName::new(format!("$${}", "s".repeat(STREAM_NAME_BYTES_MAX))).unwrap();
        let id = GroupId::of_stream(longest, name(&"g".repeat(GROUP_NAME_BYTES_MAX))).unwrap();
        let metadata = id.checkpoint_stream().metadata_stream().unwrap();
        assert!(metadata.as_str().len() <= DERIVED_STREAM_NAME_BYTES_MAX);
        assert!(GroupName::new("g".repeat(GROUP_NAME_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn no_group_reads_what_groups_write() {
        for own in [
            "$persistentsubscription-orders::g-parked",
            "$$$persistentsubscription-orders::g-checkpoint",
            "$persistentSubscriptionConfig",
            "$$$persistentSubscriptionConfig",
            "$all",
        ] {
            let stream = StreamName::new(own).unwrap();
            assert!(GroupId::of_stream(stream, name("g")).is_err(), "{own}");
        }
        assert!(!GroupId::owns(&StreamName::new("$settings").unwrap()));
    }

    #[test]
    fn settings_name_what_is_wrong() {
        let default = GroupSettings::default;
        default().check().unwrap();
        let too_long = Duration::from_secs(100 * 24 * 3_600);
        let cases = [
            (
                "message_timeout",
                GroupSettings {
                    message_timeout: too_long,
                    ..default()
                },
            ),
            (
                "live_buffer_size",
                GroupSettings {
                    live_buffer_size: 0,
                    ..default()
                },
            ),
            (
                "read_batch_size",
                GroupSettings {
                    read_batch_size: 501,
                    ..default()
                },
            ),
            (
                "history_buffer_size",
                GroupSettings {
                    history_buffer_size: 65_537,
                    ..default()
                },
            ),
            (
                "min_checkpoint_count",
                GroupSettings {
                    min_checkpoint_count: 1_001,
                    ..default()
                },
            ),
            (
                "max_checkpoint_count",
                GroupSettings {
                    max_checkpoint_count: 0,
                    ..default()
                },
            ),
        ];
        for (expected, settings) in cases {
            assert_eq!(field(settings.check()), expected);
        }
        for strategy in ConsumerStrategy::EACH {
            assert_eq!(
                strategy.to_string().parse::<ConsumerStrategy>().unwrap(),
                strategy
            );
        }
        assert_eq!(
            field("Random".parse::<ConsumerStrategy>().map(drop)),
            "strategy"
        );
    }
}
