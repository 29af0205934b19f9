//! What a consumer of a group asks for, what it gets and how it answers.

use super::GroupId;
use crate::limits::GROUP_CONSUMER_BUFFER_MAX;
use crate::{Error, RecordedEvent, Result};
use uuid::Uuid;

/// Longest name or address that a consumer tells of itself, in bytes.
const LABEL_BYTES_MAX: usize = 256;

/// A consumer that wants to join a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consume {
    /// The group.
    pub group: GroupId,
    /// Events that it may have and not have answered, at least 1.
    pub buffer_size: u32,
    /// Where it comes from, for operators.
    pub address: String,
    /// What it calls itself, for operators.
    pub name: String,
}

impl Consume {
    /// A consumer that says nothing of itself.
    pub fn new(group: GroupId, buffer_size: u32) -> Self {
        Self {
            group,
            buffer_size,
            address: String::new(),
            name: String::new(),
        }
    }

    /// Checks what the types leave open.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` that names the field.
    pub fn check(&self) -> Result<()> {
        if self.buffer_size == 0 || self.buffer_size > GROUP_CONSUMER_BUFFER_MAX {
            return Err(Error::invalid(
                "buffer_size",
                format!(
                    "is {}, it must be from 1 to {GROUP_CONSUMER_BUFFER_MAX}",
                    self.buffer_size
                ),
            ));
        }
        for (field, label) in [("address", &self.address), ("name", &self.name)] {
            if label.len() > LABEL_BYTES_MAX {
                let reason = format!("is over {LABEL_BYTES_MAX} bytes");
                return Err(Error::invalid(field, reason));
            }
        }
        Ok(())
    }
}

/// One connection of a consumer to its group; none is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConsumerId(pub Uuid);

/// One delivery to a consumer, counted from 1 in its group. An event that is delivered again gets
/// another number, so that a late answer to the first is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryNumber(pub u64);

/// An event that a consumer gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDelivery {
    /// What to answer.
    pub number: DeliveryNumber,
    /// The event; `None` where a link was resolved and its target is not there any more.
    pub event: Option<RecordedEvent>,
    /// The link by which the event was found, where links are resolved.
    pub link: Option<RecordedEvent>,
    /// How often it was delivered before.
    pub retry_count: u32,
}

impl GroupDelivery {
    /// The event that stands in what the group reads: the link, where there is one.
    pub fn original(&self) -> Option<&RecordedEvent> {
        self.link.as_ref().or(self.event.as_ref())
    }
}

/// What becomes of an event that a consumer has not processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NackAction {
    /// It is parked.
    Park,
    /// It is delivered again, unless that has been done too often: then it is parked.
    Retry,
    /// It counts as processed.
    Skip,
    /// It goes to another consumer, and this one is done.
    Stop,
}

/// An answer to deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// They are processed.
    Ack,
    /// They are not.
    Nack {
        /// What becomes of them.
        action: NackAction,
        /// Why, for whoever looks at what was parked.
        reason: String,
    },
}

/// What an append finishes together with writing its events: it takes effect with the append or not
/// at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finish {
    /// The group.
    pub group: GroupId,
    /// The consumer that has them.
    pub consumer: ConsumerId,
    /// The deliveries, at least one.
    pub deliveries: Vec<DeliveryNumber>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GroupName;

    #[test]
    fn a_consumer_takes_at_least_one_event_and_a_short_name() {
        let group = GroupId::of_all(GroupName::new("g").unwrap());
        assert!(Consume::new(group.clone(), 1).check().is_ok());
        assert!(Consume::new(group.clone(), 0).check().is_err());
        let too_many = GROUP_CONSUMER_BUFFER_MAX + 1;
        assert!(Consume::new(group.clone(), too_many).check().is_err());
        let name = "n".repeat(LABEL_BYTES_MAX + 1);
        let consume = Consume {
            name,
            ..Consume::new(group, 1)
        };
        assert!(consume.check().is_err());
    }
}
