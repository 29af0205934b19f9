//! Sessions answer in order, survive an invalid append, and say of every append what became of it.

use super::fake::{Fake, Fault};
use crate::{Append, Error, EventData, ExpectedRevision, Position, StreamName};
use uuid::Uuid;

fn append(id: u128, bytes: usize) -> Append {
    let event = EventData::json(Uuid::from_u128(id), "T", vec![b' '; bytes]).unwrap();
    let stream = StreamName::new("order-1").unwrap();
    Append::to_stream(stream, ExpectedRevision::Any, vec![event]).unwrap()
}

#[tokio::test]
async fn many_appends_are_under_way_at_once_and_answered_in_order() {
    let fake = Fake::new();
    let mut session = fake.client().await.append_session().await.unwrap();
    let mut pending = Vec::new();
    for id in 1..=3_000 {
        pending.push(session.append(&append(id, 10)).await.unwrap());
    }
    for (n, pending) in (1..).zip(pending) {
        assert_eq!(pending.await.unwrap().last_position, Position::new(n));
    }
    session.close().await;
    assert_eq!(fake.state().events.len(), 3_000);
}

#[tokio::test]
async fn large_and_small_appends_share_a_session() {
    let fake = Fake::new();
    let mut session = fake.client().await.append_session().await.unwrap();
    let mut pending = Vec::new();
    for id in 1..=9 {
        let bytes = if id % 3 == 0 { 15 << 20 } else { 10 };
        pending.push(session.append(&append(id, bytes)).await.unwrap());
    }
    for (n, pending) in (1..).zip(pending) {
        assert_eq!(pending.await.unwrap().last_position, Position::new(n));
    }
}

#[tokio::test]
async fn an_append_that_cannot_be_sent_does_not_end_the_session() {
    let mut session = Fake::new().client().await.append_session().await.unwrap();
    let stream = StreamName::new("order-1").unwrap();
    let empty = Append::to_stream(stream, ExpectedRevision::Any, vec![]).unwrap();
    assert!(matches!(
        session.append(&empty).await,
        Err(Error::InvalidArgument { .. })
    ));
    session.append(&append(1, 10)).await.unwrap().await.unwrap();
}

#[tokio::test]
async fn a_session_that_breaks_leaves_no_append_without_an_answer() {
    let fake = Fake::new().with_faults([Fault::broken(2)]);
    let mut session = fake.client().await.append_session().await.unwrap();
    let mut pending = Vec::new();
    for id in 1..=5 {
        match session.append(&append(id, 10)).await {
            Ok(append) => pending.push(append),
            Err(error) => assert!(matches!(error, Error::Unavailable { .. }), "{error}"),
        }
    }
    for (n, pending) in pending.into_iter().enumerate() {
        match pending.await {
            Ok(_) => assert!(n < 2),
            Err(error) => {
                assert!(n >= 2);
                assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn an_answer_nobody_waits_for_does_not_hold_up_the_others() {
    let mut session = Fake::new().client().await.append_session().await.unwrap();
    drop(session.append(&append(1, 10)).await.unwrap());
    session.append(&append(2, 10)).await.unwrap().await.unwrap();
}
