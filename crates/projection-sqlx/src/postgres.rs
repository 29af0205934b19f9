//! PostgreSQL.

use crate::session::{Dialect, Session, Value};
use crate::sink::SqlSink;
use crate::transaction::SqlTransaction;
use sqlx::error::DatabaseError;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Error, PgConnection, Postgres, Row};

/// Read models in PostgreSQL.
pub type PostgresSink = SqlSink<Postgres>;

/// What a projection into PostgreSQL writes with.
pub type PostgresTransaction = SqlTransaction<Postgres>;

/// Connections of a sink that connects by itself: one writes, the others read.
const CONNECTIONS_MAX: u32 = 8;

/// Classes of SQLSTATE that may be gone the next time: connections, conflicts of transactions, resources,
/// the operator's doing, the system below.
const PASSING_CLASSES: [&str; 5] = ["08", "40", "53", "57", "58"];

/// States of other classes that may be gone the next time: a server that is a replica for now, a
/// transaction that stood still for too long, a lock that was not to be had.
const PASSING_STATES: [&str; 3] = ["25006", "25P03", "55P03"];

impl SqlSink<Postgres> {
    /// A sink in the database of this URL, like `postgres://user@host/database`. [`Self::new`] takes a
    /// pool that is set up otherwise.
    ///
    /// ```no_run
    /// use icecore_projection_sqlx::PostgresSink;
    ///
    /// # async fn connect() -> Result<(), icecore_projection_sqlx::sqlx::Error> {
    /// let sink = PostgresSink::connect("postgres://shop@localhost/shop").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When the database cannot be reached or does not let the user in.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS_MAX);
        Ok(Self::new(pool.connect(url).await?))
    }
}

impl Dialect for Postgres {
    const BEGIN: &'static str = "BEGIN";
    const FOR_UPDATE: &'static str = " FOR UPDATE";
    // IF NOT EXISTS alone does not keep two sessions from making the same table. The number is `icecore`.
    const LOCK_TABLES: Option<&'static str> =
        Some("SELECT pg_advisory_xact_lock(29664159665713765)::text");

    fn passes(error: &dyn DatabaseError) -> bool {
        error.code().is_some_and(|state| {
            PASSING_STATES.contains(&&*state)
                || PASSING_CLASSES.iter().any(|class| state.starts_with(class))
        })
    }

    async fn point_view(
        connection: &mut PgConnection,
        view: &str,
        table: &str,
    ) -> Result<(), Error> {
        // Replacing keeps grants and whatever depends on the view, where the columns allow it.
        connection.run("SAVEPOINT icecore_view".into(), &[]).await?;
        let create = format!("VIEW {view} AS SELECT * FROM {table}");
        let replace = format!("CREATE OR REPLACE {create}");
        match connection.run(replace, &[]).await {
            Err(Error::Database(_)) => {
                for statement in [
                    "ROLLBACK TO SAVEPOINT icecore_view".into(),
                    format!("DROP VIEW IF EXISTS {view}"),
                    format!("CREATE {create}"),
                ] {
                    connection.run(statement, &[]).await?;
                }
            }
            replaced => {
                replaced?;
            }
        }
        let release = "RELEASE SAVEPOINT icecore_view".into();
        connection.run(release, &[]).await?;
        Ok(())
    }
}

impl Session for PgConnection {
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
        let texts = |row: &sqlx::postgres::PgRow| {
            let columns = 0..row.len();
            columns.map(|column| row.try_get(column)).collect()
        };
        rows.iter().map(texts).collect()
    }
}
