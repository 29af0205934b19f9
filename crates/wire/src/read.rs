//! Reads: what is asked for and the pages that answer it.

use crate::event::recorded_events;
use crate::field::{
    optional_store_id, required, store_id_bytes, stored_stream, stream_bytes, unknown,
};
use crate::filter::filter;
use crate::proto;
use crate::proto::read_request::{All, Stream, Target};
use icecore_core::{
    Direction, Error, Position, Read, ReadBatch, ReadFrom, Result, Revision, StoreId, Timestamp,
};

impl TryFrom<proto::ReadRequest> for Read {
    type Error = Error;

    fn try_from(request: proto::ReadRequest) -> Result<Self> {
        let direction = match proto::Direction::try_from(request.direction) {
            Ok(proto::Direction::Forwards) => Direction::Forwards,
            Ok(proto::Direction::Backwards) => Direction::Backwards,
            Err(_) => return unknown("direction", request.direction),
        };
        let from = match required(request.target, "target")? {
            Target::All(all) => ReadFrom::All(all.from.map(Position::new)),
            Target::Stream(stream) => ReadFrom::Stream(
                stored_stream(stream.stream)?,
                stream.from.map(Revision::new),
            ),
        };
        let read = Self {
            from,
            direction,
            filter: filter(request.filter)?,
            limit: request.limit,
            as_of: request.as_of.map(Timestamp::from_nanos),
        };
        read.check()?;
        Ok(read)
    }
}

impl From<Read> for proto::ReadRequest {
    fn from(read: Read) -> Self {
        let target = match read.from {
            ReadFrom::All(from) => Target::All(All {
                from: from.map(Position::get),
            }),
            ReadFrom::Stream(stream, from) => Target::Stream(Stream {
                stream: stream_bytes(stream),
                from: from.map(Revision::get),
            }),
        };
        let direction = match read.direction {
            Direction::Forwards => proto::Direction::Forwards,
            Direction::Backwards => proto::Direction::Backwards,
        };
        Self {
            target: Some(target),
            direction: direction.into(),
            filter: Some(read.filter.into()),
            limit: read.limit,
            as_of: read.as_of.map(Timestamp::nanos),
        }
    }
}

/// One message of a read. The first one says which store answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadMessage {
    /// The store, in the first message.
    pub store_id: Option<StoreId>,
    /// The events.
    pub batch: ReadBatch,
}

impl From<ReadMessage> for proto::ReadResponse {
    fn from(message: ReadMessage) -> Self {
        Self {
            store_id: message.store_id.map(store_id_bytes).unwrap_or_default(),
            last_position: message.batch.last_position.get(),
            events: message.batch.events.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<proto::ReadResponse> for ReadMessage {
    type Error = Error;

    fn try_from(response: proto::ReadResponse) -> Result<Self> {
        Ok(Self {
            store_id: optional_store_id(&response.store_id)?,
            batch: ReadBatch {
                events: recorded_events(response.events)?,
                last_position: Position::new(response.last_position),
            },
        })
    }
}
