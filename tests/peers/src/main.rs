//! The loads of `icecore bench` on a running `UmaDB`: the same flags, the same events, the same object on
//! stdout, so that both can be put side by side.
//!
//! Owns how each load is said in the words of a store without streams and revisions. Starts no server;
//! `xtask bench --peers` does.

#![allow(clippy::print_stdout, reason = "the outcome is what it is run for")]

mod append;
mod events;
mod outcome;
mod read;
mod store;
mod subscribe;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use std::time::Duration;

/// The loads of `icecore bench` on a running `UmaDB` server.
#[derive(Parser)]
#[command(name = "icecore-peers")]
struct Arguments {
    #[command(subcommand)]
    load: Load,
}

#[derive(Subcommand)]
enum Load {
    /// Appends, each on condition that its streams have not grown since
    Append(append::AppendArgs),
    /// Reads of whole random streams
    Read(read::ReadArgs),
    /// One read of everything, or of what matches
    Replay(read::ReplayArgs),
    /// One writer and so many subscribers of everything
    Subscribe(subscribe::SubscribeArgs),
}

/// What is driven.
#[derive(Args, Clone)]
struct Server {
    /// Where it listens
    #[arg(
        long = "server",
        value_name = "URL",
        default_value = "http://127.0.0.1:50051"
    )]
    url: String,
    /// Its process, whose CPU time is read
    #[arg(long = "server-pid", value_name = "PID")]
    pid: Option<u32>,
    /// Connections that are shared by all clients
    #[arg(long, value_name = "N", default_value_t = 1)]
    connections: usize,
    /// Events in a message of a read or a subscription, instead of what the server takes for best
    #[arg(long, value_name = "N")]
    batch_size: Option<u32>,
    /// Print one JSON object, which is what it does anyway
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let outcome = match Arguments::parse().load {
        Load::Append(load) => load.run().await?,
        Load::Read(load) => load.run().await?,
        Load::Replay(load) => load.run().await?,
        Load::Subscribe(load) => load.run().await?,
    };
    println!("{outcome}");
    Ok(())
}

/// A time like `8s`, `500ms` or `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let number: u64 = number.parse().map_err(|error| format!("{error}"))?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        _ => Err("say ms, s or m".into()),
    }
}
