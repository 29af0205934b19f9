//! Import and export: history in, history out, nothing twice, nothing lost.

use crate::support::{Server, read, signal, wait, wait_until};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;

/// Lines with times that grow, over 50 streams.
fn lines(count: usize) -> String {
    let mut text = String::new();
    for n in 0..count {
        let (stream, minute, second) = (n % 50, n / 60 % 60, n % 60);
        let hour = n / 3_600 % 24;
        writeln!(
            text,
            "{{\"stream\":\"loan-{stream}\",\"type\":\"T{}\",\
             \"time\":\"2012-01-31T{hour:02}:{minute:02}:{second:02}Z\",\
             \"data\":{{\"n\": {n}}},\"metadata\":{{\"by\":\"x\"}},\"tags\":[\"loan:{stream}\"]}}",
            n % 3
        )
        .unwrap();
    }
    text
}

fn numbers(server: &Server) -> Vec<u64> {
    let events = server.run(&["read", "--all"]).ok().json();
    events
        .iter()
        .map(|event| event["data"]["n"].as_u64().unwrap())
        .collect()
}

fn last_position(server: &Server) -> u64 {
    server.run(&["stats"]).ok().json()[0]["last_position"]
        .as_u64()
        .unwrap()
}

#[test]
fn a_file_is_imported_in_its_order_with_its_times() {
    let server = Server::start();
    let file = server.text("events.ndjson", &lines(5_000));
    let file = file.to_str().unwrap();
    let imported = server.run(&["import", file]).ok();
    assert!(
        imported
            .out
            .starts_with("imported: 5000 events, 50 streams, "),
        "{imported:?}"
    );
    assert!(
        imported.out.ends_with(" events/s, 0 clamped\n"),
        "{imported:?}"
    );
    assert_eq!(numbers(&server), (0..5_000).collect::<Vec<_>>());
    let event = server
        .run(&["read", "loan-7", "--limit", "1"])
        .ok()
        .json()
        .remove(0);
    assert_eq!(
        (&event["time"], &event["type"]),
        (&"2012-01-31T00:00:07Z".into(), &"T1".into())
    );
    assert_eq!(
        (&event["metadata"]["by"], &event["tags"][0]),
        (&"x".into(), &"loan:7".into())
    );

    server
        .run(&["import", file])
        .failed(1, &["imported already: 5000 lines", "--again", "--resume"]);
    assert_eq!(numbers(&server).len(), 5_000);
    let again = server.run(&["import", file, "--again"]).ok();
    assert!(again.out.starts_with("imported: 5000 events"), "{again:?}");
    assert_eq!(numbers(&server).len(), 10_000);
}

#[test]
fn gzip_is_recognised_and_lines_that_were_added_are_imported() {
    let server = Server::start();
    let (first, all) = (lines(2_500), lines(6_000));
    let file = server.file("events.gz");
    let mut gzip = flate2::write::GzEncoder::new(
        std::fs::File::create(&file).unwrap(),
        flate2::Compression::fast(),
    );
    gzip.write_all(first.as_bytes()).unwrap();
    gzip.finish().unwrap();
    server.run(&["import", file.to_str().unwrap()]).ok();
    let grown = server.text("grown", &all);
    let grown = grown.to_str().unwrap();
    server
        .run(&["import", grown])
        .failed(1, &["imported already"]);
    let resumed = server.run(&["import", grown, "--resume"]).ok();
    assert!(
        resumed.err.contains("going on after line 2500"),
        "{resumed:?}"
    );
    assert_eq!(numbers(&server), (0..6_000).collect::<Vec<_>>());
}

#[test]
fn an_import_that_was_killed_goes_on_without_doubling_anything() {
    let server = Server::start();
    let text = lines(20_000);
    let mut importing = server.command(&["import", "-"]);
    let mut importing = importing
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = importing.stdin.take().unwrap();
    input.write_all(&text.as_bytes()[..text.len() / 2]).unwrap();
    wait_until("batches are written", || last_position(&server) > 4_000);
    signal("KILL", importing.id());
    wait(&mut importing);

    let file = server.text("events", &text);
    let file = file.to_str().unwrap();
    server
        .run(&["import", file])
        .failed(1, &["has begun and broke off after line", "--resume"]);
    let server = server.kill_and_restart();
    server.run(&["import", file, "--resume"]).ok();
    assert_eq!(numbers(&server), (0..20_000).collect::<Vec<_>>());
    let resumed = server.run(&["import", file, "--resume"]).ok();
    assert!(resumed.out.starts_with("imported: 0 events"), "{resumed:?}");
}

#[test]
fn an_import_waits_for_a_server_that_is_started_again() {
    let server = Server::start();
    let text = lines(20_000);
    let mut importing = server.command(&["import", "-"]);
    let mut importing = importing
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = importing.stdin.take().unwrap();
    let (first, rest) = text.as_bytes().split_at(text.len() / 2);
    input.write_all(first).unwrap();
    wait_until("batches are written", || last_position(&server) > 4_000);
    let server = server.kill_and_restart();
    input.write_all(rest).unwrap();
    drop(input);
    let ended = importing.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.stdout.starts_with(b"imported: 20000 events"));
    assert_eq!(numbers(&server), (0..20_000).collect::<Vec<_>>());
}

#[test]
fn two_imports_of_one_file_at_the_same_time_write_it_once() {
    let server = Server::start();
    let file = server.text("events", &lines(20_000));
    let begin = || {
        let mut import = server.command(&["import", file.to_str().unwrap()]);
        import
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let both = [begin(), begin()].map(|import| import.wait_with_output().unwrap());
    let codes = both.each_ref().map(|ended| ended.status.code());
    assert!(codes.contains(&Some(0)), "{both:?}");
    assert_eq!(numbers(&server), (0..20_000).collect::<Vec<_>>());
}

#[test]
fn other_lines_than_those_imported_are_refused() {
    let server = Server::start();
    let text = lines(3_000);
    let bad = format!("{text}oops\n{}", lines(1));
    let file = server.text("events", &bad);
    let file = file.to_str().unwrap();
    server
        .run(&["import", file])
        .failed(1, &["line 3001", "no JSON object"]);
    // The beginning that it is recognised by is the same, what follows is not.
    server.text("events", &bad.replace("\"n\": 2900", "\"n\": 7"));
    let refused = server.run(&["import", file, "--resume"]);
    refused.failed(
        1,
        &[
            "the first 3000 lines",
            "not those that were imported",
            "--again",
        ],
    );
    server.text("events", &lines(1_000));
    server
        .run(&["import", file, "--resume"])
        .failed(1, &["3000 lines", "only 1000"]);
    assert_eq!(numbers(&server).len(), 3_000);
}

#[test]
fn a_bad_line_stops_it_after_everything_before_and_can_be_corrected() {
    let server = Server::start();
    let good = lines(10);
    let bad = format!(
        "{good}{{\"stream\":\"a\",\"type\":\"T\",\"tags\":[\"red\"]}}\n{}",
        lines(2)
    );
    let file = server.text("events", &bad);
    let file = file.to_str().unwrap();
    let stopped = server.run(&["import", file]);
    stopped.failed(
        1,
        &[
            "line 11",
            "`red` is not of the form key:value",
            "up to line 10 is written",
            "--resume",
        ],
    );
    assert_eq!(numbers(&server), (0..10).collect::<Vec<_>>());
    server.text(
        "events",
        &format!(
            "{good}{}",
            lines(12).lines().skip(10).collect::<Vec<_>>().join("\n")
        ),
    );
    server
        .run(&["import", file])
        .failed(1, &["broke off after line 10"]);
    server.run(&["import", file, "--resume"]).ok();
    assert_eq!(numbers(&server), (0..12).collect::<Vec<_>>());
}

#[test]
fn a_line_that_the_store_refuses_is_found() {
    let server = Server::start();
    server.append("gone", "T", "1");
    server.run(&["delete", "gone", "--tombstone"]).ok();
    let before = lines(777);
    let refused = format!("{before}{{\"stream\":\"gone\",\"type\":\"T\"}}\n{before}");
    let stopped = server.run_with_input(&["import", "-"], &refused);
    stopped.failed(
        1,
        &[
            "line 778",
            "`gone` is deleted",
            "up to line 777 is written (777 events)",
        ],
    );
    let written = server.run(&["read", "--all", "--category", "loan"]).ok();
    assert_eq!(written.json().len(), 777);
    let written = server.run(&["read", "--all", "--category", "loan"]).ok();
    assert_eq!(written.json().len(), 777);
    let future = format!(
        "{}{{\"stream\":\"a\",\"type\":\"T\",\"time\":\"2199-01-01T00:00:00Z\"}}\n",
        lines(5)
    );
    let stopped = server.run_with_input(&["import", "-"], &future);
    stopped.failed(1, &["line 6", "more than a minute ahead"]);
}

#[test]
fn times_before_the_last_one_are_clamped_and_kept() {
    let server = Server::start();
    server.append("now", "T", "1");
    let imported = server.run_with_input(&["import", "-"], &lines(100)).ok();
    assert!(imported.out.ends_with("100 clamped\n"), "{imported:?}");
    let event = server
        .run(&["read", "loan-3", "--limit", "1"])
        .ok()
        .json()
        .remove(0);
    assert_eq!(event["created_at"], "2012-01-31T00:00:03Z");
    assert!(event["time"].as_str().unwrap() > "2026");
}

/// A store with everything that hides events.
fn varied() -> Server {
    let server = Server::start();
    server.run_with_input(&["import", "-"], &lines(300)).ok();
    for (stream, count) in [
        ("cut-1", 4),
        ("few-1", 4),
        ("gone-1", 2),
        ("back-1", 2),
        ("tomb-1", 2),
    ] {
        for n in 0..count {
            server.append(stream, "T", &format!("{{\"n\":{n} }}"));
        }
    }
    server.run(&["truncate", "cut-1", "--before", "2"]).ok();
    server
        .run(&["metadata", "set", "few-1", r#"{"$maxCount":1}"#])
        .ok();
    server.run(&["delete", "gone-1"]).ok();
    server.run(&["delete", "back-1"]).ok();
    server.append("back-1", "Again", "null");
    server.run(&["delete", "tomb-1", "--tombstone"]).ok();
    let bytes = [
        "append",
        "bytes",
        "--type",
        "B",
        "--data",
        "\u{2}",
        "--content-type",
        "image/png",
    ];
    server.run(&bytes).ok();
    server
        .run_with_input(
            &["append", "pretty", "--type", "P", "--data", "-"],
            "{\n  \"a\": 1\n}",
        )
        .ok();
    // Older than what is there: clamped, with the time of their own.
    server
        .run_with_input(
            &["import", "-"],
            "{\"stream\":\"old\",\"type\":\"T\",\"time\":\"2001-01-01T00:00:00Z\"}",
        )
        .ok();
    server
}

#[test]
fn an_export_that_is_imported_is_exported_as_the_same_file() {
    let server = varied();
    for (flags, streams) in [(&["--all"][..], 56), (&["--all", "--system"][..], 62)] {
        let first = server.run(&[&["export"], flags].concat()).ok();
        assert!(
            first.err.contains(&format!("{streams} streams")),
            "{}",
            first.err
        );
        let other = Server::start();
        let imported = other.run_with_input(&["import", "-"], &first.out).ok();
        assert!(imported.out.ends_with(" 0 clamped\n"), "{imported:?}");
        assert_eq!(
            other.run(&[&["export"], flags].concat()).ok().out,
            first.out
        );
        assert!(!first.out.contains("$import"));
        if flags.len() == 2 {
            let states = |server: &Server| server.run(&["streams"]).ok().each("state");
            assert_eq!(states(&other), states(&server));
            other.run(&["read", "tomb-1"]).failed(4, &["deleted"]);
            other
                .run(&["read", "gone-1"])
                .failed(4, &["does not exist"]);
            assert_eq!(other.run(&["read", "cut-1"]).ok().each("revision"), [2, 3]);
        }
    }
}

#[test]
fn streams_of_users_that_are_called_like_imports_are_exported() {
    let server = Server::start();
    server.run_with_input(&["import", "-"], &lines(10)).ok();
    server.append("$import-foo", "T", "1");
    server
        .run(&["metadata", "set", "$import-foo", r#"{"$maxCount":9}"#])
        .ok();
    let export = ["export", "--all", "--system"];
    let first = server.run(&export).ok();
    assert_eq!(
        first.each("stream")[10..],
        ["$import-foo", "$$$import-foo"],
        "{first:?}"
    );
    let other = Server::start();
    other.run_with_input(&["import", "-"], &first.out).ok();
    assert_eq!(other.run(&export).ok().out, first.out);
}

#[test]
fn an_export_shows_what_readers_see() {
    let server = varied();
    let exported = server.run(&["export", "--all"]).ok();
    let of = |stream: &str| {
        exported
            .json()
            .iter()
            .filter(|line| line["stream"] == stream)
            .count()
    };
    assert_eq!(
        (
            of("cut-1"),
            of("few-1"),
            of("gone-1"),
            of("back-1"),
            of("tomb-1")
        ),
        (2, 1, 0, 1, 0)
    );
    assert_eq!(of("$$cut-1"), 0);
    let line = exported
        .json()
        .into_iter()
        .find(|line| line["stream"] == "few-1")
        .unwrap();
    let keys: Vec<_> = line
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(keys, ["data", "id", "stream", "time", "type"]);
    let filtered = server
        .run(&["export", "--all", "--type", "T1", "--prefix", "loan-4"])
        .ok();
    assert_eq!(filtered.json().len(), 22);
    assert_eq!(server.run(&["export", "cut-1"]).ok().json().len(), 2);
    assert_eq!(
        server
            .run(&["export", "cut-1", "--system"])
            .ok()
            .json()
            .len(),
        5
    );
    let as_of = server
        .run(&["export", "--all", "--as-of", "2012-01-31T00:00:09Z"])
        .ok();
    assert_eq!(as_of.json().len(), 10);
}

#[test]
fn an_export_goes_to_a_file_gzipped_by_its_name() {
    let server = Server::start();
    server.run_with_input(&["import", "-"], &lines(100)).ok();
    let (plain, gzipped) = (server.file("e.ndjson"), server.file("e.ndjson.gz"));
    for path in [&plain, &gzipped] {
        let exported = server
            .run(&["export", "--all", "--output", path.to_str().unwrap()])
            .ok();
        assert_eq!(
            (exported.out.as_str(), exported.err.as_str()),
            ("", "exported: 100 events, 50 streams\n")
        );
    }
    assert_eq!(read(&plain), server.run(&["export", "--all"]).ok().out);
    let other = Server::start();
    other.run(&["import", gzipped.to_str().unwrap()]).ok();
    assert_eq!(other.run(&["export", "--all"]).ok().out, read(&plain));
    server
        .run(&["export", "--all", "--output", "/no/such/place"])
        .failed(1, &["/no/such/place"]);
}

#[test]
fn a_history_with_an_id_twice_in_a_stream_goes_out_and_in_again() {
    let (from, to) = (Server::start(), Server::start());
    let append = [
        "append",
        "s",
        "--type",
        "T",
        "--id",
        "0b8f2f3e-6f0d-4b62-9f5e-2d9e3a6c1b11",
        "--data",
    ];
    for (data, expected) in [("1", "no-stream"), ("2", "0")] {
        from.run(&[&append[..], &[data, "--expected", expected]].concat())
            .ok();
    }
    let exported = from.run(&["export", "--all"]).ok().out;
    assert_eq!(exported.lines().count(), 2);
    to.run_with_input(&["import", "-"], &exported).ok();
    assert_eq!(to.run(&["export", "--all"]).ok().out, exported);
}
