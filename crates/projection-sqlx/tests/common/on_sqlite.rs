//! The tests' projection in a SQLite file.

use super::{ADD, BALANCES, BREAK, Database, HANDLED, Model, NOTE, Tables};
use icecore_client::BoxError;
use icecore_projection_sqlx::{SqliteSink, SqliteTransaction, sqlx};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

impl Tables for SqliteTransaction {
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

/// A database in a directory that goes with it.
pub(crate) struct OnSqlite {
    sink: SqliteSink,
    pub(crate) directory: TempDir,
}

impl OnSqlite {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            sink: open(&directory.path().join("ledger.db")).await,
            directory,
        }
    }

    pub(crate) fn file(&self) -> std::path::PathBuf {
        self.directory.path().join("ledger.db")
    }
}

/// As the sink opens it, but for a writer's patience: errors that pass shall be seen.
pub(crate) async fn open(file: &Path) -> SqliteSink {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_millis(20));
    let pool = SqlitePoolOptions::new().max_connections(8);
    SqliteSink::new(pool.connect_with(options).await.unwrap())
}

impl Database for OnSqlite {
    type Sink = SqliteSink;

    fn sink(&self) -> SqliteSink {
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
        let names = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')
            AND name NOT LIKE 'icecore%' ORDER BY name";
        let names = sqlx::query_scalar(names).fetch_all(self.sink.pool());
        names.await.unwrap()
    }

    async fn disturb(&self) {
        // Another writer holds the file for longer than the runner waits.
        let other = self.sink.pool().begin_with("BEGIN IMMEDIATE").await;
        if let Ok(other) = other {
            tokio::time::sleep(Duration::from_millis(60)).await;
            other.rollback().await.unwrap();
        }
    }
}
