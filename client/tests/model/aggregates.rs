//! Loading, executing, conflicts, commands that come twice, and time travel.

use crate::account::{Account, AccountCommand, AccountError, AccountEvent, DEPOSIT, accounts};
use futures::TryStreamExt;
use futures::future::{join_all, try_join_all};
use icecore_client::{
    At, Changes, Client, Context, DeleteKind, Effect, Error, EventDataExt, ExecuteError,
    ExpectedRevision, RecordedEventExt, Repository, RetryPolicy, Revision, StreamName, json_event,
};
use icecore_testing::TestServer;
use serde_json::{Value, json};
use uuid::Uuid;

async fn in_memory() -> TestServer {
    TestServer::in_memory().start().await
}

const OPEN: AccountCommand = AccountCommand::Open { owner: "anna" };

#[tokio::test]
async fn commands_take_effect_and_are_loaded_again() {
    let server = in_memory().await;
    let accounts = accounts(&server.client());
    let before = accounts.load("1").await.unwrap();
    assert_eq!(
        (before.revision(), before.state()),
        (None, &Account::default())
    );

    let opened = accounts.execute("1", &OPEN).await.unwrap();
    assert_eq!(opened.revision, Some(Revision::FIRST));
    assert_eq!(opened.state.owner, "anna");
    let deposit = AccountCommand::Deposit { cents: 7 };
    let deposited = accounts.execute("1", &deposit).await.unwrap();
    let events = vec![AccountEvent::Deposited { cents: 7 }];
    assert!(matches!(&deposited.effect, Effect::Appended(did, _) if *did == events));

    let loaded = accounts.load("1").await.unwrap();
    assert_eq!(*loaded.state(), deposited.state);
    assert_eq!(
        (loaded.revision(), deposited.state.balance),
        (deposited.revision, 7)
    );
}

#[tokio::test]
async fn what_the_domain_refuses_is_not_tried_again_and_nothing_may_happen() {
    let server = in_memory().await;
    let accounts = accounts(&server.client());
    let withdraw = AccountCommand::Withdraw { cents: 1 };
    let refused = accounts.execute("1", &withdraw).await.unwrap_err();
    let error = AccountError::NotEnough { balance: 0 };
    assert!(matches!(refused, ExecuteError::Domain(refused) if refused == error));
    let nothing = accounts
        .execute("1", &AccountCommand::Nothing)
        .await
        .unwrap();
    assert!(matches!(nothing.effect, Effect::Nothing) && nothing.revision.is_none());
    let stream = accounts.stream("1").unwrap();
    let found = server.client().get_stream(&stream).await;
    assert!(
        matches!(found, Err(Error::StreamNotFound { .. })),
        "{found:?}"
    );
}

#[tokio::test]
async fn many_at_once_all_take_effect() {
    let server = in_memory().await;
    let patient = RetryPolicy {
        attempts_max: 1_000,
        ..RetryPolicy::CONFLICTS
    };
    let accounts = accounts(&server.client()).conflicts(patient);
    let deposits = (0..40).map(|_| accounts.execute("1", &DEPOSIT).into_future());
    try_join_all(deposits).await.unwrap();
    let loaded = accounts.load("1").await.unwrap();
    assert_eq!(loaded.state().balance, 40);
    assert_eq!(loaded.revision(), Some(Revision::new(39)));
}

#[tokio::test]
async fn the_attempts_at_a_conflict_are_limited() {
    let server = in_memory().await;
    let once = accounts(&server.client()).conflicts(RetryPolicy::NEVER);
    let deposits = (0..40).map(|_| once.execute("1", &DEPOSIT).into_future());
    let outcomes = join_all(deposits).await;
    let lost = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    let mut conflicts = 0;
    for error in lost {
        assert!(
            matches!(error, ExecuteError::Conflict { attempts: 1, .. }),
            "{error}"
        );
        conflicts += 1;
    }
    let loaded = once.load("1").await.unwrap();
    assert!(conflicts > 0);
    assert_eq!(loaded.state().balance, 40 - conflicts);
}

#[tokio::test]
async fn a_command_that_comes_twice_is_done_once() {
    let server = in_memory().await;
    let accounts = accounts(&server.client());
    let context = || Context::new().command_id(Uuid::from_u128(7));
    let first = accounts.execute("1", &DEPOSIT).context(context()).await;
    assert!(matches!(first.unwrap().effect, Effect::Appended(..)));
    accounts.execute("1", &DEPOSIT).await.unwrap();
    let again = accounts
        .execute("1", &DEPOSIT)
        .context(context())
        .await
        .unwrap();
    assert!(matches!(again.effect, Effect::DoneBefore));
    assert_eq!(again.state.balance, 2);
    // Another aggregate may get a command of the same id.
    let other = accounts.execute("2", &DEPOSIT).context(context()).await;
    assert!(matches!(other.unwrap().effect, Effect::Appended(..)));

    let both = |id| {
        let accounts = accounts.clone();
        let context = Context::new().command_id(Uuid::from_u128(id));
        async move { accounts.execute("3", &DEPOSIT).context(context).await }
    };
    try_join_all([both(8), both(8), both(8)]).await.unwrap();
    assert_eq!(accounts.load("3").await.unwrap().state().balance, 1);
}

#[tokio::test]
async fn several_aggregates_change_in_one_append() {
    let server = in_memory().await;
    let client = server.client();
    let accounts = accounts(&client);
    accounts
        .execute("a", &AccountCommand::Deposit { cents: 10 })
        .await
        .unwrap();
    let transfer = async |cents| {
        let (mut from, mut to) = (accounts.load("a").await?, accounts.load("b").await?);
        from.handle(&AccountCommand::Withdraw { cents })?;
        to.handle(&AccountCommand::Deposit { cents })?;
        let context = Context::new().identified();
        Ok::<_, Box<dyn std::error::Error>>([from.changes(&context)?, to.changes(&context)?])
    };
    let first = transfer(7).await.unwrap();
    let late = transfer(7).await.unwrap();
    client.append_changes(first).await.unwrap();
    assert!(matches!(
        client.append_changes(late).await,
        Err(Error::Refused(_))
    ));
    assert!(transfer(7).await.is_err());
    let balance = async |id| accounts.load(id).await.unwrap().state().balance;
    assert_eq!((balance("a").await, balance("b").await), (3, 7));
    let nothing = accounts.load("a").await.unwrap();
    let nothing = nothing.changes(&Context::new()).unwrap();
    assert!(matches!(
        client.append_changes([nothing]).await,
        Err(Error::InvalidArgument { .. })
    ));
}

#[tokio::test]
async fn what_a_command_did_to_several_aggregates_is_not_done_again() {
    let server = in_memory().await;
    let client = server.client();
    let accounts = accounts(&client);
    let context = Context::new().command_id(Uuid::from_u128(7));
    let (mut from, mut to) = (
        accounts.load("a").await.unwrap(),
        accounts.load("b").await.unwrap(),
    );
    assert!(!from.has_done(Uuid::from_u128(7)));
    from.handle(&DEPOSIT).unwrap();
    to.handle(&DEPOSIT).unwrap();
    let changes = [from.changes(&context), to.changes(&context)].map(Result::unwrap);
    assert_ne!(changes[0].events()[0].id, changes[1].events()[0].id);
    // The same append twice is one.
    client.append_changes(changes.clone()).await.unwrap();
    client.append_changes(changes).await.unwrap();
    // The same command, decided anew, says so before anything is written.
    let mut again = accounts.load("a").await.unwrap();
    assert!(again.has_done(Uuid::from_u128(7)));
    assert!(again.changes(&context).unwrap().events().is_empty());
    again.handle(&DEPOSIT).unwrap();
    let error = again.changes(&context).unwrap_err();
    assert!(
        matches!(&error, Error::InvalidArgument { field, .. } if *field == "command_id"),
        "{error}"
    );
    for id in ["a", "b"] {
        assert_eq!(accounts.load(id).await.unwrap().state().balance, 1);
    }
}

#[tokio::test]
async fn an_aggregate_has_an_id() {
    let server = in_memory().await;
    let error = accounts(&server.client()).load("").await.unwrap_err();
    assert!(
        matches!(&error, Error::InvalidArgument { field, .. } if *field == "id"),
        "{error}"
    );
}

#[tokio::test]
async fn the_audit_trail_says_what_when_by_whom_and_why() {
    let server = in_memory().await;
    let accounts = accounts(&server.client());
    let context = Context::new()
        .by("anna")
        .because("birthday")
        .correlation_id("request-1");
    accounts
        .execute("1", &DEPOSIT)
        .context(context)
        .await
        .unwrap();
    let trail: Vec<_> = accounts.history("1").unwrap().try_collect().await.unwrap();
    let [entry] = &trail[..] else {
        panic!("{trail:?}")
    };
    assert_eq!(entry.event, AccountEvent::Deposited { cents: 1 });
    let context = entry.context();
    assert_eq!(
        (context.user(), context.reason()),
        (Some("anna"), Some("birthday"))
    );
    assert_eq!(context.correlation(), Some("request-1"));
    let metadata: Value = entry.recorded.metadata_json().unwrap();
    assert_eq!(metadata["$correlationId"], "request-1");
    let follows = Context::caused_by(&entry.recorded);
    assert_eq!(follows.correlation(), Some("request-1"));
    assert_eq!(
        follows.causation(),
        Some(entry.recorded.id.to_string().as_str())
    );
}

#[tokio::test]
async fn the_past_is_loaded_by_revision_position_and_time() {
    let server = in_memory().await;
    let accounts = accounts(&server.client());
    for _ in 0..5 {
        accounts.execute("1", &DEPOSIT).await.unwrap();
        accounts.execute("2", &DEPOSIT).await.unwrap();
    }
    let trail: Vec<_> = accounts.history("1").unwrap().try_collect().await.unwrap();
    let third = &trail[2].recorded;
    let before = third.recorded_at.plus_nanos(-1);
    for (at, balance) in [
        (At::Revision(third.revision), 3),
        (At::Position(third.position), 3),
        (At::Position(third.position.previous()), 2),
        (At::Revision(Revision::new(u64::MAX)), 5),
        (At::Time(trail[4].recorded.recorded_at), 5),
    ] {
        let loaded = accounts.load_at("1", at).await.unwrap();
        assert_eq!(loaded.state().balance, balance, "{at:?}");
    }
    let earlier = trail
        .iter()
        .filter(|entry| entry.recorded.recorded_at <= before)
        .count();
    let loaded = accounts.load_at("1", At::Time(before)).await.unwrap();
    assert_eq!(loaded.state().balance, earlier as u64);
}

#[tokio::test]
async fn older_and_unknown_events_of_a_stream() {
    let server = in_memory().await;
    let client = server.client();
    let accounts = accounts(&client);
    let stream = accounts.stream("1").unwrap();
    let older = json_event("MoneyIn", &json!({"cents": 5})).unwrap();
    client
        .append(&stream, ExpectedRevision::NoStream, [older])
        .await
        .unwrap();
    assert_eq!(accounts.load("1").await.unwrap().state().balance, 5);
    let known = client.read_all().events_of::<AccountEvent>().unwrap();
    let unknown = json_event("Frozen", &json!({})).unwrap();
    client
        .append(&stream, ExpectedRevision::Any, [unknown])
        .await
        .unwrap();
    assert_eq!(known.await.unwrap().len(), 1);
    let error = accounts.load("1").await.unwrap_err().to_string();
    assert!(
        error.contains("the `Frozen` at position 2 (revision 1 of `account-1`)"),
        "{error}"
    );
}

async fn soft_deleted(client: &Client, accounts: &Repository<Account>) {
    accounts.execute("1", &DEPOSIT).await.unwrap();
    let any = ExpectedRevision::Any;
    accounts.delete("1", any, DeleteKind::Soft).await.unwrap();
    let stream = accounts.stream("1").unwrap();
    let found = client.read_stream(&stream).await;
    assert!(
        matches!(found, Err(Error::StreamNotFound { .. })),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_deleted_aggregate_begins_anew_and_a_tombstone_is_an_error() {
    let server = in_memory().await;
    let client = server.client();
    let accounts = accounts(&client);
    soft_deleted(&client, &accounts).await;
    let again = accounts.execute("1", &DEPOSIT).await.unwrap();
    assert_eq!(
        (again.state.balance, again.revision),
        (1, Some(Revision::new(1)))
    );
    let any = ExpectedRevision::Any;
    accounts
        .delete("1", any, DeleteKind::Tombstone)
        .await
        .unwrap();
    let error = accounts.execute("1", &DEPOSIT).await.unwrap_err();
    assert!(
        matches!(error, ExecuteError::Store(Error::StreamDeleted { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn an_aggregate_whose_events_are_all_hidden_goes_on_behind_them() {
    let server = in_memory().await;
    let client = server.client();
    let accounts = accounts(&client);
    accounts.execute("1", &DEPOSIT).await.unwrap();
    accounts.execute("1", &DEPOSIT).await.unwrap();
    let stream = accounts.stream("1").unwrap();
    client.truncate(&stream, Revision::new(2)).await.unwrap();
    let executed = accounts.execute("1", &DEPOSIT).await.unwrap();
    assert_eq!(
        (executed.state.balance, executed.revision),
        (1, Some(Revision::new(2)))
    );
}

#[tokio::test]
async fn changes_may_go_to_streams_of_no_aggregate() {
    let server = in_memory().await;
    let client = server.client();
    let accounts = accounts(&client);
    let mut account = accounts.load("1").await.unwrap();
    account.handle(&OPEN).unwrap();
    let log = StreamName::new("log").unwrap();
    let noted = json_event("Noted", &json!({})).and_then(|event| event.with_tag("account:1"));
    let noted = Changes::new(log.clone(), ExpectedRevision::Any, vec![noted.unwrap()]);
    let changes = account.changes(&Context::new()).unwrap();
    client.append_changes([changes, noted]).await.unwrap();
    assert_eq!(client.read_stream(&log).await.unwrap().len(), 1);
}
