//! Reads collect, stream, and say when they broke off.

use super::fake::{Fake, Fault};
use crate::{Error, Position, Read, StreamName};
use futures::{StreamExt, TryStreamExt};

#[tokio::test]
async fn a_read_is_awaited_or_streamed() {
    let fake = Fake::with_events(10);
    let client = fake.client().await;
    let all = client.read_all().await.unwrap();
    assert_eq!(all, fake.state().events);

    let mut events = client.read(Read::all()).stream();
    let mut streamed = Vec::new();
    while let Some(event) = events.next().await {
        streamed.push(event.unwrap());
    }
    assert_eq!(streamed, all);
    assert_eq!(events.store_id(), Some(fake.state().store_id));

    let batches: Vec<_> = client.read_all().batches().try_collect().await.unwrap();
    assert_eq!(
        batches.iter().map(|b| b.events.len()).collect::<Vec<_>>(),
        [4, 4, 2]
    );

    let stream = StreamName::new("order-1").unwrap();
    let newest = client
        .read_stream(&stream)
        .backwards()
        .limit(2)
        .await
        .unwrap();
    assert_eq!(
        [newest[0].position, newest[1].position],
        [10, 9].map(Position::new)
    );
    assert_eq!(client.read_all().from(Position::new(11)).await.unwrap(), []);
}

#[tokio::test]
async fn an_invalid_read_is_not_sent() {
    let client = Fake::new().client().await;
    let error = client.read_all().limit(0).await.unwrap_err();
    assert!(matches!(error, Error::InvalidArgument { ref field, .. } if field == "limit"));
    let stream = StreamName::new("order-1").unwrap();
    let error = client
        .read_stream(&stream)
        .prefix("order-")
        .await
        .unwrap_err();
    assert!(matches!(error, Error::InvalidArgument { ref field, .. } if field == "filter"));
}

#[tokio::test]
async fn a_read_that_breaks_off_is_an_error_and_not_a_short_answer() {
    let fake = Fake::with_events(10);
    fake.state().read_faults = [Fault::broken(2), Fault::broken(2)].into();
    let client = fake.client().await;
    let error = client.read_all().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");

    let outcomes: Vec<_> = client.read_all().stream().collect().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 8);
    assert!(outcomes.last().unwrap().is_err());
}
