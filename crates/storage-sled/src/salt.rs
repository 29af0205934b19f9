//! Where the seeds of salts come from. Nothing else in the engine is random.

use icecore_core::Salt;
use uuid::Uuid;

/// A seed that nobody can guess.
#[allow(
    clippy::disallowed_methods,
    reason = "a salt must not be known to anybody, and nothing depends on its value"
)]
pub(crate) fn new_seed() -> Salt {
    Salt(Uuid::new_v4().into_bytes())
}
