//! New ids, the one thing in this crate that is random.

use uuid::Uuid;

/// A new id for an event. Make it once for each event and keep it when the append is sent again: it
/// is what makes sending it again harmless.
#[allow(clippy::disallowed_methods)] // The caller of an append chooses its ids, and here it does.
pub fn new_event_id() -> Uuid {
    Uuid::new_v4()
}

/// A fraction from 0 to 1 (inclusive), to spread retries of many clients.
pub(crate) fn jitter() -> f64 {
    f64::from(new_event_id().as_fields().0) / f64::from(u32::MAX)
}
