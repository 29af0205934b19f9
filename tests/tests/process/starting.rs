//! How a server starts, and what keeps it from starting: each says what is wrong and names the path.

use crate::{icecore, sized, stream};
use icecore_client::ExpectedRevision;
use std::fs;
use std::path::Path;
use std::process::Output;

/// Tries to serve a directory and fails.
async fn refused(data: &Path) -> String {
    let data = data.to_str().unwrap();
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--data", data];
    let mut command = icecore().command(&arguments);
    let Output { status, stderr, .. } = command.output().await.unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(data), "it does not name {data}: {said}");
    said
}

#[tokio::test]
async fn a_directory_is_served_by_one_process_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("store");
    let server = icecore().serve(&data).await.unwrap();
    refused(&data).await;
    // The one who has it is not disturbed.
    let (to, any) = (stream("order-1"), ExpectedRevision::Any);
    server.client().append(&to, any, [sized(10)]).await.unwrap();
    server.kill().await.unwrap();
    let server = icecore().serve(&data).await.unwrap();
    assert_eq!(server.client().read_stream(&to).await.unwrap().len(), 1);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_directory_of_something_else_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let letter = directory.path().join("letter.txt");
    fs::write(&letter, "dear all").unwrap();
    refused(directory.path()).await;
    assert_eq!(fs::read_to_string(&letter).unwrap(), "dear all");
    let files = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(files, 1, "nothing was written beside it");
}

#[tokio::test]
async fn a_directory_that_cannot_be_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    refused(&file).await;
    refused(&file.join("below")).await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let server = icecore().serve(&directory.path().join("a")).await.unwrap();
    let other = directory.path().join("b");
    let mut command = icecore().command(&["serve", "--listen", server.address()]);
    let output = command.arg("--data").arg(&other).output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(server.address()), "{said}");
    server.stop().await.unwrap();
}

/// Exit codes that scripts rely on.
#[tokio::test]
async fn commands_end_with_the_promised_codes() {
    let directory = tempfile::tempdir().unwrap();
    let icecore = icecore();
    let server = icecore
        .serve(&directory.path().join("store"))
        .await
        .unwrap();
    let append = |expected: &'static str| {
        [
            "append",
            "order-1",
            "--type",
            "T",
            "--data",
            "{}",
            "--expected",
            expected,
        ]
    };
    let check = async |arguments: &[&str], code: i32, says: &str| {
        let Output { status, stderr, .. } = icecore.run(&server, arguments).await.unwrap();
        let said = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    };
    check(&append("no-stream"), 0, "").await;
    check(&append("0"), 0, "").await;
    check(&append("0"), 3, "expected 0, current 1").await;
    check(&append("perhaps"), 2, "--expected").await;
    check(&["read", "order-2"], 4, "order-2").await;
    check(&["stream", "order-2"], 4, "order-2").await;
    check(&["read", "--all", "--regex", "("], 2, "--regex").await;
    let gone = icecore.serve(&directory.path().join("gone")).await.unwrap();
    let url = gone.url();
    gone.stop().await.unwrap();
    let unreachable = ["--server", &url, "--timeout", "1s", "stats"];
    check(&unreachable, 5, &url).await;
    server.stop().await.unwrap();
}
