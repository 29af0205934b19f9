//! Who has paid gets a mail, once. A process manager: events in, commands out, its memory is events.

use icecore_client::{
    BoxError, Changes, Context, Dispatch, Event, ProcessManager, Reaction, RecordedEvent,
};
use serde::{Deserialize, Serialize};

/// What it listens to: of the events of an order, those that matter here.
#[derive(Serialize, Deserialize)]
pub(crate) enum OrderNews {
    OrderPlaced { email: String },
    OrderPaid,
}

impl Event for OrderNews {}

/// What it remembers.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum ConfirmationEvent {
    AddressNoted { email: String },
    ConfirmationSent,
}

impl Event for ConfirmationEvent {}

/// What it asks others to do.
#[derive(Debug, PartialEq)]
pub(crate) struct Confirm {
    pub(crate) order: String,
    pub(crate) email: String,
}

/// The confirmation of one order.
#[derive(Debug, Default)]
pub(crate) struct Confirmation {
    /// Where it goes, until it is sent.
    email: Option<String>,
}

impl ProcessManager for Confirmation {
    const NAME: &'static str = "confirmation";
    type Input = OrderNews;
    type Event = ConfirmationEvent;
    type Command = Confirm;

    /// One process for each order; its stream is `confirmation-order-...`.
    fn process_of(_: &OrderNews, recorded: &RecordedEvent) -> Option<String> {
        Some(recorded.stream.to_string())
    }

    fn apply(&mut self, event: &ConfirmationEvent) {
        self.email = match event {
            ConfirmationEvent::AddressNoted { email } => Some(email.clone()),
            ConfirmationEvent::ConfirmationSent => None,
        };
    }

    fn react(&self, order: &str, news: &OrderNews) -> Reaction<Self> {
        match (news, &self.email) {
            (OrderNews::OrderPlaced { email }, _) => {
                let email = email.clone();
                Reaction::new().record(ConfirmationEvent::AddressNoted { email })
            }
            (OrderNews::OrderPaid, Some(email)) => {
                let (order, email) = (order.to_owned(), email.clone());
                Reaction::new()
                    .record(ConfirmationEvent::ConfirmationSent)
                    .send(Confirm { order, email })
            }
            (OrderNews::OrderPaid, None) => Reaction::new(),
        }
    }
}

/// The way to the mail service. What the process remembers is written together with its checkpoint, so
/// it asks once; only when a worker dies between the mail and that write is the service asked again,
/// with the same id, by which it knows the mail.
pub(crate) struct Mails;

impl Dispatch<Confirm> for Mails {
    async fn dispatch(&self, mail: &Confirm, context: &Context) -> Result<Vec<Changes>, BoxError> {
        let id = context.command().ok_or("a command has an id")?;
        let Confirm { order, email } = mail;
        println!("  mail      to {email}: thank you, {order} is paid (id {id})");
        Ok(vec![])
    }
}
