//! The rules on SQLite.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::on_sqlite::OnSqlite;
use common::rules;

#[tokio::test]
async fn a_read_model_follows_and_goes_on_after_a_stop() {
    rules::a_read_model_follows_and_goes_on_after_a_stop(OnSqlite::new().await).await;
}

#[tokio::test]
async fn what_statement_or_commit_refuses_is_parked() {
    rules::what_statement_or_commit_refuses_is_parked(OnSqlite::new().await).await;
}

#[tokio::test]
async fn a_rebuild_takes_the_place_of_the_living_one() {
    rules::a_rebuild_takes_the_place_of_the_living_one(OnSqlite::new().await).await;
}

#[tokio::test]
async fn an_old_generation_is_kept_until_it_is_forgotten() {
    rules::an_old_generation_is_kept_until_it_is_forgotten(OnSqlite::new().await).await;
}

#[tokio::test]
async fn of_two_runners_one_ends() {
    rules::of_two_runners_one_ends(OnSqlite::new().await).await;
}

#[tokio::test]
async fn workers_that_are_aborted_leave_nothing_out_and_nothing_twice() {
    let database = OnSqlite::new().await;
    rules::workers_that_are_aborted_leave_nothing_out_and_nothing_twice(database).await;
}

#[tokio::test]
async fn a_database_that_is_away_is_waited_out() {
    rules::a_database_that_is_away_is_waited_out(OnSqlite::new().await).await;
}
