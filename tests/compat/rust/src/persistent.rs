//! Persistent subscriptions, as KurrentDB's Rust client has them.

use crate::{event, expecting, new_name};
use anyhow::{Result, ensure};
use kurrentdb::{
    Client, DeletePersistentSubscriptionOptions, Error, GetPersistentSubscriptionInfoOptions,
    ListPersistentSubscriptionsOptions, NakAction, PersistentSubscriptionOptions,
    ReplayParkedMessagesOptions, StreamPosition, StreamState,
    SubscribeToPersistentSubscriptionOptions,
};
use std::time::Duration;

/// How often the count of parked events is asked for.
const TRIES: usize = 100;

async fn parked(client: &Client, stream: &str, group: &str) -> Result<usize, Error> {
    let options = GetPersistentSubscriptionInfoOptions::default();
    let info = client.get_persistent_subscription_info(stream, group, &options);
    Ok(info.await?.stats.parked_message_count)
}

/// A stream of three events, and a group that begins with the first.
async fn begin(client: &Client) -> Result<(String, String)> {
    let (stream, group) = (new_name(), new_name());
    let events = vec![event(0)?, event(1)?, event(2)?];
    let any = expecting(StreamState::Any);
    client
        .append_to_stream(stream.as_str(), &any, events)
        .await?;
    let options = PersistentSubscriptionOptions::default().start_from(StreamPosition::Start);
    let (name, group_name) = (stream.as_str(), group.as_str());
    client
        .create_persistent_subscription(name, group_name, &options)
        .await?;
    let twice = client
        .create_persistent_subscription(name, group_name, &options)
        .await;
    ensure!(
        matches!(twice, Err(Error::ResourceAlreadyExists)),
        "{twice:?}"
    );
    Ok((stream, group))
}

/// Acknowledged, tried again, parked and replayed; then the group is deleted.
pub(crate) async fn persistent_subscriptions(client: &Client) -> Result<()> {
    let (stream, group) = begin(client).await?;
    let (stream, group) = (stream.as_str(), group.as_str());
    let options = SubscribeToPersistentSubscriptionOptions::default();
    let subscribed = client.subscribe_to_persistent_subscription(stream, group, &options);
    let mut subscription = subscribed.await?;
    let (mut seen, mut tried) = (Vec::new(), false);
    while seen.len() < 4 {
        let found = subscription.next().await?;
        let revision = found.get_original_event().revision;
        match revision {
            1 if !tried => {
                tried = true;
                subscription
                    .nack(&found, NakAction::Retry, "not yet")
                    .await?;
            }
            2 => subscription.nack(&found, NakAction::Park, "cannot").await?,
            _ => subscription.ack(&found).await?,
        }
        seen.push(revision);
    }
    seen.sort_unstable();
    ensure!(seen == [0, 1, 1, 2], "{seen:?}");
    for _ in 0..TRIES {
        if parked(client, stream, group).await? == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ensure!(parked(client, stream, group).await? == 1);
    let options = ReplayParkedMessagesOptions::default();
    client
        .replay_parked_messages(stream, group, &options)
        .await?;
    let again = subscription.next().await?;
    ensure!(again.get_original_event().revision == 2);
    subscription.ack(&again).await?;
    let options = ListPersistentSubscriptionsOptions::default();
    let groups = client
        .list_persistent_subscriptions_for_stream(stream, &options)
        .await?;
    ensure!(groups.len() == 1 && groups[0].group_name == group);
    let options = DeletePersistentSubscriptionOptions::default();
    client
        .delete_persistent_subscription(stream, group, &options)
        .await?;
    let twice = client
        .delete_persistent_subscription(stream, group, &options)
        .await;
    ensure!(matches!(twice, Err(Error::ResourceNotFound)), "{twice:?}");
    Ok(())
}
