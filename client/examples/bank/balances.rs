//! The balances of all accounts as a table in SQLite: a read model, for questions that no single account
//! can answer. It is changed in the same transaction as its checkpoint, so every event counts once, also
//! when this program is killed in the middle.

use super::account::money;
use anyhow::Result;
use icecore_client::{
    BoxError, Category, Client, Event, Filter, Projection, ProjectionRunner, RecordedEvent,
};
use icecore_projection_sqlx::{SqliteSink, SqliteTransaction, sqlx};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What balances are made of: the events of accounts with the fields that matter here.
#[derive(Serialize, Deserialize)]
enum BalanceEvent {
    Opened { owner: String },
    Deposited { cents: i64 },
    Withdrawn { cents: i64 },
    TransferSent { cents: i64 },
    TransferReceived { cents: i64 },
}

impl Event for BalanceEvent {}

struct Balances;

impl Projection<SqliteTransaction> for Balances {
    type Event = BalanceEvent;

    fn name(&self) -> &'static str {
        "balances"
    }

    /// Others may have events called `Opened` too.
    fn filter(&self) -> Filter {
        Filter {
            category: Some(Category::new("account").expect("a valid category")),
            ..Filter::default()
        }
    }

    async fn set_up(&self, transaction: &mut SqliteTransaction) -> Result<(), BoxError> {
        let columns = "account TEXT PRIMARY KEY, owner TEXT NOT NULL, cents BIGINT NOT NULL";
        Ok(transaction.create_table("balances", columns).await?)
    }

    async fn handle(
        &self,
        transaction: &mut SqliteTransaction,
        event: BalanceEvent,
        recorded: &RecordedEvent,
    ) -> Result<(), BoxError> {
        let stream = recorded.stream.as_str();
        let account = stream.strip_prefix("account-").unwrap_or(stream);
        let change = match event {
            BalanceEvent::Opened { owner } => {
                let insert = transaction.sql("INSERT INTO {balances} VALUES ($1, $2, 0)");
                let insert = sqlx::query(insert).bind(account).bind(owner);
                insert.execute(transaction.connection()).await?;
                return Ok(());
            }
            BalanceEvent::Deposited { cents } | BalanceEvent::TransferReceived { cents } => cents,
            BalanceEvent::Withdrawn { cents } | BalanceEvent::TransferSent { cents } => -cents,
        };
        let sql = "UPDATE {balances} SET cents = cents + $1 WHERE account = $2";
        let update = sqlx::query(transaction.sql(sql)).bind(change).bind(account);
        update.execute(transaction.connection()).await?;
        Ok(())
    }
}

/// Brings the read model up to date, and prints it. A service would leave the projection running.
pub(crate) async fn print(client: &Client, database: &Path) -> Result<()> {
    let sink = SqliteSink::open(database).await?;
    let running = ProjectionRunner::new(client.clone(), sink.clone(), Balances).start();
    running.caught_up().await;
    running.stop().await?;

    println!("Balances in {}", database.display());
    let select = "SELECT account, owner, cents FROM balances ORDER BY cents DESC, account";
    let rows: Vec<(String, String, i64)> = sqlx::query_as(select).fetch_all(sink.pool()).await?;
    for (account, owner, cents) in rows {
        println!(
            "  {account:<12} {owner:<12} {:>12}",
            money(u64::try_from(cents)?)
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::account::AccountEvent;
    use super::*;
    use icecore_client::project;

    #[tokio::test]
    async fn a_transfer_moves_money_between_rows() {
        let directory = tempfile::tempdir().unwrap();
        let sink = SqliteSink::open(directory.path().join("bank.db"))
            .await
            .unwrap();
        let opened = |owner: &str| AccountEvent::Opened {
            owner: owner.into(),
        };
        let (cents, to, from) = (30, "ben".into(), "anna".into());
        let history = [
            ("account-anna", opened("Anna")),
            ("account-ben", opened("Ben")),
            ("account-anna", AccountEvent::Deposited { cents: 100 }),
            ("account-anna", AccountEvent::TransferSent { cents, to }),
            (
                "account-ben",
                AccountEvent::TransferReceived { cents, from },
            ),
            ("account-ben", AccountEvent::Withdrawn { cents: 5 }),
        ];
        project(&sink, &Balances, history).await.unwrap();
        let select = "SELECT account, cents FROM balances ORDER BY account";
        let rows = sqlx::query_as(select).fetch_all(sink.pool()).await;
        let rows: Vec<(String, i64)> = rows.unwrap();
        assert_eq!(rows, [("anna".into(), 70), ("ben".into(), 25)]);
    }
}
