//! What the bank does for its customers: commands on one account, and transfers between two.

use crate::account::{Account, AccountCommand, AccountError};
use anyhow::{Context as _, Result, bail};
use icecore_client::{
    Client, Context, Effect, Error, ExecuteError, Executed, Position, Repository,
};

/// How often a transfer is tried while others use the same accounts.
const TRANSFER_ATTEMPTS: u32 = 10;

/// The counter: one connection, and the accounts behind it.
pub(crate) struct Teller {
    pub(crate) client: Client,
    pub(crate) accounts: Repository<Account>,
}

impl Teller {
    pub(crate) fn new(client: Client) -> Self {
        let accounts = Repository::new(client.clone());
        Self { client, accounts }
    }

    /// Executes a command on one account: it is loaded, it decides, and what it decided is appended if
    /// nothing came in between. Else all of that happens again.
    pub(crate) async fn execute(
        &self,
        account: &str,
        command: AccountCommand,
        context: Context,
    ) -> Result<Executed<Account>, ExecuteError<AccountError>> {
        self.accounts
            .execute(account, &command)
            .context(context)
            .await
    }

    /// Moves money: both accounts decide, and what they decided is one append. There is no moment at
    /// which the money is nowhere, or in two places. `None`: a command of this id was done before.
    pub(crate) async fn transfer(
        &self,
        from: &str,
        to: &str,
        cents: u64,
        context: Context,
    ) -> Result<Option<Position>> {
        if from == to {
            bail!("a transfer goes to another account");
        }
        // One command, however often it is tried.
        let context = context.identified();
        for _ in 0..TRANSFER_ATTEMPTS {
            let mut sender = self.accounts.load(from).await?;
            let mut receiver = self.accounts.load(to).await?;
            if context.command().is_some_and(|id| sender.has_done(id)) {
                return Ok(None);
            }
            let (to, from) = (to.to_owned(), from.to_owned());
            sender
                .handle(&AccountCommand::Send { cents, to })
                .context("the sender")?;
            receiver
                .handle(&AccountCommand::Receive { cents, from })
                .context("the receiver")?;
            let changes = [sender.changes(&context)?, receiver.changes(&context)?];
            match self.client.append_changes(changes).await {
                Ok(appended) => return Ok(Some(appended.last_position)),
                // Somebody else was faster on one of the accounts: look again, decide again.
                Err(Error::Refused(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        bail!("others were faster {TRANSFER_ATTEMPTS} times; nothing was transferred")
    }
}

/// What a command has done, in a line.
pub(crate) fn outcome(executed: &Executed<Account>) -> String {
    let balance = crate::account::money(executed.state.cents);
    match &executed.effect {
        Effect::Appended(_, appended) => {
            format!(
                "done, balance {balance} (position {})",
                appended.last_position
            )
        }
        Effect::Nothing => format!("nothing to do, balance {balance}"),
        Effect::DoneBefore => format!("was done before, balance {balance}"),
    }
}
