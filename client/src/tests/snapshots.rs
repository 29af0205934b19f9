//! Snapshot and tail come in one round trip.

use super::fake::Fake;
use crate::{Aggregate, Event, Repository, Snapshot, SnapshotPolicy};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Barrier;
use tokio::time::timeout;

/// How many events of each type there were.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Order {
    common: usize,
    rare: usize,
}

#[derive(Serialize, Deserialize)]
enum OrderEvent {
    Common,
    Rare,
}

impl Event for OrderEvent {}

impl Aggregate for Order {
    const CATEGORY: &'static str = "order";
    type Event = OrderEvent;
    type Command = ();
    type Error = Infallible;

    fn apply(&mut self, event: &OrderEvent) {
        match event {
            OrderEvent::Common => self.common += 1,
            OrderEvent::Rare => self.rare += 1,
        }
    }

    fn handle(&self, (): &()) -> Result<Vec<OrderEvent>, Infallible> {
        Ok(Vec::new())
    }
}

impl Snapshot for Order {}

#[tokio::test]
async fn a_load_asks_for_snapshot_and_tail_at_the_same_time_and_for_nothing_else() {
    let fake = Fake::with_events(9);
    let client = fake.client().await;
    // Neither read is answered before the other one is there.
    fake.state().reads_meet = Some(Arc::new(Barrier::new(2)));
    let orders = Repository::<Order>::new(client).snapshots(SnapshotPolicy::every(100));
    let loaded = timeout(Duration::from_secs(60), orders.load("1")).await;
    let loaded = loaded.expect("both reads are under way").unwrap();
    assert_eq!(*loaded.state(), Order { common: 6, rare: 3 });
    assert_eq!(fake.state().reads, 2);
}
