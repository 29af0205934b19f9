//! A read model is built from the start beside the living one, and takes its place.

use crate::ledger::{NAME, Sink, deposit, in_one_go, model, noise, runner};
use icecore_client::{Generation, GenerationState, OldGeneration, ProjectionError, SwapPolicy};
use icecore_testing::TestServer;
use std::time::Duration;

const SECOND: Generation = Generation::new(2);

#[tokio::test]
async fn a_rebuild_takes_the_place_of_the_living_one_when_it_has_caught_up() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    deposit(&client, 1, &[1, 2, 3]).await;
    let sink = Sink::new();
    let first = runner(&client, &sink).start();
    assert!(first.caught_up().await);

    let second = runner(&client, &sink).generation(SECOND).start();
    assert!(second.until(|progress| progress.live).await);
    let position = deposit(&client, 1, &[4]).await;
    assert!(second.reached(position).await);
    assert_eq!(
        model(&sink),
        in_one_go(&client).await,
        "readers see the new one"
    );

    let ended = first.ended().await.unwrap_err();
    assert!(
        matches!(&ended, ProjectionError::Superseded { live, .. } if *live == SECOND),
        "{ended}"
    );
    second.stop().await.unwrap();
    let old_program = runner(&client, &sink).start().ended().await;
    assert!(matches!(
        old_program,
        Err(ProjectionError::Superseded { .. })
    ));
    let stored = runner(&client, &sink).generations().await.unwrap();
    assert_eq!(stored.len(), 1, "the old one is dropped");
    assert_eq!(stored[0].state, GenerationState::Live);
}

#[tokio::test]
async fn a_rebuild_by_hand_leaves_readers_where_they_are_until_then() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    deposit(&client, 1, &[1, 2, 3]).await;
    let sink = Sink::new();
    let first = runner(&client, &sink).start();
    assert!(first.caught_up().await);
    first.stop().await.unwrap();

    let operator = runner(&client, &sink).generation(SECOND);
    let operator = operator.on_caught_up(SwapPolicy::ByHand);
    let error = operator.swap(OldGeneration::Keep).await.unwrap_err();
    assert!(
        matches!(error, ProjectionError::Fenced { .. }),
        "not there yet"
    );
    deposit(&client, 1, &[4]).await;
    let second = operator.clone().start();
    assert!(second.caught_up().await);
    assert_eq!(model(&sink).handled, [1, 2, 3]);
    assert!(
        !operator.forget(Generation::FIRST).await.unwrap(),
        "it is what readers see"
    );

    assert!(operator.swap(OldGeneration::Keep).await.unwrap());
    assert_eq!(model(&sink).handled, [1, 2, 3, 4]);
    let states: Vec<_> = operator.generations().await.unwrap();
    let states: Vec<_> = states.iter().map(|stored| stored.state).collect();
    assert_eq!(states, [GenerationState::Retired, GenerationState::Live]);
    assert!(operator.forget(Generation::FIRST).await.unwrap());
    assert!(!operator.forget(Generation::FIRST).await.unwrap());
    second.stop().await.unwrap();
}

#[tokio::test]
async fn readers_never_go_back_in_time() {
    let server = TestServer::in_memory().start().await;
    let client = server.client();
    deposit(&client, 1, &[1, 2]).await;
    let sink = Sink::new();
    let operator = runner(&client, &sink).generation(SECOND);
    let operator = operator.on_caught_up(SwapPolicy::ByHand);
    let often = Duration::from_millis(1);
    let first = runner(&client, &sink).checkpoint_interval(often).start();
    assert!(first.caught_up().await);
    let second = operator.clone().start();
    assert!(second.caught_up().await);
    second.stop().await.unwrap();

    let position = deposit(&client, 1, &[3]).await;
    assert!(first.reached(position).await);
    assert!(
        !operator.swap(OldGeneration::Drop).await.unwrap(),
        "it is behind"
    );
    assert_eq!(model(&sink).handled, [1, 2, 3]);

    // As soon as it may, it does so by itself; also when only events of others have come since.
    noise(&client, 1).await;
    let second = runner(&client, &sink).generation(SECOND);
    let second = second.checkpoint_interval(often).start();
    assert!(second.until(|progress| progress.live).await);
    second.stop().await.unwrap();
    assert_eq!(model(&sink).handled, [1, 2, 3]);
    let superseded = first.ended().await.unwrap_err();
    assert!(
        matches!(superseded, ProjectionError::Superseded { .. }),
        "{superseded}"
    );
}

#[tokio::test]
async fn a_restored_store_is_answered_with_a_rebuild() {
    let mut server = TestServer::in_memory().start().await;
    let client = server.client();
    deposit(&client, 1, &[1, 2, 3]).await;
    let sink = Sink::new();
    let first = runner(&client, &sink).start();
    assert!(first.caught_up().await);
    first.stop().await.unwrap();

    server.restart().await;
    deposit(&client, 1, &[9]).await;
    let second = runner(&client, &sink).generation(SECOND).start();
    assert!(second.until(|progress| progress.live).await);
    second.stop().await.unwrap();
    assert_eq!(sink.model(NAME).unwrap().by_account["account-1"], 9);
}
