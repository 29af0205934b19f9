//! Commands whose append breaks off: it shows when they are sent again whether they took effect.

use super::fake::{Fake, Fault};
use crate::{
    Aggregate, Client, Context, Decided, Decision, Effect, Error, Event, ExecuteError, Query,
    QueryItem, Repository, Result, RetryPolicy, StreamName, encode,
};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use uuid::Uuid;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Counted {
    Once {},
}

impl Event for Counted {}

#[derive(Debug, Default)]
struct Counter(u32);

impl Aggregate for Counter {
    const CATEGORY: &'static str = "counter";
    type Event = Counted;
    type Command = ();
    type Error = Infallible;

    fn apply(&mut self, Counted::Once {}: &Counted) {
        self.0 += 1;
    }

    fn handle(&self, (): &()) -> Result<Vec<Counted>, Infallible> {
        Ok(vec![Counted::Once {}])
    }
}

struct Count;

impl Decision for Count {
    type Event = Counted;
    type State = u32;
    type Error = Infallible;

    fn query(&self) -> Result<Query> {
        Query::new(vec![QueryItem::default()])
    }

    fn apply(&self, count: &mut u32, Counted::Once {}: &Counted) {
        *count += 1;
    }

    fn handle(&self, _: &u32) -> Result<Vec<(String, Counted)>, Infallible> {
        Ok(vec![("counter-1".into(), Counted::Once {})])
    }
}

/// A server on which a counter has counted once, and whose next append fails like this.
async fn counted_once(fault: Fault) -> (Fake, Client) {
    let fake = Fake::new().with_faults([fault]);
    let stream = StreamName::new("counter-1").unwrap();
    let first = encode(&Counted::Once {}, Uuid::from_u128(1), &Context::new());
    fake.state().record(&stream, first.unwrap());
    let client = Client::builder(fake.serve()).retry(RetryPolicy::NEVER);
    (fake, client.connect().await.unwrap())
}

fn context() -> Context {
    Context::new().command_id(Uuid::from_u128(7))
}

#[tokio::test]
async fn a_command_of_unknown_outcome_takes_effect_once_when_it_is_sent_again() {
    for taken in [0, 1] {
        let (fake, client) = counted_once(Fault::broken(taken)).await;
        let counters = Repository::<Counter>::new(client);
        let error = counters.execute(1, &()).context(context()).await;
        assert!(
            matches!(
                error,
                Err(ExecuteError::Store(Error::OutcomeUnknown { .. }))
            ),
            "{error:?}"
        );
        let again = counters.execute(1, &()).context(context()).await.unwrap();
        assert_eq!(matches!(again.effect, Effect::DoneBefore), taken == 1);
        assert_eq!(again.state.0, 2);
        assert_eq!(fake.state().events.len(), 2, "it is written once");
    }
}

#[tokio::test]
async fn a_decision_of_unknown_outcome_is_made_once_when_it_is_sent_again() {
    for taken in [0, 1] {
        let (fake, client) = counted_once(Fault::broken(taken)).await;
        let error = client.decide(&Count).context(context()).await;
        assert!(
            matches!(
                error,
                Err(ExecuteError::Store(Error::OutcomeUnknown { .. }))
            ),
            "{error:?}"
        );
        let again = client.decide(&Count).context(context()).await.unwrap();
        assert_eq!(again == Decided::DoneBefore, taken == 1);
        assert_eq!(fake.state().events.len(), 2, "it is written once");
    }
}
