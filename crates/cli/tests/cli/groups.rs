//! Groups from the command line.

use crate::support::Server;
use serde_json::json;

fn fill(server: &Server, streams: &[&str]) {
    for (n, stream) in streams.iter().enumerate() {
        let data = format!("{{\"n\":{n}}}");
        server
            .run(&["append", stream, "--type", "Told", "--data", &data])
            .ok();
    }
}

#[test]
fn a_group_is_created_shown_listed_changed_and_deleted() {
    let server = Server::start();
    let create = [
        "group",
        "create",
        "shipping",
        "--category",
        "order",
        "--strategy",
        "pinned",
        "--message-timeout",
        "2m",
    ];
    server.run(&create).ok();
    server
        .run(&create)
        .failed(3, &["$all::shipping", "exists already"]);
    server
        .run(&[
            "group", "create", "audit", "--stream", "order-1", "--from", "end",
        ])
        .ok();
    let list = server.run(&["group", "list"]).ok();
    assert_eq!(list.each("name"), ["shipping", "audit"]);
    assert_eq!(list.each("stream"), [json!(null), json!("order-1")]);
    let table = server.run(&["group", "list", "--output", "table"]).ok();
    assert!(table.out.contains("order-1::audit"), "{}", table.out);

    let show = server.run(&["group", "show", "shipping"]).ok().json();
    assert_eq!(show[0]["strategy"], "pinned");
    assert_eq!(show[0]["message_timeout_ms"], 120_000);
    assert_eq!(show[0]["status"], "idle");
    server
        .run(&["group", "update", "shipping", "--max-retries", "3"])
        .ok();
    let show = server.run(&["group", "show", "shipping"]).ok().json();
    assert_eq!(
        (&show[0]["strategy"], &show[0]["max_retry_count"]),
        (&json!("ordered"), &json!(3))
    );
    server
        .run(&["group", "update", "shipping", "--read-batch", "0"])
        .failed(2, &["--read-batch"]);

    server.run(&["group", "restart", "shipping"]).ok();
    server.run(&["group", "delete", "shipping"]).ok();
    server
        .run(&["group", "show", "shipping"])
        .failed(4, &["does not exist", "icecore group list"]);
    assert_eq!(server.run(&["group", "list"]).ok().json().len(), 1);
}

#[test]
fn what_is_shown_is_processed_and_what_is_parked_can_be_replayed() {
    let server = Server::start();
    server.run(&["group", "create", "g"]).ok();
    fill(&server, &["a-1", "a-1", "b-1"]);
    let consume = |more: &[&str]| {
        let args = [&["group", "consume", "g", "--limit", "1"], more].concat();
        server.run(&args).ok().json()
    };
    let park = [
        "--buffer",
        "1",
        "--answer",
        "park",
        "--reason",
        "no address",
    ];
    let parked = consume(&park);
    assert_eq!(
        (&parked[0]["stream"], &parked[0]["revision"]),
        (&json!("a-1"), &json!(0))
    );
    let next = consume(&["--buffer", "1"]);
    assert_eq!(next[0]["stream"], "b-1", "a-1 waits behind its first event");

    let list = server.run(&["group", "parked", "g"]).ok().json();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0]["reason"], "no address");
    assert_eq!(list[0]["waiting_stream"], "a-1");
    assert_eq!(list[0]["event"]["data"], json!({"n": 0}));
    let one = [
        "group",
        "parked",
        "g",
        "--revision",
        "0",
        "--output",
        "table",
    ];
    let one = server.run(&one).ok();
    assert!(
        one.out.contains("no address") && one.out.contains("its stream waits"),
        "{}",
        one.out
    );
    server
        .run(&["group", "parked", "g", "--revision", "7"])
        .failed(2, &["--revision", "nothing is parked at 7"]);

    let count = server.run(&["group", "replay", "g"]).ok();
    assert!(
        count.err.contains("1 parked events; say --yes"),
        "{}",
        count.err
    );
    server.run(&["group", "replay", "g", "--yes"]).ok();
    assert_eq!(consume(&[])[0]["revision"], 0);
    assert_eq!(consume(&[])[0]["revision"], 1);
    let gone = ["group", "discard", "g", "--revision", "0"];
    server
        .run(&gone)
        .failed(2, &["--revision", "nothing is parked"]);
    let none = server.run(&["group", "discard", "g", "--yes"]).ok();
    assert!(
        none.err.contains("0 parked events are given up"),
        "{}",
        none.err
    );
}
