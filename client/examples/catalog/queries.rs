//! The read side: follows the events into a read model of its own, and answers from that alone.
//!
//! This one lives in memory and is built anew at each start, which is right for a catalogue of some ten
//! thousand products. The example `bank` keeps its read model in SQLite.

use super::lines::{self, Service, money};
use super::product::ProductEvent;
use anyhow::Result;
use icecore_client::{
    BoxError, Client, MemorySink, MemoryTransaction, Position, Projection, ProjectionRunner,
    RecordedEvent, RunningProjection,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The read model: what a query wants to know of a product.
type Prices = BTreeMap<String, Price>;

#[derive(Clone, Debug, Default)]
struct Price {
    cents: u64,
    changes: u64,
}

/// How the read model follows from the events.
struct Catalogue;

impl Projection<MemoryTransaction<Prices>> for Catalogue {
    type Event = ProductEvent;

    fn name(&self) -> &'static str {
        "catalogue"
    }

    async fn handle(
        &self,
        prices: &mut MemoryTransaction<Prices>,
        event: ProductEvent,
        recorded: &RecordedEvent,
    ) -> Result<(), BoxError> {
        let stream = recorded.stream.as_str();
        let id = stream.strip_prefix("product-").unwrap_or(stream);
        let price = prices.entry(id.to_owned()).or_default();
        match event {
            ProductEvent::ProductListed { cents } => price.cents = cents,
            ProductEvent::PriceChanged { cents } => {
                price.cents = cents;
                price.changes += 1;
            }
        }
        Ok(())
    }
}

/// What answers queries.
#[derive(Clone)]
struct Queries {
    sink: MemorySink<Prices>,
    following: Arc<RunningProjection>,
}

pub(crate) async fn serve(client: Client, listen: &str) -> Result<()> {
    let sink = MemorySink::new();
    let following = ProjectionRunner::new(client, sink.clone(), Catalogue).start();
    // Nobody is told prices of the past by a reader that has just been started.
    following.caught_up().await;
    let following = Arc::new(following);
    let queries = Queries { sink, following };
    lines::serve(listen, queries).await
}

impl Service for Queries {
    async fn answer(&self, request: &str) -> String {
        let words: Vec<&str> = request.split_whitespace().collect();
        match words[..] {
            ["get", id] => self.get(id),
            ["get", id, "after", position] => match position.parse() {
                Ok(position) => self.get_after(id, Position::new(position)).await,
                Err(_) => format!("error `{position}` is no position"),
            },
            ["lag"] => self.lag(),
            _ => format!("error `{request}` is none of: get ID, get ID after POSITION, lag"),
        }
    }
}

impl Queries {
    fn get(&self, id: &str) -> String {
        let prices = self.sink.model("catalogue").unwrap_or_default();
        match prices.get(id) {
            Some(price) => format!(
                "{id} {} after {} changes",
                money(price.cents),
                price.changes
            ),
            None => format!("error there is no {id}"),
        }
    }

    /// Reads what was written: waits until the read model is that far.
    async fn get_after(&self, id: &str, position: Position) -> String {
        if self.following.reached(position).await {
            self.get(id)
        } else {
            "error this reader does not follow any more".into()
        }
    }

    fn lag(&self) -> String {
        let progress = self.following.progress();
        let progress = progress.borrow();
        format!(
            "at position {} of {}, {} behind",
            progress.position, progress.last_position, progress.lag.events
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use icecore_client::project;

    #[tokio::test]
    async fn the_last_price_stands_and_its_changes_are_counted() {
        let sink = MemorySink::new();
        let history = [
            ("product-lamp", ProductEvent::ProductListed { cents: 1_990 }),
            (
                "product-sofa",
                ProductEvent::ProductListed { cents: 50_000 },
            ),
            ("product-lamp", ProductEvent::PriceChanged { cents: 1_790 }),
            ("product-lamp", ProductEvent::PriceChanged { cents: 1_890 }),
        ];
        project(&sink, &Catalogue, history).await.unwrap();
        let prices = sink.model("catalogue").unwrap();
        let lamp = &prices["lamp"];
        assert_eq!((lamp.cents, lamp.changes), (1_890, 2));
        assert_eq!(prices["sofa"].changes, 0);
    }
}
