//! Process managers: what users write. Who runs them: `process/runner.rs`; one event through one of
//! them: `process/step.rs`; their timeouts: `process/timeouts.rs`.

mod runner;
mod state;
mod step;
mod timeouts;

pub use runner::ProcessRunner;

use crate::context::Context;
use crate::event::Event;
use crate::projection::BoxError;
use crate::repository::Changes;
use icecore_core::RecordedEvent;
use std::fmt;
use std::time::Duration;

/// A process that goes over several aggregates: an order that is paid, packed, sent, and given up when
/// nobody pays. Events come in, commands go out, and its state is events of its own.
///
/// `Default` is what it is before its first event. All functions are pure.
///
/// - Each event takes effect **once**: what the process records, what its commands append and that the
///   event is done are one append.
/// - A manager whose group was deleted and made anew sees all events again, and passes over those after
///   which it has recorded something.
/// - The events of one stream come in order. One that fails again and again is parked, with its stream;
///   the others flow on (`icecore group parked`).
/// - Several workers may run, in one program or in many.
///
/// ```
/// use icecore_client::{Event, ProcessManager, Reaction, RecordedEvent};
/// use serde::{Deserialize, Serialize};
/// use std::time::Duration;
///
/// /// What it listens to.
/// #[derive(Serialize, Deserialize)]
/// enum OrderEvent {
///     OrderPlaced { email: String },
///     OrderPaid,
/// }
///
/// impl Event for OrderEvent {}
///
/// /// What it remembers.
/// #[derive(Serialize, Deserialize)]
/// enum PaymentEvent {
///     Asked { email: String },
///     Settled,
/// }
///
/// impl Event for PaymentEvent {}
///
/// /// What it asks others to do.
/// enum PaymentCommand {
///     Remind { email: String },
/// }
///
/// #[derive(Default)]
/// struct Payment {
///     open: Option<String>,
/// }
///
/// impl ProcessManager for Payment {
///     const NAME: &str = "payment";
///     type Input = OrderEvent;
///     type Event = PaymentEvent;
///     type Command = PaymentCommand;
///
///     fn process_of(_: &OrderEvent, recorded: &RecordedEvent) -> Option<String> {
///         Some(recorded.stream.to_string())
///     }
///
///     fn apply(&mut self, event: &PaymentEvent) {
///         self.open = match event {
///             PaymentEvent::Asked { email } => Some(email.clone()),
///             PaymentEvent::Settled => None,
///         };
///     }
///
///     fn react(&self, _: &str, event: &OrderEvent) -> Reaction<Self> {
///         match event {
///             OrderEvent::OrderPlaced { email } => Reaction::new()
///                 .record(PaymentEvent::Asked { email: email.clone() })
///                 .timeout("payment", Duration::from_secs(7 * 86_400)),
///             OrderEvent::OrderPaid => Reaction::new()
///                 .record(PaymentEvent::Settled)
///                 .cancel("payment"),
///         }
///     }
///
///     fn timed_out(&self, _: &str, _: &str) -> Reaction<Self> {
///         match &self.open {
///             Some(email) => Reaction::new().send(PaymentCommand::Remind { email: email.clone() }),
///             None => Reaction::new(),
///         }
///     }
/// }
/// ```
pub trait ProcessManager: Default + Send + Sync + 'static {
    /// The name of its group, and the category of its streams: the process `order-7` of `payment` is the
    /// stream `payment-order-7`. No `-` in it.
    const NAME: &'static str;

    /// What it listens to, of all streams but its own: an enum of its own with the variants that it needs.
    type Input: Event;

    /// What it remembers.
    type Event: Event;

    /// What it asks others to do.
    type Command: Send + Sync;

    /// Which process an event belongs to; `None` when it means nothing to any.
    fn process_of(input: &Self::Input, recorded: &RecordedEvent) -> Option<String>;

    /// Takes over what it has recorded.
    fn apply(&mut self, event: &Self::Event);

    /// What follows from an event that belongs to this process.
    fn react(&self, process: &str, input: &Self::Input) -> Reaction<Self>;

    /// What follows when the time is up that a reaction of this process has set under this name.
    fn timed_out(&self, process: &str, timeout: &str) -> Reaction<Self> {
        let _ = (process, timeout);
        Reaction::new()
    }
}

/// What follows from an event: what is recorded, whom it asks to do what, and until when it waits. All of
/// it takes effect together. Two are equal when the same follows, so a test compares them
/// ([`crate::given_process`]).
#[must_use]
pub struct Reaction<P: ProcessManager> {
    pub(crate) events: Vec<P::Event>,
    pub(crate) commands: Vec<P::Command>,
    pub(crate) timeouts: Vec<(String, Timeout)>,
}

/// What becomes of a timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timeout {
    Set(Duration),
    Cancel,
}

impl<P: ProcessManager> Reaction<P> {
    /// Nothing follows.
    pub fn new() -> Self {
        Self {
            events: Vec::new(),
            commands: Vec::new(),
            timeouts: Vec::new(),
        }
    }

    /// The process remembers this.
    pub fn record(mut self, event: P::Event) -> Self {
        self.events.push(event);
        self
    }

    /// Somebody is asked to do this. Two commands of one reaction cannot go to the same stream.
    pub fn send(mut self, command: P::Command) -> Self {
        self.commands.push(command);
        self
    }

    /// [`ProcessManager::timed_out`] is called with this name when so much time has gone by since the event
    /// was recorded, or since a timeout was due that this follows from; unless it is cancelled. Set
    /// again, it begins anew.
    pub fn timeout(self, name: impl Into<String>, after: Duration) -> Self {
        self.change(name.into(), Timeout::Set(after))
    }

    /// The process does not wait for that any more.
    pub fn cancel(self, name: impl Into<String>) -> Self {
        self.change(name.into(), Timeout::Cancel)
    }

    /// The last word on a timeout is what counts.
    fn change(mut self, name: String, timeout: Timeout) -> Self {
        self.timeouts.retain(|(other, _)| *other != name);
        self.timeouts.push((name, timeout));
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.commands.is_empty() && self.timeouts.is_empty()
    }
}

impl<P: ProcessManager> PartialEq for Reaction<P>
where
    P::Event: PartialEq,
    P::Command: PartialEq,
{
    fn eq(&self, other: &Self) -> bool {
        self.events == other.events
            && self.commands == other.commands
            && self.timeouts == other.timeouts
    }
}

impl<P: ProcessManager> fmt::Debug for Reaction<P>
where
    P::Event: fmt::Debug,
    P::Command: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reaction")
            .field("events", &self.events)
            .field("commands", &self.commands)
            .field("timeouts", &self.timeouts)
            .finish()
    }
}

impl<P: ProcessManager> Default for Reaction<P> {
    fn default() -> Self {
        Self::new()
    }
}

/// Carries out the commands of a process manager.
///
/// A command to an aggregate of this store is decided here and appended together with what the process
/// records: load it, let it handle the command, give its changes back. If another is faster, everything
/// is decided anew.
///
/// A command to the world outside (a mail, a payment) is done here, and nothing is given back. It may be
/// done again when the worker dies before its event is done: the id of the command ([`Context::command`])
/// is the same then, so let it be the key by which the other side recognises it.
///
/// ```
/// # use icecore_client::*;
/// struct Mails;
///
/// enum Mail {
///     Confirm { order: String },
/// }
///
/// impl Dispatch<Mail> for Mails {
///     async fn dispatch(&self, mail: &Mail, context: &Context) -> Result<Vec<Changes>, BoxError> {
///         let Mail::Confirm { order } = mail;
///         println!("to the mail service: confirm {order}, id {:?}", context.command());
///         Ok(vec![])
///     }
/// }
/// ```
pub trait Dispatch<C>: Send + Sync + 'static {
    /// Carries out one command. The context has an id for it, and says which event it follows from.
    ///
    /// # Errors
    ///
    /// Whatever goes wrong: the event is tried again, and parked when that does not help. What the domain
    /// refuses for good is no error: give back the events that say so.
    fn dispatch(
        &self,
        command: &C,
        context: &Context,
    ) -> impl Future<Output = Result<Vec<Changes>, BoxError>> + Send;
}
