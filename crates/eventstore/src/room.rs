//! Room in memory that an append holds from before it is received until it is answered.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::OwnedSemaphorePermit;

/// What an append has taken of [`EventStore::admission`](crate::EventStore::admission). It goes with
/// the append: a caller that vanishes does not give room back that its queued append still fills.
#[derive(Debug, Default)]
pub struct Room(Vec<OwnedSemaphorePermit>);

impl Room {
    /// Takes in what a part of the append has taken.
    pub fn add(&mut self, permit: OwnedSemaphorePermit) {
        self.0.push(permit);
    }

    /// Takes in the room of another part.
    pub fn merge(&mut self, part: Self) {
        self.0.extend(part.0);
    }
}

impl FromIterator<OwnedSemaphorePermit> for Room {
    fn from_iter<I: IntoIterator<Item = OwnedSemaphorePermit>>(permits: I) -> Self {
        Self(permits.into_iter().collect())
    }
}

/// Room that the messages of a call have taken, in their order. Whoever receives the call puts it in
/// before a message is read; a handler takes the room of each message and drops it when the message is
/// answered. What nobody took goes with the call.
#[derive(Clone, Debug, Default)]
pub struct Admitted(Arc<Mutex<VecDeque<OwnedSemaphorePermit>>>);

impl Admitted {
    /// The room of the next message.
    pub fn take(&self) -> Option<OwnedSemaphorePermit> {
        self.lock().pop_front()
    }

    /// The room of a call with one message.
    pub fn room(&self) -> Room {
        self.take().into_iter().collect()
    }

    /// A message has this room.
    pub fn put(&self, permit: OwnedSemaphorePermit) {
        self.lock().push_back(permit);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<OwnedSemaphorePermit>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
