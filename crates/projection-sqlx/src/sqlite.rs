//! SQLite: one file, one writer at a time.

use crate::session::{Dialect, Session, Value};
use crate::sink::SqlSink;
use crate::transaction::SqlTransaction;
use sqlx::error::DatabaseError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Error, Row, Sqlite, SqliteConnection};
use std::path::Path;
use std::time::Duration;

/// Read models in SQLite.
pub type SqliteSink = SqlSink<Sqlite>;

/// What a projection into SQLite writes with.
pub type SqliteTransaction = SqlTransaction<Sqlite>;

/// How long a transaction waits for another writer before the runner tries again.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections of a sink that opens its file itself: one writes, the others read.
const CONNECTIONS_MAX: u32 = 8;

/// Primary result codes of SQLite that may be others the next time.
const PASSING: [i32; 7] = [
    5,  // SQLITE_BUSY
    6,  // SQLITE_LOCKED
    7,  // SQLITE_NOMEM
    10, // SQLITE_IOERR
    13, // SQLITE_FULL
    14, // SQLITE_CANTOPEN
    15, // SQLITE_PROTOCOL
];

impl SqlSink<Sqlite> {
    /// A sink in this file, which is made if it is not there: with a write-ahead log, so that readers
    /// and the runner do not wait for each other. [`Self::new`] takes a pool that is set up otherwise.
    ///
    /// ```
    /// use icecore_projection_sqlx::SqliteSink;
    ///
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// let directory = tempfile::tempdir()?;
    /// let sink = SqliteSink::open(directory.path().join("balances.db")).await?;
    /// assert!(!sink.pool().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the file cannot be opened as a database.
    pub async fn open(file: impl AsRef<Path>) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS_MAX);
        Ok(Self::new(pool.connect_with(options).await?))
    }
}

impl Dialect for Sqlite {
    // A transaction that reads first and writes later could fail at any statement.
    const BEGIN: &'static str = "BEGIN IMMEDIATE";
    const FOR_UPDATE: &'static str = "";
    const LOCK_TABLES: Option<&'static str> = None;

    fn passes(error: &dyn DatabaseError) -> bool {
        let code = error.code().and_then(|code| code.parse::<i32>().ok());
        code.is_some_and(|code| PASSING.contains(&(code & 0xff)))
    }

    async fn point_view(
        connection: &mut SqliteConnection,
        view: &str,
        table: &str,
    ) -> Result<(), Error> {
        connection
            .run(format!("DROP VIEW IF EXISTS {view}"), &[])
            .await?;
        let create = format!("CREATE VIEW {view} AS SELECT * FROM {table}");
        connection.run(create, &[]).await?;
        Ok(())
    }
}

impl Session for SqliteConnection {
    async fn run(&mut self, sql: String, values: &[Value<'_>]) -> Result<u64, Error> {
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for value in values {
            query = match *value {
                Value::Text(text) => query.bind(text.to_owned()),
                Value::Number(number) => query.bind(number),
            };
        }
        Ok(query.execute(self).await?.rows_affected())
    }

    async fn rows(&mut self, sql: String, values: &[Value<'_>]) -> Result<Vec<Vec<String>>, Error> {
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for value in values {
            query = match *value {
                Value::Text(text) => query.bind(text.to_owned()),
                Value::Number(number) => query.bind(number),
            };
        }
        let rows = query.fetch_all(self).await?;
        let texts = |row: &sqlx::sqlite::SqliteRow| {
            let columns = 0..row.len();
            columns.map(|column| row.try_get(column)).collect()
        };
        rows.iter().map(texts).collect()
    }
}
