//! Subscriptions go on after a break where they were: nothing lost, nothing twice, and not in another
//! store.

use super::fake::{Fake, Fault, QUICK};
use crate::{
    Client, Error, EventData, Position, RetryPolicy, Start, StoreId, StreamName, Subscribe,
    SubscribeFrom, Subscription, SubscriptionMessage,
};
use futures::StreamExt;
use uuid::Uuid;

fn order() -> StreamName {
    StreamName::new("order-1").unwrap()
}

/// Takes events until the subscription has caught up; also counts how often it was confirmed.
async fn until_caught_up(subscription: &mut Subscription) -> (Vec<u64>, usize) {
    let mut positions = Vec::new();
    let mut confirmed = 0;
    loop {
        match subscription.next().await.unwrap().unwrap() {
            SubscriptionMessage::Confirmed { .. } => confirmed += 1,
            SubscriptionMessage::Events(events) => {
                positions.extend(events.iter().map(|event| event.position.get()));
            }
            SubscriptionMessage::Checkpoint(_) => {}
            SubscriptionMessage::CaughtUp { .. } => return (positions, confirmed),
        }
    }
}

async fn error_of(mut subscription: Subscription) -> Error {
    loop {
        if let Err(error) = subscription.next().await.unwrap() {
            assert!(subscription.next().await.is_none(), "an error ends it");
            return error;
        }
    }
}

fn all(client: &Client) -> crate::SubscribeCall<Position> {
    client.subscribe_all().reconnection(QUICK)
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_wherever_the_connection_breaks() {
    for after in 0..=9 {
        let fake = Fake::with_events(20);
        let fake = fake.with_faults([after, 2, 2].map(Fault::broken));
        let client = fake.client().await;
        let mut subscription = all(&client).start();
        let (positions, confirmed) = until_caught_up(&mut subscription).await;
        assert_eq!(
            positions,
            (1..=20).collect::<Vec<_>>(),
            "broken after {after}"
        );
        assert!(
            confirmed > 1 || after > 8,
            "a break is seen as another confirmation"
        );
    }
}

#[tokio::test]
async fn one_stream_is_resumed_by_its_revisions() {
    let fake = Fake::with_events(20).with_faults([3, 2, 2].map(Fault::broken));
    let client = fake.client().await;
    let subscription = client.subscribe_stream(&order()).reconnection(QUICK);
    let (positions, _) = until_caught_up(&mut subscription.start()).await;
    assert_eq!(positions, (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_checkpoint_is_a_place_to_resume_from() {
    let fake = Fake::with_events(20).with_faults([Fault::broken(4)]);
    let client = fake.client().await;
    let mut subscription = all(&client).types(["Other"]).start();
    assert_eq!(until_caught_up(&mut subscription).await, (vec![], 2));
    let resumed = fake.state().subscriptions[1].clone();
    assert_eq!(
        resumed.from,
        SubscribeFrom::All(Start::After(Position::new(9)))
    );
    assert_eq!(resumed.store_id, Some(fake.state().store_id));
}

/// The connection breaks before anything but the confirmation came; meanwhile an event is appended.
async fn check_start_at_the_end(start: impl FnOnce(&Client) -> Subscription) {
    let fake = Fake::with_events(5).with_faults([Fault::broken(1)]);
    let mut subscription = start(&fake.client().await);
    let confirmed = subscription.next().await.unwrap().unwrap();
    assert!(matches!(confirmed, SubscriptionMessage::Confirmed { .. }));
    let event = EventData::json(Uuid::from_u128(99), "Late", "").unwrap();
    fake.state().record(&order(), event);
    assert_eq!(until_caught_up(&mut subscription).await, (vec![6], 1));
}

#[tokio::test]
async fn a_start_at_the_end_stays_where_the_end_was() {
    check_start_at_the_end(|client| all(client).from_end().start()).await;
    check_start_at_the_end(|client| {
        let call = client.subscribe_stream(&order()).from_end();
        call.reconnection(QUICK).start()
    })
    .await;
}

#[tokio::test]
async fn a_start_at_the_end_of_nothing_is_the_beginning() {
    let client = Fake::new().client().await;
    let mut none = client.subscribe_stream(&order()).from_end().start();
    assert_eq!(until_caught_up(&mut none).await, (vec![], 1));
    let mut all = all(&client).from_end().start();
    assert_eq!(until_caught_up(&mut all).await, (vec![], 1));
}

#[tokio::test]
async fn a_store_that_was_restored_in_between_is_an_error() {
    let fake = Fake::with_events(20).with_faults([Fault::broken(3)]);
    let client = fake.client().await;
    let mut subscription = all(&client).start();
    for _ in 0..3 {
        subscription.next().await.unwrap().unwrap();
    }
    let restored = StoreId::new(Uuid::from_u128(2));
    fake.state().store_id = restored;
    let error = error_of(subscription).await;
    assert!(
        matches!(error, Error::WrongStore { actual, .. } if actual == restored),
        "{error}"
    );
}

#[tokio::test]
async fn errors_that_stay_end_a_subscription() {
    for error in [
        Error::StreamDeleted { stream: order() },
        Error::invalid("filter.stream", "is no regular expression"),
        Error::corrupted("chunk"),
    ] {
        let fake = Fake::with_events(3).with_faults([Fault::of(2, error.clone())]);
        let client = fake.client().await;
        let found = error_of(client.subscribe(Subscribe::stream(order()))).await;
        assert_eq!(found.to_string(), error.to_string());
        assert_eq!(fake.state().subscriptions.len(), 1);
    }
}

#[tokio::test]
async fn a_subscription_beyond_the_end_is_an_error() {
    let client = Fake::with_events(3).client().await;
    let subscription = all(&client).after(Position::new(4)).start();
    assert!(matches!(
        error_of(subscription).await,
        Error::InvalidArgument { .. }
    ));
}

#[tokio::test]
async fn reconnection_can_be_turned_off_and_is_bounded() {
    let fake = Fake::with_events(3).with_faults([Fault::broken(2)]);
    let client = fake.client().await;
    let subscription = client.subscribe_all().reconnection(RetryPolicy::NEVER);
    error_of(subscription.start()).await;
    assert_eq!(fake.state().subscriptions.len(), 1);

    // Confirmations alone are no progress.
    let fake = Fake::with_events(3).with_faults(vec![Fault::broken(1); 50]);
    let client = fake.client().await;
    error_of(all(&client).start()).await;
    assert_eq!(
        fake.state().subscriptions.len(),
        QUICK.attempts_max as usize
    );
}

#[tokio::test]
async fn events_alone_are_a_stream_too() {
    let fake = Fake::with_events(7).with_faults([Fault::broken(3)]);
    let client = fake.client().await;
    let events = all(&client).start().events().take(7);
    let positions: Vec<_> = events
        .map(|event| event.unwrap().position.get())
        .collect()
        .await;
    assert_eq!(positions, (1..=7).collect::<Vec<_>>());
}
