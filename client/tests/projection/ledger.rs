//! The projection of these tests: balances of accounts, with every event it was handed noted down, so
//! that one that is missing or came twice is seen.

use icecore_client::{
    BoxError, Category, Client, Event, EventDataExt, ExpectedRevision, Filter, MemorySink,
    MemoryTransaction, Position, Projection, ProjectionRunner, RecordedEvent, StreamName, Upcast,
    json_event,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the projection looks at.
#[derive(Serialize, Deserialize)]
pub(crate) enum Movement {
    Deposited { cents: i64 },
    Withdrawn { cents: i64 },
}

impl Event for Movement {
    /// Panics when the data is no object.
    const UPCASTS: &'static [Upcast] = &[Upcast::version("Cracked", 1, |mut data| {
        data["cents"] = 1.into();
        Ok(data)
    })];
}

/// The read model.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Balances {
    pub(crate) by_account: BTreeMap<String, i64>,
    /// The positions of the events, in the order in which they came.
    pub(crate) handled: Vec<u64>,
}

/// The projection. A withdrawal of 13 cents is one that it cannot handle, one of 14 makes it panic.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// Whether it has learnt to handle all of them.
    pub(crate) mended: Arc<AtomicBool>,
}

pub(crate) type Model = MemoryTransaction<Balances>;
pub(crate) type Sink = MemorySink<Balances>;

pub(crate) const NAME: &str = "balances";

impl Projection<Model> for Ledger {
    type Event = Movement;

    fn name(&self) -> &str {
        NAME
    }

    fn filter(&self) -> Filter {
        Filter {
            category: Some(Category::new("account").unwrap()),
            ..Filter::default()
        }
    }

    async fn handle(
        &self,
        model: &mut Model,
        event: Movement,
        recorded: &RecordedEvent,
    ) -> Result<(), BoxError> {
        let change = match event {
            Movement::Deposited { cents } => cents,
            Movement::Withdrawn { cents } => -cents,
        };
        model.handled.push(recorded.position.get());
        *model
            .by_account
            .entry(recorded.stream.to_string())
            .or_default() += change;
        tokio::task::yield_now().await;
        if !self.mended.load(Ordering::Relaxed) {
            match change {
                -13 => return Err("thirteen is not handled".into()),
                -14 => panic!("fourteen neither"),
                _ => {}
            }
        }
        Ok(())
    }
}

pub(crate) fn runner(client: &Client, sink: &Sink) -> ProjectionRunner<Ledger, Sink> {
    ProjectionRunner::new(client.clone(), sink.clone(), Ledger::default())
}

/// Deposits these cents, one event each, and tells the last position.
pub(crate) async fn deposit(client: &Client, account: u64, cents: &[i64]) -> Position {
    let stream = StreamName::new(format!("account-{account}")).unwrap();
    let events = cents.iter().map(|&cents| match cents {
        0.. => json_event("Deposited", &serde_json::json!({ "cents": cents })).unwrap(),
        _ => json_event("Withdrawn", &serde_json::json!({ "cents": -cents })).unwrap(),
    });
    let events: Vec<_> = events.collect();
    let appended = client.append(&stream, ExpectedRevision::Any, events).await;
    appended.unwrap().last_position
}

/// Appends events that are not for the projection: of another type, or of another category.
pub(crate) async fn noise(client: &Client, count: usize) -> Position {
    let mut last = Position::START;
    for (stream, event_type) in [("account-1", "Audited"), ("order-1", "Deposited")] {
        let stream = StreamName::new(stream).unwrap();
        let event = || json_event(event_type, "").unwrap().with_tag("kind:noise");
        let events: Vec<_> = (0..count).map(|_| event().unwrap()).collect();
        let appended = client.append(&stream, ExpectedRevision::Any, events).await;
        last = appended.unwrap().last_position;
    }
    last
}

/// The read model as it is built in one go.
pub(crate) async fn in_one_go(client: &Client) -> Balances {
    let sink = Sink::new();
    let running = runner(client, &sink).start();
    assert!(running.caught_up().await);
    running.stop().await.unwrap();
    Balances::clone(&sink.model(NAME).unwrap())
}

/// The living read model.
pub(crate) fn model(sink: &Sink) -> Balances {
    Balances::clone(&sink.model(NAME).unwrap())
}
