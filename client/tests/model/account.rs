//! The aggregate of these tests.

use icecore_client::{Aggregate, Client, Event, Repository, Snapshot, Upcast};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) owner: String,
    pub(crate) balance: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum AccountEvent {
    Opened { owner: String },
    Deposited { cents: u64 },
    Withdrawn { cents: u64 },
}

impl Event for AccountEvent {
    const UPCASTS: &'static [Upcast] = &[Upcast::renamed("MoneyIn", "Deposited")];
}

#[derive(Clone, Debug)]
pub(crate) enum AccountCommand {
    Open { owner: &'static str },
    Deposit { cents: u64 },
    Withdraw { cents: u64 },
    Nothing,
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum AccountError {
    #[error("the account is open already")]
    Open,
    #[error("the account holds {balance} cents only")]
    NotEnough { balance: u64 },
}

impl Aggregate for Account {
    const CATEGORY: &'static str = "account";
    type Event = AccountEvent;
    type Command = AccountCommand;
    type Error = AccountError;

    fn apply(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Opened { owner } => self.owner.clone_from(owner),
            AccountEvent::Deposited { cents } => self.balance += cents,
            AccountEvent::Withdrawn { cents } => self.balance -= cents,
        }
    }

    fn handle(&self, command: &AccountCommand) -> Result<Vec<AccountEvent>, AccountError> {
        let balance = self.balance;
        match *command {
            AccountCommand::Open { .. } if !self.owner.is_empty() => Err(AccountError::Open),
            AccountCommand::Open { owner } => Ok(vec![AccountEvent::Opened {
                owner: owner.into(),
            }]),
            AccountCommand::Deposit { cents } => Ok(vec![AccountEvent::Deposited { cents }]),
            AccountCommand::Withdraw { cents } if cents > balance => {
                Err(AccountError::NotEnough { balance })
            }
            AccountCommand::Withdraw { cents } => Ok(vec![AccountEvent::Withdrawn { cents }]),
            AccountCommand::Nothing => Ok(vec![]),
        }
    }
}

impl Snapshot for Account {}

pub(crate) const DEPOSIT: AccountCommand = AccountCommand::Deposit { cents: 1 };

pub(crate) fn accounts(client: &Client) -> Repository<Account> {
    Repository::new(client.clone())
}
