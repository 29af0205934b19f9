//! What happens to orders, as it happens: a subscription to a category.

use super::order::OrderEvent;
use anyhow::{Result, bail};
use futures::{StreamExt, TryStreamExt};
use icecore_client::{Category, Client, Position, Subscription, SubscriptionMessage, decode};

pub(crate) struct Ticker(Subscription);

impl Ticker {
    /// Begins with what is appended from now on.
    pub(crate) async fn start(client: &Client) -> Result<Self> {
        let category = Category::new("order")?;
        let mut orders = client.subscribe_all().category(category).from_end().start();
        // The first message says that it has begun.
        match orders.next().await {
            Some(Ok(SubscriptionMessage::Confirmed { .. })) => Ok(Self(orders)),
            Some(Err(error)) => Err(error.into()),
            _ => bail!("a subscription begins with its store"),
        }
    }

    /// Prints what happens, until so many orders are shipped. Gives the position of the last.
    pub(crate) async fn until_shipped(self, mut orders: usize) -> Result<Position> {
        let mut events = self.0.events();
        while let Some(event) = events.try_next().await? {
            let what = match decode::<OrderEvent>(&event)? {
                Some(OrderEvent::OrderPlaced { email, .. }) => format!("placed by {email}"),
                Some(OrderEvent::OrderPaid) => "paid".into(),
                Some(OrderEvent::OrderShipped { parcel }) => {
                    orders -= 1;
                    format!("shipped as {parcel}")
                }
                None => continue,
            };
            println!("  {:<9} {} {what}", event.position, event.stream);
            if orders == 0 {
                return Ok(event.position);
            }
        }
        bail!("the subscription has ended")
    }
}
