//! Which group a call means, and which of its parked events: the same question in each call, every time
//! with types of its own.

use super::missing;
use crate::event::stream;
use crate::proto::event_store::client as shared;
use crate::proto::event_store::client::persistent_subscriptions as proto;
use icecore_core::{Error, GroupId, GroupName, ParkedRange, Result, Revision, StreamName};
use proto::{delete_req, get_info_req, list_req, read_req, replay_parked_req, truncate_parked_req};

/// What a group reads, as a call says it.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Stream(Option<shared::StreamIdentifier>),
    All,
    /// It does not say.
    Unsaid,
}

impl Source {
    /// The group of this name.
    pub(super) fn group(self, name: String) -> Result<GroupId> {
        let stream = self.stream()?;
        let name = GroupName::new(name)?;
        match stream {
            Some(stream) => GroupId::of_stream(stream, name),
            None => Ok(GroupId::of_all(name)),
        }
    }

    /// The stream; `None` for all.
    pub(super) fn stream(self) -> Result<Option<StreamName>> {
        match self {
            Self::Stream(identifier) => stream(identifier).map(Some),
            Self::All => Ok(None),
            Self::Unsaid => Err(missing("stream_option")),
        }
    }
}

/// Each call has a choice of its own between a stream and all.
macro_rules! source {
    ($($option:path => $stream:ident;)*) => {$(
        impl From<Option<$option>> for Source {
            fn from(option: Option<$option>) -> Self {
                use $option as Choice;
                match option {
                    Some(Choice::$stream(identifier)) => Self::Stream(Some(identifier)),
                    Some(Choice::All(_)) => Self::All,
                    None => Self::Unsaid,
                }
            }
        }
    )*};
}

source! {
    read_req::options::StreamOption => StreamIdentifier;
    delete_req::options::StreamOption => StreamIdentifier;
    get_info_req::options::StreamOption => StreamIdentifier;
    replay_parked_req::options::StreamOption => StreamIdentifier;
    truncate_parked_req::options::StreamOption => StreamIdentifier;
    list_req::stream_option::StreamOption => Stream;
}

/// The parked events before this one, or all.
pub(super) fn parked_range(stop_at: Option<i64>) -> Result<ParkedRange> {
    let Some(stop_at) = stop_at else {
        return Ok(ParkedRange::All);
    };
    let stop_at = u64::try_from(stop_at).map_err(|_| Error::invalid("stop_at", "is negative"))?;
    Ok(ParkedRange::Before(Revision::new(stop_at)))
}
