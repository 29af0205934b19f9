//! What the books say: a statement at any moment, and who did what and why.

use crate::account::{AccountEvent, money};
use crate::teller::Teller;
use anyhow::{Result, bail};
use futures::TryStreamExt;
use icecore_client::{At, Timestamp};

/// Prints an account as it was at a moment: nothing was kept for that but the events.
pub(crate) async fn statement(teller: &Teller, account: &str, at: Timestamp) -> Result<()> {
    let then = teller.accounts.load_at(account, At::Time(at)).await?;
    let Some(owner) = &then.state().owner else {
        bail!("at {at} there was no account {account}");
    };
    println!("Statement of {account} ({owner}), as of {at}");
    let mut lines = teller.accounts.history(account)?;
    let mut balance = 0;
    while let Some(line) = lines.try_next().await? {
        if line.recorded.recorded_at > at {
            break;
        }
        let (what, change) = booking(&line.event);
        balance += change;
        let when = when(line.recorded.recorded_at);
        println!(
            "  {when}  {what:<28} {:>10}  {:>10}",
            signed(change),
            signed(balance)
        );
    }
    println!("  balance {}", money(then.state().cents));
    Ok(())
}

/// Prints everything that happened to an account: when, what, by whom, why, and by which command.
pub(crate) async fn audit(teller: &Teller, account: &str) -> Result<()> {
    println!("Audit of {account}");
    let mut lines = teller.accounts.history(account)?;
    while let Some(line) = lines.try_next().await? {
        let context = line.context();
        let (what, change) = booking(&line.event);
        println!(
            "  {}  {what:<28} {:>10}  by {:<10} {:<20} command {}",
            when(line.recorded.recorded_at),
            signed(change),
            context.user().unwrap_or("?"),
            context.reason().unwrap_or(""),
            context.causation().unwrap_or("?"),
        );
    }
    Ok(())
}

/// The end of a day like `2026-11-20` (UTC), or a moment like `2026-11-20T12:00:00Z`.
pub(crate) fn moment(text: &str) -> Result<Timestamp, icecore_client::Error> {
    if text.contains('T') {
        return Timestamp::parse(text);
    }
    Timestamp::parse(&format!("{text}T23:59:59.999999999Z"))
}

/// What an event is in a statement.
fn booking(event: &AccountEvent) -> (String, i128) {
    match event {
        AccountEvent::Opened { owner } => (format!("opened for {owner}"), 0),
        AccountEvent::Deposited { cents } => ("deposited".into(), i128::from(*cents)),
        AccountEvent::Withdrawn { cents } => ("withdrawn".into(), -i128::from(*cents)),
        AccountEvent::TransferSent { cents, to } => (format!("to {to}"), -i128::from(*cents)),
        AccountEvent::TransferReceived { cents, from } => {
            (format!("from {from}"), i128::from(*cents))
        }
    }
}

fn signed(cents: i128) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    let cents = cents.unsigned_abs();
    format!("{sign}{}.{:02}", cents / 100, cents % 100)
}

/// A moment to the millisecond.
fn when(time: Timestamp) -> String {
    let text = time.to_string();
    let text = text.trim_end_matches('Z').replace('T', " ");
    format!("{text:.23}")
}
