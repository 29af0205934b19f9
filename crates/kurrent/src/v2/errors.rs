//! Why an append of the second version failed: a status with details. First stands which error it is, by
//! name, and last what is known of it, since some clients look at the last one only.

use crate::errors::{any, status};
use crate::expectation::{last_number, number, state_number};
use crate::proto::google::rpc;
use crate::proto::kurrentdb::protocol::v2::streams::errors as proto;
use icecore_core::limits::{APPEND_BYTES_MAX, EVENT_BYTES_MAX, MESSAGE_BYTES_MAX};
use icecore_core::{Error, Refusal, StreamName, Violation, ViolationKind};
use prost::{Message, Name};
use proto::StreamsError;
use proto::consistency_violation::{StreamStateViolation, Type};
use tonic::{Code, Status};
use uuid::Uuid;

/// Whose errors these are.
const DOMAIN: &str = "streams";

fn rich<M: Message + Name>(code: Code, text: String, error: StreamsError, detail: &M) -> Status {
    with_details(code, text, error, Some(any(detail)))
}

fn with_details(
    code: Code,
    text: String,
    error: StreamsError,
    detail: Option<prost_types::Any>,
) -> Status {
    let name = rpc::ErrorInfo {
        reason: error.as_str_name().to_owned(),
        domain: DOMAIN.to_owned(),
        ..rpc::ErrorInfo::default()
    };
    let details = rpc::Status {
        code: code.into(),
        message: text.clone(),
        details: [any(&name)].into_iter().chain(detail).collect(),
    };
    Status::with_details(code, text, details.encode_to_vec().into())
}

/// An append was not refused, and yet failed. There are no details: clients that see some look at nothing
/// else, not even at whether they may try again.
pub(super) fn failed(error: Error) -> Status {
    match error {
        Error::OutcomeUnknown { .. } => Status::deadline_exceeded(error.to_string()),
        error => status(error),
    }
}

/// A session without a single request.
pub(super) fn no_requests() -> Status {
    let text = "the session has no requests".to_owned();
    let error = StreamsError::AppendSessionNoRequests;
    with_details(Code::FailedPrecondition, text, error, None)
}

/// A stream comes twice in a session.
pub(super) fn stream_twice(stream: &StreamName) -> Status {
    let text = format!("stream `{stream}` is already part of this session");
    let detail = proto::StreamAlreadyInAppendSessionErrorDetails {
        stream: stream.to_string(),
    };
    let error = StreamsError::StreamAlreadyInAppendSession;
    rich(Code::Aborted, text, error, &detail)
}

/// One record is too large.
pub(super) fn record_too_large(stream: &StreamName, id: Uuid, bytes: usize) -> Status {
    let text = format!("record {id} is {bytes} bytes, the limit is {EVENT_BYTES_MAX}");
    let detail = proto::AppendRecordSizeExceededErrorDetails {
        stream: stream.to_string(),
        record_id: id.to_string(),
        size: size(bytes),
        max_size: size(EVENT_BYTES_MAX),
    };
    let error = StreamsError::AppendRecordSizeExceeded;
    rich(Code::InvalidArgument, text, error, &detail)
}

/// All records together are too large.
pub(super) fn too_large(bytes: usize) -> Status {
    append_too_large("the records are", bytes, APPEND_BYTES_MAX)
}

/// A message was not read, because it is too large.
pub(crate) fn message_too_large(_: &Status) -> Status {
    append_too_large("a message is", MESSAGE_BYTES_MAX + 1, MESSAGE_BYTES_MAX)
}

/// It has so many bytes at least.
fn append_too_large(what: &str, bytes: usize, limit: usize) -> Status {
    let text = format!("{what} {bytes} bytes or more, the limit is {limit}");
    let detail = proto::AppendTransactionSizeExceededErrorDetails {
        size: size(bytes),
        max_size: size(limit),
    };
    let error = StreamsError::AppendTransactionSizeExceeded;
    rich(Code::Aborted, text, error, &detail)
}

/// A session was refused. It tells the first stream that is not as expected.
pub(super) fn session_refused(refusal: &Refusal) -> Status {
    let Some(violation) = refusal.violations.first() else {
        return Status::failed_precondition(refusal.to_string());
    };
    let code = Code::FailedPrecondition;
    let text = violation.to_string();
    let stream = violation.stream.to_string();
    if violation.kind == ViolationKind::StreamDeleted {
        // Also where it is deleted softly and had to be there: clients know no other detail of a stream
        // that is deleted.
        let detail = proto::StreamTombstonedErrorDetails { stream };
        return rich(code, text, StreamsError::StreamTombstoned, &detail);
    }
    let (expected, actual) = (number(violation.expected), last_number(violation.state));
    let text = format!(
        "Append failed due to a revision conflict on stream '{stream}'. Expected revision: \
         {expected}. Actual revision: {actual}."
    );
    let detail = proto::StreamRevisionConflictErrorDetails {
        stream,
        expected_revision: expected,
        actual_revision: actual,
    };
    rich(code, text, StreamsError::StreamRevisionConflict, &detail)
}

/// Checks did not hold. `streams` are the streams of the append in its order, which are the checks first
/// and then what is written without one.
pub(super) fn checks_failed(refusal: &Refusal, streams: &[StreamName]) -> Status {
    let violations = refusal.violations.iter();
    let detail = proto::AppendConsistencyViolationErrorDetails {
        violations: violations.map(|v| violation(v, streams)).collect(),
    };
    rich(
        Code::FailedPrecondition,
        refusal.to_string(),
        StreamsError::AppendConsistencyViolation,
        &detail,
    )
}

fn violation(violation: &Violation, streams: &[StreamName]) -> proto::ConsistencyViolation {
    let index = streams.iter().position(|s| *s == violation.stream);
    proto::ConsistencyViolation {
        check_index: index.map_or(-1, |index| i32::try_from(index).unwrap_or(i32::MAX)),
        r#type: Some(Type::StreamState(StreamStateViolation {
            stream: violation.stream.to_string(),
            expected_state: number(violation.expected),
            actual_state: state_number(violation.state),
        })),
    }
}

fn size(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_append_that_may_be_written_has_run_out_of_time() {
        let reason = "the disk does not answer".to_owned();
        let status = failed(Error::OutcomeUnknown { reason });
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(status.details().is_empty());
        let refused = failed(Error::unavailable("it is stopping"));
        assert_eq!(refused.code(), Code::Unavailable);
    }
}
