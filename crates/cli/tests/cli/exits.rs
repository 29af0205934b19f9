//! Exit codes, and that each message says what to do.

use crate::support::{Ran, Server, icecore};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

#[test]
fn a_lost_race_is_3_and_says_what_was_found() {
    let server = Server::start();
    let append = [
        "append",
        "order-1",
        "--type",
        "OrderPaid",
        "--data",
        "{}",
        "--expected",
    ];
    server.run(&[&append[..], &["no-stream"]].concat()).ok();
    server.run(&[&append[..], &["0"]].concat()).ok();
    let refused = server.run(&[&append[..], &["0"]].concat());
    refused.failed(
        3,
        &[
            "expected 0, current 1",
            "nothing was written",
            "icecore read order-1 --from 1",
        ],
    );
    assert_eq!(refused.out, "");
    server
        .run(&[&append[..], &["no-stream"]].concat())
        .failed(3, &["expected no-stream, current 1"]);
    assert_eq!(server.run(&["read", "order-1"]).ok().json().len(), 2);
}

#[test]
fn a_failed_condition_is_3_and_names_the_event() {
    let server = Server::start();
    let book = [
        "append",
        "seat-7",
        "--type",
        "SeatBooked",
        "--data",
        "{}",
        "--tag",
        "seat:7",
    ];
    let condition = [
        "--condition-type",
        "SeatBooked",
        "--condition-tag",
        "seat:7",
    ];
    server.run(&[&book[..], &condition].concat()).ok();
    let refused = server.run(&[&book[..], &condition].concat());
    refused.failed(
        3,
        &["the condition failed: the event at position 1 matches it"],
    );
    server
        .run(&[&book[..], &condition, &["--condition-after", "1"]].concat())
        .ok();
}

#[test]
fn wrong_usage_is_2() {
    let server = Server::start();
    let append = ["append", "a", "--type", "T", "--data"];
    let with = |more: &[&str]| server.run(&[&append[..], more].concat());
    with(&["{"]).failed(2, &["--data is no JSON", "line 1 column 1"]);
    with(&["1", "--expected", "maybe"]).failed(2, &["--expected", "no-stream"]);
    with(&["1", "--tag", "red"]).failed(2, &["--tag", "key:value"]);
    with(&["1", "--id", "x"]).failed(2, &["--id", "UUID"]);
    with(&["1", "--metadata", "{]"]).failed(2, &["--metadata is no JSON"]);
    with(&["@/no/such/file"]).failed(2, &["/no/such/file"]);
    with(&["1", "--condition-after", "3"]).failed(2, &["--condition-type"]);
    let long = "x".repeat(1_025);
    server
        .run(&["read", &long])
        .failed(2, &["1025 bytes", "limit is 1024"]);
    server
        .run(&["append", "", "--type", "T", "--data", "1"])
        .failed(2, &["is empty"]);
    server
        .run(&["read", "--all", "--regex", "("])
        .failed(2, &["error: --regex: `(`"]);
    server
        .run(&["export", "--all", "--regex", "("])
        .failed(2, &["error: --regex: `(`"]);
    server
        .run(&["subscribe", "--all", "--regex", "("])
        .failed(2, &["error: --regex: `(`"]);
    server
        .run(&["read", "--all", "--prefix", ""])
        .failed(2, &["error: --prefix: has an empty name"]);
    server
        .run(&["read", "a", "--category", "b"])
        .failed(2, &["error: --category: one stream has one name"]);
    with(&["1", "--condition-type", "T", "--condition-after", "3"])
        .failed(2, &["error: --condition-after: is 3"]);
    with(&["1", "--content-type", ""]).failed(2, &["error: --content-type: is empty"]);
    let tags = [&append[..], &["1"], &["--tag", "k:v"].repeat(200)].concat();
    server
        .run(&tags)
        .failed(2, &["error: --tag: 200 tags on one event"]);
    server
        .run(&["read", "a", "--prefix", "b"])
        .failed(2, &["error: --prefix: one stream has one name"]);
    server
        .run(&["read", "--all", "--limit", "0"])
        .failed(2, &["--limit"]);
    server.run(&["nonsense"]).failed(2, &["nonsense"]);
    server
        .run(&["metadata", "set", "a", "[]"])
        .failed(2, &["no JSON object"]);
    server
        .run(&["metadata", "set", "a", r#"{"$maxCount":0}"#])
        .failed(2, &["metadata", "$maxCount"]);
    server
        .run(&["--server", "ftp://x", "stats"])
        .failed(2, &["error: --server: ", "http://"]);
    server
        .run(&["--timeout", "soon", "stats"])
        .failed(2, &["--timeout"]);
    assert_eq!(server.run(&["stats"]).ok().each("last_position"), [0]);
}

#[test]
fn what_is_not_there_is_4() {
    let server = Server::start();
    for command in [
        &["read", "a"][..],
        &["stream", "a"],
        &["metadata", "show", "a"],
        &["truncate", "a", "--before", "0"],
    ] {
        server
            .run(command)
            .failed(4, &["`a` does not exist", "icecore streams"]);
    }
    server
        .run(&["export", "a"])
        .failed(4, &["`a` does not exist"]);
}

#[test]
fn a_stream_that_never_was_cannot_be_deleted() {
    let server = Server::start();
    server
        .run(&["delete", "s-nope"])
        .failed(4, &["`s-nope` does not exist", "icecore streams"]);
    server
        .run(&["delete", "s-nope", "--expected", "exists"])
        .failed(3, &["expected exists, current no stream"]);
    server
        .run(&["delete", "s-nope", "--expected", "4"])
        .failed(3, &["expected 4, current no stream"]);
    server.run(&["metadata", "set", "s-nope", "{}"]).ok();
    server
        .run(&["delete", "s-nope"])
        .failed(4, &["`s-nope` does not exist"]);
}

#[test]
fn a_file_to_import_that_is_none_is_2() {
    let server = Server::start();
    server
        .run(&["import", "/no/such/file"])
        .failed(2, &["/no/such/file: No such file"]);
    let directory = server.data();
    let directory = directory.to_str().unwrap();
    server
        .run(&["import", directory])
        .failed(2, &[directory, "is a directory"]);
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_line() {
    let server = Server::start();
    let line = "\u{feff}{\"stream\":\"a\",\"type\":\"T\",\"data\":1}\n";
    server.run_with_input(&["import", "-"], line).ok();
    let line = line.replace("\"stream\":\"a\",", "");
    server
        .run_with_input(&["append", "a", "--from", "-"], &line)
        .ok();
    assert_eq!(server.run(&["read", "a"]).ok().each("data"), [1, 1]);
}

#[test]
fn a_server_that_is_not_there_is_5() {
    for command in [
        &["stats"][..],
        &["read", "--all"],
        &["subscribe", "--all"],
        &["append", "a", "--type", "T", "--data", "1"],
    ] {
        let mut process = icecore();
        process
            .args(command)
            .env("ICECORE_SERVER", "http://127.0.0.1:1");
        Ran::of(process).failed(
            5,
            &[
                "cannot reach http://127.0.0.1:1",
                "start it with: icecore serve",
            ],
        );
    }
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_command_quietly() {
    let server = Server::start();
    let lines = format!("{{\"type\":\"T\",\"data\":\"{}\"}}\n", "x".repeat(1_000)).repeat(2_000);
    server
        .run_with_input(&["append", "a", "--from", "-"], &lines)
        .ok();
    for command in [&["read", "--all"][..], &["export", "--all"]] {
        let mut process = server.command(command);
        let mut process = process
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().starts_with('{'));
        drop(lines);
        let ended = process.wait_with_output().unwrap();
        assert_eq!(
            (ended.status.code(), ended.stderr.as_slice()),
            (Some(0), &b""[..])
        );
    }
}
