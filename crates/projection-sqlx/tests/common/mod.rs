//! What every database must hold to, said once: the projection of these tests, what a test asks of a
//! database, and the rules. `sqlite.rs` and `postgres.rs` call each of them.

#![allow(dead_code, reason = "not every test program calls every rule")]

#[cfg(feature = "postgres-tests")]
pub(crate) mod on_postgres;
pub(crate) mod on_sqlite;
pub(crate) mod rules;

use icecore_client::{
    BoxError, Category, Client, Event, ExpectedRevision, Filter, Generation, OldGeneration,
    Position, Projection, ProjectionRunner, RecordedEvent, RetryPolicy, Sink, StreamName,
    SwapPolicy, json_event,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// What the projection looks at.
#[derive(Serialize, Deserialize)]
pub(crate) enum Movement {
    Deposited {
        cents: i64,
    },
    /// Of an account whose owner nobody knows: the commit fails.
    Orphaned {},
    /// Something that the table refuses.
    Broken {},
}

impl Event for Movement {}

/// Balances of accounts, with every event that was handled.
pub(crate) struct Ledger;

pub(crate) const NAME: &str = "ledger";
pub(crate) const BALANCES: &str = "account TEXT PRIMARY KEY, cents BIGINT NOT NULL";
pub(crate) const HANDLED: &str = "position BIGINT NOT NULL, account TEXT
    REFERENCES {balances} (account) DEFERRABLE INITIALLY DEFERRED";
pub(crate) const ADD: &str = "INSERT INTO {balances} AS b (account, cents) VALUES ($1, $2)
    ON CONFLICT (account) DO UPDATE SET cents = b.cents + excluded.cents";
pub(crate) const NOTE: &str = "INSERT INTO {handled} (position, account) VALUES ($1, $2)";
pub(crate) const BREAK: &str = "INSERT INTO {balances} (account, cents) VALUES ('broken', NULL)";

/// The statements of the projection on a database.
pub(crate) trait Tables: Send {
    fn set_up(&mut self) -> impl Future<Output = Result<(), BoxError>> + Send;
    /// Runs [`ADD`] for an account and [`NOTE`], which is for a position and an account.
    fn add(
        &mut self,
        account: &str,
        cents: i64,
        position: i64,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;
    fn note(
        &mut self,
        account: &str,
        position: i64,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;
    fn break_it(&mut self) -> impl Future<Output = Result<(), BoxError>> + Send;
}

impl<T: Tables> Projection<T> for Ledger {
    type Event = Movement;

    fn name(&self) -> &str {
        NAME
    }

    fn filter(&self) -> Filter {
        Filter {
            category: Some(Category::new("account").unwrap()),
            ..Filter::default()
        }
    }

    async fn set_up(&self, tables: &mut T) -> Result<(), BoxError> {
        tables.set_up().await
    }

    async fn handle(
        &self,
        tables: &mut T,
        event: Movement,
        recorded: &RecordedEvent,
    ) -> Result<(), BoxError> {
        let position = i64::try_from(recorded.position.get())?;
        match event {
            Movement::Deposited { cents } => {
                tables.add(recorded.stream.as_str(), cents, position).await
            }
            Movement::Orphaned {} => tables.note("nobody", position).await,
            Movement::Broken {} => tables.break_it().await,
        }
    }
}

/// The read model.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Model {
    pub(crate) balances: BTreeMap<String, i64>,
    /// The positions of the events that were handled, each as often as it was.
    pub(crate) handled: Vec<i64>,
}

/// A database of a test's own.
pub(crate) trait Database {
    type Sink: Sink<Transaction: Tables>;

    fn sink(&self) -> Self::Sink;

    /// What readers see.
    async fn read(&self) -> Model;

    /// Tables and views of the projection, by name.
    async fn names(&self) -> Vec<String>;

    /// A moment of weakness: whoever is connected meets errors that pass.
    async fn disturb(&self);
}

pub(crate) type Runner<D> = ProjectionRunner<Ledger, <D as Database>::Sink>;

pub(crate) const QUICK: RetryPolicy = RetryPolicy {
    attempts_max: u32::MAX,
    pause_first: Duration::from_millis(1),
    pause_max: Duration::from_millis(5),
};

pub(crate) fn runner<D: Database>(client: &Client, database: &D) -> Runner<D> {
    ProjectionRunner::new(client.clone(), database.sink(), Ledger).retry(QUICK)
}

pub(crate) const SECOND: Generation = Generation::new(2);

/// Builds the second generation, which takes its place when somebody says so.
pub(crate) fn second<D: Database>(client: &Client, database: &D) -> Runner<D> {
    let runner = runner(client, database).generation(SECOND);
    runner.on_caught_up(SwapPolicy::ByHand)
}

pub(crate) const DROPPING: SwapPolicy = SwapPolicy::WhenCaughtUp(OldGeneration::Drop);

pub(crate) async fn append(client: &Client, account: u64, event: Movement) -> Position {
    append_all(client, account, [event]).await
}

pub(crate) async fn deposit(client: &Client, account: u64, cents: &[i64]) -> Position {
    let deposited = |&cents| Movement::Deposited { cents };
    append_all(client, account, cents.iter().map(deposited)).await
}

async fn append_all(
    client: &Client,
    account: u64,
    events: impl IntoIterator<Item = Movement>,
) -> Position {
    let stream = StreamName::new(format!("account-{account}")).unwrap();
    let events = events.into_iter().map(|event| match event {
        Movement::Deposited { cents } => {
            json_event("Deposited", &serde_json::json!({ "cents": cents })).unwrap()
        }
        Movement::Orphaned {} => json_event("Orphaned", &serde_json::json!({})).unwrap(),
        Movement::Broken {} => json_event("Broken", &serde_json::json!({})).unwrap(),
    });
    let events: Vec<_> = events.collect();
    let appended = client.append(&stream, ExpectedRevision::Any, events).await;
    appended.unwrap().last_position
}

/// The read model as it must be, reckoned from the events themselves.
pub(crate) async fn expected(client: &Client) -> Model {
    let mut model = Model::default();
    for event in client
        .read_all()
        .prefix("account-")
        .types(["Deposited"])
        .await
        .unwrap()
    {
        let data: serde_json::Value = serde_json::from_slice(&event.data).unwrap();
        let balance = model.balances.entry(event.stream.to_string()).or_default();
        *balance += data["cents"].as_i64().unwrap();
        model
            .handled
            .push(i64::try_from(event.position.get()).unwrap());
    }
    model
}
