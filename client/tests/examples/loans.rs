//! The dashboard over loans.

#[path = "../../examples/loans/board.rs"]
mod board;
#[path = "../../examples/loans/event.rs"]
#[expect(dead_code, reason = "the program uses what its tests do not")]
mod event;

use crate::program::{run, run_at};
use icecore_testing::TestServer;

/// The count of applications in each state, as a printed dashboard has it.
fn counts(dashboard: &str) -> Vec<(&str, u32)> {
    let from = dashboard
        .lines()
        .skip_while(|line| !line.starts_with("APPLICATIONS"));
    let rows = from.skip(1).take_while(|line| !line.is_empty());
    rows.map(|row| {
        let count = row[15..]
            .split_whitespace()
            .next()
            .and_then(|count| count.parse().ok());
        (row[..15].trim(), count.expect("a row has a count"))
    })
    .collect()
}

#[tokio::test]
async fn the_dashboard_tells_how_things_stood_at_any_time() {
    let server = TestServer::in_memory().start().await;
    let now = run("loans", &server, [""; 0]).await.done();
    assert!(now.contains("LIVE"), "{now}");
    let all = counts(&now);
    assert_eq!(all.len(), 7, "{now}");
    for state in ["approved", "declined", "cancelled"] {
        assert!(
            all.iter().any(|&(name, count)| name == state && count > 10),
            "{state}: {now}"
        );
    }
    assert!(
        now.contains("complete application") && now.contains("Lotte"),
        "{now}"
    );

    let early = ["--at", "2025-01-13T08:00:00Z"];
    let then = run("loans", &server, early).await.done();
    assert!(then.starts_with("Loans at 2025-01-13 08:00"), "{then}");
    let sum = |counts: &[(&str, u32)]| counts.iter().map(|(_, count)| count).sum::<u32>();
    assert!(
        sum(&counts(&then)) > 10 && sum(&counts(&then)) < sum(&all) / 4,
        "{then}"
    );
    let again = run("loans", &server, [""; 0]).await.done();
    assert_eq!(again, now, "a log is imported once");
    server.stop().await;
}

#[tokio::test]
async fn a_log_from_elsewhere_is_taken() {
    let server = TestServer::in_memory().start().await;
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log.ndjson");
    let line = |time, event_type, data| {
        format!(
            r#"{{"stream":"loan-7","type":"{event_type}","time":"2011-10-01T{time}+02:00","data":{data},"metadata":{{"resource":"112","lifecycle":"COMPLETE"}},"tags":["loan:7"]}}"#
        )
    };
    let lines = [
        line("08:00:00", "A_SUBMITTED", r#"{"AMOUNT_REQ":"20000"}"#),
        line("08:00:01", "A_PARTLYSUBMITTED", "{}"),
        line("09:00:00", "A_DECLINED", "{}"),
    ];
    std::fs::write(&log, lines.join("\n")).unwrap();
    let path = log.to_str().unwrap();
    let now = run("loans", &server, ["--log", path]).await.done();
    assert!(
        now.starts_with("Loans at 2011-10-01 07:00  (2 of 2 steps)"),
        "{now}"
    );
    let declined = now
        .lines()
        .find(|line| line.starts_with("declined"))
        .unwrap();
    assert!(
        declined.contains("20000") && declined.contains("1h 0m"),
        "{now}"
    );
    server.stop().await;
}

#[tokio::test]
async fn without_a_store_it_says_how_to_get_one() {
    let said = run_at("loans", "http://127.0.0.1:9", [""; 0]).await;
    assert!(!said.ok && said.err.contains("icecore serve"), "{said:?}");
}
