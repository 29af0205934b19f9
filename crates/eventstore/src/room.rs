//! Room in memory that an append holds from before it is received until it is answered.

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
}

impl FromIterator<OwnedSemaphorePermit> for Room {
    fn from_iter<I: IntoIterator<Item = OwnedSemaphorePermit>>(permits: I) -> Self {
        Self(permits.into_iter().collect())
    }
}
