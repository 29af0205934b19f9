//! Appends that are calls of their own: expectations, retries, what is refused and how.

use crate::support::*;
use icecore_core::ExpectedRevision;
use icecore_core::limits::{APPEND_BYTES_MAX, EVENT_BYTES_MAX};
use icecore_kurrent::proto::event_store::client::Empty;
use icecore_kurrent::proto::event_store::client::streams::append_req;
use icecore_kurrent::proto::event_store::client::streams::append_resp::Result as Outcome;
use icecore_kurrent::proto::event_store::client::streams::append_resp::wrong_expected_version as wrong;
use tonic::Code;

/// Tries each expectation on a stream in this state: `+` it is written, `w` wrong version, `d` deleted.
async fn tried(before: Before) -> String {
    let door = Door::open().await;
    let mut found = String::new();
    let expectations = [Any, NoStream, StreamExists, exact(1), exact(0)];
    for (number, expected) in expectations.into_iter().enumerate() {
        let stream = format!("s-{number}");
        door.bring(&stream, before).await;
        found.push(match door.put(&stream, expected, &[1]).await {
            Ok(answer) if matches!(answer.result, Some(Outcome::Success(_))) => '+',
            Ok(_) => 'w',
            Err(status) => {
                let trailers = [("exception", "stream-deleted"), ("stream-name", &stream)];
                check_status(&status, Code::FailedPrecondition, &trailers);
                assert!(status.message().contains("is deleted"), "{status:?}");
                'd'
            }
        });
    }
    found
}

#[tokio::test]
async fn every_expectation_in_every_state() {
    // Any, no stream, exists, the last revision, another one.
    assert_eq!(tried(Before::Absent).await, "++www");
    assert_eq!(tried(Before::OnlyMetadata).await, "+++ww");
    assert_eq!(tried(Before::Living).await, "+w++w");
    assert_eq!(tried(Before::SoftDeleted).await, "++d+w");
    assert_eq!(tried(Before::Tombstoned).await, "ddddd");
}

#[tokio::test]
async fn numbers_go_on_after_a_soft_deletion_and_what_was_before_stays_hidden() {
    let door = Door::open().await;
    door.bring("s", Before::SoftDeleted).await;
    let written = success(door.put("s", NoStream, &[1]).await.unwrap());
    assert_eq!(written.0, Some(2));
    assert_eq!(door.revisions(of_stream("s")).await.unwrap(), [2]);
}

#[tokio::test]
async fn the_answer_tells_last_revision_and_position() {
    let door = Door::open().await;
    let first = success(door.put("s", NoStream, &[1, 2]).await.unwrap());
    assert_eq!(first, (Some(1), Some(2)));
    let second = success(door.put("s", exact(1), &[3]).await.unwrap());
    assert_eq!(second, (Some(2), Some(3)));
    assert_eq!(door.positions(of_stream("s")).await.unwrap(), [1, 2, 3]);
}

#[tokio::test]
async fn without_events_only_the_expectation_is_looked_at() {
    let door = Door::open().await;
    let nothing: [append_req::ProposedMessage; 0] = [];
    let empty = door.append("s", NoStream, nothing.clone()).await.unwrap();
    assert_eq!(success(empty), (None, None));
    success(door.put("s", NoStream, &[1]).await.unwrap());
    let again = door.append("s", exact(0), nothing.clone()).await.unwrap();
    assert_eq!(success(again), (Some(0), Some(1)));
    wrong_version(door.append("s", NoStream, nothing.clone()).await.unwrap());
    door.tombstone("s", Any).await.unwrap();
    let closed = door.append("s", Any, nothing).await.unwrap_err();
    let trailers = [("exception", "stream-deleted")];
    check_status(&closed, Code::FailedPrecondition, &trailers);
}

#[tokio::test]
async fn a_wrong_version_is_told_to_new_and_to_old_clients() {
    let door = Door::open().await;
    let (none, expected) = {
        let wrong = wrong_version(door.put("s", exact(7), &[1]).await.unwrap());
        (
            wrong.current_revision_option,
            wrong.expected_revision_option,
        )
    };
    assert_eq!(
        none,
        Some(wrong::CurrentRevisionOption::CurrentNoStream(Empty {}))
    );
    assert_eq!(
        expected,
        Some(wrong::ExpectedRevisionOption::ExpectedRevision(7))
    );

    success(door.put("s", NoStream, &[1, 2]).await.unwrap());
    let wrong = wrong_version(door.put("s", NoStream, &[3]).await.unwrap());
    assert_eq!(
        wrong.current_revision_option,
        Some(wrong::CurrentRevisionOption::CurrentRevision(1))
    );
    assert_eq!(
        wrong.expected_revision_option,
        Some(wrong::ExpectedRevisionOption::ExpectedNoStream(Empty {}))
    );
    assert_eq!(
        wrong.current_revision_option_20_6_0,
        Some(wrong::CurrentRevisionOption2060::CurrentRevision2060(1))
    );
    assert_eq!(
        wrong.expected_revision_option_20_6_0,
        Some(wrong::ExpectedRevisionOption2060::ExpectedRevision2060(
            u64::MAX
        ))
    );
}

#[tokio::test]
async fn retries_give_the_first_answer_and_mixtures_are_refused() {
    let door = Door::open().await;
    let put = |expected: ExpectedRevision, ids: &'static [u128]| {
        let door = &door;
        async move { door.put("s", expected, ids).await.unwrap() }
    };
    for (expected, id) in [(NoStream, &[1][..]), (exact(0), &[2]), (exact(1), &[3])] {
        success(put(expected, id).await);
    }
    for (expected, ids, position) in [
        (NoStream, &[1][..], 1),
        (exact(0), &[2], 2),
        (exact(1), &[3], 3),
        (NoStream, &[1, 2], 2),
        (exact(0), &[2, 3], 3),
        (Any, &[2], 2),
        (StreamExists, &[1, 2], 2),
    ] {
        let (revision, again) = success(put(expected, ids).await);
        assert_eq!(
            (revision, again),
            (Some(position - 1), Some(position)),
            "{ids:?}"
        );
    }
    for (expected, ids) in [(exact(0), &[2, 3, 4][..]), (Any, &[3, 4]), (NoStream, &[9])] {
        wrong_version(put(expected, ids).await);
    }
    // The same id in another stream is another event.
    assert_eq!(
        success(door.put("t", NoStream, &[1]).await.unwrap()),
        (Some(0), Some(4))
    );
}

#[tokio::test]
async fn an_event_says_what_it_is() {
    let door = Door::open().await;
    for missing in ["type", "content-type"] {
        let mut event = event(1, "T", "{}");
        event
            .metadata
            .retain(|entry| entry.key != missing.as_bytes());
        let status = door.append("s", Any, [event]).await.unwrap_err();
        let trailers = [
            ("exception", "missing-required-metadata-property"),
            ("required-metadata-properties", "type,content-type"),
        ];
        check_status(&status, Code::InvalidArgument, &trailers);
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_with_its_limit() {
    let door = Door::open().await;
    let mut large = event(1, "T", "");
    large.data = vec![b'1'; EVENT_BYTES_MAX].into();
    let status = door.append("s", Any, [large.clone()]).await.unwrap_err();
    let limit = EVENT_BYTES_MAX.to_string();
    let trailers = [
        ("exception", "maximum-append-event-size-exceeded"),
        ("maximum-append-event-size", &limit),
        ("event-id", "00000000-0000-0000-0000-000000000001"),
    ];
    check_status(&status, Code::InvalidArgument, &trailers);

    let quarter = large.data.slice(..APPEND_BYTES_MAX / 4 - 100);
    let events = (1..=5).map(|id| append_req::ProposedMessage {
        data: quarter.clone(),
        ..event(id, "T", "")
    });
    let status = door.append("s", Any, events).await.unwrap_err();
    let limit = APPEND_BYTES_MAX.to_string();
    let trailers = [
        ("exception", "maximum-append-size-exceeded"),
        ("maximum-append-size", &limit),
    ];
    check_status(&status, Code::InvalidArgument, &trailers);
    assert_eq!(door.store.last_position().get(), 0);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let door = Door::open().await;
    let event = || append_req::Content::ProposedMessage(event(1, "T", "{}"));
    let options = |stream: &str| {
        append_req::Content::Options(append_req::Options {
            stream_identifier: Some(identifier(stream)),
            expected_stream_revision: Some(append_expectation(Any)),
        })
    };
    for bad in [
        vec![],
        vec![event()],
        vec![options("s"), event(), options("s")],
        vec![options(""), event()],
        vec![
            append_req::Content::Options(append_req::Options::default()),
            event(),
        ],
    ] {
        let status = door.send(bad).await.unwrap_err();
        check_status(&status, Code::InvalidArgument, &[]);
    }
    assert_eq!(door.store.last_position().get(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_append_whose_parts_stop_coming_is_given_up() {
    let door = Door::open().await;
    let never = futures::stream::pending();
    let status = door.streams().append(never).await.unwrap_err();
    check_status(&status, Code::Aborted, &[]);
}
