//! Who follows the orders: the mails and the warehouse. Here they share a process; they could as well be
//! several, on several machines.

use super::confirmation::{Confirmation, Mails};
use super::warehouse;
use anyhow::Result;
use icecore_client::{Client, ProcessRunner};
use std::future::pending;

/// Works until something goes wrong that does not pass by itself. Whoever drops this sends them home; what
/// they were at is done when they come back.
pub(crate) async fn work(client: Client) -> Result<()> {
    let confirmations = ProcessRunner::<Confirmation, _>::new(client.clone(), Mails).workers(2);
    let confirmations = async { Ok(confirmations.run(pending()).await?) };
    tokio::try_join!(confirmations, warehouse::work(client))?;
    Ok(())
}
