//! Errors in the words that these clients look at: the code of a status, the trailers beside it, texts
//! that some of them match, and the details of a batch that failed.
//!
//! Statuses carry no details of `icecore.v1`: clients that see details look at nothing else. INTERNAL and
//! UNKNOWN make clients drop their connection, so nothing that a user did wrong has these codes.

use crate::event::identifier;
use crate::expectation::{last_number, number};
use crate::proto::event_store::client as proto;
use crate::proto::google::rpc;
use icecore_core::limits::{APPEND_BYTES_MAX, EVENT_BYTES_MAX, MESSAGE_BYTES_MAX};
use icecore_core::{Error, ExpectedRevision, GroupProblem, StreamName, Violation, ViolationKind};
use prost::{Message, Name};
use std::fmt::Write as _;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::{Code, Status};
use uuid::Uuid;

/// Names of errors, in the trailer `exception`.
mod exception {
    pub(super) const WRONG_VERSION: &str = "wrong-expected-version";
    pub(super) const STREAM_DELETED: &str = "stream-deleted";
    pub(super) const MISSING_PROPERTY: &str = "missing-required-metadata-property";
    pub(super) const TOO_LARGE: &str = "maximum-append-size-exceeded";
    pub(super) const EVENT_TOO_LARGE: &str = "maximum-append-event-size-exceeded";
}

const STREAM_NAME: &str = "stream-name";

/// What every event must say of itself.
const REQUIRED_PROPERTIES: &str = "type,content-type";

const MISSING_PROPERTY: &str = "an event must have the metadata properties type and content-type";

/// Why an append failed.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// The store says so, or what came makes no sense to it.
    Store(Error),
    /// An event does not say what it is.
    MissingProperty,
    EventTooLarge {
        id: Uuid,
        bytes: usize,
    },
    /// All events together are too large.
    TooLarge,
    /// It was not decided in time. It may still be written.
    Timeout,
}

impl From<Error> for AppendError {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

/// The status of a call that failed.
pub(crate) fn status(error: Error) -> Status {
    let text = error.to_string();
    match error {
        Error::InvalidArgument { .. } => Status::invalid_argument(text),
        Error::Refused(refusal) => match refusal.violations.first() {
            Some(violation) => violated(violation),
            None => Status::failed_precondition(text),
        },
        Error::StreamNotFound { .. } => Status::not_found(text),
        Error::StreamDeleted { stream } => deleted(&stream),
        Error::Group { problem, .. } => match problem {
            GroupProblem::NotFound => Status::not_found(text),
            GroupProblem::Exists => Status::already_exists(text),
            GroupProblem::Dropped { .. } => Status::cancelled(text),
            GroupProblem::DeliveryLost => Status::failed_precondition(text),
        },
        Error::Unavailable { .. } | Error::Unreachable { .. } => Status::unavailable(text),
        Error::Exhausted { .. } => Status::resource_exhausted(text),
        Error::OutcomeUnknown { .. } => Status::aborted(text),
        Error::WrongStore { .. } => Status::failed_precondition(text),
        Error::Corrupted { .. } => Status::data_loss(text),
        Error::Internal { .. } => Status::internal(text),
    }
}

/// The same status without the details of another protocol.
pub(crate) fn plain(status: &Status) -> Status {
    Status::new(status.code(), status.message())
}

/// A message of an append was not read, because it is too large.
pub(crate) fn message_too_large(_: &Status) -> Status {
    append_too_large("a message is", MESSAGE_BYTES_MAX)
}

fn append_too_large(what: &str, limit: usize) -> Status {
    with_trailers(
        Code::InvalidArgument,
        format!("{what} more than {limit} bytes"),
        exception::TOO_LARGE,
        &[("maximum-append-size", limit.to_string())],
    )
}

/// The stream is closed, or deleted where it had to be there. Clients look for `is deleted`.
fn deleted(stream: &StreamName) -> Status {
    let text = format!("Event stream '{stream}' is deleted.");
    let trailers = [(STREAM_NAME, stream.to_string())];
    with_trailers(
        Code::FailedPrecondition,
        text,
        exception::STREAM_DELETED,
        &trailers,
    )
}

/// A stream is not as expected. Clients take the numbers from the end of the text.
fn violated(violation: &Violation) -> Status {
    let stream = &violation.stream;
    if violation.kind == ViolationKind::StreamDeleted {
        return deleted(stream);
    }
    let (expected, actual) = (number(violation.expected), last_number(violation.state));
    let text = format!(
        "The stream is not as expected: WrongExpectedVersion. Stream: {stream}, Expected version: \
         {expected}, Actual version: {actual}"
    );
    let trailers = [
        (STREAM_NAME, stream.to_string()),
        ("expected-version", expected.to_string()),
        ("actual-version", actual.to_string()),
    ];
    with_trailers(
        Code::FailedPrecondition,
        text,
        exception::WRONG_VERSION,
        &trailers,
    )
}

/// A status with the trailers by which clients tell what is wrong.
pub(crate) fn with_trailers(
    code: Code,
    text: impl Into<String>,
    exception: &'static str,
    trailers: &[(&'static str, String)],
) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert("exception", MetadataValue::from_static(exception));
    for (name, value) in trailers {
        metadata.insert(*name, ascii(value));
    }
    Status::with_metadata(code, text, metadata)
}

/// A trailer's value. What is not printable ASCII is written as in addresses of the web.
fn ascii(text: &str) -> MetadataValue<Ascii> {
    let mut value = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() || byte == b' ' {
            value.push(byte.into());
        } else {
            write!(value, "%{byte:02X}").expect("a text takes what is written to it");
        }
    }
    MetadataValue::try_from(value).expect("it is printable ASCII")
}

impl AppendError {
    /// The expectation that did not hold, where that is all that is wrong: some calls answer it.
    pub(crate) fn wrong_version(&self) -> Option<&Violation> {
        let Self::Store(Error::Refused(refusal)) = self else {
            return None;
        };
        let violation = refusal.violations.first();
        violation.filter(|violation| violation.kind != ViolationKind::StreamDeleted)
    }

    /// Whether no other append would be taken either.
    pub(crate) fn concerns_all(&self) -> bool {
        matches!(self, Self::Store(Error::Unavailable { .. }))
    }

    /// The status of a call that does nothing but this append.
    pub(crate) fn into_status(self) -> Status {
        let invalid = Code::InvalidArgument;
        match self {
            Self::Store(error) => status(error),
            Self::MissingProperty => with_trailers(
                invalid,
                MISSING_PROPERTY,
                exception::MISSING_PROPERTY,
                &[(
                    "required-metadata-properties",
                    REQUIRED_PROPERTIES.to_owned(),
                )],
            ),
            Self::EventTooLarge { id, bytes } => with_trailers(
                invalid,
                event_too_large(id, bytes),
                exception::EVENT_TOO_LARGE,
                &[
                    ("maximum-append-event-size", EVENT_BYTES_MAX.to_string()),
                    ("event-id", id.to_string()),
                    ("proposed-append-event-size", bytes.to_string()),
                ],
            ),
            Self::TooLarge => append_too_large(TOGETHER, APPEND_BYTES_MAX),
            Self::Timeout => Status::aborted(TIMEOUT),
        }
    }

    /// What a call with many appends answers to this one.
    pub(crate) fn into_answer(self) -> rpc::Status {
        match self {
            Self::Store(error) => of_store(error),
            Self::MissingProperty => bad_request(MISSING_PROPERTY.to_owned()),
            Self::EventTooLarge { id, bytes } => answer(
                rpc::Code::InvalidArgument,
                event_too_large(id, bytes),
                &proto::MaximumAppendEventSizeExceeded {
                    event_id: id.to_string(),
                    proposed_event_size: size(bytes),
                    max_append_event_size: size(EVENT_BYTES_MAX),
                },
            ),
            Self::TooLarge => answer(
                rpc::Code::InvalidArgument,
                format!("{TOGETHER} more than {APPEND_BYTES_MAX} bytes"),
                &proto::MaximumAppendSizeExceeded {
                    max_append_size: size(APPEND_BYTES_MAX),
                },
            ),
            Self::Timeout => timed_out(TIMEOUT.to_owned()),
        }
    }
}

const TOGETHER: &str = "the events are together";

const TIMEOUT: &str = "the append was not decided within its deadline; it may still be written";

fn event_too_large(id: Uuid, bytes: usize) -> String {
    format!("event {id} is {bytes} bytes, the limit is {EVENT_BYTES_MAX}")
}

fn of_store(error: Error) -> rpc::Status {
    let text = error.to_string();
    match error {
        Error::InvalidArgument { .. } => bad_request(text),
        Error::Refused(refusal) => match refusal.violations.first() {
            Some(violation) if violation.kind == ViolationKind::StreamDeleted => {
                stream_deleted(text, violation.stream.clone())
            }
            Some(violation) => answer(
                rpc::Code::AlreadyExists,
                text,
                &wrong_expected_version(violation),
            ),
            None => bad_request(text),
        },
        Error::StreamDeleted { stream } => stream_deleted(text, stream),
        Error::OutcomeUnknown { .. } => timed_out(text),
        _ => answer(rpc::Code::Unknown, text, &proto::Unknown {}),
    }
}

fn stream_deleted(text: String, stream: StreamName) -> rpc::Status {
    let stream_identifier = Some(identifier(stream));
    answer(
        rpc::Code::NotFound,
        text,
        &proto::StreamDeleted { stream_identifier },
    )
}

fn bad_request(message: String) -> rpc::Status {
    let detail = proto::BadRequest {
        message: message.clone(),
    };
    answer(rpc::Code::InvalidArgument, message, &detail)
}

fn timed_out(text: String) -> rpc::Status {
    answer(rpc::Code::DeadlineExceeded, text, &proto::Timeout {})
}

fn wrong_expected_version(violation: &Violation) -> proto::WrongExpectedVersion {
    use proto::wrong_expected_version::{
        CurrentStreamRevisionOption as Current, ExpectedStreamPositionOption as Expected,
    };
    let current = match violation.state.last_revision() {
        Some(revision) => Current::CurrentStreamRevision(revision.get()),
        None => Current::CurrentNoStream(()),
    };
    let expected = match violation.expected {
        ExpectedRevision::Exact(revision) => Expected::ExpectedStreamPosition(revision.get()),
        ExpectedRevision::NoStream => Expected::ExpectedNoStream(()),
        ExpectedRevision::StreamExists => Expected::ExpectedStreamExists(()),
        _ => Expected::ExpectedAny(()),
    };
    proto::WrongExpectedVersion {
        current_stream_revision_option: Some(current),
        expected_stream_position_option: Some(expected),
    }
}

/// An answer with one detail, by whose type the clients tell what it is.
fn answer<M: Message + Name>(code: rpc::Code, message: String, detail: &M) -> rpc::Status {
    rpc::Status {
        code: code.into(),
        message,
        details: vec![any(detail)],
    }
}

/// A message with its type.
pub(crate) fn any<M: Message + Name>(message: &M) -> prost_types::Any {
    prost_types::Any {
        type_url: format!("type.googleapis.com/{}", M::full_name()),
        value: message.encode_to_vec(),
    }
}

fn size(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
