//! The bank.

#[path = "../../examples/bank/account.rs"]
#[expect(dead_code, reason = "the program uses what its tests do not")]
mod account;
#[path = "../../examples/bank/balances.rs"]
#[expect(dead_code, reason = "the program uses what its tests do not")]
mod balances;

use crate::program::{Said, run, run_at};
use icecore_testing::TestServer;

async fn bank(server: &TestServer, line: &str) -> Said {
    run("bank", server, line.split_whitespace()).await
}

#[tokio::test]
async fn the_story_shows_balances_then_and_now_and_who_did_what() {
    let server = TestServer::in_memory().start().await;
    let out = bank(&server, "story").await.done();
    assert_eq!(
        out.matches("was done before, balance 100.00").count(),
        1,
        "{out}"
    );
    let balances: Vec<&str> = out.lines().filter(|l| l.starts_with("  balance")).collect();
    assert_eq!(balances, ["  balance 100.00", "  balance 70.00"], "{out}");
    assert!(
        out.contains("refused, the account holds 30.00 only"),
        "{out}"
    );
    let audit = out.split("Audit of anna").nth(1).unwrap();
    let sent = audit.lines().find(|line| line.contains("to ben")).unwrap();
    assert!(
        sent.contains("by anna") && sent.contains("half of the rent"),
        "{sent}"
    );

    let again = bank(&server, "").await.done();
    assert!(again.contains("  balance 140.00"), "{again}");
    server.stop().await;
}

#[tokio::test]
async fn commands_take_effect_once_and_the_domain_may_refuse() {
    let server = TestServer::in_memory().start().await;
    for account in ["anna", "ben"] {
        bank(&server, &format!("open {account} --owner {account}"))
            .await
            .done();
    }
    bank(&server, "deposit anna 12.50").await.done();
    let transfer = "transfer anna ben 2.50 --id 9f0c2cf0-5c4f-4d0e-8f0a-0e6a7b1f0001";
    assert!(bank(&server, transfer).await.done().starts_with("done"));
    assert_eq!(bank(&server, transfer).await.done(), "was done before\n");

    let refused = bank(&server, "transfer anna ben 10.01").await;
    assert!(
        !refused.ok && refused.err.contains("the account holds 10.00 only"),
        "{refused:?}"
    );
    let nobody = bank(&server, "transfer anna cleo 1").await;
    assert!(
        !nobody.ok && nobody.err.contains("no such account"),
        "{nobody:?}"
    );

    let anna = bank(&server, "statement anna").await.done();
    assert!(anna.ends_with("  balance 10.00\n"), "{anna}");
    let ben = bank(&server, "statement ben").await.done();
    assert!(ben.ends_with("  balance 2.50\n"), "{ben}");
    let before = bank(&server, "statement ben --at 2001-01-01").await;
    assert!(
        !before.ok && before.err.contains("there was no account ben"),
        "{before:?}"
    );
    server.stop().await;
}

#[tokio::test]
async fn the_table_of_balances_goes_on_where_it_was() {
    let server = TestServer::in_memory().start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bank.db");
    let balances = ["balances", "--database", file.to_str().unwrap()];
    let words = |out: String| -> Vec<String> {
        let rows = out.lines().skip(1);
        rows.map(|row| row.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect()
    };
    bank(&server, "story").await.done();
    let rows = words(run("bank", &server, balances).await.done());
    assert_eq!(rows, ["anna Anna 70.00", "ben Ben 30.00"]);
    bank(&server, "transfer anna ben 50").await.done();
    let rows = words(run("bank", &server, balances).await.done());
    assert_eq!(rows, ["ben Ben 80.00", "anna Anna 20.00"]);
    server.stop().await;
}

#[tokio::test]
async fn without_a_store_it_says_how_to_get_one() {
    let said = run_at("bank", "http://127.0.0.1:9", ["audit", "anna"]).await;
    assert!(!said.ok && said.err.contains("icecore serve"), "{said:?}");
}
