//! What passes between a group and its consumers.

use super::group_id;
use crate::field::{InField, required, store_id_bytes, text, uuid, uuid_bytes};
use crate::proto;
use crate::proto::consume_request::nack::Action;
use crate::proto::consume_request::{self, Message};
use icecore_core::{
    Consume, ConsumerId, DeliveryNumber, Error, GroupDelivery, GroupId, NackAction, Result,
    Settled, StoreId,
};

/// Events that a consumer may have when it does not say how many.
const BUFFER_SIZE: u32 = 10;

/// A consumer that wants to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// The group.
    pub group: GroupId,
    /// Events that it may have and not have answered.
    pub buffer_size: u32,
    /// What it calls itself.
    pub name: String,
}

impl Join {
    /// As the store takes it; `address` is where the consumer comes from.
    pub fn into_consume(self, address: String) -> Consume {
        Consume {
            group: self.group,
            buffer_size: self.buffer_size,
            address,
            name: self.name,
        }
    }
}

/// What a consumer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumeMessage {
    /// The first message, and only that.
    Join(Join),
    /// An answer to deliveries.
    Settle(Vec<DeliveryNumber>, Settled),
}

impl TryFrom<proto::ConsumeRequest> for ConsumeMessage {
    type Error = Error;

    fn try_from(request: proto::ConsumeRequest) -> Result<Self> {
        Ok(match required(request.message, "message")? {
            Message::Join(join) => Self::Join(Join {
                group: group_id(join.group).inside(|| "join".into())?,
                buffer_size: match join.buffer_size {
                    0 => BUFFER_SIZE,
                    size => size,
                },
                name: text(join.name).named("join.name")?.to_string(),
            }),
            Message::Ack(ack) => Self::Settle(numbers(ack.deliveries), Settled::Ack),
            Message::Nack(nack) => {
                let action = match nack.action() {
                    Action::Park => NackAction::Park,
                    Action::Retry => NackAction::Retry,
                    Action::Skip => NackAction::Skip,
                    Action::Stop => NackAction::Stop,
                    Action::Unspecified => {
                        return Err(Error::invalid("nack.action", "is missing or unknown"));
                    }
                };
                let reason = text(nack.reason).named("nack.reason")?.to_string();
                Self::Settle(numbers(nack.deliveries), Settled::Nack { action, reason })
            }
        })
    }
}

impl From<ConsumeMessage> for proto::ConsumeRequest {
    fn from(message: ConsumeMessage) -> Self {
        let message = match message {
            ConsumeMessage::Join(join) => Message::Join(consume_request::Join {
                group: Some(join.group.into()),
                buffer_size: join.buffer_size,
                name: join.name.into(),
            }),
            ConsumeMessage::Settle(deliveries, Settled::Ack) => {
                let deliveries = deliveries.iter().map(|number| number.0).collect();
                Message::Ack(consume_request::Ack { deliveries })
            }
            ConsumeMessage::Settle(deliveries, Settled::Nack { action, reason }) => {
                let action = match action {
                    NackAction::Park => Action::Park,
                    NackAction::Retry => Action::Retry,
                    NackAction::Skip => Action::Skip,
                    NackAction::Stop => Action::Stop,
                };
                Message::Nack(consume_request::Nack {
                    deliveries: deliveries.iter().map(|number| number.0).collect(),
                    action: action.into(),
                    reason: reason.into(),
                })
            }
        };
        Self {
            message: Some(message),
        }
    }
}

fn numbers(deliveries: Vec<u64>) -> Vec<DeliveryNumber> {
    deliveries.into_iter().map(DeliveryNumber).collect()
}

impl From<GroupDelivery> for proto::GroupDelivery {
    fn from(delivery: GroupDelivery) -> Self {
        Self {
            delivery: delivery.number.0,
            event: delivery.event.map(Into::into),
            link: delivery.link.map(Into::into),
            retry_count: delivery.retry_count,
        }
    }
}

impl TryFrom<proto::GroupDelivery> for GroupDelivery {
    type Error = Error;

    fn try_from(message: proto::GroupDelivery) -> Result<Self> {
        let event = message.event.map(TryInto::try_into).transpose();
        let link = message.link.map(TryInto::try_into).transpose();
        let delivery = Self {
            number: DeliveryNumber(message.delivery),
            event: event.inside(|| "event".into())?,
            link: link.inside(|| "link".into())?,
            retry_count: message.retry_count,
        };
        if delivery.original().is_none() {
            return Err(Error::invalid("event", "is missing, and so is the link"));
        }
        Ok(delivery)
    }
}

/// Takes the deliveries of one message. Errors name them as `deliveries[n]`.
pub fn decode_deliveries(deliveries: Vec<proto::GroupDelivery>) -> Result<Vec<GroupDelivery>> {
    let numbered = deliveries.into_iter().enumerate();
    numbered
        .map(|(n, delivery)| delivery.try_into().inside(|| format!("deliveries[{n}]")))
        .collect()
}

impl From<Vec<GroupDelivery>> for proto::ConsumeResponse {
    fn from(deliveries: Vec<GroupDelivery>) -> Self {
        let deliveries = deliveries.into_iter().map(Into::into).collect();
        let deliveries = proto::consume_response::Deliveries { deliveries };
        Self {
            message: Some(proto::consume_response::Message::Deliveries(deliveries)),
        }
    }
}

impl From<(StoreId, ConsumerId)> for proto::ConsumeResponse {
    fn from((store_id, consumer): (StoreId, ConsumerId)) -> Self {
        let joined = proto::consume_response::Joined {
            store_id: store_id_bytes(store_id),
            consumer: uuid_bytes(consumer.0),
        };
        Self {
            message: Some(proto::consume_response::Message::Joined(joined)),
        }
    }
}

/// Which consumer has joined.
pub fn joined_consumer(joined: &proto::consume_response::Joined) -> Result<ConsumerId> {
    uuid(&joined.consumer).map(ConsumerId).named("consumer")
}
