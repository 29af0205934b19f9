//! What a group has parked: asked for, shown, replayed, discarded.

use super::group_id;
use crate::field::{InField, count, size, stored_stream, stream_bytes, text};
use crate::proto;
use crate::proto::parked_range::Range;
use bytes::Bytes;
use icecore_core::{
    Error, GroupId, ParkedEvent, ParkedPage, ParkedRange, Result, Revision, Timestamp,
};

/// Which parked events to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListParked {
    /// The group.
    pub group: GroupId,
    /// First revision of the parked stream (inclusive).
    pub from: Revision,
    /// Most events; 0 takes the server's page size.
    pub limit: usize,
}

impl TryFrom<proto::ListParkedRequest> for ListParked {
    type Error = Error;

    fn try_from(request: proto::ListParkedRequest) -> Result<Self> {
        Ok(Self {
            group: group_id(request.group)?,
            from: Revision::new(request.from),
            limit: size(request.limit),
        })
    }
}

impl From<ListParked> for proto::ListParkedRequest {
    fn from(list: ListParked) -> Self {
        Self {
            group: Some(list.group.into()),
            from: list.from.get(),
            limit: count(list.limit),
        }
    }
}

impl From<ParkedPage> for proto::ListParkedResponse {
    fn from(page: ParkedPage) -> Self {
        Self {
            events: page.events.into_iter().map(Into::into).collect(),
            next: page.next.map(Revision::get),
        }
    }
}

impl TryFrom<proto::ListParkedResponse> for ParkedPage {
    type Error = Error;

    fn try_from(response: proto::ListParkedResponse) -> Result<Self> {
        let events = response.events.into_iter().enumerate();
        let events = events.map(|(n, event)| event.try_into().inside(|| format!("events[{n}]")));
        Ok(Self {
            events: events.collect::<Result<_>>()?,
            next: response.next.map(Revision::new),
        })
    }
}

impl From<ParkedEvent> for proto::ParkedEvent {
    fn from(parked: ParkedEvent) -> Self {
        Self {
            parked_revision: parked.parked_revision.get(),
            stream: stream_bytes(parked.stream),
            revision: parked.revision.get(),
            event: parked.event.map(Into::into),
            reason: parked.reason.into(),
            parked_at: parked.parked_at.nanos(),
            replaying: parked.replaying,
            waiting_stream: parked.waiting_stream.map_or_else(Bytes::new, stream_bytes),
        }
    }
}

impl TryFrom<proto::ParkedEvent> for ParkedEvent {
    type Error = Error;

    fn try_from(message: proto::ParkedEvent) -> Result<Self> {
        let event = message.event.map(TryInto::try_into).transpose();
        let waiting = (!message.waiting_stream.is_empty())
            .then(|| stored_stream(message.waiting_stream))
            .transpose();
        Ok(Self {
            parked_revision: Revision::new(message.parked_revision),
            stream: stored_stream(message.stream)?,
            revision: Revision::new(message.revision),
            event: event.inside(|| "event".into())?,
            reason: text(message.reason).named("reason")?.to_string(),
            parked_at: Timestamp::from_nanos(message.parked_at),
            replaying: message.replaying,
            waiting_stream: waiting.named("waiting_stream")?,
        })
    }
}

fn parked_range(message: Option<proto::ParkedRange>) -> ParkedRange {
    match message.and_then(|message| message.range) {
        None => ParkedRange::All,
        Some(Range::Before(end)) => ParkedRange::Before(Revision::new(end)),
        Some(Range::Revision(one)) => ParkedRange::One(Revision::new(one)),
    }
}

impl From<ParkedRange> for proto::ParkedRange {
    fn from(range: ParkedRange) -> Self {
        let range = match range {
            ParkedRange::All => None,
            ParkedRange::Before(end) => Some(Range::Before(end.get())),
            ParkedRange::One(one) => Some(Range::Revision(one.get())),
        };
        Self { range }
    }
}

/// Which parked events to replay, or only to count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayParked {
    /// The group.
    pub group: GroupId,
    /// Which of them.
    pub range: ParkedRange,
    /// Only say how many.
    pub dry_run: bool,
}

impl TryFrom<proto::ReplayParkedRequest> for ReplayParked {
    type Error = Error;

    fn try_from(request: proto::ReplayParkedRequest) -> Result<Self> {
        Ok(Self {
            group: group_id(request.group)?,
            range: parked_range(request.range),
            dry_run: request.dry_run,
        })
    }
}

impl From<ReplayParked> for proto::ReplayParkedRequest {
    fn from(replay: ReplayParked) -> Self {
        Self {
            group: Some(replay.group.into()),
            range: Some(replay.range.into()),
            dry_run: replay.dry_run,
        }
    }
}

impl TryFrom<proto::DiscardParkedRequest> for (GroupId, ParkedRange) {
    type Error = Error;

    fn try_from(request: proto::DiscardParkedRequest) -> Result<Self> {
        Ok((group_id(request.group)?, parked_range(request.range)))
    }
}

impl From<(GroupId, ParkedRange)> for proto::DiscardParkedRequest {
    fn from((group, range): (GroupId, ParkedRange)) -> Self {
        Self {
            group: Some(group.into()),
            range: Some(range.into()),
        }
    }
}
