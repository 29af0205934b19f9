//! Errors to and from gRPC. This is the one file that knows which error is which code and how its
//! fields travel: as `icecore.v1.ErrorDetail` inside of a `google.rpc.Status`, in the trailer
//! `grpc-status-details-bin`.
//!
//! Trailers are headers, and those are limited: the whole of the details stays below
//! [`DETAILS_BYTES_MAX`]. Texts and violations are cut to that.

use crate::field::{InField, required, store_id_bytes, stored_stream, stream_bytes, text, uuid};
use crate::proto::error_detail::Error as Detail;
use crate::proto::group_error::Problem;
use crate::{proto, refusal};
use bytes::Bytes;
use icecore_core::{Error, GroupProblem, Refusal, Result, StoreId};
use prost::Message as _;
use std::error::Error as _;
use tonic::{Code, ConnectError, Status};

/// Most bytes of the details of a status, before they are encoded as base64 (exclusive).
pub const DETAILS_BYTES_MAX: usize = 4 * 1_024;

/// Longest text of a status, in bytes (inclusive). It travels twice and may grow threefold where it
/// is not ASCII.
const MESSAGE_BYTES_MAX: usize = 512;

/// Longest text in the details, in bytes (inclusive).
const TEXT_BYTES_MAX: usize = 1_024;

const DETAIL_TYPE_URL: &str = "type.googleapis.com/icecore.v1.ErrorDetail";

/// `google.rpc.Status`, the standard envelope of details.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// The status that carries this error, with all of its fields.
pub fn from_error(error: Error) -> Status {
    let code = code(&error);
    let message = cut(error.to_string(), MESSAGE_BYTES_MAX);
    let details = RpcStatus {
        code: code.into(),
        message: message.clone(),
        details: vec![prost_types::Any {
            type_url: DETAIL_TYPE_URL.to_owned(),
            value: to_detail(error).encode_to_vec(),
        }],
    };
    Status::with_details(code, message, details.encode_to_vec().into())
}

/// The error that a status carries; where it carries none of ours, what its code says. `server` is
/// the address that was called.
///
/// Only our own detail says that nothing was written. Without it, a status that came after sending
/// may stand for an append that is durable.
pub fn to_error(status: &Status, server: &str) -> Error {
    if let Some(error) = carried(status) {
        return error;
    }
    let reason = status.message().to_owned();
    if let Some(cause) = connect_error(status) {
        return Error::Unreachable {
            server: server.to_owned(),
            reason: cause,
        };
    }
    match status.code() {
        Code::InvalidArgument => Error::invalid("request", reason),
        Code::OutOfRange => Error::invalid("message", reason),
        Code::Unimplemented | Code::Unauthenticated | Code::PermissionDenied | Code::NotFound => {
            Error::internal(format!("{server} refused the call: {status}"))
        }
        code => Error::OutcomeUnknown {
            reason: format!("{code:?}: {reason}"),
        },
    }
}

fn code(error: &Error) -> Code {
    match error {
        Error::InvalidArgument { .. } => Code::InvalidArgument,
        Error::Refused(_) | Error::StreamDeleted { .. } | Error::WrongStore { .. } => {
            Code::FailedPrecondition
        }
        Error::StreamNotFound { .. } => Code::NotFound,
        Error::Group { problem, .. } => match problem {
            GroupProblem::NotFound => Code::NotFound,
            GroupProblem::Exists => Code::AlreadyExists,
            GroupProblem::Dropped { .. } => Code::Aborted,
            GroupProblem::DeliveryLost => Code::FailedPrecondition,
        },
        Error::Unavailable { .. } | Error::Unreachable { .. } => Code::Unavailable,
        Error::Exhausted { .. } => Code::ResourceExhausted,
        Error::OutcomeUnknown { .. } => Code::Unknown,
        Error::Corrupted { .. } => Code::DataLoss,
        Error::Internal { .. } => Code::Internal,
    }
}

/// What an error says about itself, cut to what fits a status.
pub(crate) fn to_detail(error: Error) -> proto::ErrorDetail {
    let detail = match error {
        Error::InvalidArgument { field, reason } => {
            Detail::InvalidArgument(proto::InvalidArgument {
                field: fit(field.into_owned()),
                reason: fit(reason),
            })
        }
        Error::Refused(refusal) => Detail::Refused(refusal::in_status(*refusal)),
        Error::StreamNotFound { stream } => Detail::StreamNotFound(proto::StreamNotFound {
            stream: stream_bytes(stream),
        }),
        Error::StreamDeleted { stream } => Detail::StreamDeleted(proto::StreamDeleted {
            stream: stream_bytes(stream),
        }),
        Error::Group { group, problem } => Detail::Group(group_detail(group, problem)),
        Error::Unavailable { reason } => Detail::Unavailable(proto::Unavailable {
            reason: fit(reason),
        }),
        Error::Unreachable { server, reason } => Detail::Unreachable(proto::Unreachable {
            server: fit(server),
            reason: fit(reason),
        }),
        Error::Exhausted { limit, reason } => Detail::Exhausted(proto::Exhausted {
            limit: fit(limit.into_owned()),
            reason: fit(reason),
        }),
        Error::OutcomeUnknown { reason } => Detail::OutcomeUnknown(proto::OutcomeUnknown {
            reason: fit(reason),
        }),
        Error::WrongStore { expected, actual } => Detail::WrongStore(proto::WrongStore {
            expected: store_id_bytes(expected),
            actual: store_id_bytes(actual),
        }),
        Error::Corrupted { reason } => Detail::Corrupted(proto::Corrupted {
            reason: fit(reason),
        }),
        Error::Internal { reason, source: _ } => Detail::Internal(proto::Internal {
            reason: fit(reason),
        }),
    };
    proto::ErrorDetail {
        error: Some(detail),
    }
}

fn group_detail(group: String, problem: GroupProblem) -> proto::GroupError {
    let (problem, reason) = match problem {
        GroupProblem::NotFound => (Problem::NotFound, String::new()),
        GroupProblem::Exists => (Problem::Exists, String::new()),
        GroupProblem::Dropped { reason } => (Problem::Dropped, reason),
        GroupProblem::DeliveryLost => (Problem::DeliveryLost, String::new()),
    };
    proto::GroupError {
        group: fit(group),
        problem: problem.into(),
        reason: fit(reason),
    }
}

/// The error that a detail describes.
///
/// # Errors
///
/// `InvalidArgument`, when it is not one that this release understands.
pub(crate) fn from_detail(detail: proto::ErrorDetail) -> Result<Error> {
    let string = |bytes: Bytes| text(bytes).map(String::from);
    Ok(match required(detail.error, "error")? {
        Detail::InvalidArgument(e) => Error::invalid(string(e.field)?, string(e.reason)?),
        Detail::Refused(refusal) => {
            let refusal = Refusal::try_from(refusal).inside(|| "refused".into())?;
            Error::Refused(Box::new(refusal))
        }
        Detail::StreamNotFound(e) => Error::StreamNotFound {
            stream: stored_stream(e.stream)?,
        },
        Detail::StreamDeleted(e) => Error::StreamDeleted {
            stream: stored_stream(e.stream)?,
        },
        Detail::Group(e) => {
            let problem = match e.problem() {
                Problem::NotFound => GroupProblem::NotFound,
                Problem::Exists => GroupProblem::Exists,
                Problem::Dropped => GroupProblem::Dropped {
                    reason: string(e.reason)?,
                },
                Problem::DeliveryLost => GroupProblem::DeliveryLost,
                Problem::Unspecified => return Err(Error::invalid("problem", "is unknown")),
            };
            let group = string(e.group)?;
            Error::Group { group, problem }
        }
        Detail::Unavailable(e) => Error::unavailable(string(e.reason)?),
        Detail::Unreachable(e) => Error::Unreachable {
            server: string(e.server)?,
            reason: string(e.reason)?,
        },
        Detail::Exhausted(e) => Error::exhausted(string(e.limit)?, string(e.reason)?),
        Detail::OutcomeUnknown(e) => Error::OutcomeUnknown {
            reason: string(e.reason)?,
        },
        Detail::WrongStore(e) => Error::WrongStore {
            expected: StoreId::new(uuid(&e.expected)?),
            actual: StoreId::new(uuid(&e.actual)?),
        },
        Detail::Corrupted(e) => Error::corrupted(string(e.reason)?),
        Detail::Internal(e) => Error::internal(string(e.reason)?),
    })
}

/// The error in a status's details, if they are ours and understood.
fn carried(status: &Status) -> Option<Error> {
    let details = RpcStatus::decode(status.details()).ok()?;
    let any = details
        .details
        .into_iter()
        .find(|any| any.type_url == DETAIL_TYPE_URL)?;
    let detail = proto::ErrorDetail::decode(Bytes::from(any.value)).ok()?;
    from_detail(detail).ok()
}

/// Why no connection was made, when that is what happened: the last cause, which is the network's.
fn connect_error(status: &Status) -> Option<String> {
    let mut cause = status.source();
    while let Some(error) = cause {
        if let Some(connect) = error.downcast_ref::<ConnectError>() {
            return Some(connect.to_string());
        }
        cause = error.source();
    }
    None
}

fn fit(text: String) -> Bytes {
    cut(text, TEXT_BYTES_MAX).into()
}

/// The text, at most `bytes_max` bytes of it, cut between two characters.
fn cut(mut text: String, bytes_max: usize) -> String {
    const MARK: &str = "...";
    if text.len() > bytes_max {
        let mut end = bytes_max - MARK.len();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str(MARK);
    }
    text
}

#[cfg(test)]
mod tests;
