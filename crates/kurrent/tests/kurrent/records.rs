//! Records for any streams in one request, and checks of the states of these streams or others.

use crate::sessions::{detail, record_of};
use crate::support::*;
use icecore_kurrent::proto::kurrentdb::protocol::v2::streams::consistency_check::{
    StreamStateCheck, Type,
};
use icecore_kurrent::proto::kurrentdb::protocol::v2::streams::errors::consistency_violation::{
    StreamStateViolation, Type as ViolationType,
};
use icecore_kurrent::proto::kurrentdb::protocol::v2::streams::errors::{
    AppendConsistencyViolationErrorDetails, ConsistencyViolation,
};
use icecore_kurrent::proto::kurrentdb::protocol::v2::streams::streams_service_client::StreamsServiceClient;
use icecore_kurrent::proto::kurrentdb::protocol::v2::streams::{
    AppendRecord, AppendRecordsRequest, AppendRecordsResponse, ConsistencyCheck,
};
use tonic::{Code, Status};

fn check(stream: &str, expected: i64) -> ConsistencyCheck {
    ConsistencyCheck {
        r#type: Some(Type::StreamState(StreamStateCheck {
            stream: stream.to_owned(),
            expected_state: expected,
        })),
    }
}

async fn records(
    door: &Door,
    records: impl IntoIterator<Item = AppendRecord>,
    checks: impl IntoIterator<Item = ConsistencyCheck>,
) -> Result<AppendRecordsResponse, Status> {
    let request = AppendRecordsRequest {
        records: records.into_iter().collect(),
        checks: checks.into_iter().collect(),
    };
    let mut client = StreamsServiceClient::new(door.kurrent.clone());
    Ok(client.append_records(request).await?.into_inner())
}

#[tokio::test]
async fn records_go_to_their_streams_in_their_order() {
    let door = Door::open().await;
    success(door.put("rule", Any, &[1]).await.unwrap());
    let to = [record_of("b", 2), record_of("a", 3), record_of("b", 4)];
    let checks = [check("rule", 0), check("a", -1)];
    let answer = records(&door, to.clone(), checks.clone()).await.unwrap();
    assert_eq!(answer.position, 4);
    let revisions = answer.revisions.iter();
    let revisions: Vec<_> = revisions.map(|r| (r.stream.as_str(), r.revision)).collect();
    assert_eq!(revisions, [("b", 1), ("a", 0)]);
    assert_eq!(door.positions(of_stream("b")).await.unwrap(), [2, 4]);

    // A retry is one also when what was only checked has changed since.
    success(door.put("rule", Any, &[5]).await.unwrap());
    assert_eq!(records(&door, to, checks).await.unwrap(), answer);
}

#[tokio::test]
async fn a_part_of_earlier_records_is_a_violation() {
    let door = Door::open().await;
    let to = [record_of("a", 1), record_of("b", 2)];
    records(&door, to.clone(), []).await.unwrap();
    let last = door.store.last_position();
    let [a, _] = to;
    let status = records(&door, [a, record_of("b", 3)], [])
        .await
        .unwrap_err();
    let reason = "STREAMS_ERROR_APPEND_CONSISTENCY_VIOLATION";
    let found: AppendConsistencyViolationErrorDetails =
        detail(&status, Code::FailedPrecondition, reason);
    let violation = ConsistencyViolation {
        check_index: 0,
        r#type: Some(ViolationType::StreamState(StreamStateViolation {
            stream: "a".to_owned(),
            expected_state: -2,
            actual_state: 0,
        })),
    };
    assert_eq!(found.violations, [violation]);
    assert_eq!(door.store.last_position(), last);
}

#[tokio::test]
async fn every_check_that_does_not_hold_is_told() {
    let door = Door::open().await;
    for (stream, before) in [
        ("living", Before::Living),
        ("closed", Before::Tombstoned),
        ("deleted", Before::SoftDeleted),
    ] {
        door.bring(stream, before).await;
    }
    let to = [record_of("new", 1), record_of("closed", 2)];
    let checks = [
        check("living", -1),
        check("deleted", 1),
        check("absent", -4),
        check("other", -6),
        check("new", -1),
    ];
    let status = records(&door, to, checks).await.unwrap_err();
    let reason = "STREAMS_ERROR_APPEND_CONSISTENCY_VIOLATION";
    let found: AppendConsistencyViolationErrorDetails =
        detail(&status, Code::FailedPrecondition, reason);
    let violation =
        |check_index, stream: &str, expected_state, actual_state| ConsistencyViolation {
            check_index,
            r#type: Some(ViolationType::StreamState(StreamStateViolation {
                stream: stream.to_owned(),
                expected_state,
                actual_state,
            })),
        };
    let expected = [
        violation(0, "living", -1, 1),
        violation(1, "deleted", 1, -5),
        violation(2, "absent", -4, -1),
        violation(3, "other", -6, -1),
        violation(5, "closed", -2, -6),
    ];
    assert_eq!(found.violations, expected);
    assert_eq!(door.revisions(of_stream("new")).await.unwrap(), [0; 0]);
}

/// The states that streams are brought to, and the number that stands for each.
const STATES: [(&str, Before, i64); 5] = [
    ("absent", Before::Absent, -1),
    ("meta", Before::OnlyMetadata, -1),
    ("living", Before::Living, 1),
    ("deleted", Before::SoftDeleted, -5),
    ("closed", Before::Tombstoned, -6),
];

/// Each expectation, and whether a check of it holds in each of the states, for a stream that is only
/// checked and for one that is also written.
const CHECKS: [(i64, [bool; 5], [bool; 5]); 6] = [
    (
        -1,
        [true, true, false, true, true],
        [true, true, false, true, false],
    ),
    (0, [false; 5], [false; 5]),
    (
        1,
        [false, false, true, false, false],
        [false, false, true, false, false],
    ),
    (
        -4,
        [false, false, true, false, false],
        [false, false, true, false, false],
    ),
    (
        -5,
        [false, false, false, true, false],
        [false, false, false, true, false],
    ),
    (-6, [false, false, false, false, true], [false; 5]),
];

/// Writes one record to `to` under a check of `stream`, and compares how that ended.
async fn check_one(to: &str, stream: &str, before: Before, expected: i64, actual: Option<i64>) {
    let door = Door::open().await;
    door.bring(stream, before).await;
    let last = door.store.last_position();
    let outcome = records(&door, [record_of(to, 99)], [check(stream, expected)]).await;
    let Some(actual_state) = actual else {
        let answer = outcome.unwrap();
        assert_eq!(answer.revisions[0].stream, to);
        return;
    };
    let reason = "STREAMS_ERROR_APPEND_CONSISTENCY_VIOLATION";
    let found: AppendConsistencyViolationErrorDetails =
        detail(&outcome.unwrap_err(), Code::FailedPrecondition, reason);
    let violation = ConsistencyViolation {
        check_index: 0,
        r#type: Some(ViolationType::StreamState(StreamStateViolation {
            stream: stream.to_owned(),
            expected_state: expected,
            actual_state,
        })),
    };
    assert_eq!(
        found.violations,
        [violation],
        "{expected} of {stream}, writing {to}"
    );
    assert_eq!(door.store.last_position(), last, "nothing is written");
}

#[tokio::test]
async fn every_check_in_every_state_of_a_stream() {
    for (expected, only_checked, written) in CHECKS {
        for (n, (stream, before, state)) in STATES.into_iter().enumerate() {
            let actual = |holds: bool| (!holds).then_some(state);
            check_one("log", stream, before, expected, actual(only_checked[n])).await;
            check_one(stream, stream, before, expected, actual(written[n])).await;
        }
    }
}

#[tokio::test]
async fn records_that_make_no_sense_are_refused() {
    let door = Door::open().await;
    let one = || [record_of("s", 1)];
    for (to, checks) in [
        (vec![], vec![]),
        (vec![record_of("", 1)], vec![]),
        (one().into(), vec![check("a", -2)]),
        (one().into(), vec![check("a", -3)]),
        (one().into(), vec![check("", -1)]),
        (one().into(), vec![check("a", -1), check("a", -1)]),
        (one().into(), vec![ConsistencyCheck { r#type: None }]),
    ] {
        let status = records(&door, to, checks).await.unwrap_err();
        check_status(&status, Code::InvalidArgument, &[]);
    }
}
