//! The tour runs to its end and leaves nothing behind.

use crate::support::{Ran, icecore};
use tempfile::TempDir;

#[test]
fn the_tour_runs_to_its_end() {
    let directory = TempDir::new().unwrap();
    let mut command = icecore();
    command.arg("demo").env("TMPDIR", directory.path());
    let tour = Ran::of(command).ok();
    for words in [
        "$ icecore append order-1 --type OrderPlaced",
        "expected 0, current 1",
        "exit code 3",
        "the condition failed",
        "$ icecore read --all --as-of ",
        "$ kill -9 ",
        "projection: open order-3; paid 42; seen up to position 6",
        "That was it.",
    ] {
        assert!(tour.out.contains(words), "`{words}` is not in {}", tour.out);
    }
    assert_eq!(tour.err, "");
    assert_eq!(directory.path().read_dir().unwrap().count(), 0);
}
