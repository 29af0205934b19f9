//! What a subscription hands to whoever sends it on: either a message of its own, or events that it
//! shares with all other subscribers, so that they are encoded once for all of them.

use crate::{RecordedEvent, SubscriptionMessage};
use bytes::Bytes;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// What one append wrote, shared by everybody who follows live.
#[derive(Clone, Debug)]
pub struct SharedEvents(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    events: Box<[RecordedEvent]>,
    encoded: OnceLock<Bytes>,
}

impl SharedEvents {
    /// The bytes of these events, made by the first who asks. What they look like is a matter of those
    /// who ask, who must all mean the same.
    pub fn encoded(&self, encode: impl FnOnce(&[RecordedEvent]) -> Bytes) -> &Bytes {
        self.0.encoded.get_or_init(|| encode(&self.0.events))
    }
}

/// The same events; whether somebody has encoded them makes no difference.
impl PartialEq for SharedEvents {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for SharedEvents {}

impl From<Vec<RecordedEvent>> for SharedEvents {
    fn from(events: Vec<RecordedEvent>) -> Self {
        Self(Arc::new(Shared {
            events: events.into(),
            encoded: OnceLock::new(),
        }))
    }
}

impl From<&[RecordedEvent]> for SharedEvents {
    fn from(events: &[RecordedEvent]) -> Self {
        events.to_vec().into()
    }
}

impl<const N: usize> From<[RecordedEvent; N]> for SharedEvents {
    fn from(events: [RecordedEvent; N]) -> Self {
        Vec::from(events).into()
    }
}

impl FromIterator<RecordedEvent> for SharedEvents {
    fn from_iter<I: IntoIterator<Item = RecordedEvent>>(events: I) -> Self {
        events.into_iter().collect::<Vec<_>>().into()
    }
}

impl Deref for SharedEvents {
    type Target = [RecordedEvent];

    fn deref(&self) -> &[RecordedEvent] {
        &self.0.events
    }
}

/// What a subscription delivers, in the form in which it costs least to send on.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// A message for this subscriber.
    Own(SubscriptionMessage),
    /// Events in order, at least one: what whole appends wrote.
    Shared(Vec<SharedEvents>),
}

impl From<Delivery> for SubscriptionMessage {
    fn from(delivery: Delivery) -> Self {
        match delivery {
            Delivery::Own(message) => message,
            Delivery::Shared(appends) => {
                let events = appends.iter().flat_map(|events| events.iter().cloned());
                Self::Events(events.collect())
            }
        }
    }
}
