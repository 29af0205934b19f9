//! Commands to which something happens between load and append.

use crate::account::{Account, AccountError, AccountEvent, DEPOSIT, accounts};
use futures::future::BoxFuture;
use icecore_client::limits::MISSED_EVENTS_MAX;
use icecore_client::{
    Aggregate, Client, DeleteKind, Effect, ExpectedRevision, Repository, Revision, json_event,
};
use icecore_testing::TestServer;
use serde_json::json;
use std::sync::Mutex;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

/// An account to which something happens between load and append, once.
#[derive(Debug, Default)]
struct Hasty(Account);

struct Meanwhile(Mutex<Option<BoxFuture<'static, ()>>>);

impl Aggregate for Hasty {
    const CATEGORY: &'static str = Account::CATEGORY;
    type Event = AccountEvent;
    type Command = Meanwhile;
    type Error = AccountError;

    fn apply(&mut self, event: &AccountEvent) {
        self.0.apply(event);
    }

    fn handle(&self, meanwhile: &Meanwhile) -> Result<Vec<AccountEvent>, AccountError> {
        if let Some(happens) = meanwhile.0.lock().unwrap().take() {
            block_in_place(|| Handle::current().block_on(happens));
        }
        self.0.handle(&DEPOSIT)
    }
}

/// Deposits a cent while something happens between load and append. Gives what the account holds then.
async fn deposit_while(client: &Client, happens: impl Future<Output = ()> + Send + 'static) -> u64 {
    let command = Meanwhile(Mutex::new(Some(Box::pin(happens))));
    let hasty = Repository::<Hasty>::new(client.clone());
    let executed = hasty.execute("1", &command).await.unwrap();
    assert!(matches!(executed.effect, Effect::Appended(..)));
    let loaded = hasty.load("1").await.unwrap();
    assert_eq!(loaded.revision(), executed.revision);
    assert_eq!(loaded.state().0, executed.state.0);
    executed.state.0.balance
}

async fn deposits(client: &Client, events: usize) {
    let stream = accounts(client).stream("1").unwrap();
    let event = |_| json_event("Deposited", &json!({"cents": 1})).unwrap();
    let events = (0..events).map(event);
    let any = ExpectedRevision::Any;
    client.append(&stream, any, events).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_lost_the_race_takes_over_what_it_has_missed() {
    for missed in [1, MISSED_EVENTS_MAX, 3 * MISSED_EVENTS_MAX + 1] {
        let server = TestServer::in_memory().start().await;
        let client = server.client();
        deposits(&client, 1).await;
        let others = client.clone();
        let balance = deposit_while(&client, async move { deposits(&others, missed).await });
        assert_eq!(balance.await, missed as u64 + 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_lost_against_a_truncation_knows_what_is_left() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    deposits(&client, 1).await;
    let others = client.clone();
    let balance = deposit_while(&client, async move {
        deposits(&others, 3).await;
        let stream = accounts(&others).stream("1").unwrap();
        others.truncate(&stream, Revision::new(3)).await.unwrap();
    });
    assert_eq!(balance.await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_lost_against_a_deletion_begins_anew() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    deposits(&client, 1).await;
    let others = client.clone();
    let balance = deposit_while(&client, async move {
        deposits(&others, 3).await;
        let any = ExpectedRevision::Any;
        let deleted = accounts(&others).delete("1", any, DeleteKind::Soft).await;
        deleted.unwrap();
    });
    assert_eq!(balance.await, 1);
}
