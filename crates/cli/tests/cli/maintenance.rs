//! Erasing, scavenging and proofs, as an operator does them.

use crate::support::{Ran, Server, icecore};
use serde_json::{Value, json};
use std::path::Path;

fn fill(server: &Server, stream: &str, events: usize) {
    for n in 0..events {
        // What does not compress.
        let noise: Vec<_> = (1..50_u64)
            .map(|k| (k * 2_654_435_761 + n as u64 * 40_503).wrapping_pow(3))
            .collect();
        let data = json!({"n": n, "secret": format!("{stream} {n}"), "noise": noise}).to_string();
        let append = [
            "append", stream, "--type", "Told", "--data", &data, "--tag", "k:v",
        ];
        server.run(&append).ok();
    }
}

fn local(args: &[&str]) -> Ran {
    let mut command = icecore();
    command.args(args);
    Ran::of(command)
}

fn keep(directory: &Path, name: &str, ran: Ran) -> String {
    let path = directory.join(name);
    std::fs::write(&path, ran.ok().out).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn whoever_erases_is_told_of_the_snapshot_that_may_still_know() {
    let server = Server::start();
    fill(&server, "customer-7", 3);
    let erase = |revision| {
        let erased = server.run(&["erase", "customer-7", "--revision", revision]);
        erased.ok().json().remove(0)
    };
    assert!(erase("0").get("snapshot").is_none());
    let snapshot = |data| {
        let stream = "$snapshot-customer-7";
        let append = ["append", stream, "--type", "$snapshot", "--data", data];
        server.run(&append).ok();
    };
    snapshot(r#"{"state":{}}"#);
    assert_eq!(erase("1")["snapshot"], "$snapshot-customer-7");
    let table = [
        "erase",
        "customer-7",
        "--revision",
        "1",
        "--output",
        "table",
    ];
    let table = server.run(&table).ok();
    assert!(table.out.contains("clear_snapshot"), "{}", table.out);
    snapshot("{}");
    assert!(erase("2").get("snapshot").is_none());
}

#[test]
fn an_erased_event_is_shown_as_such() {
    let server = Server::start();
    fill(&server, "customer-7", 3);
    let erase = [
        "erase",
        "customer-7",
        "--revision",
        "1",
        "--reason",
        "asked for",
    ];
    let erased = server.run(&erase).ok();
    assert_eq!(
        erased.json(),
        [json!({"stream": "customer-7", "revision": 1, "position": 2, "was_erased": false})]
    );
    let again = server.run(&erase).ok();
    assert_eq!(again.json()[0]["was_erased"], true);
    let read = server.run(&["read", "customer-7"]).ok();
    let events = read.json();
    assert_eq!(events[1]["erased"], true);
    assert!(!read.out.contains("customer-7 1"), "{}", read.out);
    assert!(events[0].get("erased").is_none());
    let table = server
        .run(&["read", "customer-7", "--output", "table"])
        .ok();
    assert!(table.out.contains("(erased)"), "{}", table.out);
    let tagged = server.run(&["read", "--all", "--tag", "k:v"]).ok();
    assert_eq!(tagged.each("revision"), [json!(0), json!(2)]);
    let acts = server.run(&["read", "$erasures"]).ok();
    assert_eq!(acts.json()[0]["data"]["reason"], "asked for");

    server
        .run(&["erase", "customer-7", "--revision", "9"])
        .failed(2, &["--revision", "ends at 2"]);
    server
        .run(&["erase", "nobody", "--revision", "0"])
        .failed(4, &["nobody"]);
    server
        .run(&["erase", "$erasures", "--revision", "0"])
        .failed(2, &["store's own"]);
}

#[test]
fn scavenging_says_what_goes_and_gives_it_back() {
    let server = Server::start();
    fill(&server, "s-1", 30);
    server.run(&["truncate", "s-1", "--before", "25"]).ok();
    let dry = server.run(&["scavenge", "--dry-run"]).ok().json();
    assert_eq!(
        (&dry[0]["removable_events"], &dry[0]["removed_events"]),
        (&json!(25), &json!(0))
    );
    let done = server.run(&["scavenge"]).ok().json();
    assert_eq!(done[0]["removed_events"], 25);
    assert!(done[0]["removed_bytes"].as_u64() > Some(0), "{done:?}");
    let all = server.run(&["read", "--all"]).ok();
    assert_eq!(
        all.each("position"),
        (26..=30).map(Value::from).collect::<Vec<_>>()
    );
    let table = server.run(&["scavenge", "--output", "table"]).ok();
    assert!(table.out.contains("events removed"), "{}", table.out);
}

#[test]
fn proofs_are_checked_without_a_server_and_forgeries_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let public = local(&["proof", "keygen", &at("key")])
        .ok()
        .out
        .trim()
        .to_owned();
    local(&["proof", "keygen", &at("key")]).failed(1, &["make the key file"]);
    let server = Server::start_with(&["--signing-key", &at("key")]);
    fill(&server, "s-1", 5);
    let monday = keep(directory.path(), "monday", server.run(&["proof", "head"]));
    fill(&server, "s-2", 4);
    let event = ["proof", "event", "--stream", "s-1", "--revision", "3"];
    let event = keep(directory.path(), "event", server.run(&event));
    let grown = ["proof", "consistency", "--from", &monday];
    let grown = keep(directory.path(), "grown", server.run(&grown));
    drop(server);

    let verify = |file: &str, more: &[&str]| local(&[&["proof", "verify", file], more].concat());
    let known = ["--public-key", &public];
    for file in [&monday, &event, &grown] {
        let verified = verify(file, &known).ok();
        assert!(
            verified.out.contains("signed with your key"),
            "{}",
            verified.out
        );
    }
    verify(&grown, &["--head", &monday]).ok();
    verify(&event, &["--head", &monday]).failed(1, &["says nothing about the head of 5"]);
    verify(&event, &["--head", &grown]).ok();
    let other = "11".repeat(32);
    verify(&event, &["--public-key", &other]).failed(1, &["another key"]);

    let forge = |file: &str, change: &dyn Fn(&mut Value)| {
        let mut proof: Value =
            serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        change(&mut proof);
        std::fs::write(at("forged"), proof.to_string()).unwrap();
        verify(&at("forged"), &[])
    };
    forge(&event, &|proof| {
        proof["entry"]["event"]["data_base64"] = "e30=".into();
    })
    .failed(1, &["position 4", "NOT in the tree"]);
    forge(&event, &|proof| {
        proof["entry"]["event"]["type"] = "Untold".into();
    })
    .failed(1, &["NOT"]);
    forge(&event, &|proof| {
        proof["head"]["time"] = "2020-01-01T00:00:00Z".into();
    })
    .failed(1, &["signature", "WRONG"]);
    forge(&grown, &|proof| {
        proof["old"]["root"] = "00".repeat(32).into();
    })
    .failed(1, &["does NOT go on"]);
    forge(&event, &|proof| proof["icecore_proof"] = 2.into()).failed(2, &["format 2"]);
    forge(&event, &|proof| proof["entry"]["salt"] = "zz".into()).failed(2, &["entry.salt"]);
    verify("/nowhere/proof", &[]).failed(2, &["/nowhere/proof"]);
}

#[test]
fn heads_without_a_key_are_not_signed_and_sizes_are_checked() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start();
    fill(&server, "s-1", 2);
    let head = keep(
        directory.path(),
        "head",
        server.run(&["proof", "head", "--size", "1"]),
    );
    let verified = local(&["proof", "verify", &head]).ok();
    assert!(verified.out.contains("not signed"), "{}", verified.out);
    local(&["proof", "verify", &head, "--public-key", &"11".repeat(32)]).failed(1, &["not signed"]);
    server
        .run(&["proof", "head", "--size", "3"])
        .failed(2, &["--size", "2 events"]);
    server
        .run(&["proof", "event", "--position", "9"])
        .failed(2, &["--position", "events 1 to 2"]);
    let absent = ["proof", "event", "--stream", "s-1", "--revision", "7"];
    server.run(&absent).failed(2, &["--revision"]);
}
