//! A bank whose accounts are nothing but what happened to them.
//!
//! ```text
//! icecore serve                                        the store
//! cargo run --example bank                             a story that shows all of it
//! cargo run --example bank -- open anna --owner Anna
//! cargo run --example bank -- deposit anna 100.00 --by teller-3 --why "at the counter"
//! cargo run --example bank -- transfer anna ben 30.00
//! cargo run --example bank -- statement anna --at 2026-11-20
//! cargo run --example bank -- audit anna
//! cargo run --example bank -- balances --database bank.db
//! ```
//!
//! Read on in this order:
//!
//! - `account.rs`: the domain. Events are facts, commands are wishes, an account decides. Pure
//!   functions, with tests that need no store.
//! - `teller.rs`: how commands reach an account, and a transfer that changes two accounts or none.
//! - `books.rs`: what only events can tell: how an account stood at any moment, and who did what and why.
//! - `balances.rs`: all balances at once, as a table in SQLite that follows the events.
//! - `story.rs`: a day at the bank.

#![allow(clippy::print_stdout, reason = "a program for a terminal")]

mod account;
mod balances;
mod books;
mod story;
mod teller;

use account::{AccountCommand, cents};
use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use icecore_client::{Client, Context, Timestamp};
use std::path::PathBuf;
use teller::{Teller, outcome};
use uuid::Uuid;

/// A bank on an event store
#[derive(Debug, Parser)]
struct Bank {
    #[command(subcommand)]
    verb: Option<Verb>,

    /// The store
    #[arg(long, global = true, default_value = "http://127.0.0.1:2113")]
    server: String,

    #[command(flatten)]
    audit: Audit,
}

/// What the audit trail shall say of a command
#[derive(Debug, Args)]
struct Audit {
    /// Who sends the command
    #[arg(long, global = true, default_value = "somebody")]
    by: String,

    /// Why
    #[arg(long, global = true)]
    why: Option<String>,

    /// The command's id: sent again with the same id it takes effect once
    #[arg(long, global = true)]
    id: Option<Uuid>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Tell a story (the default)
    Story,
    /// Open an account
    Open {
        account: String,
        /// Whose it is
        #[arg(long)]
        owner: String,
    },
    /// Put money in
    Deposit {
        account: String,
        #[arg(value_parser = cents)]
        amount: u64,
    },
    /// Take money out
    Withdraw {
        account: String,
        #[arg(value_parser = cents)]
        amount: u64,
    },
    /// Move money to another account
    Transfer {
        from: String,
        to: String,
        #[arg(value_parser = cents)]
        amount: u64,
    },
    /// Print what happened up to a day or moment, and the balance then
    Statement {
        account: String,
        /// A day (UTC) or a moment: 2026-11-20, 2026-11-20T12:00:00Z
        #[arg(long, value_parser = books::moment, default_value = "2199-12-31")]
        at: Timestamp,
    },
    /// Print who did what, and why
    Audit { account: String },
    /// Print all balances, from a table in SQLite that is brought up to date
    Balances {
        /// The file; it is made if it is not there
        #[arg(long, default_value = "bank.db")]
        database: PathBuf,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    let bank = Bank::parse();
    let client = Client::connect(&bank.server)
        .await
        .context("there must be a store first: icecore serve")?;
    let teller = Teller::new(client);
    let context = bank.audit.context();
    match bank.verb.unwrap_or(Verb::Story) {
        Verb::Story => story::tell(&teller).await,
        Verb::Open { account, owner } => {
            execute(&teller, &account, AccountCommand::Open { owner }, context).await
        }
        Verb::Deposit { account, amount } => {
            let deposit = AccountCommand::Deposit { cents: amount };
            execute(&teller, &account, deposit, context).await
        }
        Verb::Withdraw { account, amount } => {
            let withdraw = AccountCommand::Withdraw { cents: amount };
            execute(&teller, &account, withdraw, context).await
        }
        Verb::Transfer { from, to, amount } => {
            match teller.transfer(&from, &to, amount, context).await? {
                Some(position) => println!("done (position {position})"),
                None => println!("was done before"),
            }
            Ok(())
        }
        Verb::Statement { account, at } => books::statement(&teller, &account, at).await,
        Verb::Balances { database } => balances::print(&teller.client, &database).await,
        Verb::Audit { account } => books::audit(&teller, &account).await,
    }
}

async fn execute(
    teller: &Teller,
    account: &str,
    command: AccountCommand,
    context: Context,
) -> Result<()> {
    let executed = teller.execute(account, command, context).await?;
    println!("{}", outcome(&executed));
    Ok(())
}

impl Audit {
    fn context(&self) -> Context {
        let mut context = Context::new().by(&self.by);
        if let Some(why) = &self.why {
            context = context.because(why);
        }
        if let Some(id) = self.id {
            context = context.command_id(id);
        }
        context
    }
}
