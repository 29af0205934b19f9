//! Appends that break off are sent again, with the same ids, and only where that is right.

use super::fake::{Fake, Fault, QUICK};
use crate::{
    Append, Client, Error, EventData, ExpectedRevision, Refusal, RetryPolicy, Revision, StreamName,
    StreamState, Violation, ViolationKind, json_event,
};
use uuid::Uuid;

fn order() -> StreamName {
    StreamName::new("order-1").unwrap()
}

async fn append(client: &Client) -> crate::Result<crate::Appended> {
    let event = json_event("OrderPlaced", "").unwrap();
    client
        .append(&order(), ExpectedRevision::Any, [event])
        .await
}

#[tokio::test]
async fn an_append_that_breaks_off_is_sent_again_with_the_same_ids() {
    let taken_but_not_answered = Fault::broken(1);
    let not_taken = Fault::of(0, Error::unavailable("starting"));
    let fake = Fake::new().with_faults([not_taken, taken_but_not_answered]);
    append(&fake.client().await).await.unwrap();
    let state = fake.state();
    let ids: Vec<_> = state
        .appends
        .iter()
        .map(|a| a.events()[0].event.id)
        .collect();
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(state.events.len(), 1, "it is written once");
}

#[tokio::test]
async fn retries_end_and_can_be_turned_off() {
    let fake = Fake::new().with_faults(vec![Fault::broken(0); 10]);
    let client = fake.client().await;
    let error = append(&client).await.unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
    assert_eq!(fake.state().appends.len(), QUICK.attempts_max as usize);

    let fake = Fake::new().with_faults([Fault::broken(0)]);
    let client = Client::builder(fake.serve()).retry(RetryPolicy::NEVER);
    let client = client.connect().await.unwrap();
    assert!(matches!(
        append(&client).await,
        Err(Error::OutcomeUnknown { .. })
    ));
    assert_eq!(fake.state().appends.len(), 1);
}

#[tokio::test]
async fn a_refusal_is_not_sent_again_and_says_what_was_found() {
    let violation = Violation {
        stream: order(),
        expected: ExpectedRevision::Exact(Revision::new(0)),
        state: StreamState::Living {
            last: Revision::new(1),
        },
        kind: ViolationKind::WrongExpectedRevision,
    };
    let refusal = Refusal::new(vec![violation], None);
    let refused = Fault::of(0, Error::Refused(Box::new(refusal.clone())));
    let fake = Fake::new().with_faults([refused]);
    match append(&fake.client().await).await {
        Err(Error::Refused(found)) => assert_eq!(*found, refusal),
        other => panic!("not refused: {other:?}"),
    }
    assert_eq!(fake.state().appends.len(), 1);
}

#[tokio::test]
async fn an_append_larger_than_a_message_goes_in_parts() {
    let events =
        (1..=4).map(|id| EventData::json(Uuid::from_u128(id), "T", vec![b' '; 9 << 20]).unwrap());
    let append = Append::to_stream(order(), ExpectedRevision::NoStream, events.collect()).unwrap();
    let fake = Fake::new().with_faults([Fault::broken(0)]);
    let appended = fake.client().await.append_request(&append).await.unwrap();
    assert_eq!(appended.streams[0].last_revision, Some(Revision::new(3)));
    assert_eq!(fake.state().appends, [append]);
}

#[tokio::test]
async fn an_append_without_events_is_not_sent() {
    let client = Fake::new().client().await;
    let error = client
        .append(&order(), ExpectedRevision::Any, [])
        .await
        .unwrap_err();
    assert!(matches!(error, Error::InvalidArgument { ref field, .. } if field == "events"));
}

#[tokio::test]
async fn a_change_that_could_happen_twice_is_only_repeated_when_nothing_was_written() {
    let unavailable = Fault::of(0, Error::unavailable("starting"));
    let fake = Fake::new().with_faults([unavailable, Fault::broken(0)]);
    let client = fake.client().await;
    let error = client
        .truncate(&order(), Revision::new(1))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
    assert!(fake.state().faults.is_empty());
    client.truncate(&order(), Revision::new(1)).await.unwrap();
}
