//! Events that cannot be handled: they are found, put aside with their reason, and come back when
//! somebody says so.

use crate::ledger::{Ledger, Sink, deposit, model, runner};
use icecore_client::{
    Client, ExpectedRevision, PoisonPolicy, Position, ProjectionError, ProjectionRunner,
    RetryPolicy, StreamName, json_event,
};
use icecore_testing::TestServer;
use std::sync::atomic::Ordering;
use std::time::Duration;

const QUICK: RetryPolicy = RetryPolicy {
    attempts_max: u32::MAX,
    pause_first: Duration::from_millis(1),
    pause_max: Duration::from_millis(1),
};

fn quick(client: &Client, sink: &Sink) -> ProjectionRunner<Ledger, Sink> {
    runner(client, sink).retry(QUICK)
}

#[tokio::test]
async fn a_poison_event_is_parked_and_the_others_go_on() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    deposit(&client, 1, &[1, 2, -13, 4, -14]).await;
    let stream = StreamName::new("account-1").unwrap();
    let garbage = ["Deposited", "Cracked"].map(|of_type| json_event(of_type, "no object").unwrap());
    let appended = client.append(&stream, ExpectedRevision::Any, garbage);
    appended.await.unwrap();
    deposit(&client, 2, &[7]).await;
    let sink = Sink::new();
    let running = quick(&client, &sink).start();
    assert!(running.caught_up().await);
    assert_eq!(running.progress().borrow().parked, 4);
    running.stop().await.unwrap();
    assert_eq!(model(&sink).handled, [1, 2, 4, 8]);
    assert_eq!(model(&sink).by_account["account-1"], 7);

    let parked = runner(&client, &sink).parked(Position::START, 10).await;
    let parked = parked.unwrap();
    let expected = [
        (3, "thirteen is not handled"),
        (5, "the handler panicked: fourteen neither"),
        (6, "is not as expected: invalid type: string"),
        (7, "could not be turned from version 1: the upcast panicked"),
    ];
    assert_eq!(parked.len(), expected.len());
    for (parked, (position, reason)) in parked.iter().zip(expected) {
        assert_eq!(parked.position, Position::new(position));
        assert_eq!((&parked.stream, parked.attempts), (&stream, 3));
        assert!(parked.reason.contains(reason), "{}", parked.reason);
    }
    let after = runner(&client, &sink).parked(Position::new(3), 1).await;
    assert_eq!(after.unwrap(), parked[1..2]);
}

#[tokio::test]
async fn a_runner_that_shall_stop_does_so_before_the_event() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    deposit(&client, 1, &[1, -13, 3]).await;
    let sink = Sink::new();
    let stop = PoisonPolicy::Stop { attempts_max: 2 };
    for _ in 0..2 {
        let ended = quick(&client, &sink).on_poison(stop).start().ended().await;
        let error = ended.unwrap_err();
        let ProjectionError::Poison {
            position, attempts, ..
        } = &error
        else {
            panic!("{error}");
        };
        assert_eq!((position.get(), *attempts), (2, 2));
        assert_eq!(model(&sink).handled, [1]);
    }
    let mended = quick(&client, &sink).on_poison(stop);
    mended.projection().mended.store(true, Ordering::Relaxed);
    let running = mended.start();
    assert!(running.caught_up().await);
    running.stop().await.unwrap();
    assert_eq!(model(&sink).handled, [1, 2, 3]);
}

#[tokio::test]
async fn parked_events_are_replayed_or_discarded_once() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    deposit(&client, 1, &[1, -13, -13, 4]).await;
    let sink = Sink::new();
    let operator = quick(&client, &sink);
    let running = operator.clone().start();
    assert!(running.caught_up().await);

    let (second, third) = (Position::new(2), Position::new(3));
    let error = operator.replay(second).await.unwrap_err();
    assert!(matches!(error, ProjectionError::Poison { .. }), "{error}");
    assert_eq!(
        model(&sink).handled,
        [1, 4],
        "a failed replay changes nothing"
    );
    let parked = operator.parked(Position::START, 10).await.unwrap();
    assert_eq!(parked.len(), 2);

    operator.projection().mended.store(true, Ordering::Relaxed);
    assert!(operator.replay(second).await.unwrap());
    assert!(
        !operator.replay(second).await.unwrap(),
        "it is not parked any more"
    );
    assert!(operator.discard(third).await.unwrap());
    assert!(!operator.discard(third).await.unwrap());
    assert_eq!(model(&sink).handled, [1, 4, 2]);

    let position = deposit(&client, 1, &[5]).await;
    assert!(
        running.reached(position).await,
        "the runner goes on beside it"
    );
    running.stop().await.unwrap();
    assert_eq!(model(&sink).handled, [1, 4, 2, 5]);
    assert_eq!(operator.parked(Position::START, 10).await.unwrap(), []);
}
