//! The warehouse: follows one type of event, wherever it happens, and ships what is paid.
//!
//! It keeps no checkpoint. At a start it looks at all payments again, and each command has the id of the
//! event that it follows from: what was done before is recognised and not done twice.

use super::order::{Order, OrderCommand};
use anyhow::Result;
use futures::TryStreamExt;
use icecore_client::{Client, Context, ExecuteError, Repository};

pub(crate) async fn work(client: Client) -> Result<()> {
    let orders = Repository::<Order>::new(client.clone());
    let mut paid = client.subscribe_all().types(["OrderPaid"]).start().events();
    while let Some(payment) = paid.try_next().await? {
        let stream = payment.stream.as_str();
        let Some(order) = stream.strip_prefix("order-") else {
            continue;
        };
        let ship = OrderCommand::Ship {
            parcel: format!("P{}", payment.position),
        };
        let context = Context::caused_by(&payment)
            .command_id(payment.id)
            .by("warehouse");
        match orders.execute(order, &ship).context(context).await {
            Ok(_) => {}
            Err(ExecuteError::Domain(refusal)) => println!("  warehouse {order}: {refusal}"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
