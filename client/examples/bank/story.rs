//! A day at the bank: every step is a call that the other files show.

use crate::account::{AccountCommand, AccountError, money};
use crate::books;
use crate::teller::{Teller, outcome};
use anyhow::{Result, bail};
use icecore_client::{Context, ExecuteError, Timestamp, new_event_id};

pub(crate) async fn tell(teller: &Teller) -> Result<()> {
    say("Anna and Ben open accounts, and Anna brings money.");
    open(teller, "anna", "Anna").await?;
    open(teller, "ben", "Ben").await?;
    deposit_twice(teller).await?;
    let noon = last_time(teller, "anna").await?;

    say("Anna sends Ben 30.00: two accounts, one append, all of it or nothing.");
    let rent = Context::new().by("anna").because("half of the rent");
    if let Some(position) = teller.transfer("anna", "ben", 3_000, rent).await? {
        println!("  done (position {position})");
    }
    refused(teller).await?;

    say("How did Anna's account stand before the transfer? Events know.");
    books::statement(teller, "anna", noon).await?;
    say("And now?");
    books::statement(teller, "anna", last_time(teller, "anna").await?).await?;
    say("Who did that, and why? The audit trail is the events themselves.");
    books::audit(teller, "anna").await
}

/// The answer to the first command might have been lost. With the id of the command it is safe to send
/// it again.
async fn deposit_twice(teller: &Teller) -> Result<()> {
    let context = Context::new()
        .command_id(new_event_id())
        .by("teller-3")
        .because("cash at the counter");
    for _ in 0..2 {
        let deposit = AccountCommand::Deposit { cents: 10_000 };
        let executed = teller.execute("anna", deposit, context.clone()).await?;
        println!("  deposit 100.00 to anna: {}", outcome(&executed));
    }
    Ok(())
}

async fn refused(teller: &Teller) -> Result<()> {
    say("Ben wants more than he has. The domain refuses, and nothing is written.");
    let cents = teller.accounts.load("ben").await?.state().cents + 1;
    let withdraw = AccountCommand::Withdraw { cents };
    let by_ben = Context::new().by("ben");
    match teller.execute("ben", withdraw, by_ben).await {
        Err(ExecuteError::Domain(refusal)) => {
            println!("  withdraw {} from ben: refused, {refusal}", money(cents));
            Ok(())
        }
        Err(error) => Err(error.into()),
        Ok(_) => bail!("an account was overdrawn"),
    }
}

/// Opens an account, unless the story was told before.
async fn open(teller: &Teller, account: &str, owner: &str) -> Result<()> {
    let open = AccountCommand::Open {
        owner: owner.into(),
    };
    let by_teller = Context::new().by("teller-3");
    match teller.execute(account, open, by_teller).await {
        Ok(executed) => println!("  open {account}: {}", outcome(&executed)),
        Err(ExecuteError::Domain(AccountError::OpenAlready { .. })) => {
            println!("  {account} is open already");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// When the last thing happened to an account, by the store's clock.
async fn last_time(teller: &Teller, account: &str) -> Result<Timestamp> {
    let stream = teller.accounts.stream(account)?;
    let read = teller.client.read_stream(&stream).backwards().limit(1);
    match read.await?.first() {
        Some(event) => Ok(event.recorded_at),
        None => bail!("nothing happened to {account}"),
    }
}

fn say(step: &str) {
    println!("\n{step}");
}
