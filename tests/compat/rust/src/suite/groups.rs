//! Persistent subscriptions to a stream: answers of each kind, parked events and their replay, settings,
//! several consumers, a restart of the server.

use super::{PAUSE, TRIES, append, done, events, new_name, read, restart_server};
use super::{stream_of, targets};
use crate::db::{
    Client, DeletePersistentSubscriptionOptions, Error, GetPersistentSubscriptionInfoOptions,
    ListPersistentSubscriptionsOptions, NakAction, PersistentSubscription,
    PersistentSubscriptionEvent, PersistentSubscriptionOptions, ReplayParkedMessagesOptions,
    ResolvedEvent, StreamPosition, SubscribeToPersistentSubscriptionOptions,
    SystemConsumerStrategy,
};
use crate::words::Expected;
use anyhow::{Context as _, Result, bail, ensure};
use std::time::Duration;

pub(super) async fn check(client: &Client) -> Result<()> {
    a_stream_is_consumed_once_and_in_order(client).await?;
    each_answer(client).await?;
    whoever_fails_too_often_is_parked(client).await?;
    consumers_share_and_give_back(client).await?;
    whoever_stops_leaves(client).await?;
    a_category_is_consumed_by_its_links(client).await?;
    what_is_acknowledged_stays_so_over_a_restart(client).await?;
    done("persistent subscriptions");
    Ok(())
}

/// A group from the first event on.
fn from_start() -> PersistentSubscriptionOptions {
    PersistentSubscriptionOptions::default().start_from(StreamPosition::Start)
}

async fn create(
    client: &Client,
    stream: &str,
    options: &PersistentSubscriptionOptions,
) -> Result<String> {
    let group = new_name("group");
    let created = client.create_persistent_subscription(stream, &group, options);
    created.await?;
    Ok(group)
}

async fn join(client: &Client, stream: &str, group: &str) -> Result<PersistentSubscription, Error> {
    let options = SubscribeToPersistentSubscriptionOptions::default().buffer_size(10);
    let joined = client.subscribe_to_persistent_subscription(stream, group, &options);
    joined.await
}

/// The next event, and how often it was delivered before.
pub(super) async fn next(
    subscription: &mut PersistentSubscription,
) -> Result<(ResolvedEvent, usize)> {
    loop {
        match subscription.next_subscription_event().await? {
            PersistentSubscriptionEvent::EventAppeared { event, retry_count } => {
                return Ok((event, retry_count));
            }
            PersistentSubscriptionEvent::Confirmed(_) => {}
        }
    }
}

/// The client's own calls for one event take it by reference in one client, and by value in the other.
pub(super) async fn ack(
    subscription: &mut PersistentSubscription,
    event: &ResolvedEvent,
) -> Result<(), Error> {
    let id = event.get_original_event().id;
    subscription.ack_ids([id]).await
}

pub(super) async fn nack(
    subscription: &mut PersistentSubscription,
    event: &ResolvedEvent,
    action: NakAction,
) -> Result<(), Error> {
    let id = event.get_original_event().id;
    subscription.nack_ids([id], action, "cannot").await
}

/// The next events, acknowledged.
pub(super) async fn take(
    subscription: &mut PersistentSubscription,
    count: usize,
) -> Result<Vec<(String, u64)>> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let (event, _) = next(subscription).await?;
        ack(subscription, &event).await?;
        taken.push(event);
    }
    Ok(targets(&taken))
}

fn in_stream(stream: &str, revisions: impl IntoIterator<Item = u64>) -> Vec<(String, u64)> {
    let named = revisions.into_iter().map(|n| (stream.to_owned(), n));
    named.collect()
}

async fn until_parked(client: &Client, stream: &str, group: &str, count: usize) -> Result<()> {
    let options = GetPersistentSubscriptionInfoOptions::default();
    let mut parked = 0;
    for _ in 0..TRIES {
        let info = client.get_persistent_subscription_info(stream, group, &options);
        parked = info.await?.stats.parked_message_count;
        if parked == count {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!("{parked} events are parked, not {count}")
}

async fn a_stream_is_consumed_once_and_in_order(client: &Client) -> Result<()> {
    let stream = stream_of(client, 3).await?;
    let options = from_start();
    let group = create(client, &stream, &options).await?;
    let (name, group) = (stream.as_str(), group.as_str());
    let twice = client.create_persistent_subscription(name, group, &options);
    let twice = twice.await;
    ensure!(
        matches!(twice, Err(Error::ResourceAlreadyExists)),
        "{twice:?}"
    );
    let mut subscription = join(client, name, group).await?;
    ensure!(take(&mut subscription, 3).await? == in_stream(name, 0..3));
    append(client, name, Expected::Any, events(2)?).await?;
    ensure!(take(&mut subscription, 2).await? == in_stream(name, 3..5));

    let settings = from_start().max_retry_count(3);
    let settings = settings.consumer_strategy_name(SystemConsumerStrategy::Pinned);
    client
        .update_persistent_subscription(name, group, &settings)
        .await?;
    let options = GetPersistentSubscriptionInfoOptions::default();
    let info = client.get_persistent_subscription_info(name, group, &options);
    let info = info.await?;
    ensure!(info.group_name == group && info.event_source == name);
    let settings = info.settings.context("no settings")?;
    ensure!(settings.max_retry_count == 3);
    ensure!(settings.consumer_strategy_name == SystemConsumerStrategy::Pinned);

    let options = ListPersistentSubscriptionsOptions::default();
    let listed = client.list_persistent_subscriptions_for_stream(name, &options);
    let listed = listed.await?;
    ensure!(listed.len() == 1 && listed[0].group_name == group);
    let all = client.list_all_persistent_subscriptions(&options).await?;
    ensure!(all.iter().any(|each| each.group_name == group));
    deleted_groups_are_gone(client, name, group).await
}

async fn deleted_groups_are_gone(client: &Client, stream: &str, group: &str) -> Result<()> {
    let options = DeletePersistentSubscriptionOptions::default();
    let delete = || client.delete_persistent_subscription(stream, group, &options);
    delete().await?;
    let twice = delete().await;
    ensure!(matches!(twice, Err(Error::ResourceNotFound)), "{twice:?}");
    let options = GetPersistentSubscriptionInfoOptions::default();
    let info = client.get_persistent_subscription_info(stream, group, &options);
    let info = info.await.map(|info| info.group_name);
    ensure!(matches!(info, Err(Error::ResourceNotFound)), "{info:?}");
    Ok(())
}

/// Tried again, skipped, parked and replayed.
async fn each_answer(client: &Client) -> Result<()> {
    let stream = stream_of(client, 4).await?;
    let group = create(client, &stream, &from_start()).await?;
    let mut subscription = join(client, &stream, &group).await?;
    let mut seen = Vec::new();
    while seen.len() < 5 {
        let (event, tried) = next(&mut subscription).await?;
        let revision = event.get_original_event().revision;
        let refused = match revision {
            1 if tried == 0 => Some(NakAction::Retry),
            2 => Some(NakAction::Skip),
            3 => Some(NakAction::Park),
            _ => None,
        };
        match refused {
            Some(action) => nack(&mut subscription, &event, action).await?,
            None => ack(&mut subscription, &event).await?,
        }
        seen.push((revision, tried));
    }
    seen.sort_unstable();
    ensure!(seen == [(0, 0), (1, 0), (1, 1), (2, 0), (3, 0)], "{seen:?}");
    until_parked(client, &stream, &group, 1).await?;
    let options = ReplayParkedMessagesOptions::default();
    client
        .replay_parked_messages(&stream, &group, &options)
        .await?;
    ensure!(take(&mut subscription, 1).await? == in_stream(&stream, [3]));
    until_parked(client, &stream, &group, 0).await
}

async fn whoever_fails_too_often_is_parked(client: &Client) -> Result<()> {
    let stream = stream_of(client, 1).await?;
    let group = create(client, &stream, &from_start().max_retry_count(2)).await?;
    let mut subscription = join(client, &stream, &group).await?;
    for tries in 0..3 {
        let (event, tried) = next(&mut subscription).await?;
        ensure!(tried == tries);
        nack(&mut subscription, &event, NakAction::Retry).await?;
    }
    until_parked(client, &stream, &group, 1).await
}

/// What one consumer has not answered when it leaves goes to another; so does what takes too long.
async fn consumers_share_and_give_back(client: &Client) -> Result<()> {
    let stream = stream_of(client, 10).await?;
    let settings = from_start().message_timeout(Duration::from_secs(1));
    let group = create(client, &stream, &settings).await?;
    let mut slow = join(client, &stream, &group).await?;
    let mut mine = Vec::new();
    while mine.len() < 10 {
        mine.push(next(&mut slow).await?.0);
    }
    ack(&mut slow, &mine[0]).await?;
    let mut other = join(client, &stream, &group).await?;
    let first = next(&mut other).await?;
    ensure!(first.1 == 1, "it came again after its time");
    drop(slow);
    ack(&mut other, &first.0).await?;
    let mut taken = targets(&[first.0]);
    taken.extend(take(&mut other, 8).await?);
    taken.sort();
    taken.dedup();
    ensure!(taken == in_stream(&stream, 1..10), "{taken:?}");
    Ok(())
}

/// A consumer that stops is told so, and what it had goes to another.
async fn whoever_stops_leaves(client: &Client) -> Result<()> {
    let stream = stream_of(client, 2).await?;
    let group = create(client, &stream, &from_start()).await?;
    let mut subscription = join(client, &stream, &group).await?;
    let (event, _) = next(&mut subscription).await?;
    nack(&mut subscription, &event, NakAction::Stop).await?;
    let mut end = subscription.next().await;
    // The second event may be under way.
    while let Ok(event) = end {
        ensure!(event.get_original_event().revision == 1);
        end = subscription.next().await;
    }
    ensure!(matches!(end, Err(Error::IllegalStateError(_))), "{end:?}");
    let mut other = join(client, &stream, &group).await?;
    ensure!(take(&mut other, 2).await? == in_stream(&stream, 0..2));
    Ok(())
}

async fn a_category_is_consumed_by_its_links(client: &Client) -> Result<()> {
    let category = new_name("c").replace('-', "");
    let (one, two) = (format!("{category}-1"), format!("{category}-2"));
    append(client, &one, Expected::NoStream, events(2)?).await?;
    append(client, &two, Expected::NoStream, events(1)?).await?;
    let links = format!("$ce-{category}");
    let group = create(client, &links, &from_start().resolve_link_tos(true)).await?;
    let mut subscription = join(client, &links, &group).await?;
    let expected = [(one.clone(), 0), (one, 1), (two, 0)];
    ensure!(take(&mut subscription, 3).await? == expected);
    Ok(())
}

async fn what_is_acknowledged_stays_so_over_a_restart(client: &Client) -> Result<()> {
    let stream = stream_of(client, 6).await?;
    let settings = from_start().checkpoint_lower_bound(1);
    let settings = settings.checkpoint_after(Duration::from_millis(100));
    let group = create(client, &stream, &settings).await?;
    let mut subscription = join(client, &stream, &group).await?;
    ensure!(take(&mut subscription, 3).await? == in_stream(&stream, 0..3));
    until_checkpointed(client, &stream, &group, 2).await?;
    restart_server().await?;
    for _ in 0..TRIES {
        // The client learns by an error that its connection has gone.
        if let Ok(mut subscription) = join(client, &stream, &group).await {
            ensure!(take(&mut subscription, 3).await? == in_stream(&stream, 3..6));
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!("the group does not come back")
}

/// The group's place is the last event of a stream, since the client does not take it from the group.
async fn until_checkpointed(client: &Client, stream: &str, group: &str, at: u64) -> Result<()> {
    let checkpoints = format!("$persistentsubscription-{stream}::{group}-checkpoint");
    for _ in 0..TRIES {
        // Before the first one there is no such stream.
        let found = read(client, &checkpoints).await.unwrap_or_default();
        if let Some(last) = found.last().map(ResolvedEvent::get_original_event) {
            ensure!(last.event_type == "$SubscriptionCheckpoint");
            if last.as_json::<String>()?.parse() == Ok(at) {
                return Ok(());
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!("there is no checkpoint at {at}")
}
