//! Aggregates: what users write. How they are loaded, executed and stored: `repository.rs`.

use crate::event::Event;

/// A thing that makes decisions and is nothing but its events: an account, an order.
///
/// `Default` is what it is before its first event. Both functions are pure: no clock, no store, no
/// network; what they need from outside comes with the command.
///
/// ```
/// use icecore_client::{Aggregate, Event};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default)]
/// struct Account {
///     balance: u64,
/// }
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// enum AccountEvent {
///     Deposited { cents: u64 },
///     Withdrawn { cents: u64 },
/// }
///
/// impl Event for AccountEvent {}
///
/// enum AccountCommand {
///     Deposit { cents: u64 },
///     Withdraw { cents: u64 },
/// }
///
/// #[derive(Debug, PartialEq, thiserror::Error)]
/// #[error("the account holds {balance} cents only")]
/// struct NotEnough {
///     balance: u64,
/// }
///
/// impl Aggregate for Account {
///     const CATEGORY: &str = "account";
///     type Event = AccountEvent;
///     type Command = AccountCommand;
///     type Error = NotEnough;
///
///     fn apply(&mut self, event: &AccountEvent) {
///         match event {
///             AccountEvent::Deposited { cents } => self.balance += cents,
///             AccountEvent::Withdrawn { cents } => self.balance -= cents,
///         }
///     }
///
///     fn handle(&self, command: &AccountCommand) -> Result<Vec<AccountEvent>, NotEnough> {
///         match *command {
///             AccountCommand::Deposit { cents } => Ok(vec![AccountEvent::Deposited { cents }]),
///             AccountCommand::Withdraw { cents } if cents > self.balance => {
///                 Err(NotEnough { balance: self.balance })
///             }
///             AccountCommand::Withdraw { cents } => Ok(vec![AccountEvent::Withdrawn { cents }]),
///         }
///     }
/// }
/// ```
pub trait Aggregate: Default + Send + Sync + 'static {
    /// The category of its streams: the account `42` is the stream `account-42`. No `-` in it.
    const CATEGORY: &'static str;

    /// What can happen to it.
    type Event: Event;

    /// What it can be asked to do.
    type Command: Sync;

    /// Why it refuses a command.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Takes over what has happened. History cannot be refused.
    fn apply(&mut self, event: &Self::Event);

    /// Decides: what happens because of this command, in this order, maybe nothing; or why it is
    /// refused. It may be asked again, after another command was faster.
    ///
    /// # Errors
    ///
    /// The domain's own.
    fn handle(&self, command: &Self::Command) -> Result<Vec<Self::Event>, Self::Error>;
}
