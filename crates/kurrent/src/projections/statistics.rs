//! What a projection tells about itself.

use super::definition::{Definition, Mode, Status};
use crate::proto::event_store::client::projections::statistics_resp::Details;
use icecore_core::Position;

/// Why nothing moves.
const NOT_RUN: &str = "it is kept but not run: this server has no JavaScript";

/// A view over the store: it is where the store is.
pub(super) fn of_system(name: &str, last: Position) -> Details {
    Details {
        effective_name: name.to_owned(),
        name: name.to_owned(),
        status: Status::Running.as_str().to_owned(),
        mode: Mode::Continuous.as_str().to_owned(),
        position: last.to_string(),
        last_checkpoint: last.to_string(),
        progress: 100.0,
        ..Details::default()
    }
}

/// A projection of a user, which has processed nothing.
pub(super) fn of_user(name: &str, definition: &Definition) -> Details {
    Details {
        effective_name: name.to_owned(),
        name: name.to_owned(),
        status: definition.status.as_str().to_owned(),
        state_reason: NOT_RUN.to_owned(),
        mode: definition.mode.as_str().to_owned(),
        version: i64::try_from(definition.version).unwrap_or(i64::MAX),
        epoch: i64::try_from(definition.epoch).unwrap_or(i64::MAX),
        ..Details::default()
    }
}
