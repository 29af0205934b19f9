//! How a command ends: its exit code and what it says on standard error. This is the one place that
//! knows which error is which code; scripts rely on them.

use icecore_client::{Error, ExpectedRevision, GroupProblem, Refusal, StreamState, Violation};
use std::process::ExitCode;

/// Exit codes, as the README lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Refused = 3,
    NotFound = 4,
    Unreachable = 5,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// The command line, a file or a variable that it names is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(String);

impl Usage {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// What to do about an error; as a context it is said after everything else.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Hint(pub(crate) String);

/// Whoever read our output has closed it, like `head` does. That is no error.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
pub(crate) struct StdoutClosed;

/// Whoever is to know of the error has been told.
#[derive(Debug, thiserror::Error)]
#[error("it was told")]
pub(crate) struct Told;

/// Tells the user what happened and gives the exit code.
pub(crate) fn end(outcome: &anyhow::Result<()>) -> Code {
    let Err(error) = outcome else {
        return Code::Done;
    };
    let code = code(error);
    if code != Code::Done && error.downcast_ref::<Told>().is_none() {
        crate::output::error(&message(error));
    }
    code
}

fn code(error: &anyhow::Error) -> Code {
    if find::<StdoutClosed>(error).is_some() {
        return Code::Done;
    }
    if find::<Usage>(error).is_some() {
        return Code::Usage;
    }
    match find::<Error>(error) {
        Some(Error::InvalidArgument { .. }) => Code::Usage,
        Some(Error::Refused(_)) => Code::Refused,
        Some(Error::StreamNotFound { .. } | Error::StreamDeleted { .. }) => Code::NotFound,
        Some(Error::Group { problem, .. }) => match problem {
            GroupProblem::NotFound => Code::NotFound,
            GroupProblem::Exists | GroupProblem::DeliveryLost => Code::Refused,
            GroupProblem::Dropped { .. } => Code::Unreachable,
        },
        Some(Error::Unreachable { .. } | Error::Unavailable { .. }) => Code::Unreachable,
        Some(
            Error::Exhausted { .. }
            | Error::OutcomeUnknown { .. }
            | Error::WrongStore { .. }
            | Error::Corrupted { .. }
            | Error::Internal { .. },
        )
        | None => Code::Failed,
    }
}

/// What happened, and what to do next where that is known.
pub(crate) fn message(error: &anyhow::Error) -> String {
    let hint = error.downcast_ref::<Hint>().map(ToString::to_string);
    let mut causes = Vec::new();
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref::<Error>() {
            causes.push(explain(error));
            break;
        }
        let cause = cause.to_string();
        causes.extend((hint.as_ref() != Some(&cause)).then_some(cause));
    }
    let hint = hint.map_or_else(String::new, |hint| format!("\n{hint}"));
    format!("{}{hint}", causes.join(": "))
}

fn explain(error: &Error) -> String {
    match error {
        Error::Refused(refusal) => explain_refusal(refusal),
        Error::Unreachable { .. } => {
            format!("{error}\nstart it with: icecore serve (or name another server with --server)")
        }
        Error::Unavailable { .. } => format!("{error}\ntry again in a moment"),
        Error::StreamNotFound { .. } => format!("{error}\nsee what is there: icecore streams"),
        Error::Group {
            problem: GroupProblem::NotFound,
            ..
        } => format!("{error}\nsee what is there: icecore group list"),
        Error::Group { .. } => error.to_string(),
        Error::StreamDeleted { .. } => format!("{error} for ever; choose another name"),
        // What is to be done is for the command to say.
        Error::OutcomeUnknown { reason } => {
            format!("nobody knows whether it was written: {reason}")
        }
        Error::WrongStore { .. } | Error::InvalidArgument { .. } | Error::Exhausted { .. } => {
            error.to_string()
        }
        Error::Corrupted { .. } | Error::Internal { .. } => {
            format!("{error}\nthe log of the server says more")
        }
    }
}

fn explain_refusal(refusal: &Refusal) -> String {
    let mut reasons: Vec<_> = refusal.violations.iter().map(ToString::to_string).collect();
    if let Some(position) = refusal.condition {
        reasons.push(format!(
            "the condition failed: the event at position {position} matches it\n\
             look at it: icecore read --all --from {position} --limit 1"
        ));
    }
    let mut text = "refused, nothing was written".to_owned();
    let separator = if reasons.len() > 1 { "\n  " } else { ": " };
    for reason in &reasons {
        text.push_str(separator);
        text.push_str(reason);
    }
    if let [violation] = &refusal.violations[..] {
        text.push_str(&next_step(violation).unwrap_or_default());
    }
    text
}

/// Where the events stand that the caller had not seen.
fn next_step(violation: &Violation) -> Option<String> {
    let StreamState::Living { last } = violation.state else {
        return None;
    };
    let from = match violation.expected {
        ExpectedRevision::NoStream => 0,
        ExpectedRevision::Exact(expected) if expected < last => expected.next().get(),
        _ => return None,
    };
    let stream = &violation.stream;
    Some(format!(
        "\nread what came in between: icecore read {stream} --from {from}"
    ))
}

fn find<E: std::error::Error + Send + Sync + 'static>(error: &anyhow::Error) -> Option<&E> {
    error.chain().find_map(|cause| cause.downcast_ref::<E>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;
    use icecore_client::{Position, Revision, StreamName, ViolationKind};

    fn stream() -> StreamName {
        StreamName::new("order-1").unwrap()
    }

    fn violation(expected: ExpectedRevision, state: StreamState) -> Violation {
        let kind = ViolationKind::WrongExpectedRevision;
        Violation {
            stream: stream(),
            expected,
            state,
            kind,
        }
    }

    fn refused(violations: Vec<Violation>, condition: Option<Position>) -> anyhow::Error {
        Error::Refused(Box::new(Refusal::new(violations, condition))).into()
    }

    #[test]
    fn each_error_has_its_code() {
        let cases: [(Error, Code); 7] = [
            (Error::invalid("stream", "is empty"), Code::Usage),
            (Error::StreamNotFound { stream: stream() }, Code::NotFound),
            (Error::StreamDeleted { stream: stream() }, Code::NotFound),
            (Error::unavailable("stopping"), Code::Unreachable),
            (Error::exhausted("in_flight_bytes", "no room"), Code::Failed),
            (
                Error::OutcomeUnknown {
                    reason: "cut".into(),
                },
                Code::Failed,
            ),
            (Error::corrupted("chunk"), Code::Failed),
        ];
        for (error, expected) in cases {
            let shown = error.to_string();
            let error = Err::<(), _>(error).context("append").unwrap_err();
            assert_eq!(code(&error), expected, "{shown}");
        }
        assert_eq!(code(&refused(vec![], Some(Position::FIRST))), Code::Refused);
        assert_eq!(code(&Usage::new("no").into()), Code::Usage);
        assert_eq!(code(&anyhow::anyhow!("something")), Code::Failed);
        assert_eq!(code(&StdoutClosed.into()), Code::Done);
    }

    #[test]
    fn a_refusal_says_what_was_expected_and_found() {
        let living = StreamState::Living {
            last: Revision::new(1),
        };
        let exact = violation(ExpectedRevision::Exact(Revision::FIRST), living);
        assert_eq!(
            message(&refused(vec![exact.clone()], None)),
            "refused, nothing was written: stream `order-1`: expected 0, current 1\n\
             read what came in between: icecore read order-1 --from 1"
        );
        let exists = violation(ExpectedRevision::StreamExists, StreamState::Absent);
        assert_eq!(
            message(&refused(vec![exact, exists], Some(Position::new(9)))),
            "refused, nothing was written\n  \
             stream `order-1`: expected 0, current 1\n  \
             stream `order-1`: expected exists, current no stream\n  \
             the condition failed: the event at position 9 matches it\n\
             look at it: icecore read --all --from 9 --limit 1"
        );
    }

    #[test]
    fn what_to_do_next_is_said() {
        let server = "http://127.0.0.1:1".to_owned();
        let error = Error::Unreachable {
            server,
            reason: "Connection refused".into(),
        };
        assert_eq!(
            message(&anyhow::Error::from(error).context("connect")),
            "connect: cannot reach http://127.0.0.1:1: Connection refused\n\
             start it with: icecore serve (or name another server with --server)"
        );
        let error = Error::OutcomeUnknown {
            reason: "cut".into(),
        };
        let error = anyhow::Error::from(error).context(Hint("repeat it".into()));
        assert_eq!(
            message(&error),
            "nobody knows whether it was written: cut\nrepeat it"
        );
        assert_eq!(code(&error), Code::Failed);
    }
}
