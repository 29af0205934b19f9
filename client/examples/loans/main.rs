//! A loan process as a live dashboard, at any point in time.
//!
//! ```text
//! icecore serve                                            the store
//! cargo run --example loans                                the dashboard; arrow keys move through time
//! cargo run --example loans -- --work                      as above, while the office goes on working
//! cargo run --example loans -- --at 2025-02-01T12:00:00Z   printed once, as it was then
//! cargo run --release --example loans -- --log loan-applications.ndjson.gz
//! ```
//!
//! Without `--log` the program makes up a small log of its own. A log has one JSON object a line:
//! `stream`, `type`, `time`, `data`, `metadata` (`resource`: who, `lifecycle`: SCHEDULE, START or COMPLETE)
//! and `tags`, as `icecore export` writes them.
//!
//! Nobody planned this dashboard when the events were recorded. It is a fold over them, so it can tell
//! how things stood at any moment. Read on in this order:
//!
//! - `event.rs`: the events of others, read with an enum of our own that names only what we look at.
//! - `board.rs`: the fold, pure, with tests.
//! - `history.rs`: the fold at any moment, fast enough to drag a slider.
//! - `log.rs`, `office.rs`: how a log of old events is imported with its times, once however often it is
//!   tried; and the made-up log.
//! - `view.rs`, `terminal.rs`: the board as text, and the keys.

#![allow(clippy::print_stdout, reason = "a program for a terminal")]

mod board;
mod event;
mod history;
mod log;
mod office;
mod terminal;
mod view;

use anyhow::{Context as _, Result};
use clap::Parser;
use futures::StreamExt;
use history::History;
use icecore_client::{Category, Client, Subscription, SubscriptionMessage, Timestamp};
use std::io::{IsTerminal as _, stdout};
use std::path::PathBuf;

/// The loans of a bank as a dashboard in the terminal
#[derive(Debug, Parser)]
struct Loans {
    /// The store
    #[arg(long, default_value = "http://127.0.0.1:2113")]
    server: String,

    /// The log to import when the store has no loans yet: lines of JSON, may be gzipped
    #[arg(long)]
    log: Option<PathBuf>,

    /// Print the dashboard as it was at this time, and end
    #[arg(long, value_parser = Timestamp::parse)]
    at: Option<Timestamp>,

    /// Let the made-up office go on working while you look
    #[arg(long, conflicts_with_all = ["log", "at"])]
    work: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let loans = Loans::parse();
    let client = Client::connect(&loans.server)
        .await
        .context("there must be a store first: icecore serve")?;
    log::import_if_empty(&client, loans.log.as_deref()).await?;

    let mut subscription = subscribe(&client)?;
    let mut history = catch_up(&mut subscription).await?;
    if loans.at.is_some() || !stdout().is_terminal() {
        let at = loans.at.unwrap_or_else(|| history.last_time());
        for line in view::dashboard(&mut history, at, loans.at.is_none(), view::PRINTED_WIDTH) {
            println!("{}", line.text);
        }
        return Ok(());
    }
    if loans.work {
        tokio::spawn(log::go_on(client.clone()));
    }
    terminal::show(history, subscription).await
}

/// All loans, and what happens to them from now on.
fn subscribe(client: &Client) -> Result<Subscription> {
    let loans = client.subscribe_all().category(Category::new("loan")?);
    Ok(loans.types(event::types()?).start())
}

/// What has happened so far.
async fn catch_up(subscription: &mut Subscription) -> Result<History> {
    let mut history = History::default();
    while let Some(message) = subscription.next().await {
        match message? {
            SubscriptionMessage::Events(events) => {
                for event in &events {
                    history.extend(event::step(event)?);
                }
            }
            SubscriptionMessage::CaughtUp { .. } => break,
            SubscriptionMessage::Confirmed { .. } | SubscriptionMessage::Checkpoint(_) => {}
        }
    }
    Ok(history)
}
