//! The projection of the tour: a read model of open orders that follows the log in the background.

use anyhow::{Context as _, Result};
use futures::TryStreamExt as _;
use icecore_client::{
    Category, Client, Position, RecordedEvent, RecordedEventExt as _, SubscriptionMessage,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long an event may take to arrive, a restart of the server included.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the shop wants to know.
#[derive(Clone, Debug, Default)]
pub(super) struct Orders {
    position: Position,
    open: BTreeMap<String, u64>,
    revenue: u64,
}

#[derive(Deserialize)]
struct OrderPlaced {
    total: u64,
}

pub(super) struct Projection {
    seen: watch::Receiver<Orders>,
    task: JoinHandle<()>,
}

impl Projection {
    /// Begins to follow the log.
    pub(super) async fn start(server: &str) -> Result<Self> {
        let client = Client::connect(server).await?;
        let mut messages = client
            .subscribe_all()
            .category(Category::new("order")?)
            .start();
        let (orders, seen) = watch::channel(Orders::default());
        let task = tokio::spawn(async move {
            // It reconnects by itself; when it ends all the same, `at` notices that nothing comes.
            while let Ok(Some(message)) = messages.try_next().await {
                if let SubscriptionMessage::Events(events) = message {
                    orders
                        .send_modify(|orders| events.iter().for_each(|event| orders.apply(event)));
                }
            }
        });
        Ok(Self { seen, task })
    }

    /// The read model when everything up to `position` (inclusive) is in it.
    pub(super) async fn at(&mut self, position: Position) -> Result<Orders> {
        let seen = self.seen.wait_for(|orders| orders.position >= position);
        let orders = timeout(PATIENCE, seen)
            .await
            .context("wait for the projection")?;
        Ok(orders.context("follow the log")?.clone())
    }
}

impl Drop for Projection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Orders {
    fn apply(&mut self, event: &RecordedEvent) {
        let order = event.stream.to_string();
        match event.event_type.as_str() {
            "OrderPlaced" => {
                let total = event.json::<OrderPlaced>().map_or(0, |placed| placed.total);
                self.open.insert(order, total);
            }
            "OrderPaid" => self.revenue += self.open.remove(&order).unwrap_or(0),
            _ => {}
        }
        self.position = event.position;
    }
}

impl fmt::Display for Orders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open: Vec<_> = self.open.keys().map(String::as_str).collect();
        let (position, revenue) = (self.position, self.revenue);
        write!(
            f,
            "open {}; paid {revenue}; seen up to position {position}",
            open.join(", ")
        )
    }
}
