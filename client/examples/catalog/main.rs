//! A catalogue whose prices are changed in one process and read in others.
//!
//! ```text
//! icecore serve                                                   the store
//! cargo run --example catalog                                     all of it at once, and how far readers lag
//!
//! cargo run --example catalog -- commands --listen 127.0.0.1:7001
//! cargo run --example catalog -- queries --listen 127.0.0.1:7002  as many of these as are needed
//! cargo run --example catalog -- ask 127.0.0.1:7001 list lamp 19.90
//! cargo run --example catalog -- ask 127.0.0.1:7001 price lamp 17.90
//! cargo run --example catalog -- ask 127.0.0.1:7002 get lamp
//! cargo run --example catalog -- ask 127.0.0.1:7002 get lamp after 2
//! ```
//!
//! The write side decides and appends; it has no table of prices. The read side follows the events and
//! keeps what its queries need; it cannot change anything. They share nothing but the store, so there may
//! be as many of either as there is load, started and stopped on their own.
//!
//! A reader sees a change a moment after it was made. Whoever must see it hands the position that came
//! with the answer to the query (`after 2`), and the query waits until its read model is that far.
//!
//! - `product.rs`: the domain.
//! - `commands.rs`: the write side.
//! - `queries.rs`: the read side: a projection into memory, and its answers.
//! - `lines.rs`: requests and answers, a line each. A real service would speak HTTP or gRPC here.
//! - `show.rs`: one command service, three query services, four sellers.

#![allow(clippy::print_stdout, reason = "a program for a terminal")]

mod commands;
mod lines;
mod product;
mod queries;
mod show;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use icecore_client::Client;

/// A catalogue, its write side and its read side
#[derive(Debug, Parser)]
struct Catalog {
    #[command(subcommand)]
    verb: Option<Verb>,

    /// The store
    #[arg(long, global = true, default_value = "http://127.0.0.1:2113")]
    server: String,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start all of it, change prices, and measure how far readers lag (the default)
    Show {
        /// Query services
        #[arg(long, default_value_t = 3)]
        readers: usize,
        /// Changes of prices by each of four sellers
        #[arg(long, default_value_t = 50)]
        changes: u64,
    },
    /// Take commands: `list ID PRICE`, `price ID PRICE`
    Commands {
        #[arg(long, default_value = "127.0.0.1:7001")]
        listen: String,
    },
    /// Answer queries: `get ID`, `get ID after POSITION`, `lag`
    Queries {
        #[arg(long, default_value = "127.0.0.1:7002")]
        listen: String,
    },
    /// Send a line to a service
    Ask { service: String, line: Vec<String> },
}

#[tokio::main]
async fn main() -> Result<()> {
    let catalog = Catalog::parse();
    let server = catalog.server;
    match catalog.verb {
        None => show::run(&server, 3, 50).await,
        Some(Verb::Show { readers, changes }) => show::run(&server, readers, changes).await,
        Some(Verb::Commands { listen }) => commands::serve(connect(&server).await?, &listen).await,
        Some(Verb::Queries { listen }) => queries::serve(connect(&server).await?, &listen).await,
        Some(Verb::Ask { service, line }) => {
            let mut service = lines::Caller::connect(&service).await?;
            println!("{}", service.ask(&line.join(" ")).await?);
            Ok(())
        }
    }
}

async fn connect(server: &str) -> Result<Client> {
    let client = Client::connect(server).await;
    client.context("there must be a store first: icecore serve")
}
