//! An account: what can happen to it, what it can be asked, and when it refuses. Nothing here knows of a
//! store, so the tests below need none.

use icecore_client::{Aggregate, Event};
use serde::{Deserialize, Serialize};

/// An account is nothing but what happened to it; this is what its decisions look at.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) owner: Option<String>,
    pub(crate) cents: u64,
}

/// What is recorded, for ever. Amounts are whole cents: money is counted, not measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum AccountEvent {
    Opened { owner: String },
    Deposited { cents: u64 },
    Withdrawn { cents: u64 },
    TransferSent { cents: u64, to: String },
    TransferReceived { cents: u64, from: String },
}

impl Event for AccountEvent {}

/// What somebody wants; it may be refused.
#[derive(Clone, Debug)]
pub(crate) enum AccountCommand {
    Open { owner: String },
    Deposit { cents: u64 },
    Withdraw { cents: u64 },
    Send { cents: u64, to: String },
    Receive { cents: u64, from: String },
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum AccountError {
    #[error("there is no such account")]
    NotOpen,
    #[error("the account is open already, it belongs to {owner}")]
    OpenAlready { owner: String },
    #[error("an amount of nothing")]
    Nothing,
    #[error("more than an account can hold")]
    TooMuch,
    #[error("the account holds {} only", money(*cents))]
    NotEnough { cents: u64 },
}

impl Aggregate for Account {
    /// The account `anna` is the stream `account-anna`.
    const CATEGORY: &'static str = "account";
    type Event = AccountEvent;
    type Command = AccountCommand;
    type Error = AccountError;

    fn apply(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Opened { owner } => self.owner = Some(owner.clone()),
            AccountEvent::Deposited { cents } | AccountEvent::TransferReceived { cents, .. } => {
                self.cents += cents;
            }
            AccountEvent::Withdrawn { cents } | AccountEvent::TransferSent { cents, .. } => {
                self.cents -= cents;
            }
        }
    }

    fn handle(&self, command: &AccountCommand) -> Result<Vec<AccountEvent>, AccountError> {
        let event = match command.clone() {
            AccountCommand::Open { owner } => {
                self.is_not_open()?;
                AccountEvent::Opened { owner }
            }
            AccountCommand::Deposit { cents } => {
                self.takes(cents)?;
                AccountEvent::Deposited { cents }
            }
            AccountCommand::Withdraw { cents } => {
                self.gives(cents)?;
                AccountEvent::Withdrawn { cents }
            }
            AccountCommand::Send { cents, to } => {
                self.gives(cents)?;
                AccountEvent::TransferSent { cents, to }
            }
            AccountCommand::Receive { cents, from } => {
                self.takes(cents)?;
                AccountEvent::TransferReceived { cents, from }
            }
        };
        Ok(vec![event])
    }
}

impl Account {
    fn is_not_open(&self) -> Result<(), AccountError> {
        match &self.owner {
            Some(owner) => Err(AccountError::OpenAlready {
                owner: owner.clone(),
            }),
            None => Ok(()),
        }
    }

    fn takes(&self, cents: u64) -> Result<(), AccountError> {
        self.moves(cents)?;
        match self.cents.checked_add(cents) {
            Some(_) => Ok(()),
            None => Err(AccountError::TooMuch),
        }
    }

    fn gives(&self, cents: u64) -> Result<(), AccountError> {
        self.moves(cents)?;
        if cents > self.cents {
            return Err(AccountError::NotEnough { cents: self.cents });
        }
        Ok(())
    }

    fn moves(&self, cents: u64) -> Result<(), AccountError> {
        match (&self.owner, cents) {
            (None, _) => Err(AccountError::NotOpen),
            (_, 0) => Err(AccountError::Nothing),
            _ => Ok(()),
        }
    }
}

/// Cents as people read them.
pub(crate) fn money(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// What people write, like `12` or `12.50`, as cents.
pub(crate) fn cents(text: &str) -> Result<u64, &'static str> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "00"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() != 2 {
        return Err("an amount looks like 12 or 12.50");
    }
    format!("{whole}{part}")
        .parse()
        .map_err(|_| "the amount is too large")
}

#[cfg(test)]
mod tests {
    use super::*;
    use icecore_client::given;

    fn opened() -> AccountEvent {
        let owner = "Anna".into();
        AccountEvent::Opened { owner }
    }

    #[test]
    fn what_is_there_can_be_withdrawn_and_no_more() {
        let history = || [opened(), AccountEvent::Deposited { cents: 500 }];
        given::<Account>(history())
            .when(&AccountCommand::Withdraw { cents: 500 })
            .then([AccountEvent::Withdrawn { cents: 500 }]);
        given::<Account>(history())
            .when(&AccountCommand::Withdraw { cents: 501 })
            .then_refused(&AccountError::NotEnough { cents: 500 });
    }

    #[test]
    fn a_transfer_counts_on_both_sides() {
        let (cents, to, from) = (200, "ben".into(), "ben".into());
        let account = given::<Account>([
            opened(),
            AccountEvent::TransferReceived { cents, from },
            AccountEvent::TransferSent { cents: 50, to },
        ]);
        assert_eq!(account.state().cents, 150);
    }

    #[test]
    fn nothing_happens_to_an_account_that_is_not_open() {
        given::<Account>([])
            .when(&AccountCommand::Deposit { cents: 1 })
            .then_refused(&AccountError::NotOpen);
    }

    #[test]
    fn an_account_is_opened_once() {
        let (owner, ben) = ("Anna".into(), "Ben".into());
        given::<Account>([opened()])
            .when(&AccountCommand::Open { owner: ben })
            .then_refused(&AccountError::OpenAlready { owner });
    }

    #[test]
    fn amounts_are_more_than_nothing_and_read_well() {
        given::<Account>([opened()])
            .when(&AccountCommand::Deposit { cents: 0 })
            .then_refused(&AccountError::Nothing);
        let all = AccountEvent::Deposited { cents: u64::MAX };
        given::<Account>([opened(), all])
            .when(&AccountCommand::Deposit { cents: 1 })
            .then_refused(&AccountError::TooMuch);
        assert_eq!(money(12_005), "120.05");
        assert_eq!(cents("120.05"), Ok(12_005));
        assert_eq!(cents("7"), Ok(700));
        assert!(cents("1.5").is_err() && cents("-1").is_err() && cents("1.234").is_err());
    }
}
