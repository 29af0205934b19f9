//! What each command prints, and that it does what it says.

use crate::support::{Ran, Server, icecore};

#[test]
fn appends_are_read_back_with_all_fields() {
    let server = Server::start();
    let placed = [
        "append",
        "order-1",
        "--type",
        "OrderPlaced",
        "--data",
        r#"{"total": 12}"#,
    ];
    let more = [
        "--expected",
        "no-stream",
        "--metadata",
        r#"{"by":"anna"}"#,
        "--tag",
        "order:1",
    ];
    let id = ["--id", "0b8f2f3e-6f0d-4b62-9f5e-2d9e3a6c1b11"];
    let appended = server.run(&[&placed[..], &more, &id].concat()).ok();
    assert_eq!(
        appended.out,
        "{\"stream\":\"order-1\",\"revision\":0,\"position\":1,\"events\":1}\n"
    );
    let paid = [
        "append",
        "order-1",
        "--type",
        "OrderPaid",
        "--data",
        "-",
        "--output",
        "table",
    ];
    let appended = server.run_with_input(&paid, "[1,\n2]\n").ok();
    assert_eq!(appended.out, "order-1  revision 1  position 2\n");

    let read = server.run(&["read", "order-1"]).ok();
    let events = read.json();
    let time = events[0]["time"].as_str().unwrap();
    let expected = format!(
        "{{\"stream\":\"order-1\",\"revision\":0,\"position\":1,\
         \"id\":\"0b8f2f3e-6f0d-4b62-9f5e-2d9e3a6c1b11\",\"type\":\"OrderPlaced\",\"time\":\"{time}\",\
         \"content_type\":\"application/json\",\"data\":{{\"total\": 12}},\"metadata\":{{\"by\":\"anna\"}},\
         \"tags\":[\"order:1\"]}}"
    );
    assert_eq!(read.out.lines().next().unwrap(), expected);
    assert_eq!(events[1]["data"], serde_json::json!([1, 2]));
    assert!(events[1].get("metadata").is_none());
}

#[test]
fn the_same_id_is_written_once() {
    let server = Server::start();
    let append = ["append", "a", "--type", "T", "--data", "1", "--id"];
    let id = ["0b8f2f3e-6f0d-4b62-9f5e-2d9e3a6c1b11"];
    let first = server.run(&[&append[..], &id].concat()).ok();
    let second = server.run(&[&append[..], &id].concat()).ok();
    assert_eq!(first.out, second.out);
    assert_eq!(server.run(&["read", "a"]).ok().json().len(), 1);
}

#[test]
fn bytes_are_shown_as_base64() {
    let server = Server::start();
    let file = server.text("picture", "\u{1}\n\"");
    let data = format!("@{}", file.display());
    let append = [
        "append",
        "pictures",
        "--type",
        "Taken",
        "--data",
        &data,
        "--content-type",
    ];
    server
        .run(&[&append[..], &["application/octet-stream"]].concat())
        .ok();
    let event = server.run(&["read", "pictures"]).ok().json().remove(0);
    assert_eq!(event["data_base64"], "AQoi");
    assert_eq!(event["content_type"], "application/octet-stream");
    let table = server.run(&["read", "pictures", "--output", "table"]).ok();
    assert!(
        table.out.contains("(3 bytes of application/octet-stream)"),
        "{table:?}"
    );
}

#[test]
fn many_events_are_appended_at_once_or_not_at_all() {
    let server = Server::start();
    let lines = "{\"type\":\"A\",\"data\":1}\n\n{\"type\":\"B\",\"data_base64\":\"AAE=\",\"tags\":[\"k:v\"]}\n";
    let appended = server
        .run_with_input(&["append", "s", "--from", "-"], lines)
        .ok();
    assert_eq!(
        appended.out,
        "{\"stream\":\"s\",\"revision\":1,\"position\":2,\"events\":2}\n"
    );
    let bad = format!("{lines}{{\"type\":\"C\",\"dat\":1}}\n");
    let file = server.text("lines", &bad);
    let refused = server.run(&["append", "s", "--from", file.to_str().unwrap()]);
    refused.failed(
        2,
        &[
            "lines, line 4",
            "unknown field `dat`",
            "nothing was written",
        ],
    );
    assert_eq!(server.run(&["read", "s"]).ok().each("type"), ["A", "B"]);
}

#[test]
fn an_append_larger_than_a_message_is_one_append() {
    let server = Server::start();
    let line = format!(
        "{{\"type\":\"T\",\"data\":\"{}\"}}\n",
        "x".repeat(1_000_000)
    );
    let appended = server
        .run_with_input(&["append", "s", "--from", "-"], &line.repeat(20))
        .ok();
    assert_eq!(appended.each("events"), [20]);
    assert_eq!(
        server.run(&["stream", "s"]).ok().each("last_revision"),
        [19]
    );
}

#[test]
fn reads_take_filters_directions_and_limits() {
    let server = Server::start();
    for (stream, event_type) in [("a-1", "X"), ("b-1", "Y"), ("a-2", "Y"), ("c", "X")] {
        let append = [
            "append", stream, "--type", event_type, "--data", "1", "--tag", "n:1",
        ];
        server.run(&append).ok();
    }
    server.run(&["metadata", "set", "a-1", "{}"]).ok();
    let positions = |flags: &[&str]| {
        let read = server.run(&[&["read", "--all"], flags].concat()).ok();
        read.each("position")
            .iter()
            .map(|p| p.as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(positions(&[]), [1, 2, 3, 4]);
    assert_eq!(positions(&["--from", "2", "--limit", "2"]), [2, 3]);
    assert_eq!(positions(&["--backwards", "--limit", "2"]), [4, 3]);
    assert_eq!(positions(&["--prefix", "a", "--prefix", "c"]), [1, 3, 4]);
    assert_eq!(positions(&["--regex", "-[12]$"]), [1, 2, 3]);
    assert_eq!(positions(&["--type", "X", "--category", "a"]), [1]);
    assert_eq!(positions(&["--tag", "n:1", "--type", "Y"]), [2, 3]);
    assert_eq!(positions(&["--system"]), [1, 2, 3, 4, 5]);
    assert_eq!(positions(&["--from", "99"]), [] as [u64; 0]);
    assert_eq!(
        server.run(&["read", "$$a-1"]).ok().each("type"),
        ["$metadata"]
    );
}

#[test]
fn as_of_shows_what_was_recorded_by_then() {
    let server = Server::start();
    let lines = "{\"stream\":\"a\",\"type\":\"T\",\"time\":\"2012-01-30T00:00:00Z\"}\n\
                 {\"stream\":\"a\",\"type\":\"T\",\"time\":\"2012-01-31T00:00:00Z\"}\n\
                 {\"stream\":\"a\",\"type\":\"T\",\"time\":\"2012-02-01T00:00:00Z\"}\n";
    server.run_with_input(&["import", "-"], lines).ok();
    let as_of = ["--as-of", "2012-01-31T01:00:00+01:00"];
    for target in ["a", "--all"] {
        let read = server.run(&[&["read", target], &as_of[..]].concat()).ok();
        assert_eq!(read.each("revision"), [0, 1], "{target}");
        let read = server
            .run(&[&["read", target, "--backwards"], &as_of[..]].concat())
            .ok();
        assert_eq!(read.each("revision"), [1, 0], "{target}");
    }
}

#[test]
fn streams_and_categories_are_listed() {
    let server = Server::start();
    for stream in ["order-1", "order-2", "seat-1", "plain"] {
        server.append(stream, "T", "1");
    }
    server.run(&["metadata", "set", "seat-1", "{}"]).ok();
    server.run(&["delete", "order-2"]).ok();
    let listed = server.run(&["streams"]).ok();
    assert_eq!(
        listed.each("stream"),
        ["order-1", "order-2", "plain", "seat-1"]
    );
    assert_eq!(
        listed.each("state"),
        ["living", "soft-deleted", "living", "living"]
    );
    assert_eq!(
        listed.out.lines().next().unwrap(),
        "{\"stream\":\"order-1\",\"state\":\"living\",\"last_revision\":0,\"last_position\":1}"
    );
    let prefix = server
        .run(&["streams", "--prefix", "order-", "--limit", "1"])
        .ok();
    assert_eq!(prefix.each("stream"), ["order-1"]);
    let system = server.run(&["streams", "--system", "--prefix", "$$"]).ok();
    assert_eq!(system.each("stream"), ["$$order-2", "$$seat-1"]);
    assert_eq!(
        server.run(&["categories"]).ok().each("category"),
        ["order", "seat"]
    );
    let table = server.run(&["streams", "--output", "table"]).ok();
    let expected = "STREAM   STATE         LAST REVISION  LAST POSITION\n\
                    order-1  living                    0              1\n";
    assert!(table.out.starts_with(expected), "{}", table.out);
}

#[test]
fn a_stream_tells_about_itself() {
    let server = Server::start();
    server.append("order-1", "T", "1");
    server.append("order-1", "T", "1");
    server
        .run(&[
            "metadata",
            "set",
            "order-1",
            r#"{"$maxCount":1,"owner":"me"}"#,
        ])
        .ok();
    let info = server.run(&["stream", "order-1"]).ok().json().remove(0);
    assert_eq!(
        (&info["state"], &info["last_revision"]),
        (&"living".into(), &1.into())
    );
    assert_eq!(
        (&info["first_revision"], &info["first_position"]),
        (&1.into(), &2.into())
    );
    assert_eq!(info["last_position"], 2);
    assert_eq!(
        (&info["metadata_revision"], &info["metadata"]["$maxCount"]),
        (&0.into(), &1.into())
    );
    let table = server.run(&["stream", "order-1", "--output", "table"]).ok();
    assert!(
        table
            .out
            .starts_with("stream             order-1\nstate              living\n"),
        "{}",
        table.out
    );
    let metadata = server.run(&["metadata", "show", "order-1"]).ok();
    assert_eq!(metadata.json()[0]["owner"], "me");
}

#[test]
fn truncated_and_deleted_events_are_hidden() {
    let server = Server::start();
    for _ in 0..3 {
        server.append("a", "T", "1");
    }
    let truncated = server
        .run(&["truncate", "a", "--before", "2", "--output", "table"])
        .ok();
    assert_eq!(truncated.out, "truncated  a\nposition   4\n");
    assert_eq!(server.run(&["read", "a"]).ok().each("revision"), [2]);
    server
        .run(&["truncate", "a", "--before", "9"])
        .failed(2, &["--before", "next revision"]);
    server
        .run(&["delete", "a", "--expected", "1"])
        .failed(3, &["expected 1, current 2"]);
    server.run(&["delete", "a", "--expected", "2"]).ok();
    server
        .run(&["read", "a"])
        .failed(4, &["`a` does not exist"]);
    server.append("a", "T", "1");
    assert_eq!(server.run(&["read", "a"]).ok().each("revision"), [3]);
    server.run(&["delete", "a", "--tombstone"]).ok();
    server
        .run(&["read", "a"])
        .failed(4, &["`a` is deleted for ever"]);
    let append = ["append", "a", "--type", "T", "--data", "1"];
    server.run(&append).failed(3, &["deleted", "tombstoned"]);
}

#[test]
fn truncated_events_come_back_as_the_help_of_truncate_says() {
    let server = Server::start();
    for _ in 0..3 {
        server.append("a", "T", "1");
    }
    server.run(&["truncate", "a", "--before", "2"]).ok();
    assert_eq!(
        server.run(&["read", "--all"]).ok().each("revision"),
        [0, 1, 2]
    );
    for (metadata, visible) in [(r#"{"$tb":1}"#, &[1, 2][..]), ("{}", &[0, 1, 2])] {
        server.run(&["metadata", "set", "a", metadata]).ok();
        assert_eq!(server.run(&["read", "a"]).ok().each("revision"), visible);
    }
    let help = server.run(&["truncate", "--help"]).ok().out;
    assert!(help.contains("$tb") && !help.contains("for ever"), "{help}");
}

#[test]
fn statistics_are_numbers_with_their_units() {
    let server = Server::start();
    server.append("a", "T", "1");
    let stats = server.run(&["stats"]).ok().json().remove(0);
    assert_eq!(
        (&stats["last_position"], &stats["streams"]),
        (&1.into(), &1.into())
    );
    assert!(stats["disk_bytes"].as_u64().unwrap() > 0);
    let table = server.run(&["stats", "--output", "table"]).ok();
    assert!(table.out.starts_with("store_id "), "{}", table.out);
}

#[test]
fn shells_get_their_completions() {
    for (shell, word) in [
        ("bash", "_icecore()"),
        ("zsh", "#compdef icecore"),
        ("fish", "complete -c icecore"),
    ] {
        let mut command = icecore();
        command.args(["completions", shell]);
        let completions = Ran::of(command).ok().out;
        assert!(
            completions.contains(word) && completions.contains("subscribe"),
            "{shell}"
        );
    }
}

#[test]
fn every_command_shows_an_example() {
    let commands = [
        "serve",
        "append",
        "read",
        "subscribe",
        "streams",
        "categories",
        "stream",
        "metadata",
        "truncate",
        "delete",
        "import",
        "export",
        "stats",
        "demo",
        "completions",
    ];
    for name in commands {
        let mut command = icecore();
        command.args([name, "--help"]);
        let help = Ran::of(command).ok().out;
        assert!(
            help.contains("Example") && help.contains(&format!("icecore {name}")),
            "{help}"
        );
    }
    let mut command = icecore();
    command.arg("--help");
    let help = Ran::of(command).ok().out;
    assert!(help.contains("Exit codes: 0 done"), "{help}");
}
