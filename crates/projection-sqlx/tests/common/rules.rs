//! The rules.

use super::{
    DROPPING, Database, Model, Movement, SECOND, append, deposit, expected, runner, second,
};
use icecore_client::{
    BatchLimits, Generation, GenerationState, OldGeneration, Position, ProjectionError,
    RunningProjection,
};
use icecore_testing::TestServer;
use std::time::Duration;
use tokio::time::sleep;

const SMALL: BatchLimits = BatchLimits {
    events_max: 3,
    wait: Duration::ZERO,
};

pub(crate) async fn a_read_model_follows_and_goes_on_after_a_stop(database: impl Database) {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    deposit(&client, 1, &[5, 6, -2]).await;
    let running = runner(&client, &database).start();
    assert!(running.caught_up().await);
    assert_eq!(database.read().await, expected(&client).await);
    running.stop().await.unwrap();
    let position = deposit(&client, 2, &[1, 2]).await;
    let running = runner(&client, &database).batch(SMALL).start();
    assert!(running.reached(position).await);
    running.stop().await.unwrap();
    assert_eq!(database.read().await, expected(&client).await);
    let stored = runner(&client, &database).generations().await.unwrap();
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].checkpoint.position, position);
    assert_eq!(stored[0].state, GenerationState::Live);
}

pub(crate) async fn what_statement_or_commit_refuses_is_parked(database: impl Database) {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    deposit(&client, 1, &[1]).await;
    let broken = append(&client, 1, Movement::Broken {}).await;
    deposit(&client, 1, &[2]).await;
    let orphaned = append(&client, 2, Movement::Orphaned {}).await;
    let last = deposit(&client, 1, &[3]).await;
    let operator = runner(&client, &database);
    let running = operator.clone().start();
    assert!(running.reached(last).await);
    assert_eq!(database.read().await, expected(&client).await);
    let parked = operator.parked(Position::START, 10).await.unwrap();
    let positions: Vec<_> = parked.iter().map(|parked| parked.position).collect();
    assert_eq!(positions, [broken, orphaned]);
    assert_eq!(parked[0].event_type.as_str(), "Broken");
    assert_eq!(
        (parked[1].stream.as_str(), parked[1].attempts),
        ("account-2", 3)
    );
    assert!(
        parked[0].reason.contains("balances"),
        "{}",
        parked[0].reason
    );
    assert_eq!(operator.parked(broken, 1).await.unwrap(), parked[1..]);

    // It is parked still when it fails once more, and gone when it is given up.
    assert!(operator.replay(broken).await.is_err());
    assert!(operator.replay(orphaned).await.is_err());
    assert!(operator.discard(broken).await.unwrap());
    assert!(!operator.discard(broken).await.unwrap());
    assert_eq!(
        operator.parked(Position::START, 10).await.unwrap(),
        parked[1..]
    );
    running.stop().await.unwrap();
}

pub(crate) async fn a_rebuild_takes_the_place_of_the_living_one(database: impl Database) {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    deposit(&client, 1, &[1, 2, 3]).await;
    let first = runner(&client, &database).start();
    assert!(first.caught_up().await);
    let building = second(&client, &database).start();
    assert!(building.caught_up().await);
    let names = ["balances", "balances__1", "balances__2"];
    assert_eq!(database.names().await[..3], names);
    building.stop().await.unwrap();

    // The first one is ahead for now.
    let position = deposit(&client, 2, &[4]).await;
    assert!(first.reached(position).await);
    let operator = second(&client, &database);
    assert!(!operator.swap(OldGeneration::Drop).await.unwrap());
    assert!(!operator.forget(Generation::FIRST).await.unwrap());
    let rebuilt = second(&client, &database).on_caught_up(DROPPING).start();
    assert!(rebuilt.until(|progress| progress.live).await);
    let names = ["balances", "balances__2", "handled", "handled__2"];
    assert_eq!(database.names().await, names);
    assert_eq!(database.read().await, expected(&client).await);

    let position = deposit(&client, 1, &[5]).await;
    assert!(rebuilt.reached(position).await);
    let ended = first.ended().await.unwrap_err();
    assert!(
        matches!(ended, ProjectionError::Superseded { .. }),
        "{ended}"
    );
    rebuilt.stop().await.unwrap();
    assert_eq!(database.read().await, expected(&client).await);
}

pub(crate) async fn an_old_generation_is_kept_until_it_is_forgotten(database: impl Database) {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    deposit(&client, 1, &[1, 2, 3]).await;
    let first = runner(&client, &database).start();
    assert!(first.caught_up().await);
    first.stop().await.unwrap();
    let operator = second(&client, &database);
    let fenced = operator.swap(OldGeneration::Keep).await;
    assert!(
        matches!(fenced, Err(ProjectionError::Fenced { .. })),
        "not built yet"
    );
    let building = operator.clone().start();
    assert!(building.caught_up().await);
    assert!(operator.swap(OldGeneration::Keep).await.unwrap());
    let states = operator.generations().await.unwrap();
    let states: Vec<_> = states.iter().map(|stored| stored.state).collect();
    assert_eq!(states, [GenerationState::Retired, GenerationState::Live]);
    assert_eq!(database.names().await.len(), 6, "two views on four tables");
    assert!(operator.forget(Generation::FIRST).await.unwrap());
    assert!(!operator.forget(Generation::FIRST).await.unwrap());
    assert!(!operator.forget(SECOND).await.unwrap());
    assert_eq!(database.names().await.len(), 4);
    building.stop().await.unwrap();
    assert_eq!(database.read().await, expected(&client).await);
}

pub(crate) async fn of_two_runners_one_ends(database: impl Database) {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let position = deposit(&client, 1, &[1]).await;
    let two = [(); 2].map(|()| runner(&client, &database).start());
    // While both have the same checkpoint, the next event is for one of them only.
    let mut last = position;
    for _ in 0..1_000 {
        if two.iter().any(RunningProjection::is_over) {
            break;
        }
        last = deposit(&client, 1, &[1]).await;
        sleep(Duration::from_millis(1)).await;
    }
    let [first, second] = two;
    let (winner, loser) = if second.is_over() {
        (first, second)
    } else {
        (second, first)
    };
    assert!(winner.reached(last).await, "one goes on");
    let error = loser.ended().await.unwrap_err();
    assert!(matches!(error, ProjectionError::Fenced { .. }), "{error}");
    winner.stop().await.unwrap();
    assert_eq!(database.read().await, expected(&client).await);
}

pub(crate) async fn workers_that_are_aborted_leave_nothing_out_and_nothing_twice(
    database: impl Database,
) {
    let mut server = TestServer::start().await;
    let client = server.client();
    let mut random = fastrand::Rng::with_seed(6);
    let mut last = Position::START;
    for round in 0..30 {
        let cents: Vec<_> = (0..random.usize(5..40)).map(|_| random.i64(1..9)).collect();
        last = deposit(&client, random.u64(1..6), &cents).await;
        let worker = runner(&client, &database).batch(SMALL);
        let worker = tokio::spawn(worker.run(std::future::pending()));
        sleep(Duration::from_micros(random.u64(0..40_000))).await;
        if round % 10 == 9 {
            server.restart().await;
        }
        worker.abort();
        let ended = worker.await;
        assert!(
            ended.is_err_and(|error| error.is_cancelled()),
            "it does not end by itself"
        );
    }
    let running = runner(&client, &database).start();
    assert!(running.reached(last).await);
    running.stop().await.unwrap();
    assert_eq!(database.read().await, expected(&client).await);
    server.stop().await;
}

pub(crate) async fn a_database_that_is_away_is_waited_out(database: impl Database) {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    let running = runner(&client, &database).batch(SMALL).start();
    assert!(running.caught_up().await);
    let mut progress = running.progress();
    let failing = async move {
        progress
            .wait_for(|progress| progress.failing.is_some())
            .await
            .is_ok()
    };
    let failing = tokio::spawn(failing);
    let mut last = Position::START;
    for account in 0..200 {
        let (position, ()) = tokio::join!(deposit(&client, account, &[1; 20]), database.disturb());
        last = position;
        if account > 8 && failing.is_finished() {
            break;
        }
    }
    assert!(failing.is_finished(), "the runner has noticed nothing");
    assert!(running.reached(last).await);
    assert_eq!(running.progress().borrow().parked, 0, "no event is blamed");
    running.stop().await.unwrap();
    let model: Model = database.read().await;
    assert_eq!(model, expected(&client).await);
}
