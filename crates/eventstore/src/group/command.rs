//! What a group that is awake is asked to do.

use super::consumer::{GroupConsumer, GroupDeliveries};
use crate::room::Room;
use icecore_core::{
    Append, Appended, Consume, ConsumerId, DeliveryNumber, Error, Finish, GroupInfo, ParkedRange,
    Result, Settled,
};
use tokio::sync::oneshot;
use uuid::Uuid;

/// Something to do for a group's task.
#[derive(Debug)]
pub(crate) enum Command {
    /// A consumer wants to join.
    Join {
        consume: Consume,
        reply: oneshot::Sender<Result<(GroupConsumer, GroupDeliveries)>>,
    },
    /// A consumer answers.
    Settle {
        consumer: ConsumerId,
        what: Answered,
        settled: Settled,
    },
    /// A consumer leaves in order.
    Leave { consumer: ConsumerId },
    /// What is it doing?
    Info { reply: oneshot::Sender<GroupInfo> },
    /// Something about what is parked.
    Parked(ParkedCommand),
    /// An append that finishes deliveries.
    Finish(Box<FinishCommand>),
    /// Write what there is to write, drop the consumers for this reason, end.
    Stop { why: Error },
}

/// What is answered.
#[derive(Debug)]
pub(crate) enum Answered {
    Deliveries(Vec<DeliveryNumber>),
    /// By the ids of the original events.
    Events(Vec<Uuid>),
}

impl Answered {
    /// How many.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Deliveries(deliveries) => deliveries.len(),
            Self::Events(events) => events.len(),
        }
    }
}

/// Something to do with parked events. The reply says with how many.
#[derive(Debug)]
pub(crate) struct ParkedCommand {
    pub(super) range: ParkedRange,
    pub(super) act: ParkedAct,
    /// With how many it is done already.
    pub(super) done: u64,
    pub(super) reply: oneshot::Sender<Result<u64>>,
}

/// What is done with parked events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ParkedAct {
    Replay,
    Discard,
}

/// An append that finishes deliveries.
#[derive(Debug)]
pub(crate) struct FinishCommand {
    pub(super) finish: Finish,
    pub(super) append: Append,
    pub(super) room: Room,
    pub(super) reply: oneshot::Sender<Result<Appended>>,
}
