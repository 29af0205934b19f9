//! The shop, with its list in SQLite, or in the PostgreSQL that `ICECORE_TEST_POSTGRES` names.

#[path = "../../examples/shop/list.rs"]
#[expect(dead_code, reason = "the program uses what its tests do not")]
mod list;
#[path = "../../examples/shop/order.rs"]
mod order;

use crate::program::{Said, run, run_at};
use icecore_testing::TestServer;
use std::env;

/// A show ends well: two parcels, two mails, and a list that says so. Gives the list.
fn check(said: Said) -> Vec<String> {
    let out = said.done();
    let lines = |what: &str| out.lines().filter(|line| line.contains(what)).count();
    assert_eq!(lines(" shipped as P"), 2, "{out}");
    assert_eq!(lines("  mail      to "), 2, "{out}");
    assert_eq!(lines("to anna@example.org: thank you, order-"), 1, "{out}");
    let list = out
        .lines()
        .skip_while(|line| *line != "The list of orders:");
    list.skip(1).map(str::to_owned).collect()
}

#[tokio::test]
async fn who_pays_gets_a_parcel_a_mail_and_a_line_in_the_list() {
    let server = TestServer::in_memory().start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory
        .path()
        .join("shop.db")
        .to_str()
        .unwrap()
        .to_owned();
    let database = env::var("ICECORE_TEST_POSTGRES").unwrap_or(file);
    let database = ["--database", &database];
    let list = check(run("shop", &server, database).await);
    let count = |state: &str| list.iter().filter(|row| row.contains(state)).count();
    assert_eq!((count("shipped P"), count("placed")), (2, 1), "{list:?}");

    let again = check(run("shop", &server, database).await);
    assert_eq!(
        again.len(),
        6,
        "the first orders stay, and nobody hears of them twice: {again:?}"
    );
    let orders = ["orders", "--database", database[1]];
    let orders = run("shop", &server, orders).await.done();
    assert!(again.iter().all(|row| orders.contains(row)), "{orders}");
    server.stop().await;
}

#[tokio::test]
async fn orders_are_placed_and_paid_once() {
    let server = TestServer::in_memory().start().await;
    let place = ["place", "17", "anna@example.org", "1250"];
    assert_eq!(run("shop", &server, place).await.done(), "done\n");
    assert_eq!(run("shop", &server, ["pay", "17"]).await.done(), "done\n");
    let again = run("shop", &server, ["pay", "17"]).await;
    assert!(!again.ok && again.err.contains("paid already"), "{again:?}");
    server.stop().await;
}

#[tokio::test]
async fn without_a_store_it_says_how_to_get_one() {
    let said = run_at("shop", "http://127.0.0.1:9", ["orders"]).await;
    assert!(!said.ok && said.err.contains("icecore serve"), "{said:?}");
}
