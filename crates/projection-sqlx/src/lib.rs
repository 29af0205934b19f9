//! Read models of [projections](icecore_client::Projection) in SQLite and PostgreSQL: tables of the
//! user's, changed in the same transaction as the checkpoint.
//!
//! ```no_run
//! use icecore_client::{BoxError, Client, Event, Projection, ProjectionRunner, RecordedEvent};
//! use icecore_projection_sqlx::{SqliteSink, SqliteTransaction, sqlx};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! enum BalanceEvent {
//!     Deposited { cents: i64 },
//!     Withdrawn { cents: i64 },
//! }
//!
//! impl Event for BalanceEvent {}
//!
//! struct Balances;
//!
//! impl Projection<SqliteTransaction> for Balances {
//!     type Event = BalanceEvent;
//!
//!     fn name(&self) -> &str {
//!         "balances"
//!     }
//!
//!     async fn set_up(&self, transaction: &mut SqliteTransaction) -> Result<(), BoxError> {
//!         let columns = "account TEXT PRIMARY KEY, cents BIGINT NOT NULL";
//!         transaction.create_table("balances", columns).await?;
//!         Ok(())
//!     }
//!
//!     async fn handle(
//!         &self,
//!         transaction: &mut SqliteTransaction,
//!         event: BalanceEvent,
//!         recorded: &RecordedEvent,
//!     ) -> Result<(), BoxError> {
//!         let change = match event {
//!             BalanceEvent::Deposited { cents } => cents,
//!             BalanceEvent::Withdrawn { cents } => -cents,
//!         };
//!         let sql = transaction.sql(
//!             "INSERT INTO {balances} AS b (account, cents) VALUES ($1, $2)
//!              ON CONFLICT (account) DO UPDATE SET cents = b.cents + excluded.cents",
//!         );
//!         let insert = sqlx::query(sql).bind(recorded.stream.as_str()).bind(change);
//!         insert.execute(transaction.connection()).await?;
//!         Ok(())
//!     }
//! }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let client = Client::connect("http://127.0.0.1:2113").await?;
//! let sink = SqliteSink::open("balances.db").await?;
//! let running = ProjectionRunner::new(client, sink.clone(), Balances).start();
//! running.caught_up().await;
//!
//! // Readers ask the view, whichever generation is behind it.
//! let rich = sqlx::query_scalar("SELECT account FROM balances WHERE cents > 100000");
//! let rich: Vec<String> = rich.fetch_all(sink.pool()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Tables and views
//!
//! A generation has tables of its own: [`SqlTransaction::create_table`] makes `balances__1` for the
//! first and `balances__2` for the second, and [`SqlTransaction::sql`] puts them where the text says
//! `{balances}`. Readers see a view `balances` of the living one. When another generation takes its
//! place, all views change in one transaction, and the tables of the old one go in the same, or are
//! kept. On PostgreSQL a view keeps its grants where the new table has the columns of the old one, or
//! more behind them; otherwise it is made anew.
//!
//! A projection may as well write to tables that something else has made; those know no generations.
//!
//! # What the sink keeps
//!
//! Three tables, made at first use in the schema that is the connection's first. Positions are those of
//! the store, moments RFC 3339.
//!
//! ```text
//! icecore_projections   projection, generation (key)
//!                       state        'building', 'live' (one at most) or 'retired'
//!                       store_id     the store that position belongs to
//!                       position     everything up to here is in the tables of the generation
//! icecore_tables        projection, generation, name (key)
//!                       ordinal      in which order the tables were made
//! icecore_parked        projection, generation, position (key)
//!                       stream, revision, event_id, event_type
//!                       attempts, reason, parked_at
//! ```
//!
//! The checkpoint is moved by the first statement of each transaction, under the condition that it stands
//! where it was left; that is also what keeps a second runner out.
//!
//! # Durability
//!
//! A commit that is lost takes its checkpoint with it, and the events come once more. So a read model
//! needs less than the events do: [`SqliteSink::open`] writes ahead and syncs at checkpoints of the
//! write-ahead log only (`synchronous = NORMAL`), and with PostgreSQL `synchronous_commit = off` for the
//! role of the runner is as right as it is fast.

mod books;
#[cfg(feature = "postgres")]
mod postgres;
mod session;
mod sink;
#[cfg(feature = "sqlite")]
mod sqlite;
mod transaction;

#[cfg(feature = "postgres")]
pub use postgres::{PostgresSink, PostgresTransaction};
pub use sink::SqlSink;
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteSink, SqliteTransaction};
#[doc(no_inline)]
pub use sqlx;
pub use transaction::SqlTransaction;
