//! The usual course: catch up, follow, stop, go on; and what somebody who watches is told.

use crate::ledger::{NAME, Sink, deposit, in_one_go, model, noise, runner};
use icecore_client::{
    BatchLimits, Lag, Position, ProjectionError, ProjectionRunner, Projections, StoreId,
};
use icecore_testing::TestServer;
use std::time::Duration;

#[tokio::test]
async fn a_read_model_catches_up_follows_and_goes_on_after_a_stop() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    deposit(&client, 1, &[5, 6, -2]).await;
    let sink = Sink::new();
    let running = runner(&client, &sink).start();
    assert!(running.caught_up().await);
    assert_eq!(model(&sink).by_account["account-1"], 9);

    let position = deposit(&client, 2, &[1]).await;
    assert!(running.reached(position).await);
    assert_eq!(model(&sink).by_account["account-2"], 1);
    running.stop().await.unwrap();

    let position = deposit(&client, 2, &[1]).await;
    let running = runner(&client, &sink).start();
    assert!(running.reached(position).await);
    running.stop().await.unwrap();
    assert_eq!(model(&sink).handled, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn batches_are_as_large_as_allowed() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    deposit(&client, 1, &[1; 100]).await;
    let one_go = in_one_go(&client).await;
    for (events_max, wait_ms) in [(1, 0), (7, 0), (1_000, 0), (30, 20)] {
        let sink = Sink::new();
        let limits = BatchLimits {
            events_max,
            wait: Duration::from_millis(wait_ms),
        };
        let running = runner(&client, &sink).batch(limits).start();
        assert!(running.caught_up().await);
        running.stop().await.unwrap();
        assert_eq!(model(&sink), one_go);
    }
}

#[tokio::test]
async fn events_of_others_move_the_checkpoint_too() {
    let server = TestServer::in_memory();
    let server = server.config(|config| config.store.checkpoint_events = 10);
    let server = server.start().await;
    let client = server.client();
    deposit(&client, 1, &[1]).await;
    let last = noise(&client, 50).await;
    let sink = Sink::new();
    let running = runner(&client, &sink).start();
    assert!(running.caught_up().await);
    assert!(running.reached(last).await);
    running.stop().await.unwrap();
    assert_eq!(model(&sink).handled, [1]);
    let stored = runner(&client, &sink).generations().await.unwrap();
    assert_eq!(stored[0].checkpoint.position, last, "written at the stop");
}

#[tokio::test]
async fn progress_tells_position_lag_and_count() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    deposit(&client, 1, &[1, 2, 3]).await;
    let sink = Sink::new();
    let runner = runner(&client, &sink).observation_interval(Duration::from_millis(5));
    let running = runner.start();
    assert!(running.caught_up().await);
    let last = noise(&client, 1).await;
    assert!(running.until(|progress| progress.position == last).await);
    let progress = running.progress().borrow().clone();
    assert_eq!(progress.handled, 3);
    assert_eq!(progress.last_position, last);
    assert_eq!(
        progress.lag,
        Lag::default(),
        "what is missing is not for it"
    );
    assert!(progress.live && progress.failing.is_none() && progress.parked == 0);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn another_store_ends_it_with_what_to_do() {
    let mut server = TestServer::in_memory().start().await;
    let client = server.client();
    let position = deposit(&client, 1, &[1, 2, 3]).await;
    let sink = Sink::new();
    let running = runner(&client, &sink).start();
    assert!(running.reached(position).await);
    let before = store_id_of(&runner(&client, &sink)).await;

    // Memory forgets, so it is a new store that answers; also to the runner that is under way.
    server.restart().await;
    let under_way = running.ended().await.unwrap_err();
    let again = runner(&client, &sink).start().ended().await.unwrap_err();
    for error in [under_way, again] {
        assert!(error.to_string().contains("higher generation"), "{error}");
        let ProjectionError::WrongStore { expected, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(expected, before);
    }
    assert_eq!(
        model(&sink).handled,
        [1, 2, 3],
        "the old one stays as it is"
    );
}

async fn store_id_of(runner: &ProjectionRunner<crate::ledger::Ledger, Sink>) -> StoreId {
    runner.generations().await.unwrap()[0].checkpoint.store_id
}

#[tokio::test]
async fn several_run_in_one_process_and_one_that_fails_leaves_the_others_alone() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    deposit(&client, 1, &[1, -13]).await;
    let sinks = [Sink::new(), Sink::new()];
    let mut projections = Projections::default();
    let stops = icecore_client::PoisonPolicy::Stop { attempts_max: 1 };
    projections.add(runner(&client, &sinks[0]).on_poison(stops).start());
    projections.add(runner(&client, &sinks[1]).start());
    let second = projections.iter().nth(1).unwrap();
    assert!(second.caught_up().await);
    assert!(!projections.caught_up().await);

    let position = deposit(&client, 1, &[1]).await;
    let second = projections.iter().nth(1).unwrap();
    assert!(second.reached(position).await);
    let failed = projections.run_until(std::future::ready(())).await;
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].0.name, NAME);
    assert!(
        matches!(failed[0].1, ProjectionError::Poison { position, .. }
        if position == Position::new(2))
    );
    assert_eq!(model(&sinks[0]).handled, [1]);
    assert_eq!(model(&sinks[1]).handled, [1, 3]);
}

#[tokio::test]
async fn a_name_that_is_too_long_is_refused() {
    struct Named(String);
    impl icecore_client::Projection<crate::ledger::Model> for Named {
        type Event = crate::ledger::Movement;
        fn name(&self) -> &str {
            &self.0
        }
        async fn handle(
            &self,
            _: &mut crate::ledger::Model,
            _: crate::ledger::Movement,
            _: &icecore_client::RecordedEvent,
        ) -> Result<(), icecore_client::BoxError> {
            Ok(())
        }
    }
    let server = TestServer::in_memory().start().await;
    for (length, taken) in [(0, false), (1, true), (64, true), (65, false)] {
        let named = Named("n".repeat(length));
        let runner = ProjectionRunner::new(server.client(), Sink::new(), named);
        let running = runner.start();
        assert_eq!(running.caught_up().await, taken, "{length} bytes");
        assert_eq!(running.stop().await.is_ok(), taken);
    }
}
