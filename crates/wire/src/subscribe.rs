//! Subscriptions: where they start and what they deliver.

use crate::event::recorded_events;
use crate::field::{
    optional_store_id, required, store_id, store_id_bytes, stored_stream, stream_bytes, unknown,
};
use crate::filter::filter;
use crate::proto;
use crate::proto::start::Boundary;
use crate::proto::start::Start as StartMessage;
use crate::proto::subscribe_request::{All, Stream, Target};
use crate::proto::subscribe_response::{CaughtUp, Checkpoint, Confirmed, Events, Message};
use icecore_core::{
    Error, Position, Result, Revision, Start, Subscribe, SubscribeFrom, SubscriptionMessage,
};

impl TryFrom<proto::SubscribeRequest> for Subscribe {
    type Error = Error;

    fn try_from(request: proto::SubscribeRequest) -> Result<Self> {
        let from = match required(request.target, "target")? {
            Target::All(all) => SubscribeFrom::All(start(all.start, Position::new)?),
            Target::Stream(stream) => SubscribeFrom::Stream(
                stored_stream(stream.stream)?,
                start(stream.start, Revision::new)?,
            ),
        };
        let subscribe = Self {
            from,
            filter: filter(request.filter)?,
            store_id: optional_store_id(&request.store_id)?,
        };
        subscribe.check()?;
        Ok(subscribe)
    }
}

impl From<Subscribe> for proto::SubscribeRequest {
    fn from(subscribe: Subscribe) -> Self {
        let target = match subscribe.from {
            SubscribeFrom::All(start) => Target::All(All {
                start: Some(start_message(start, Position::get)),
            }),
            SubscribeFrom::Stream(stream, start) => Target::Stream(Stream {
                stream: stream_bytes(stream),
                start: Some(start_message(start, Revision::get)),
            }),
        };
        Self {
            target: Some(target),
            filter: Some(subscribe.filter.into()),
            store_id: subscribe.store_id.map(store_id_bytes).unwrap_or_default(),
        }
    }
}

fn start<At>(message: Option<proto::Start>, at: impl FnOnce(u64) -> At) -> Result<Start<At>> {
    match message.and_then(|message| message.start) {
        None => Ok(Start::Beginning),
        Some(StartMessage::After(after)) => Ok(Start::After(at(after))),
        Some(StartMessage::Boundary(boundary)) => match Boundary::try_from(boundary) {
            Ok(Boundary::Beginning) => Ok(Start::Beginning),
            Ok(Boundary::End) => Ok(Start::End),
            Err(_) => unknown("start.boundary", boundary),
        },
    }
}

fn start_message<At>(start: Start<At>, number: impl FnOnce(At) -> u64) -> proto::Start {
    let start = match start {
        Start::Beginning => StartMessage::Boundary(Boundary::Beginning.into()),
        Start::End => StartMessage::Boundary(Boundary::End.into()),
        Start::After(after) => StartMessage::After(number(after)),
    };
    proto::Start { start: Some(start) }
}

impl From<SubscriptionMessage> for proto::SubscribeResponse {
    fn from(message: SubscriptionMessage) -> Self {
        let message = match message {
            SubscriptionMessage::Confirmed { store_id } => Message::Confirmed(Confirmed {
                store_id: store_id_bytes(store_id),
            }),
            SubscriptionMessage::Events(events) => Message::Events(Events {
                events: events.into_iter().map(Into::into).collect(),
            }),
            SubscriptionMessage::Checkpoint(position) => Message::Checkpoint(Checkpoint {
                position: position.get(),
            }),
            SubscriptionMessage::CaughtUp { position } => Message::CaughtUp(CaughtUp {
                position: position.get(),
            }),
        };
        Self {
            message: Some(message),
        }
    }
}

impl TryFrom<proto::SubscribeResponse> for SubscriptionMessage {
    type Error = Error;

    fn try_from(response: proto::SubscribeResponse) -> Result<Self> {
        Ok(match required(response.message, "message")? {
            Message::Confirmed(confirmed) => Self::Confirmed {
                store_id: store_id(&confirmed.store_id)?,
            },
            Message::Events(events) => Self::Events(recorded_events(events.events)?),
            Message::Checkpoint(at) => Self::Checkpoint(Position::new(at.position)),
            Message::CaughtUp(at) => Self::CaughtUp {
                position: Position::new(at.position),
            },
        })
    }
}
