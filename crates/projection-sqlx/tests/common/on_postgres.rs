//! The tests' projection in a database of its own on the server of `ICECORE_TEST_POSTGRES`.

use super::{ADD, BALANCES, BREAK, Database, HANDLED, Model, NOTE, Tables};
use icecore_client::{BoxError, new_event_id};
use icecore_projection_sqlx::{PostgresSink, PostgresTransaction, sqlx};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::str::FromStr;

impl Tables for PostgresTransaction {
    async fn set_up(&mut self) -> Result<(), BoxError> {
        self.create_table("balances", BALANCES).await?;
        Ok(self.create_table("handled", HANDLED).await?)
    }

    async fn add(&mut self, account: &str, cents: i64, position: i64) -> Result<(), BoxError> {
        let add = sqlx::query(self.sql(ADD)).bind(account).bind(cents);
        add.execute(self.connection()).await?;
        self.note(account, position).await
    }

    async fn note(&mut self, account: &str, position: i64) -> Result<(), BoxError> {
        let note = sqlx::query(self.sql(NOTE)).bind(position).bind(account);
        note.execute(self.connection()).await?;
        Ok(())
    }

    async fn break_it(&mut self) -> Result<(), BoxError> {
        sqlx::query(self.sql(BREAK))
            .execute(self.connection())
            .await?;
        Ok(())
    }
}

/// A database that the server forgets with its cluster.
pub(crate) struct OnPostgres {
    sink: PostgresSink,
    pub(crate) name: String,
}

/// The server, as `xtask suite postgres` says it.
fn server() -> PgConnectOptions {
    let url = std::env::var("ICECORE_TEST_POSTGRES");
    let url = url.expect("ICECORE_TEST_POSTGRES is the URL of a server for tests");
    PgConnectOptions::from_str(&url).unwrap()
}

impl OnPostgres {
    pub(crate) async fn new() -> Self {
        let name = format!("test_{}", new_event_id().simple());
        let mut admin = PgConnection::connect_with(&server()).await.unwrap();
        let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::query(create).execute(&mut admin).await.unwrap();
        Self::open(name).await
    }

    pub(crate) async fn open(name: String) -> Self {
        let pool = PgPoolOptions::new().max_connections(4);
        let pool = pool.connect_with(server().database(&name)).await.unwrap();
        Self {
            sink: PostgresSink::new(pool),
            name,
        }
    }

    pub(crate) async fn execute(&self, statement: &'static str) {
        let done = sqlx::query(statement).execute(self.sink.pool()).await;
        done.unwrap();
    }
}

impl Database for OnPostgres {
    type Sink = PostgresSink;

    fn sink(&self) -> PostgresSink {
        self.sink.clone()
    }

    async fn read(&self) -> Model {
        let balances = sqlx::query_as("SELECT account, cents FROM balances");
        let handled = sqlx::query_scalar("SELECT position FROM handled ORDER BY position");
        let balances: Vec<(String, i64)> = balances.fetch_all(self.sink.pool()).await.unwrap();
        Model {
            balances: balances.into_iter().collect(),
            handled: handled.fetch_all(self.sink.pool()).await.unwrap(),
        }
    }

    async fn names(&self) -> Vec<String> {
        let names = "SELECT table_name::text FROM information_schema.tables
            WHERE table_schema = 'public' AND table_name NOT LIKE 'icecore%' ORDER BY table_name";
        let names = sqlx::query_scalar(names).fetch_all(self.sink.pool());
        names.await.unwrap()
    }

    async fn disturb(&self) {
        // The server ends every connection but this one.
        let server = server().database(&self.name);
        let mut admin = PgConnection::connect_with(&server).await.unwrap();
        let terminate = "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()";
        sqlx::query(terminate).execute(&mut admin).await.unwrap();
    }
}
