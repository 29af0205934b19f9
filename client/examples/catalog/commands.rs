//! The write side: commands in, events out. It keeps nothing; any number of these may run.

use crate::lines::{self, Service};
use crate::product::{Product, ProductCommand, ProductError};
use anyhow::Result;
use icecore_client::{Client, Effect, ExecuteError, Executed, Repository};

/// What takes commands. Its answers are `ok POSITION`, `ok unchanged`, `refused ...` or `error ...`.
#[derive(Clone)]
struct Commands {
    products: Repository<Product>,
}

pub(crate) async fn serve(client: Client, listen: &str) -> Result<()> {
    let products = Repository::new(client);
    lines::serve(listen, Commands { products }).await
}

impl Service for Commands {
    async fn answer(&self, request: &str) -> String {
        let Some((id, command)) = parse(request) else {
            return format!("error `{request}` is none of: list ID PRICE, price ID PRICE");
        };
        told(self.products.execute(id, &command).await)
    }
}

fn parse(request: &str) -> Option<(&str, ProductCommand)> {
    let mut words = request.split_whitespace();
    let (verb, id, price) = (words.next()?, words.next()?, words.next()?);
    let cents = cents(price)?;
    match verb {
        "list" => Some((id, ProductCommand::List { cents })),
        "price" => Some((id, ProductCommand::ChangePrice { cents })),
        _ => None,
    }
}

fn told(outcome: Result<Executed<Product>, ExecuteError<ProductError>>) -> String {
    match outcome.map(|executed| executed.effect) {
        Ok(Effect::Appended(_, appended)) => format!("ok {}", appended.last_position),
        Ok(Effect::Nothing | Effect::DoneBefore) => "ok unchanged".into(),
        Err(ExecuteError::Domain(refusal)) => format!("refused {refusal}"),
        Err(error) => format!("error {error}"),
    }
}

/// `17.90` as cents.
fn cents(price: &str) -> Option<u64> {
    let (whole, part) = price.split_once('.')?;
    let is_price = part.len() == 2 && !whole.starts_with('+') && !part.starts_with('+');
    is_price.then(|| format!("{whole}{part}").parse().ok())?
}
