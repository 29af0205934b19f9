//! A product and its price: the domain of the write side.

use icecore_client::{Aggregate, Event};
use serde::{Deserialize, Serialize};

#[derive(Debug, Default)]
pub(crate) struct Product {
    cents: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum ProductEvent {
    ProductListed { cents: u64 },
    PriceChanged { cents: u64 },
}

impl Event for ProductEvent {}

#[derive(Debug)]
pub(crate) enum ProductCommand {
    List { cents: u64 },
    ChangePrice { cents: u64 },
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum ProductError {
    #[error("the product is not in the catalogue")]
    NotListed,
    #[error("the product is in the catalogue already")]
    ListedAlready,
    #[error("nothing is for free")]
    Free,
}

impl Aggregate for Product {
    const CATEGORY: &'static str = "product";
    type Event = ProductEvent;
    type Command = ProductCommand;
    type Error = ProductError;

    fn apply(&mut self, event: &ProductEvent) {
        let (ProductEvent::ProductListed { cents } | ProductEvent::PriceChanged { cents }) = event;
        self.cents = Some(*cents);
    }

    fn handle(&self, command: &ProductCommand) -> Result<Vec<ProductEvent>, ProductError> {
        match (command, self.cents) {
            (ProductCommand::List { cents: 0 } | ProductCommand::ChangePrice { cents: 0 }, _) => {
                Err(ProductError::Free)
            }
            (ProductCommand::List { .. }, Some(_)) => Err(ProductError::ListedAlready),
            (&ProductCommand::List { cents }, None) => {
                Ok(vec![ProductEvent::ProductListed { cents }])
            }
            (ProductCommand::ChangePrice { .. }, None) => Err(ProductError::NotListed),
            // The price that it has: nothing happens.
            (&ProductCommand::ChangePrice { cents }, Some(now)) if cents == now => Ok(vec![]),
            (&ProductCommand::ChangePrice { cents }, Some(_)) => {
                Ok(vec![ProductEvent::PriceChanged { cents }])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use icecore_client::given;

    const LISTED: ProductEvent = ProductEvent::ProductListed { cents: 1_990 };

    #[test]
    fn a_price_changes_when_it_is_another_one() {
        given::<Product>([LISTED])
            .when(&ProductCommand::ChangePrice { cents: 1_790 })
            .then([ProductEvent::PriceChanged { cents: 1_790 }]);
        given::<Product>([LISTED])
            .when(&ProductCommand::ChangePrice { cents: 1_990 })
            .then_nothing();
    }

    #[test]
    fn a_product_is_listed_once_and_before_its_price_changes() {
        given::<Product>([LISTED])
            .when(&ProductCommand::List { cents: 1 })
            .then_refused(&ProductError::ListedAlready);
        given::<Product>([])
            .when(&ProductCommand::ChangePrice { cents: 1 })
            .then_refused(&ProductError::NotListed);
        given::<Product>([])
            .when(&ProductCommand::List { cents: 0 })
            .then_refused(&ProductError::Free);
    }
}
