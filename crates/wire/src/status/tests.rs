//! Every error there and back, what a status without our detail means, and that statuses stay small.

use super::*;
use icecore_core::{
    ExpectedRevision, Position, Revision, StreamName, StreamState, Violation, ViolationKind,
};
use uuid::Uuid;

fn stream(name: &str) -> StreamName {
    StreamName::derived(name.to_owned()).unwrap()
}

fn violation(name: &str, kind: ViolationKind) -> Violation {
    Violation {
        stream: stream(name),
        expected: ExpectedRevision::Exact(Revision::new(3)),
        state: StreamState::Living {
            last: Revision::new(4),
        },
        kind,
    }
}

fn refused(violations: Vec<Violation>) -> Error {
    Error::Refused(Box::new(Refusal::new(violations, Some(Position::new(17)))))
}

fn group(problem: GroupProblem) -> Error {
    let group = "orders::shipping".into();
    Error::Group { group, problem }
}

/// One of each variant. The match has no wildcard, so a new variant does not compile until it has a
/// place here too.
fn every_variant() -> Vec<Error> {
    let order = || stream("order-1");
    let all = vec![
        Error::invalid("events[3].tags[1]", "is not of the form key:value"),
        refused(vec![
            violation("a", ViolationKind::WrongExpectedRevision),
            violation("b", ViolationKind::StreamDeleted),
            violation("c", ViolationKind::PartlyWritten),
        ]),
        Error::StreamNotFound { stream: order() },
        Error::StreamDeleted { stream: order() },
        group(GroupProblem::NotFound),
        group(GroupProblem::Exists),
        group(GroupProblem::Dropped {
            reason: "its settings were changed".into(),
        }),
        group(GroupProblem::DeliveryLost),
        Error::unavailable("shutting down"),
        Error::Unreachable {
            server: "http://127.0.0.1:1".into(),
            reason: "connection refused".into(),
        },
        Error::exhausted("appends_in_flight_bytes", "64 MiB are in flight"),
        Error::OutcomeUnknown {
            reason: "the writer was fenced".into(),
        },
        Error::WrongStore {
            expected: StoreId::new(Uuid::from_u128(1)),
            actual: StoreId::new(Uuid::from_u128(2)),
        },
        Error::corrupted("chunk at position 7: checksum"),
        Error::internal("the writer has stopped"),
    ];
    for error in &all {
        match error {
            Error::InvalidArgument { .. }
            | Error::Refused(_)
            | Error::StreamNotFound { .. }
            | Error::StreamDeleted { .. }
            | Error::Group { .. }
            | Error::Unavailable { .. }
            | Error::Unreachable { .. }
            | Error::Exhausted { .. }
            | Error::OutcomeUnknown { .. }
            | Error::WrongStore { .. }
            | Error::Corrupted { .. }
            | Error::Internal { .. } => {}
        }
    }
    all
}

#[test]
fn every_error_travels_there_and_back_with_its_fields() {
    for error in every_variant() {
        let status = from_error(error.clone());
        assert_eq!(status.message(), error.to_string());
        let back = to_error(&status, "http://elsewhere");
        assert_eq!(format!("{back:?}"), format!("{error:?}"));
    }
}

#[test]
fn errors_travel_as_headers() {
    for error in every_variant() {
        let headers = from_error(error.clone()).into_http::<()>();
        let status = Status::from_header_map(headers.headers()).unwrap();
        let back = to_error(&status, "http://elsewhere");
        assert_eq!(format!("{back:?}"), format!("{error:?}"));
    }
}

#[test]
fn codes_follow_the_table() {
    let codes: Vec<Code> = every_variant()
        .into_iter()
        .map(|error| from_error(error).code())
        .collect();
    let expected = [
        Code::InvalidArgument,
        Code::FailedPrecondition,
        Code::NotFound,
        Code::FailedPrecondition,
        Code::NotFound,
        Code::AlreadyExists,
        Code::Aborted,
        Code::FailedPrecondition,
        Code::Unavailable,
        Code::Unavailable,
        Code::ResourceExhausted,
        Code::Unknown,
        Code::FailedPrecondition,
        Code::DataLoss,
        Code::Internal,
    ];
    assert_eq!(codes, expected);
}

#[test]
fn without_our_detail_the_outcome_is_unknown() {
    for code in [
        Code::Unavailable,
        Code::Cancelled,
        Code::DeadlineExceeded,
        Code::Unknown,
        Code::Internal,
        Code::ResourceExhausted,
        Code::Aborted,
    ] {
        let error = to_error(&Status::new(code, "broken pipe"), "http://server");
        assert!(
            matches!(error, Error::OutcomeUnknown { .. }),
            "{code:?} gave {error:?}"
        );
    }
}

#[test]
fn a_call_that_was_rejected_before_it_began_is_no_unknown_outcome() {
    let too_large = to_error(&Status::out_of_range("message too large"), "http://server");
    assert!(matches!(too_large, Error::InvalidArgument { ref field, .. } if field == "message"));
    let other_service = to_error(&Status::unimplemented(""), "http://server");
    assert!(matches!(other_service, Error::Internal { .. }));
}

#[test]
fn details_of_others_are_not_mistaken_for_ours() {
    for details in [&b"\xff\xff"[..], b"", b"\x08\x0e"] {
        let status =
            Status::with_details(Code::Unavailable, "proxy", Bytes::copy_from_slice(details));
        let error = to_error(&status, "http://server");
        assert!(matches!(error, Error::OutcomeUnknown { .. }));
    }
}

#[test]
fn statuses_stay_small_and_say_how_much_was_cut() {
    let long = "ü".repeat(1_000_000);
    let longest_name = "s".repeat(2_048);
    let many = (0..10_000)
        .map(|n| violation(&format!("order-{n}"), ViolationKind::WrongExpectedRevision))
        .collect();
    for error in [
        Error::invalid(long.clone(), long.clone()),
        Error::Unreachable {
            server: long.clone(),
            reason: long.clone(),
        },
        Error::internal(long),
        refused(vec![
            violation(&longest_name, ViolationKind::StreamDeleted),
            violation(&longest_name, ViolationKind::StreamDeleted),
        ]),
        refused(many),
    ] {
        let status = from_error(error);
        assert!(
            status.details().len() < DETAILS_BYTES_MAX,
            "{}",
            status.details().len()
        );
        assert!(status.message().len() <= MESSAGE_BYTES_MAX);
    }
}

#[test]
fn a_cut_refusal_counts_all_violations() {
    let violations = (0..10_000)
        .map(|n| violation(&format!("order-{n}"), ViolationKind::WrongExpectedRevision))
        .collect();
    let Some(Detail::Refused(refusal)) = to_detail(refused(violations)).error else {
        panic!("a refusal stays a refusal");
    };
    assert!(refusal.violations.len() > 10);
    assert_eq!(refusal.violations_total, 10_000);
    let shown = refusal.violations.len();
    let said = Refusal::try_from(refusal).unwrap().to_string();
    let more = format!(
        "; and {} more streams; the condition failed",
        10_000 - shown
    );
    assert!(said.contains(&more), "{said}");
}
