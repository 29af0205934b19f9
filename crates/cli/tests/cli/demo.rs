//! The tour runs to its end and leaves nothing behind.

use crate::support::{Ran, icecore};
use tempfile::TempDir;

#[test]
fn the_tour_runs_to_its_end() {
    tour(&[]);
}

#[test]
fn the_tour_is_the_same_whatever_the_user_has_set_for_their_own_store() {
    tour(&[
        ("ICECORE_LOG_FORMAT", "json"),
        ("ICECORE_ENGINE", "memory"),
        ("ICECORE_LISTEN", "nowhere"),
        ("ICECORE_DATA", "/no/such/place"),
        ("ICECORE_CONFIG", "/no/such/file"),
        ("ICECORE_RING_BYTES", "1"),
        ("ICECORE_TIMEOUT", "0s"),
        ("ICECORE_SERVER", "http://127.0.0.1:1"),
        ("RUST_LOG", "error"),
    ]);
}

fn tour(environment: &[(&str, &str)]) {
    let directory = TempDir::new().unwrap();
    let mut command = icecore();
    command
        .arg("demo")
        .env("TMPDIR", directory.path())
        .envs(environment.iter().copied());
    let tour = Ran::of(command).ok();
    for words in [
        "$ icecore append order-1 --type OrderPlaced",
        "expected 0, current 1",
        "exit code 3",
        "the condition failed",
        "$ icecore read --all --as-of ",
        "(kill -9), as a crash would end it",
        "$ kill -9 ",
        "projection: open order-3; paid 42; seen up to position 6",
        "That was it.",
    ] {
        assert!(tour.out.contains(words), "`{words}` is not in {}", tour.out);
    }
    assert_eq!(tour.err, "");
    assert_eq!(directory.path().read_dir().unwrap().count(), 0);
}
