//! The identity of a store.

use std::fmt;
use uuid::Uuid;

/// Identity of one history of events. New at creation, restore and cut; it comes with every answer
/// and goes with every checkpoint, so that a projection notices when history was taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoreId(Uuid);

impl StoreId {
    /// Wraps an id that the caller made or read.
    pub const fn new(id: Uuid) -> Self {
        Self(id)
    }

    /// The id itself.
    pub const fn get(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
