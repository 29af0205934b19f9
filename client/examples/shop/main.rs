//! A shop: orders, payments, parcels, a list of all orders, and mails that are sent once.
//!
//! ```text
//! icecore serve                                          the store
//! cargo run --example shop                               a morning in the shop, the list in SQLite
//! cargo run --example shop -- --database postgres://user:password@127.0.0.1/shop
//!
//! cargo run --example shop -- work                       list, mails and warehouse, until Ctrl-C
//! cargo run --example shop -- place 17 anna@example.org 1250
//! cargo run --example shop -- pay 17
//! cargo run --example shop -- orders
//! ```
//!
//! Nobody here calls anybody. The customer's payment is an event; the warehouse, the mails and the list
//! follow it, each at its own pace, and each goes on where it was when it was away. Read on in this order:
//!
//! - `order.rs`: the domain.
//! - `ticker.rs`: a subscription to a category, from now on.
//! - `warehouse.rs`: a subscription to an event type, and commands that are safe to send again.
//! - `list.rs`: a read model in PostgreSQL or SQLite, exactly once in effect.
//! - `confirmation.rs`: a process manager that sends a mail for each order that is paid.
//! - `staff.rs`, `show.rs`: all of them at work.

#![allow(clippy::print_stdout, reason = "a program for a terminal")]

mod confirmation;
mod list;
mod order;
mod show;
mod staff;
mod ticker;
mod warehouse;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use icecore_client::{Client, Repository};
use list::OrderList;
use order::{Order, OrderCommand};

/// A shop on an event store
#[derive(Debug, Parser)]
struct Shop {
    #[command(subcommand)]
    verb: Option<Verb>,

    /// The store
    #[arg(long, global = true, default_value = "http://127.0.0.1:2113")]
    server: String,

    /// Where the list of orders is kept: `postgres://user:password@host/database`, or a file for SQLite
    #[arg(long, global = true, env = "SHOP_DATABASE", default_value = "shop.db")]
    database: String,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// A morning in the shop (the default)
    Show,
    /// Keep the list, send mails and parcels, until Ctrl-C
    Work,
    /// Place an order
    Place {
        order: String,
        email: String,
        cents: i64,
    },
    /// Pay an order
    Pay { order: String },
    /// Print the list of orders
    Orders,
}

#[tokio::main]
async fn main() -> Result<()> {
    let shop = Shop::parse();
    let client = Client::connect(&shop.server)
        .await
        .context("there must be a store first: icecore serve")?;
    match shop.verb {
        None | Some(Verb::Show) => show::run(client, open(&shop.database).await?).await,
        Some(Verb::Work) => work(client, open(&shop.database).await?).await,
        Some(Verb::Orders) => {
            let list = open(&shop.database).await?;
            let following = list.follow(&client);
            following.caught_up().await;
            following.stop().await?;
            show::print(&list).await
        }
        Some(Verb::Place {
            order,
            email,
            cents,
        }) => execute(client, &order, OrderCommand::Place { email, cents }).await,
        Some(Verb::Pay { order }) => execute(client, &order, OrderCommand::Pay).await,
    }
}

async fn open(database: &str) -> Result<OrderList> {
    let list = OrderList::open(database).await;
    let list = list.with_context(|| format!("open the list of orders in {database}"))?;
    if let OrderList::Sqlite(_) = list {
        println!(
            "The list of orders is in SQLite, in {database}. For PostgreSQL, give --database or"
        );
        println!("SHOP_DATABASE an address like postgres://user:password@127.0.0.1/shop\n");
    }
    Ok(list)
}

async fn execute(client: Client, order: &str, command: OrderCommand) -> Result<()> {
    let orders = Repository::<Order>::new(client);
    orders.execute(order, &command).await?;
    println!("done");
    Ok(())
}

/// Everybody at work, until somebody closes the shop.
async fn work(client: Client, list: OrderList) -> Result<()> {
    println!("the shop is open; Ctrl-C closes it");
    let following = list.follow(&client);
    tokio::select! {
        ended = staff::work(client) => ended?,
        ended = tokio::signal::ctrl_c() => ended?,
    }
    Ok(following.stop().await?)
}
