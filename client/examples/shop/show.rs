//! A morning in the shop: everybody at work, three customers, and the list of orders in the end.

use super::list::OrderList;
use super::order::{Order, OrderCommand};
use super::staff;
use super::ticker::Ticker;
use anyhow::Result;
use futures::TryStreamExt;
use icecore_client::{Client, Context, Repository, RunningProjection, new_event_id};

/// In the order in which they come. The last parcel is for the last of them, so a list that has it has
/// everything.
const CUSTOMERS: [&str; 3] = ["cleo", "anna", "ben"];

/// Those of them who pay.
const PAYING: [&str; 2] = ["anna", "ben"];

pub(crate) async fn run(client: Client, list: OrderList) -> Result<()> {
    let following = list.follow(&client);
    tokio::select! {
        over = morning(&client, &following) => over?,
        ended = staff::work(client.clone()) => ended?,
    }
    // A list that could not follow says why here, and is not shown.
    following.stop().await?;
    println!("\nThe list of orders:");
    print(&list).await
}

async fn morning(client: &Client, following: &RunningProjection) -> Result<()> {
    println!("Orders, payments and parcels, as they happen:");
    let ticker = Ticker::start(client).await?;
    let shipped = ticker.until_shipped(PAYING.len());
    let (paid, shipped) = tokio::try_join!(customers(client), shipped)?;
    confirmed(client, &paid).await?;
    // The list is a moment behind; whoever must not see the past waits.
    following.reached(shipped).await;
    Ok(())
}

/// Everybody orders, and some pay. Gives the orders that are paid.
async fn customers(client: &Client) -> Result<Vec<String>> {
    let orders = Repository::<Order>::new(client.clone());
    // Orders of another show have other names.
    let show = format!("{:.4}", new_event_id().simple().to_string());
    let mut paid = Vec::new();
    for (number, customer) in (1..).zip(CUSTOMERS) {
        let order = format!("{show}-{number}");
        let by = Context::new().by(customer);
        let place = OrderCommand::Place {
            email: format!("{customer}@example.org"),
            cents: number * 1_250,
        };
        orders.execute(&order, &place).context(by.clone()).await?;
        if PAYING.contains(&customer) {
            orders
                .execute(&order, &OrderCommand::Pay)
                .context(by)
                .await?;
            paid.push(format!("order-{order}"));
        }
    }
    Ok(paid)
}

/// Waits until these orders are confirmed.
async fn confirmed(client: &Client, orders: &[String]) -> Result<()> {
    let mut missing: Vec<String> = orders.iter().map(|o| format!("confirmation-{o}")).collect();
    let sent = client.subscribe_all().types(["ConfirmationSent"]);
    let mut sent = sent.start().events();
    while !missing.is_empty() {
        match sent.try_next().await? {
            Some(event) => missing.retain(|stream| stream != event.stream.as_str()),
            None => return Ok(()),
        }
    }
    Ok(())
}

/// Prints the list.
pub(crate) async fn print(list: &OrderList) -> Result<()> {
    for (order, email, cents, state) in list.rows().await? {
        let (whole, part) = (cents / 100, cents % 100);
        println!("  {order:<10} {email:<20} {whole:>6}.{part:02}  {state}");
    }
    Ok(())
}
