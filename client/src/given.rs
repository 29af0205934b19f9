//! Given, when, then: tests of what users write, without a store.
//!
//! Events take the way through encoding and decoding that they take through the store, so a test also
//! finds what serde cannot write or read.

mod process;
mod projected;

pub use process::{GivenProcess, given_process};
pub use projected::project;

use crate::aggregate::Aggregate;
use crate::context::Context;
use crate::decision::Decision;
use crate::event::{Event, decode, encode};
use icecore_core::{EventData, Position, RecordedEvent, Revision, StreamName, Timestamp};
use std::fmt::Debug;
use uuid::Uuid;

/// The beginning of a test: what has happened to an aggregate.
///
/// ```
/// # use icecore_client::{Aggregate, Event};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Default)] struct Account { balance: u64 }
/// # #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
/// # enum AccountEvent { Deposited(u64), Withdrawn(u64) }
/// # impl Event for AccountEvent {}
/// # enum AccountCommand { Withdraw(u64) }
/// # #[derive(Debug, PartialEq, thiserror::Error)] #[error("not enough")] struct NotEnough;
/// # impl Aggregate for Account {
/// #     const CATEGORY: &str = "account";
/// #     type Event = AccountEvent; type Command = AccountCommand; type Error = NotEnough;
/// #     fn apply(&mut self, event: &AccountEvent) {
/// #         match event {
/// #             AccountEvent::Deposited(n) => self.balance += n,
/// #             AccountEvent::Withdrawn(n) => self.balance -= n,
/// #         }
/// #     }
/// #     fn handle(&self, AccountCommand::Withdraw(n): &AccountCommand) -> Result<Vec<AccountEvent>, NotEnough> {
/// #         if *n > self.balance { return Err(NotEnough) }
/// #         Ok(vec![AccountEvent::Withdrawn(*n)])
/// #     }
/// # }
/// use icecore_client::given;
///
/// given::<Account>([AccountEvent::Deposited(10)])
///     .when(&AccountCommand::Withdraw(7))
///     .then([AccountEvent::Withdrawn(7)]);
///
/// given::<Account>([]).when(&AccountCommand::Withdraw(7)).then_refused(&NotEnough);
/// ```
///
/// # Panics
///
/// When one of the events cannot be written and read again as it was.
#[track_caller]
pub fn given<A: Aggregate>(history: impl IntoIterator<Item = A::Event>) -> Given<A> {
    let mut state = A::default();
    for event in through_the_store(history) {
        state.apply(&event);
    }
    Given { state }
}

/// As [`given`], for a decision over several streams: what it does when its query has found these events.
///
/// # Panics
///
/// As [`given`].
#[track_caller]
pub fn given_found<D: Decision>(
    found: impl IntoIterator<Item = D::Event>,
    decision: &D,
) -> When<(String, D::Event), D::Error> {
    let mut state = D::State::default();
    for event in through_the_store(found) {
        decision.apply(&mut state, &event);
    }
    let outcome = decision.handle(&state);
    if let Ok(events) = &outcome {
        assert_readable(events.iter().map(|(_, event)| event));
    }
    When { outcome }
}

/// An aggregate to which something has happened.
#[derive(Debug)]
#[must_use = "a test ends with `then`"]
pub struct Given<A> {
    state: A,
}

impl<A: Aggregate> Given<A> {
    /// It gets a command.
    pub fn when(self, command: &A::Command) -> When<A::Event, A::Error> {
        let outcome = self.state.handle(command);
        if let Ok(events) = &outcome {
            assert_readable(events);
        }
        When { outcome }
    }

    /// What it is by now.
    pub fn state(&self) -> &A {
        &self.state
    }
}

/// What came of a command.
#[derive(Debug)]
#[must_use = "a test ends with `then`"]
pub struct When<E, R> {
    outcome: Result<Vec<E>, R>,
}

impl<E: Debug + PartialEq, R: Debug> When<E, R> {
    /// This has happened, in this order.
    ///
    /// # Panics
    ///
    /// When something else has.
    #[track_caller]
    pub fn then(self, expected: impl IntoIterator<Item = E>) {
        let expected: Vec<E> = expected.into_iter().collect();
        match self.outcome {
            Ok(happened) => assert_eq!(happened, expected, "happened, and was expected"),
            Err(refused) => panic!("expected {expected:?}, but it was refused: {refused:?}"),
        }
    }

    /// Nothing has happened, and that is right.
    ///
    /// # Panics
    ///
    /// When something has, or it was refused.
    #[track_caller]
    pub fn then_nothing(self) {
        self.then([]);
    }

    /// It was refused like this.
    ///
    /// # Panics
    ///
    /// When it was not, or for another reason.
    #[track_caller]
    pub fn then_refused(self, expected: &R)
    where
        R: PartialEq,
    {
        match self.outcome {
            Ok(happened) => panic!("expected {expected:?}, but this happened: {happened:?}"),
            Err(refused) => assert_eq!(refused, *expected, "refused, and was expected"),
        }
    }
}

/// The events as they come back from the store.
#[track_caller]
fn through_the_store<E: Event>(events: impl IntoIterator<Item = E>) -> Vec<E> {
    events
        .into_iter()
        .filter_map(|event| read_back(&event))
        .collect()
}

#[track_caller]
fn assert_readable<'a, E: Event>(events: impl IntoIterator<Item = &'a E>) {
    for event in events {
        read_back(event);
    }
}

/// An event, written and read; `None` when it is left out by choice.
#[track_caller]
fn read_back<E: Event>(event: &E) -> Option<E> {
    let written = encode(event, Uuid::nil(), &Context::new());
    let written = written.unwrap_or_else(|error| panic!("an event cannot be written: {error}"));
    let recorded = recorded(written);
    decode(&recorded).unwrap_or_else(|error| panic!("an event cannot be read again: {error}"))
}

/// An event as an earlier program has stored it, read as today's program reads it: for tests of
/// [`Event::UPCASTS`], with a sample of every version that was ever written.
///
/// ```
/// use icecore_client::{Event, Upcast, decode_sample};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// enum AccountEvent {
///     Deposited { cents: u64 },
/// }
///
/// impl Event for AccountEvent {
///     const UPCASTS: &[Upcast] = &[Upcast::renamed("MoneyIn", "Deposited")];
/// }
///
/// let old = decode_sample("MoneyIn", 1, r#"{"cents": 5}"#)?;
/// assert_eq!(old, Some(AccountEvent::Deposited { cents: 5 }));
/// # Ok::<(), icecore_client::Error>(())
/// ```
///
/// # Errors
///
/// As [`decode`]; `InvalidArgument` for field `type` or `data`.
pub fn decode_sample<E: Event>(
    event_type: &str,
    version: u32,
    json: &str,
) -> icecore_core::Result<Option<E>> {
    let mut stored = EventData::json(Uuid::nil(), event_type.to_owned(), json.to_owned())?;
    stored.metadata = Context::new().metadata(version)?;
    decode(&recorded(stored))
}

/// An event as if it had been recorded, of an early time. For tests of what reads recorded events.
pub(crate) fn recorded(event: EventData) -> RecordedEvent {
    RecordedEvent {
        stream: StreamName::new("given-1").expect("a valid name"),
        revision: Revision::FIRST,
        position: Position::FIRST,
        id: event.id,
        event_type: event.event_type,
        content_type: event.content_type,
        data: event.data,
        metadata: event.metadata,
        tags: event.tags,
        recorded_at: Timestamp::from_nanos(0),
        created_at: None,
        erased: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Default)]
    struct Door {
        open: bool,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum DoorEvent {
        Opened,
        Closed,
        /// Serde writes it under a name under which it does not read it.
        #[serde(rename(serialize = "Lost", deserialize = "Found"))]
        Lost,
    }

    impl Event for DoorEvent {}

    #[derive(Debug, PartialEq, thiserror::Error)]
    #[error("it is open")]
    struct IsOpen;

    impl Aggregate for Door {
        const CATEGORY: &'static str = "door";
        type Event = DoorEvent;
        type Command = DoorEvent;
        type Error = IsOpen;

        fn apply(&mut self, event: &DoorEvent) {
            self.open = *event == DoorEvent::Opened;
        }

        fn handle(&self, command: &DoorEvent) -> Result<Vec<DoorEvent>, IsOpen> {
            match command {
                DoorEvent::Opened if self.open => Err(IsOpen),
                DoorEvent::Closed if !self.open => Ok(vec![]),
                other => Ok(vec![other.clone()]),
            }
        }
    }

    #[test]
    fn samples_are_read_as_stored_events_are() {
        let sample = |event_type, version| decode_sample::<DoorEvent>(event_type, version, "{}");
        assert_eq!(sample("Opened", 1).unwrap(), Some(DoorEvent::Opened));
        let newer = sample("Opened", 2).unwrap_err().to_string();
        assert!(newer.contains("has version 2"), "{newer}");
        assert!(sample("Painted", 1).is_err());
    }

    #[test]
    fn what_is_expected_passes() {
        given::<Door>([DoorEvent::Opened])
            .when(&DoorEvent::Closed)
            .then([DoorEvent::Closed]);
        given::<Door>([]).when(&DoorEvent::Closed).then_nothing();
        given::<Door>([DoorEvent::Opened])
            .when(&DoorEvent::Opened)
            .then_refused(&IsOpen);
    }

    #[test]
    #[should_panic(expected = "happened, and was expected")]
    fn something_else_panics() {
        given::<Door>([])
            .when(&DoorEvent::Opened)
            .then([DoorEvent::Closed]);
    }

    #[test]
    #[should_panic(expected = "but it was refused: IsOpen")]
    fn a_refusal_that_was_not_expected_panics() {
        given::<Door>([DoorEvent::Opened])
            .when(&DoorEvent::Opened)
            .then([DoorEvent::Opened]);
    }

    #[test]
    #[should_panic(expected = "but this happened: [Opened]")]
    fn a_missing_refusal_panics() {
        given::<Door>([])
            .when(&DoorEvent::Opened)
            .then_refused(&IsOpen);
    }

    #[test]
    #[should_panic(expected = "an event cannot be written")]
    fn what_could_not_be_read_again_panics() {
        given::<Door>([])
            .when(&DoorEvent::Lost)
            .then([DoorEvent::Lost]);
    }
}
