//! Refusals, cut to what fits where they travel.

use crate::event::recorded_events;
use crate::expectation::expected;
use crate::field::{InField, count, required, size, stored_stream, stream_bytes, unknown};
use crate::proto;
use crate::proto::violation::Kind;
use icecore_core::limits::PAGE_BYTES_MAX;
use icecore_core::{Error, MissedEvents, Position, Refusal, Result, Violation, ViolationKind};
use prost::Message as _;

/// Most bytes of violations in an answer. Together with the missed events, which may be one event of
/// the largest size, the answer stays below the limit of a message.
const ANSWER_VIOLATION_BYTES_MAX: usize = 512 * 1_024;

/// Most bytes of violations in a status, which travels as a header.
const STATUS_VIOLATION_BYTES_MAX: usize = 2_560;

/// The refusal as it stands in an answer, with the missed events.
pub(crate) fn in_answer(mut refusal: Refusal) -> proto::Refusal {
    let missed = fit_missed(std::mem::take(&mut refusal.missed));
    proto::Refusal {
        missed,
        ..fit_violations(refusal, ANSWER_VIOLATION_BYTES_MAX)
    }
}

/// The refusal as it stands in the details of a status: without missed events.
pub(crate) fn in_status(refusal: Refusal) -> proto::Refusal {
    fit_violations(refusal, STATUS_VIOLATION_BYTES_MAX)
}

/// Keeps as many violations as fit, at least one, and says how many there are.
fn fit_violations(refusal: Refusal, bytes_max: usize) -> proto::Refusal {
    let mut bytes = 0;
    let mut fitting = Vec::new();
    for violation in refusal.violations {
        let violation = proto::Violation::from(violation);
        bytes += violation.encoded_len();
        if bytes > bytes_max && !fitting.is_empty() {
            break;
        }
        fitting.push(violation);
    }
    proto::Refusal {
        violations: fitting,
        violations_total: count(refusal.violations_total),
        condition_position: refusal.condition.map(Position::get),
        missed: Vec::new(),
    }
}

/// Keeps a page of missed events, at least one. The stream that is cut says that it has more; those
/// after it are left out.
fn fit_missed(missed: Vec<MissedEvents>) -> Vec<proto::MissedEvents> {
    let mut bytes = 0;
    let mut fitting = Vec::new();
    for MissedEvents {
        stream,
        mut events,
        mut end,
    } in missed
    {
        bytes += stream.as_str().len();
        let mut kept = 0;
        for event in &events {
            bytes += event.size();
            if bytes > PAGE_BYTES_MAX && (kept > 0 || !fitting.is_empty()) {
                break;
            }
            kept += 1;
        }
        end &= kept == events.len();
        events.truncate(kept);
        fitting.push(proto::MissedEvents {
            stream: stream_bytes(stream),
            events: events.into_iter().map(Into::into).collect(),
            end,
        });
        if bytes > PAGE_BYTES_MAX {
            break;
        }
    }
    fitting
}

impl From<Violation> for proto::Violation {
    fn from(violation: Violation) -> Self {
        let kind = match violation.kind {
            ViolationKind::WrongExpectedRevision => Kind::WrongExpectedRevision,
            ViolationKind::StreamDeleted => Kind::StreamDeleted,
            ViolationKind::PartlyWritten => Kind::PartlyWritten,
        };
        Self {
            stream: stream_bytes(violation.stream),
            expected: Some(violation.expected.into()),
            state: Some(violation.state.into()),
            kind: kind.into(),
        }
    }
}

impl TryFrom<proto::Violation> for Violation {
    type Error = Error;

    fn try_from(message: proto::Violation) -> Result<Self> {
        let kind = match message.kind() {
            Kind::Unspecified => return unknown("kind", message.kind),
            Kind::WrongExpectedRevision => ViolationKind::WrongExpectedRevision,
            Kind::StreamDeleted => ViolationKind::StreamDeleted,
            Kind::PartlyWritten => ViolationKind::PartlyWritten,
        };
        Ok(Self {
            stream: stored_stream(message.stream)?,
            expected: expected(message.expected)?,
            state: required(message.state, "state")?.try_into()?,
            kind,
        })
    }
}

impl TryFrom<proto::Refusal> for Refusal {
    type Error = Error;

    fn try_from(message: proto::Refusal) -> Result<Self> {
        let violations = message.violations.into_iter().map(Violation::try_from);
        let missed = message.missed.into_iter().map(|missed| {
            Ok(MissedEvents {
                stream: stored_stream(missed.stream)?,
                events: recorded_events(missed.events)?,
                end: missed.end,
            })
        });
        let violations: Vec<_> = violations
            .collect::<Result<_>>()
            .inside(|| "violations".into())?;
        Ok(Self {
            violations_total: violations.len().max(size(message.violations_total)),
            violations,
            condition: message.condition_position.map(Position::new),
            missed: missed.collect::<Result<_>>().inside(|| "missed".into())?,
        })
    }
}
