//! Given, when, then of a process manager.

use super::{assert_readable, through_the_store};
use crate::process::{ProcessManager, Reaction};
use std::fmt::Debug;

/// As [`given`](super::given), for a process that has recorded these events.
///
/// ```
/// # use icecore_client::{Event, ProcessManager, Reaction, RecordedEvent};
/// # use serde::{Deserialize, Serialize};
/// # use std::time::Duration;
/// # #[derive(Serialize, Deserialize)] enum OrderEvent { Paid }
/// # impl Event for OrderEvent {}
/// # #[derive(Debug, PartialEq, Serialize, Deserialize)] enum PaymentEvent { Asked, Settled }
/// # impl Event for PaymentEvent {}
/// # #[derive(Debug, PartialEq)] enum PaymentCommand { Remind }
/// # #[derive(Default)] struct Payment { open: bool }
/// # impl ProcessManager for Payment {
/// #     const NAME: &str = "payment";
/// #     type Input = OrderEvent; type Event = PaymentEvent; type Command = PaymentCommand;
/// #     fn process_of(_: &OrderEvent, recorded: &RecordedEvent) -> Option<String> { None }
/// #     fn apply(&mut self, event: &PaymentEvent) { self.open = *event == PaymentEvent::Asked; }
/// #     fn react(&self, _: &str, _: &OrderEvent) -> Reaction<Self> {
/// #         Reaction::new().record(PaymentEvent::Settled).cancel("payment")
/// #     }
/// #     fn timed_out(&self, _: &str, _: &str) -> Reaction<Self> { Reaction::new().send(PaymentCommand::Remind) }
/// # }
/// use icecore_client::given_process;
///
/// given_process::<Payment>("order-7", [PaymentEvent::Asked])
///     .when(&OrderEvent::Paid)
///     .then(Reaction::new().record(PaymentEvent::Settled).cancel("payment"));
///
/// given_process::<Payment>("order-7", [PaymentEvent::Asked])
///     .when_timed_out("payment")
///     .then(Reaction::new().send(PaymentCommand::Remind));
/// ```
///
/// # Panics
///
/// As [`given`](super::given).
#[track_caller]
pub fn given_process<P: ProcessManager>(
    process: impl Into<String>,
    history: impl IntoIterator<Item = P::Event>,
) -> GivenProcess<P> {
    let mut state = P::default();
    for event in through_the_store(history) {
        state.apply(&event);
    }
    GivenProcess {
        process: process.into(),
        state,
    }
}

/// A process that has recorded something.
#[derive(Debug)]
#[must_use = "a test ends with `then`"]
pub struct GivenProcess<P> {
    process: String,
    state: P,
}

impl<P: ProcessManager> GivenProcess<P> {
    /// This happens. The test ends with [`Reaction::then`].
    pub fn when(self, input: &P::Input) -> Reaction<P> {
        self.state.react(&self.process, input)
    }

    /// The time is up that was set under this name. The test ends with [`Reaction::then`].
    pub fn when_timed_out(self, timeout: &str) -> Reaction<P> {
        self.state.timed_out(&self.process, timeout)
    }

    /// What it is by now.
    pub fn state(&self) -> &P {
        &self.state
    }
}

impl<P: ProcessManager> Reaction<P>
where
    P::Event: Debug + PartialEq,
    P::Command: Debug + PartialEq,
{
    /// In a test: this follows, and nothing else.
    ///
    /// # Panics
    ///
    /// When something else does, or what is recorded cannot be written and read again.
    #[track_caller]
    #[allow(
        clippy::needless_pass_by_value,
        reason = "it is said in place, as elsewhere"
    )]
    pub fn then(self, expected: Self) {
        assert_readable(&self.events);
        assert_eq!(self, expected, "follows, and was expected");
    }
}
