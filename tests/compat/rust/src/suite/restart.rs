//! Subscriptions over `kill -9` and a restart of the server: nothing that was acknowledged is lost, none
//! comes twice.

use super::{PAUSE, TRIES, append, done, event, new_name, read, restart_server};
use crate::db::{
    Client, EventData, RetryOptions, StreamPosition, SubscribeToAllOptions,
    SubscribeToStreamOptions, Subscription, SubscriptionFilter,
};
use crate::words::{self, Expected};
use anyhow::{Result, bail, ensure};
use std::time::Duration;
use uuid::Uuid;

/// So many events are written, and the server is killed in the middle.
const EVENTS: u64 = 200;

/// How long a follower may take for all of them.
const PATIENCE: Duration = Duration::from_mins(2);

pub(super) async fn check(client: &Client) -> Result<()> {
    let name = new_name("order");
    let retry = RetryOptions::default().retry_forever().retry_delay(PAUSE);
    let options = SubscribeToStreamOptions::default()
        .start_from(StreamPosition::Start)
        .retry_options(retry);
    let of_stream = client.subscribe_to_stream(name.as_str(), &options).await;
    let options = SubscribeToAllOptions::default()
        .position(StreamPosition::Start)
        .filter(SubscriptionFilter::on_stream_name().add_prefix(&name))
        .retry_options(retry);
    let of_all = client.subscribe_to_all(&options).await;
    let followers = [of_stream, of_all].map(|subscription| tokio::spawn(follow(subscription)));
    let written = write(client, &name).await?;
    for follower in followers {
        let seen = tokio::time::timeout(PATIENCE, follower).await??;
        ensure!(
            seen == written,
            "{} instead of {}",
            seen.len(),
            written.len()
        );
    }
    let found = read(client, &name).await?;
    let found = found.iter().map(|found| found.get_original_event().id);
    ensure!(found.eq(written));
    done("a restart within subscriptions");
    Ok(())
}

/// The ids of all events, in the order in which they come. The client goes on by itself where it was; while
/// there is no server it says so.
async fn follow(mut subscription: Subscription) -> Vec<Uuid> {
    let mut seen = Vec::new();
    while seen.len() < usize::try_from(EVENTS).unwrap_or(usize::MAX) {
        match subscription.next().await {
            Ok(found) => seen.push(found.get_original_event().id),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    seen
}

async fn write(client: &Client, name: &str) -> Result<Vec<Uuid>> {
    let mut written = Vec::new();
    for n in 0..EVENTS {
        if n == EVENTS / 2 {
            restart_server().await?;
        }
        let id = super::new_id();
        let expected = match n {
            0 => Expected::NoStream,
            _ => words::revision(n - 1),
        };
        append_until_answered(client, name, expected, &event(n)?.id(id)).await?;
        written.push(id);
    }
    Ok(written)
}

async fn append_until_answered(
    client: &Client,
    name: &str,
    expected: Expected,
    event: &EventData,
) -> Result<()> {
    for _ in 0..TRIES {
        if append(client, name, expected, vec![event.clone()])
            .await
            .is_ok()
        {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!("the server does not come back")
}
