//! The rules on PostgreSQL; `cargo xtask suite postgres` starts a server for them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::on_postgres::OnPostgres;
use common::{DROPPING, Database, deposit, rules, runner, second};
use icecore_projection_sqlx::sqlx;
use icecore_testing::TestServer;

#[tokio::test]
async fn a_read_model_follows_and_goes_on_after_a_stop() {
    rules::a_read_model_follows_and_goes_on_after_a_stop(OnPostgres::new().await).await;
}

#[tokio::test]
async fn what_statement_or_commit_refuses_is_parked() {
    rules::what_statement_or_commit_refuses_is_parked(OnPostgres::new().await).await;
}

#[tokio::test]
async fn a_rebuild_takes_the_place_of_the_living_one() {
    rules::a_rebuild_takes_the_place_of_the_living_one(OnPostgres::new().await).await;
}

#[tokio::test]
async fn an_old_generation_is_kept_until_it_is_forgotten() {
    rules::an_old_generation_is_kept_until_it_is_forgotten(OnPostgres::new().await).await;
}

#[tokio::test]
async fn of_two_runners_one_ends() {
    rules::of_two_runners_one_ends(OnPostgres::new().await).await;
}

#[tokio::test]
async fn workers_that_are_aborted_leave_nothing_out_and_nothing_twice() {
    let database = OnPostgres::new().await;
    rules::workers_that_are_aborted_leave_nothing_out_and_nothing_twice(database).await;
}

#[tokio::test]
async fn a_database_that_is_away_is_waited_out() {
    rules::a_database_that_is_away_is_waited_out(OnPostgres::new().await).await;
}

#[tokio::test]
async fn a_view_keeps_its_grants_when_another_generation_takes_its_place() {
    let database = OnPostgres::new().await;
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    deposit(&client, 1, &[1]).await;
    let first = runner(&client, &database).start();
    assert!(first.caught_up().await);
    first.stop().await.unwrap();
    database.execute("GRANT SELECT ON balances TO PUBLIC").await;
    let rebuilt = second(&client, &database).on_caught_up(DROPPING).start();
    assert!(rebuilt.until(|progress| progress.live).await);
    rebuilt.stop().await.unwrap();
    let granted = "SELECT COUNT(*) FROM information_schema.role_table_grants
        WHERE table_name = 'balances' AND grantee = 'PUBLIC'";
    let sink = database.sink();
    let granted = sqlx::query_scalar(granted).fetch_one(sink.pool());
    let granted: i64 = granted.await.unwrap();
    assert_eq!(granted, 1);
}
