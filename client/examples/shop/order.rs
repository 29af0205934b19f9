//! An order: placed, paid, shipped. The domain.

use icecore_client::{Aggregate, Event};
use serde::{Deserialize, Serialize};

#[derive(Debug, Default)]
pub(crate) struct Order {
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    New,
    Placed,
    Paid,
    Shipped,
}

/// Types that say what they are about: the warehouse asks for `OrderPaid`, whatever its stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(clippy::enum_variant_names, reason = "they are names of types")]
pub(crate) enum OrderEvent {
    OrderPlaced { email: String, cents: i64 },
    OrderPaid,
    OrderShipped { parcel: String },
}

impl Event for OrderEvent {}

#[derive(Clone, Debug)]
pub(crate) enum OrderCommand {
    Place { email: String, cents: i64 },
    Pay,
    Ship { parcel: String },
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum OrderError {
    #[error("there is no such order")]
    NotPlaced,
    #[error("the order is placed already")]
    PlacedAlready,
    #[error("an order costs something")]
    Free,
    #[error("the order is paid already")]
    PaidAlready,
    #[error("the order is not paid")]
    NotPaid,
}

impl Aggregate for Order {
    const CATEGORY: &'static str = "order";
    type Event = OrderEvent;
    type Command = OrderCommand;
    type Error = OrderError;

    fn apply(&mut self, event: &OrderEvent) {
        self.state = match event {
            OrderEvent::OrderPlaced { .. } => State::Placed,
            OrderEvent::OrderPaid => State::Paid,
            OrderEvent::OrderShipped { .. } => State::Shipped,
        };
    }

    fn handle(&self, command: &OrderCommand) -> Result<Vec<OrderEvent>, OrderError> {
        let event = match (command.clone(), self.state) {
            (OrderCommand::Place { cents: ..=0, .. }, _) => return Err(OrderError::Free),
            (OrderCommand::Place { email, cents }, State::New) => {
                OrderEvent::OrderPlaced { email, cents }
            }
            (OrderCommand::Place { .. }, _) => return Err(OrderError::PlacedAlready),
            (_, State::New) => return Err(OrderError::NotPlaced),
            (OrderCommand::Pay, State::Placed) => OrderEvent::OrderPaid,
            (OrderCommand::Pay, _) => return Err(OrderError::PaidAlready),
            (OrderCommand::Ship { .. }, State::Placed) => return Err(OrderError::NotPaid),
            (OrderCommand::Ship { parcel }, State::Paid) => OrderEvent::OrderShipped { parcel },
            // It is on its way; a second parcel would be one too many.
            (OrderCommand::Ship { .. }, State::Shipped) => return Ok(vec![]),
        };
        Ok(vec![event])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use icecore_client::given;

    fn placed() -> OrderEvent {
        let email = "anna@example.org".into();
        OrderEvent::OrderPlaced {
            email,
            cents: 1_200,
        }
    }

    fn ship() -> OrderCommand {
        let parcel = "P1".into();
        OrderCommand::Ship { parcel }
    }

    #[test]
    fn an_order_is_shipped_when_it_is_paid_and_once() {
        let parcel = "P1".into();
        let shipped = OrderEvent::OrderShipped { parcel };
        given::<Order>([placed()])
            .when(&ship())
            .then_refused(&OrderError::NotPaid);
        given::<Order>([placed(), OrderEvent::OrderPaid])
            .when(&ship())
            .then([shipped.clone()]);
        given::<Order>([placed(), OrderEvent::OrderPaid, shipped])
            .when(&ship())
            .then_nothing();
    }

    #[test]
    fn an_order_is_placed_and_paid_once() {
        given::<Order>([])
            .when(&OrderCommand::Pay)
            .then_refused(&OrderError::NotPlaced);
        given::<Order>([placed()])
            .when(&OrderCommand::Pay)
            .then([OrderEvent::OrderPaid]);
        given::<Order>([placed(), OrderEvent::OrderPaid])
            .when(&OrderCommand::Pay)
            .then_refused(&OrderError::PaidAlready);
        let email = "ben@example.org".to_owned();
        given::<Order>([placed()])
            .when(&OrderCommand::Place {
                email: email.clone(),
                cents: 1,
            })
            .then_refused(&OrderError::PlacedAlready);
        given::<Order>([])
            .when(&OrderCommand::Place { email, cents: 0 })
            .then_refused(&OrderError::Free);
    }
}
