//! Snapshots: when they are taken, when they are used, when they are not.

use crate::account::{Account, AccountCommand, AccountEvent, DEPOSIT, accounts};
use futures::TryStreamExt;
use icecore_client::{
    Aggregate, Client, Context, DeleteKind, Effect, Error, Event, ExpectedRevision, RecordedEvent,
    RecordedEventExt, Repository, Revision, ScavengeMode, Snapshot, SnapshotPolicy, StreamName,
    Substitute, json_event,
};
use icecore_testing::TestServer;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

const EVERY_TEN: SnapshotPolicy = SnapshotPolicy::every(10);

async fn in_memory() -> TestServer {
    TestServer::in_memory().start().await
}

fn snapshots() -> StreamName {
    StreamName::new("$snapshot-account-1").unwrap()
}

async fn taken(client: &Client) -> Vec<RecordedEvent> {
    client.read_stream(&snapshots()).await.unwrap_or_default()
}

async fn deposit(accounts: &Repository<Account>, times: u64) {
    for _ in 0..times {
        accounts.execute("1", &DEPOSIT).await.unwrap();
    }
}

/// Puts a lie into the last snapshot, so that it shows whether it is used.
async fn lie(client: &Client, change: impl FnOnce(&mut Value)) {
    let last = taken(client).await.pop().unwrap();
    let mut data: Value = last.json().unwrap();
    data["state"]["owner"] = "snapshot".into();
    change(&mut data);
    let lie = json_event(last.event_type.as_str(), &data).unwrap();
    let any = ExpectedRevision::Any;
    client.append(&snapshots(), any, [lie]).await.unwrap();
}

#[tokio::test]
async fn a_snapshot_is_taken_after_so_many_events_and_only_the_newest_is_kept() {
    let server = in_memory().await;
    let client = server.client();
    let accounts = accounts(&client).snapshots(EVERY_TEN);
    deposit(&accounts, 10).await;
    assert!(taken(&client).await.is_empty());
    deposit(&accounts, 25).await;
    let kept = taken(&client).await;
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].revision, Revision::new(2));
    let data: Value = kept[0].json().unwrap();
    assert_eq!(
        (&data["revision"], &data["state"]["balance"]),
        (&json!(29), &json!(30))
    );
    assert_eq!(accounts.load("1").await.unwrap().state().balance, 35);
}

#[tokio::test]
async fn snapshots_are_taken_by_age() {
    let server = in_memory().await;
    let client = server.client();
    let policy = SnapshotPolicy::after(Duration::from_nanos(1));
    let accounts = accounts(&client).snapshots(policy);
    deposit(&accounts, 2).await;
    accounts.load("1").await.unwrap();
    assert_eq!(taken(&client).await.len(), 1);
    let old = SnapshotPolicy::after(Duration::from_secs(3_600));
    let accounts = crate::account::accounts(&client).snapshots(old);
    deposit(&accounts, 2).await;
    let snapshot = taken(&client).await.pop().unwrap();
    assert_eq!(snapshot.json::<Value>().unwrap()["revision"], 1);
}

#[tokio::test]
async fn a_load_uses_the_snapshot_and_what_came_after_however_much_that_is() {
    let server = in_memory().await;
    let client = server.client();
    let with = accounts(&client).snapshots(EVERY_TEN);
    let without = accounts(&client);
    deposit(&without, 12).await;
    with.load("1").await.unwrap();
    lie(&client, |_| ()).await;
    for more in [0, 1, 8, 1, 1, 40] {
        deposit(&without, more).await;
        let loaded = with.load("1").await.unwrap();
        assert_eq!(
            loaded.state().balance,
            without.load("1").await.unwrap().state().balance
        );
        assert_eq!(loaded.state().owner, "snapshot");
    }
}

#[tokio::test]
async fn snapshots_that_are_stale_or_not_readable_are_ignored() {
    let changes: [fn(&mut Value); 4] = [
        |data| data["version"] = 2.into(),
        |data| data["state"] = "no account".into(),
        |data| *data = json!([]),
        |data| data["ids"] = 1.into(),
    ];
    for change in changes {
        let server = in_memory().await;
        let client = server.client();
        let accounts = accounts(&client).snapshots(EVERY_TEN);
        deposit(&accounts, 11).await;
        lie(&client, change).await;
        deposit(&accounts, 1).await;
        let loaded = accounts.load("1").await.unwrap();
        assert_eq!(
            (loaded.state().owner.as_str(), loaded.state().balance),
            ("", 12)
        );
    }
}

#[tokio::test]
async fn a_snapshot_of_a_stream_that_was_deleted_is_ignored() {
    let server = in_memory().await;
    let client = server.client();
    let accounts = accounts(&client).snapshots(EVERY_TEN);
    deposit(&accounts, 15).await;
    assert_eq!(taken(&client).await.len(), 1);
    let stream = accounts.stream("1").unwrap();
    let any = ExpectedRevision::Any;
    client.delete(&stream, any, DeleteKind::Soft).await.unwrap();
    assert_eq!(
        *accounts.load("1").await.unwrap().state(),
        Account::default()
    );
    for balance in 1..=30 {
        deposit(&accounts, 1).await;
        assert_eq!(accounts.load("1").await.unwrap().state().balance, balance);
    }
    accounts.delete("1", any, DeleteKind::Soft).await.unwrap();
    assert!(taken(&client).await.is_empty());
}

#[tokio::test]
async fn a_snapshot_of_the_last_event_before_a_deletion_is_ignored() {
    let server = in_memory().await;
    let client = server.client();
    let (with, without) = (accounts(&client).snapshots(EVERY_TEN), accounts(&client));
    deposit(&without, 10).await;
    with.load("1").await.unwrap();
    let snapshot = taken(&client).await.pop().unwrap();
    assert_eq!(snapshot.json::<Value>().unwrap()["revision"], 9);
    let stream = with.stream("1").unwrap();
    let any = ExpectedRevision::Any;
    client.delete(&stream, any, DeleteKind::Soft).await.unwrap();
    // What comes after it follows the snapshot without a gap.
    deposit(&without, 1).await;
    assert_eq!(with.load("1").await.unwrap().state().balance, 1);
    deposit(&without, 60).await;
    assert_eq!(with.load("1").await.unwrap().state().balance, 61);
}

#[tokio::test]
async fn a_snapshot_that_is_written_late_does_not_outlive_a_deletion() {
    let server = in_memory().await;
    let client = server.client();
    let (with, without) = (accounts(&client).snapshots(EVERY_TEN), accounts(&client));
    deposit(&without, 10).await;
    with.load("1").await.unwrap();
    let stream = with.stream("1").unwrap();
    let any = ExpectedRevision::Any;
    client.delete(&stream, any, DeleteKind::Soft).await.unwrap();
    lie(&client, |_| ()).await;
    deposit(&without, 1).await;
    assert_eq!(with.load("1").await.unwrap().state().balance, 1);
}

#[tokio::test]
async fn an_aggregate_may_be_deleted_again_and_again() {
    let server = in_memory().await;
    let client = server.client();
    let accounts = accounts(&client).snapshots(EVERY_TEN);
    let any = ExpectedRevision::Any;
    for events in [15, 3, 15, 0] {
        deposit(&accounts, events + 1).await;
        let loaded = accounts.load("1").await.unwrap();
        assert_eq!(loaded.state().balance, events + 1);
        assert_eq!(taken(&client).await.len(), usize::from(events > 10));
        accounts.delete("1", any, DeleteKind::Soft).await.unwrap();
        assert!(taken(&client).await.is_empty());
    }
    // What another has deleted leaves its snapshots; they can still be deleted.
    deposit(&accounts, 11).await;
    accounts.load("1").await.unwrap();
    let stream = accounts.stream("1").unwrap();
    client.delete(&stream, any, DeleteKind::Soft).await.unwrap();
    assert_eq!(taken(&client).await.len(), 1);
    accounts.delete("1", any, DeleteKind::Soft).await.unwrap();
    assert!(taken(&client).await.is_empty());
    deposit(&accounts, 11).await;
    let wrong = ExpectedRevision::Exact(Revision::new(7));
    let refused = accounts.delete("1", wrong, DeleteKind::Tombstone).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    // The aggregate is there, and gets a snapshot again.
    assert_eq!(accounts.load("1").await.unwrap().state().balance, 11);
    assert_eq!(taken(&client).await.len(), 1);
    accounts
        .delete("1", any, DeleteKind::Tombstone)
        .await
        .unwrap();
    assert!(taken(&client).await.is_empty());
}

#[tokio::test]
async fn a_stream_may_be_truncated_behind_its_snapshot() {
    let server = in_memory().await;
    let client = server.client();
    let accounts = accounts(&client).snapshots(EVERY_TEN);
    // A deletion before the snapshot does not concern it.
    deposit(&accounts, 5).await;
    let any = ExpectedRevision::Any;
    accounts.delete("1", any, DeleteKind::Soft).await.unwrap();
    deposit(&accounts, 10).await;
    accounts.load("1").await.unwrap();
    let stream = accounts.stream("1").unwrap();
    client.truncate(&stream, Revision::new(15)).await.unwrap();
    assert_eq!(accounts.load("1").await.unwrap().state().balance, 10);
    deposit(&accounts, 3).await;
    assert_eq!(accounts.load("1").await.unwrap().state().balance, 13);
    // Behind what the snapshot knows something is missing now.
    client.truncate(&stream, Revision::new(17)).await.unwrap();
    assert_eq!(accounts.load("1").await.unwrap().state().balance, 1);
}

#[tokio::test]
async fn a_command_from_before_the_snapshot_is_recognised() {
    let server = in_memory().await;
    let client = server.client();
    let accounts = accounts(&client).snapshots(EVERY_TEN);
    let context = Context::new().command_id(Uuid::from_u128(7));
    let command = AccountCommand::Deposit { cents: 100 };
    accounts
        .execute("1", &command)
        .context(context.clone())
        .await
        .unwrap();
    deposit(&accounts, 24).await;
    let again = accounts
        .execute("1", &command)
        .context(context)
        .await
        .unwrap();
    assert!(matches!(again.effect, Effect::DoneBefore));
    assert_eq!(again.state.balance, 124);
}

#[tokio::test]
async fn the_last_256_commands_before_a_snapshot_are_recognised() {
    let server = in_memory().await;
    let client = server.client();
    let accounts = accounts(&client).snapshots(SnapshotPolicy::every(100));
    let execute = async |id: u128| {
        let context = Context::new().command_id(Uuid::from_u128(id));
        let executed = accounts.execute("1", &DEPOSIT).context(context).await;
        executed.unwrap().effect
    };
    for id in 1..=301 {
        assert!(matches!(execute(id).await, Effect::Appended(..)), "{id}");
    }
    let snapshot = taken(&client).await.pop().unwrap();
    assert_eq!(snapshot.json::<Value>().unwrap()["revision"], 299);
    for id in [301, 300, 45] {
        assert!(matches!(execute(id).await, Effect::DoneBefore), "{id}");
    }
    assert!(matches!(execute(44).await, Effect::Appended(..)));
}

/// A state that is larger than an event may be.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Huge(String);

impl Aggregate for Huge {
    const CATEGORY: &'static str = "account";
    type Event = AccountEvent;
    type Command = AccountCommand;
    type Error = std::convert::Infallible;

    fn apply(&mut self, _: &AccountEvent) {
        self.0.push_str(&"x".repeat(2 * 1_024 * 1_024));
    }

    fn handle(&self, _: &AccountCommand) -> Result<Vec<AccountEvent>, Self::Error> {
        Ok(vec![])
    }
}

impl Snapshot for Huge {}

#[tokio::test]
async fn a_state_that_does_not_fit_an_event_is_loaded_without_a_snapshot() {
    let server = in_memory().await;
    let client = server.client();
    deposit(&accounts(&client), 11).await;
    let huge = Repository::<Huge>::new(client.clone()).snapshots(EVERY_TEN);
    let loaded = huge.load("1").await.unwrap();
    assert_eq!(loaded.state().0.len(), 22 * 1_024 * 1_024);
    assert!(taken(&client).await.is_empty());
}

/// The account with another shape of state.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Doubled(u64);

impl Aggregate for Doubled {
    const CATEGORY: &'static str = "account";
    type Event = AccountEvent;
    type Command = AccountCommand;
    type Error = std::convert::Infallible;

    fn apply(&mut self, event: &AccountEvent) {
        if let AccountEvent::Deposited { cents } = event {
            self.0 += 2 * cents;
        }
    }

    fn handle(&self, _: &AccountCommand) -> Result<Vec<AccountEvent>, Self::Error> {
        Ok(vec![])
    }
}

impl Snapshot for Doubled {
    const SNAPSHOT_VERSION: u32 = 2;
}

#[tokio::test]
async fn a_new_version_of_the_state_takes_snapshots_of_its_own() {
    let server = in_memory().await;
    let client = server.client();
    let accounts = accounts(&client).snapshots(EVERY_TEN);
    deposit(&accounts, 11).await;
    let doubled = Repository::<Doubled>::new(client.clone()).snapshots(EVERY_TEN);
    for _ in 0..2 {
        assert_eq!(doubled.load("1").await.unwrap().state().0, 22);
    }
    let snapshot = taken(&client).await.pop().unwrap();
    assert_eq!(snapshot.json::<Value>().unwrap()["version"], 2);
}

/// A customer without what was erased.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Customer {
    names: Vec<String>,
}

#[derive(Serialize, Deserialize)]
enum CustomerEvent {
    Named { name: String },
}

impl Event for CustomerEvent {
    fn erased(_: &RecordedEvent) -> Substitute<Self> {
        Substitute::Skip
    }
}

impl Aggregate for Customer {
    const CATEGORY: &'static str = "customer";
    type Event = CustomerEvent;
    type Command = &'static str;
    type Error = std::convert::Infallible;

    fn apply(&mut self, event: &CustomerEvent) {
        let CustomerEvent::Named { name } = event;
        self.names.push(name.clone());
    }

    fn handle(&self, name: &&'static str) -> Result<Vec<CustomerEvent>, Self::Error> {
        let name = (*name).into();
        Ok(vec![CustomerEvent::Named { name }])
    }
}

impl Snapshot for Customer {}

#[tokio::test]
async fn what_was_erased_is_gone_with_the_snapshot_that_is_cleared() {
    let server = in_memory().await;
    let client = server.client();
    let customers = Repository::<Customer>::new(client.clone()).snapshots(SnapshotPolicy::every(2));
    customers.clear_snapshot("1").await.unwrap();
    for name in ["anna", "berta", "clara"] {
        customers.execute("1", &name).await.unwrap();
    }
    let names = async || customers.load("1").await.unwrap().state().names.clone();
    let stream = customers.stream("1").unwrap();
    let erased = client.erase(&stream, Revision::FIRST, "asked for").await;
    assert!(!erased.unwrap().was_erased);
    assert_eq!(names().await, ["anna", "berta", "clara"], "of the snapshot");
    assert_eq!(snapshots_with(&client, "anna").await, 1);

    customers.clear_snapshot("1").await.unwrap();
    assert_eq!(names().await, ["berta", "clara"]);
    assert_eq!(names().await, ["berta", "clara"], "of the new snapshot");
    let mut scavenge = client.scavenge(ScavengeMode::Remove).await.unwrap();
    while scavenge.try_next().await.unwrap().is_some() {}
    assert_eq!(snapshots_with(&client, "anna").await, 0);
    assert_eq!(snapshots_with(&client, "berta").await, 1);
}

/// How many snapshots are stored, hidden ones too, in which this stands.
async fn snapshots_with(client: &Client, text: &str) -> usize {
    let all = client.read_all().types(["$snapshot"]).include_system();
    let all = all.await.unwrap();
    let holds = |event: &&RecordedEvent| String::from_utf8_lossy(&event.data).contains(text);
    all.iter().filter(holds).count()
}
