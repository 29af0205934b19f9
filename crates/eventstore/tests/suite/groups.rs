//! Groups of persistent subscriptions: who gets what and when (`delivery.rs`), strict order
//! (`order.rs`), what is parked (`parked.rs`), groups themselves (`settings.rs`), appends that finish
//! deliveries (`finishing.rs`), what goes wrong around them (`trouble.rs`), books of another
//! store (`histories.rs`).

mod delivery;
mod finishing;
mod histories;
mod order;
mod parked;
mod settings;
mod trouble;

use crate::support::{Any, TestStore, append, name};
use futures::StreamExt;
use icecore_core::{
    Consume, ConsumerStrategy, DeliveryNumber, Error, Group, GroupDelivery, GroupId, GroupName,
    GroupProblem, GroupSettings, NackAction, Result, Settled,
};
use icecore_eventstore::{GroupConsumer, GroupDeliveries};
use std::time::Duration;

/// Nothing comes within this time, if anything is to come at all.
const A_MOMENT: Duration = Duration::from_millis(50);

pub(crate) fn of_all(group: &str) -> GroupId {
    GroupId::of_all(GroupName::new(group.to_owned()).unwrap())
}

fn of_stream(stream: &str, group: &str) -> GroupId {
    let group = GroupName::new(group.to_owned()).unwrap();
    GroupId::of_stream(name(stream), group).unwrap()
}

fn round_robin() -> GroupSettings {
    GroupSettings {
        strategy: ConsumerStrategy::RoundRobin,
        ..GroupSettings::default()
    }
}

async fn create(store: &TestStore, id: &GroupId, settings: GroupSettings) {
    let group = Group {
        settings,
        ..Group::new(id.clone())
    };
    store.create_group(group).await.unwrap();
}

/// Appends one event to each of these streams, with ids that count from `first`.
async fn put(store: &TestStore, first: u128, streams: &[&str]) {
    for (id, stream) in (first..).zip(streams) {
        store.append(append(stream, Any, &[id])).await.unwrap();
    }
}

/// A consumer that has joined.
struct Member {
    consumer: GroupConsumer,
    deliveries: GroupDeliveries,
    held: Vec<GroupDelivery>,
}

async fn join(store: &TestStore, id: &GroupId, buffer_size: u32) -> Member {
    let consume = Consume::new(id.clone(), buffer_size);
    let (consumer, deliveries) = store.consume(consume).await.unwrap();
    Member {
        consumer,
        deliveries,
        held: Vec::new(),
    }
}

impl Member {
    /// The next delivery as `STREAM/REVISION`, with ` again N` after N tries; `-` when none comes, `!`
    /// and why when there is no more.
    async fn next(&mut self) -> String {
        let Ok(next) = tokio::time::timeout(A_MOMENT, self.deliveries.next()).await else {
            return "-".to_owned();
        };
        match next {
            Some(Ok(delivery)) => {
                let word = word(&delivery);
                self.held.push(delivery);
                word
            }
            Some(Err(Error::Group { problem, .. })) => match problem {
                GroupProblem::NotFound => "! not found".to_owned(),
                GroupProblem::Dropped { reason } => format!("! {reason}"),
                other => format!("! {other}"),
            },
            Some(Err(Error::Unavailable { .. })) => "! unavailable".to_owned(),
            Some(Err(error)) => format!("! {error}"),
            None => "end".to_owned(),
        }
    }

    async fn gets(&mut self, wanted: &[&str]) {
        for wanted in wanted {
            assert_eq!(self.next().await, *wanted);
        }
    }

    /// Takes what comes and acknowledges each, until nothing comes.
    async fn process_all(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            match self.next().await.as_str() {
                "-" => return all,
                word => all.push(word.to_owned()),
            }
            self.ack().await;
        }
    }

    /// Acknowledges the first that is held.
    async fn ack(&mut self) {
        self.answer(Settled::Ack).await.unwrap();
    }

    async fn nack(&mut self, action: NackAction) {
        let reason = "cannot".to_owned();
        self.answer(Settled::Nack { action, reason }).await.unwrap();
    }

    async fn answer(&mut self, settled: Settled) -> Result<()> {
        let first = self.held.remove(0);
        self.consumer.settle(vec![first.number], settled).await
    }

    fn numbers(&self) -> Vec<DeliveryNumber> {
        self.held.iter().map(|delivery| delivery.number).collect()
    }
}

fn word(delivery: &GroupDelivery) -> String {
    let place = match (&delivery.event, &delivery.link) {
        (Some(event), _) => format!("{}/{}", event.stream, event.revision),
        (None, Some(link)) => format!("nothing by {}/{}", link.stream, link.revision),
        (None, None) => "nothing".to_owned(),
    };
    match delivery.retry_count {
        0 => place,
        tries => format!("{place} again {tries}"),
    }
}
