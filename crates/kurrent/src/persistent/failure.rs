//! What goes wrong with a group, in the words that these clients look at: `exception` and the names of
//! stream and group in the trailers.
//!
//! A group that is refused for what it shall be has the code INTERNAL there, which makes some clients
//! connect anew. They expect it.

use crate::errors::{status, with_trailers};
use icecore_core::{Error, GroupId, GroupProblem, StreamName};
use tonic::{Code, Status};

/// How all streams are called where a name of a stream is expected.
const ALL: &str = "$all";

/// The limit of a group's consumers, as the store names it.
const CONSUMERS: &str = "max_subscriber_count";

/// The status of a call that failed with this group.
pub(super) fn failure(id: &GroupId, error: Error) -> Status {
    let group = id.name().as_str();
    let stream = id.stream().map_or(ALL, StreamName::as_str);
    let place = format!("Subscription group {group} on stream {stream}");
    let (code, exception, text) = match &error {
        Error::Group { problem, .. } => match problem {
            GroupProblem::NotFound => return does_not_exist(stream, group),
            GroupProblem::Exists => (
                Code::AlreadyExists,
                "persistent-subscription-exists",
                format!("{place} already exists."),
            ),
            GroupProblem::Dropped { reason } => (
                Code::Cancelled,
                "persistent-subscription-dropped",
                format!("{place} was dropped: {reason}."),
            ),
            GroupProblem::DeliveryLost => return status(error),
        },
        // Clients look at how it begins.
        Error::Exhausted { limit, .. } if limit == CONSUMERS => (
            Code::FailedPrecondition,
            "maximum-subscribers-reached",
            format!(
                "Maximum subscriptions reached for subscription group {group} on stream {stream}."
            ),
        ),
        Error::InvalidArgument { field, reason } => {
            return refused(&place, stream, group, &format!("{field} {reason}"));
        }
        _ => return status(error),
    };
    with_trailers(code, text, exception, &names(stream, group))
}

/// The status of a list that would be empty. Clients know it as that of a group without a name.
pub(super) fn no_groups(stream: Option<&StreamName>) -> Status {
    does_not_exist(stream.map_or(ALL, StreamName::as_str), "")
}

fn does_not_exist(stream: &str, group: &str) -> Status {
    with_trailers(
        Code::NotFound,
        format!("Subscription group {group} on stream {stream} does not exist."),
        "persistent-subscription-does-not-exist",
        &names(stream, group),
    )
}

fn refused(place: &str, stream: &str, group: &str, reason: &str) -> Status {
    let mut trailers = names(stream, group).to_vec();
    trailers.push(("reason", reason.to_owned()));
    with_trailers(
        Code::Internal,
        format!("{place} failed: '{reason}'"),
        "persistent-subscription-failed",
        &trailers,
    )
}

fn names(stream: &str, group: &str) -> [(&'static str, String); 2] {
    [
        ("stream-name", stream.to_owned()),
        ("group-name", group.to_owned()),
    ]
}
