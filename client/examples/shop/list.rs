//! The list of orders, a table in PostgreSQL or SQLite. What an event changes is said once, as a row; how
//! the row gets into a table, once for each database.

use anyhow::Result;
use icecore_client::{
    BoxError, Category, Client, Filter, Projection, ProjectionRunner, RecordedEvent,
    RunningProjection,
};
use icecore_projection_sqlx::{
    PostgresSink, PostgresTransaction, SqliteSink, SqliteTransaction, sqlx,
};

use super::order::OrderEvent;

const COLUMNS: &str =
    "id TEXT PRIMARY KEY, email TEXT NOT NULL, cents BIGINT NOT NULL, state TEXT NOT NULL";

/// Later events do not say again what the first one said.
const UPSERT: &str = "INSERT INTO {orders} AS o VALUES ($1, $2, $3, $4)
    ON CONFLICT (id) DO UPDATE SET state = excluded.state";

const SELECT: &str = "SELECT id, email, cents, state FROM orders ORDER BY id";

/// A row, as it is listed: order, email, cents, state.
pub(crate) type Row = (String, String, i64, String);

/// Where the list is kept.
pub(crate) enum OrderList {
    Postgres(PostgresSink),
    Sqlite(SqliteSink),
}

impl OrderList {
    /// `postgres://user:password@host/database`, or the name of a file.
    pub(crate) async fn open(database: &str) -> Result<Self> {
        if database.starts_with("postgres") {
            return Ok(Self::Postgres(PostgresSink::connect(database).await?));
        }
        Ok(Self::Sqlite(SqliteSink::open(database).await?))
    }

    /// Lets the list follow the events.
    pub(crate) fn follow(&self, client: &Client) -> RunningProjection {
        let client = client.clone();
        match self {
            Self::Postgres(sink) => ProjectionRunner::new(client, sink.clone(), Orders).start(),
            Self::Sqlite(sink) => ProjectionRunner::new(client, sink.clone(), Orders).start(),
        }
    }

    pub(crate) async fn rows(&self) -> Result<Vec<Row>> {
        Ok(match self {
            Self::Postgres(sink) => sqlx::query_as(SELECT).fetch_all(sink.pool()).await?,
            Self::Sqlite(sink) => sqlx::query_as(SELECT).fetch_all(sink.pool()).await?,
        })
    }
}

/// How the list follows from the events.
struct Orders;

/// What an event changes.
fn row(event: OrderEvent, recorded: &RecordedEvent) -> Row {
    let stream = recorded.stream.as_str();
    let id = stream.strip_prefix("order-").unwrap_or(stream).to_owned();
    match event {
        OrderEvent::OrderPlaced { email, cents } => (id, email, cents, "placed".into()),
        OrderEvent::OrderPaid => (id, String::new(), 0, "paid".into()),
        OrderEvent::OrderShipped { parcel } => (id, String::new(), 0, format!("shipped {parcel}")),
    }
}

fn orders() -> Filter {
    Filter {
        category: Some(Category::new("order").expect("a valid category")),
        ..Filter::default()
    }
}

impl Projection<PostgresTransaction> for Orders {
    type Event = OrderEvent;

    fn name(&self) -> &'static str {
        "orders"
    }

    fn filter(&self) -> Filter {
        orders()
    }

    async fn set_up(&self, transaction: &mut PostgresTransaction) -> Result<(), BoxError> {
        Ok(transaction.create_table("orders", COLUMNS).await?)
    }

    async fn handle(
        &self,
        transaction: &mut PostgresTransaction,
        event: OrderEvent,
        recorded: &RecordedEvent,
    ) -> Result<(), BoxError> {
        let (id, email, cents, state) = row(event, recorded);
        let upsert = sqlx::query(transaction.sql(UPSERT));
        let upsert = upsert.bind(id).bind(email).bind(cents).bind(state);
        upsert.execute(transaction.connection()).await?;
        Ok(())
    }
}

impl Projection<SqliteTransaction> for Orders {
    type Event = OrderEvent;

    fn name(&self) -> &'static str {
        "orders"
    }

    fn filter(&self) -> Filter {
        orders()
    }

    async fn set_up(&self, transaction: &mut SqliteTransaction) -> Result<(), BoxError> {
        Ok(transaction.create_table("orders", COLUMNS).await?)
    }

    async fn handle(
        &self,
        transaction: &mut SqliteTransaction,
        event: OrderEvent,
        recorded: &RecordedEvent,
    ) -> Result<(), BoxError> {
        let (id, email, cents, state) = row(event, recorded);
        let upsert = sqlx::query(transaction.sql(UPSERT));
        let upsert = upsert.bind(id).bind(email).bind(cents).bind(state);
        upsert.execute(transaction.connection()).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use icecore_client::project;

    #[tokio::test]
    async fn a_row_follows_its_order() {
        let directory = tempfile::tempdir().unwrap();
        let sink = SqliteSink::open(directory.path().join("shop.db"))
            .await
            .unwrap();
        let list = OrderList::Sqlite(sink.clone());
        let email = String::from("anna@example.org");
        let placed = OrderEvent::OrderPlaced {
            email: email.clone(),
            cents: 1_200,
        };
        let history = [("order-1", placed.clone()), ("order-2", placed)];
        project::<_, Orders, _>(&sink, &Orders, history)
            .await
            .unwrap();
        let paid = [("order-2", OrderEvent::OrderPaid)];
        project::<_, Orders, _>(&sink, &Orders, paid).await.unwrap();
        let expected: [Row; 2] = [
            ("1".into(), email.clone(), 1_200, "placed".into()),
            ("2".into(), email, 1_200, "paid".into()),
        ];
        assert_eq!(list.rows().await.unwrap(), expected);
    }
}
