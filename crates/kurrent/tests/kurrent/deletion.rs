//! Deletion, softly and for ever, and what is said about it.

use crate::support::*;
use tonic::{Code, Status};

/// Holds a status to what clients read of a wrong version.
#[track_caller]
fn check_wrong(status: &Status, stream: &str, expected: i64, actual: i64) {
    let (e, a) = (expected.to_string(), actual.to_string());
    let trailers = [
        ("exception", "wrong-expected-version"),
        ("stream-name", stream),
        ("expected-version", &e),
        ("actual-version", &a),
    ];
    check_status(status, Code::FailedPrecondition, &trailers);
    let end = format!(
        "WrongExpectedVersion. Stream: {stream}, Expected version: {expected}, Actual version: {actual}"
    );
    assert!(status.message().ends_with(&end), "{status:?}");
}

#[track_caller]
fn check_deleted(status: &Status, stream: &str) {
    let trailers = [("exception", "stream-deleted"), ("stream-name", stream)];
    check_status(status, Code::FailedPrecondition, &trailers);
    assert!(status.message().contains("is deleted"), "{status:?}");
}

#[tokio::test]
async fn a_soft_deletion_is_metadata() {
    let door = Door::open().await;
    door.bring("s", Before::Living).await;
    let position = door.delete("s", exact(1)).await.unwrap();
    assert_eq!(position, 3);
    let metadata = events(door.read(of_stream("$$s")).await.unwrap());
    assert_eq!(metadata[0].commit_position, position);
    assert_eq!(metadata[0].data, r#"{"$tb":9223372036854775807}"#);
}

#[tokio::test]
async fn every_expectation_of_a_deletion() {
    let door = Door::open().await;
    check_wrong(&door.delete("a", Any).await.unwrap_err(), "a", -2, -1);
    check_wrong(&door.delete("a", exact(3)).await.unwrap_err(), "a", 3, -1);

    door.bring("b", Before::Living).await;
    check_wrong(&door.delete("b", exact(0)).await.unwrap_err(), "b", 0, 1);
    check_wrong(&door.delete("b", NoStream).await.unwrap_err(), "b", -1, 1);
    door.delete("b", StreamExists).await.unwrap();

    // Once more.
    check_deleted(&door.delete("b", StreamExists).await.unwrap_err(), "b");
    check_wrong(&door.delete("b", exact(0)).await.unwrap_err(), "b", 0, 1);
    door.delete("b", exact(1)).await.unwrap();
    door.delete("b", Any).await.unwrap();
}

#[tokio::test]
async fn every_expectation_of_a_tombstone() {
    let door = Door::open().await;
    let status = door.tombstone("a", StreamExists).await.unwrap_err();
    check_wrong(&status, "a", -4, -1);
    check_wrong(
        &door.tombstone("a", exact(0)).await.unwrap_err(),
        "a",
        0,
        -1,
    );
    door.tombstone("a", NoStream).await.unwrap();
    door.tombstone("b", Any).await.unwrap();
    door.bring("c", Before::SoftDeleted).await;
    door.tombstone("c", exact(1)).await.unwrap();
    check_deleted(&door.tombstone("c", Any).await.unwrap_err(), "c");
    check_deleted(&door.delete("c", Any).await.unwrap_err(), "c");
}

#[tokio::test]
async fn nothing_is_read_of_a_tombstoned_stream() {
    let door = Door::open().await;
    door.bring("s", Before::Tombstoned).await;
    for stream in ["s", "$$s"] {
        check_deleted(&door.read(of_stream(stream)).await.unwrap_err(), stream);
        let last = backwards(from_end(stream));
        check_deleted(&door.read(last).await.unwrap_err(), stream);
    }
    let all = events(door.read(of_all(START)).await.unwrap());
    let tombstone = all.last().unwrap();
    assert_eq!(tombstone.metadata["type"], "$streamDeleted");
    assert_eq!(tombstone.stream_revision, i64::MAX as u64);
}

#[tokio::test]
async fn names_in_trailers_are_ascii() {
    let door = Door::open().await;
    let status = door.delete("größe", Any).await.unwrap_err();
    let name = status.metadata().get("stream-name").unwrap();
    assert_eq!(name, "gr%C3%B6%C3%9Fe");
    assert!(status.message().contains("Stream: größe,"), "{status:?}");
}
