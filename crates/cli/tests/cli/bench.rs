//! `icecore bench`: what it measures it has really done, and what it prints can be relied on. How fast
//! anything was is not looked at.

use crate::support::{Ran, Server};
use serde_json::Value;

const COMMON: [&str; 5] = ["--json", "--streams", "2000", "--payload-bytes", "64"];

fn bench(server: &Server, line: &str, more: &[&str]) -> Ran {
    let line: Vec<_> = line.split_whitespace().collect();
    server.run(&[&["bench"], &line[..], more].concat())
}

/// The one object that was printed, which has all that is promised.
fn report(ran: Ran) -> Value {
    let mut objects = ran.ok().json();
    assert_eq!(objects.len(), 1);
    let report = objects.remove(0);
    for field in ["events", "events_per_s", "appends_per_s"] {
        assert!(report[field].is_u64(), "{field} of {report}");
    }
    assert!(report["seconds"].as_f64().unwrap() > 0.0);
    assert!(report["server_cpu_s"].as_f64().unwrap() > 0.0);
    let latencies = ["p50", "p90", "p99", "p999", "max"].map(|p| report["latency_us"][p].as_u64());
    assert!(latencies.is_sorted() && latencies[0] > Some(0), "{report}");
    report
}

fn last_position(server: &Server) -> u64 {
    server.run(&["stats", "--output", "json"]).ok().json()[0]["last_position"]
        .as_u64()
        .unwrap()
}

#[test]
fn appends_are_there_afterwards_each_run_in_streams_of_its_own() {
    let server = Server::start();
    let runs = [
        "append --clients 3 --events 100",
        "append --clients 2 --in-flight 2 --events 80 --events-per-append 10 --interleaved",
        "append --clients 2 --session --events 100 --events-per-append 5 --connections 2",
    ];
    for (line, events) in runs.iter().zip([100, 80, 100]) {
        let before = last_position(&server);
        let report = report(bench(&server, line, &COMMON));
        assert_eq!(report["events"], events, "{line}");
        assert_eq!(last_position(&server), before + events, "{line}");
    }
    let streams = server.run(&["read", "--all", "--output", "json", "--prefix", "bench2-"]);
    assert_eq!(streams.ok().each("stream").len(), 80);
}

#[test]
fn an_empty_store_is_filled_and_then_read() {
    let server = Server::start();
    let common = ["--events", "20000", "--streams", "2000"];
    let replay = report(bench(&server, "replay --json", &common));
    assert_eq!(replay["events"], 20_000);
    assert_eq!(last_position(&server), 20_000);
    // Two of 2,000 streams are rare ones.
    for filter in ["--type BenchRare", "--category benchrare", "--tag rare:yes"] {
        let replay = report(bench(&server, &format!("replay --json {filter}"), &common));
        assert_eq!(replay["events"], 20, "{filter}");
    }
    let read = report(bench(
        &server,
        "read --clients 2 --duration 300ms --json",
        &common,
    ));
    let events = read["events"].as_u64().unwrap();
    assert!(
        events > 0 && events.is_multiple_of(10),
        "whole streams of ten: {read}"
    );
    assert_eq!(last_position(&server), 20_000);
}

#[test]
fn the_door_for_kurrents_clients_is_measured_by_calls_of_theirs() {
    let server = Server::start();
    let line =
        "append --protocol kurrent --clients 2 --in-flight 8 --events 120 --events-per-append 3";
    assert_eq!(report(bench(&server, line, &COMMON))["events"], 120);
    assert_eq!(last_position(&server), 120);
    let replay = report(bench(&server, "replay --protocol kurrent", &COMMON));
    assert_eq!(replay["events"], 120);
    let filtered = bench(
        &server,
        "replay --protocol kurrent --type BenchRare",
        &COMMON,
    );
    assert!(filtered.err.contains("takes no filter"), "{}", filtered.err);
    let interleaved = "append --protocol kurrent --interleaved --events-per-append 2";
    let refused = bench(&server, interleaved, &COMMON);
    assert!(
        refused.err.contains("a batch goes to one stream"),
        "{}",
        refused.err
    );
}

#[test]
fn what_is_delivered_is_what_was_appended() {
    let server = Server::start();
    let line = "subscribe --clients 3 --rate 200 --duration 1s --events-per-append 2";
    let report = report(bench(&server, line, &COMMON));
    let (delivered, appended) = (report["events"].as_u64().unwrap(), last_position(&server));
    // The last ones may still be on their way when time is up.
    assert!(
        delivered > 0 && delivered <= 3 * appended,
        "{delivered} of {appended}"
    );
}

#[test]
fn a_group_answers_each_event_once_and_is_gone_afterwards() {
    let server = Server::start();
    for (line, written_for_each) in [
        ("consume --clients 1 --events 300", 1),
        ("consume --clients 3 --events 300 --connections 2", 1),
        ("consume --clients 3 --events 60 --finish", 2),
    ] {
        let events = || server.run(&["read", "--all", "--output", "json"]).ok();
        let before = events().json().len() as u64;
        let report = report(bench(&server, line, &COMMON));
        let written = events().json().len() as u64 - before;
        let answered = report["events"].as_u64().unwrap();
        assert_eq!(answered * written_for_each, written, "{line}");
    }
    let groups = server.run(&["group", "list", "--output", "json"]).ok();
    assert_eq!(groups.json().len(), 0);
}

#[test]
fn a_store_without_what_is_to_be_read_is_refused() {
    let server = Server::start();
    server
        .run(&["append", "order-1", "--type", "T", "--data", "1"])
        .ok();
    bench(&server, "read", &[]).failed(1, &["no stream `bench-0`", "empty store"]);
    bench(&server, "append --clients 5 --streams 4", &[])
        .failed(1, &["--streams is 4", "at least 5"]);
    let both = "append --events 5 --duration 5s";
    bench(&server, both, &[]).failed(2, &["--duration"]);
}

#[test]
fn people_get_a_table() {
    let server = Server::start();
    let ran = bench(&server, "append --clients 2 --events 50", &[]).ok();
    for word in ["events/s", "appends/s", "p99.9", "server's CPU"] {
        assert!(ran.out.contains(word), "`{word}` is not in {}", ran.out);
    }
}
