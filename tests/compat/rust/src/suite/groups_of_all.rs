//! Persistent subscriptions to all streams: filters, parked events and their replay, settings.

use super::groups::{nack, next, take};
use super::{PAUSE, TRIES, append, done, event_of, events, new_id, new_name};
use crate::db::{
    Client, DeletePersistentSubscriptionOptions, Error, GetPersistentSubscriptionInfoOptions,
    ListPersistentSubscriptionsOptions, NakAction, PersistentSubscription,
    PersistentSubscriptionToAllOptions, ReplayParkedMessagesOptions,
    RestartPersistentSubscriptionSubsystem, StreamPosition,
    SubscribeToPersistentSubscriptionOptions, SubscriptionFilter,
};
use crate::words::Expected;
use anyhow::{Context as _, Result, bail, ensure};

pub(super) async fn check(client: &Client) -> Result<()> {
    by_event_type(client).await?;
    by_stream_name(client).await?;
    done("persistent subscriptions to $all");
    Ok(())
}

async fn create(client: &Client, filter: SubscriptionFilter) -> Result<String> {
    let group = new_name("group");
    let options = PersistentSubscriptionToAllOptions::default()
        .start_from(StreamPosition::Start)
        .filter(filter);
    let created = client.create_persistent_subscription_to_all(&group, &options);
    created.await?;
    let twice = client.create_persistent_subscription_to_all(&group, &options);
    let twice = twice.await;
    ensure!(
        matches!(twice, Err(Error::ResourceAlreadyExists)),
        "{twice:?}"
    );
    Ok(group)
}

async fn join(client: &Client, group: &str) -> Result<PersistentSubscription, Error> {
    let options = SubscribeToPersistentSubscriptionOptions::default();
    let joined = client.subscribe_to_persistent_subscription_to_all(group, &options);
    joined.await
}

/// Several events of a type among others, through a group that wants these: taken, parked, replayed.
async fn by_event_type(client: &Client) -> Result<()> {
    let wanted = format!("Wanted{}", new_id().simple());
    let (one, two) = (new_name("order"), new_name("order"));
    let put = async |stream: &str| {
        let mixed = vec![event_of(&wanted, 0)?, event_of("Unwanted", 1)?];
        anyhow::Ok(append(client, stream, Expected::Any, mixed).await?)
    };
    put(&one).await?;
    let filter = SubscriptionFilter::on_event_type().add_prefix(&wanted);
    let group = create(client, filter).await?;
    let mut subscription = join(client, &group).await?;
    ensure!(take(&mut subscription, 1).await? == [(one.clone(), 0)]);
    put(&two).await?;
    put(&one).await?;
    ensure!(take(&mut subscription, 1).await? == [(two, 0)]);
    let (parked, tried) = next(&mut subscription).await?;
    ensure!(tried == 0 && parked.get_original_event().revision == 2);
    nack(&mut subscription, &parked, NakAction::Park).await?;
    until_parked(client, &group).await?;
    let options = ReplayParkedMessagesOptions::default();
    client
        .replay_parked_messages_to_all(&group, &options)
        .await?;
    ensure!(take(&mut subscription, 1).await? == [(one, 2)]);
    updated_listed_and_deleted(client, &group).await
}

async fn until_parked(client: &Client, group: &str) -> Result<()> {
    let options = GetPersistentSubscriptionInfoOptions::default();
    for _ in 0..TRIES {
        let info = client.get_persistent_subscription_info_to_all(group, &options);
        if info.await?.stats.parked_message_count == 1 {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!("the event is not parked")
}

async fn updated_listed_and_deleted(client: &Client, group: &str) -> Result<()> {
    let options = PersistentSubscriptionToAllOptions::default();
    let options = options.start_from(StreamPosition::Start).max_retry_count(3);
    client
        .update_persistent_subscription_to_all(group, &options)
        .await?;
    let options = GetPersistentSubscriptionInfoOptions::default();
    let info = client.get_persistent_subscription_info_to_all(group, &options);
    let info = info.await?;
    ensure!(info.event_source == "$all" && info.group_name == group);
    ensure!(info.settings.context("no settings")?.max_retry_count == 3);
    let options = ListPersistentSubscriptionsOptions::default();
    let listed = client
        .list_persistent_subscriptions_to_all(&options)
        .await?;
    ensure!(listed.iter().any(|each| each.group_name == group));
    let options = DeletePersistentSubscriptionOptions::default();
    let delete = || client.delete_persistent_subscription_to_all(group, &options);
    delete().await?;
    let twice = delete().await;
    ensure!(matches!(twice, Err(Error::ResourceNotFound)), "{twice:?}");
    let gone = join(client, group)
        .await
        .err()
        .context("it is still there")?;
    ensure!(matches!(gone, Error::ResourceNotFound), "{gone:?}");
    Ok(())
}

async fn by_stream_name(client: &Client) -> Result<()> {
    let wanted = new_name("wanted");
    append(client, &new_name("order"), Expected::Any, events(2)?).await?;
    append(client, &wanted, Expected::Any, events(2)?).await?;
    let filter = SubscriptionFilter::on_stream_name().regex(format!("^{wanted}$"));
    let group = create(client, filter).await?;
    let mut subscription = join(client, &group).await?;
    ensure!(take(&mut subscription, 2).await? == [(wanted.clone(), 0), (wanted.clone(), 1)]);
    let options = RestartPersistentSubscriptionSubsystem::default();
    client
        .restart_persistent_subscription_subsystem(&options)
        .await?;
    let dropped = subscription.next().await;
    ensure!(dropped.is_err(), "{dropped:?}");
    append(client, &wanted, Expected::Any, events(1)?).await?;
    let mut subscription = join(client, &group).await?;
    let mut again = take(&mut subscription, 1).await?;
    // What was acknowledged and not yet in a checkpoint comes again.
    while again.last() != Some(&(wanted.clone(), 2)) {
        ensure!(again.len() < 3, "{again:?}");
        again.extend(take(&mut subscription, 1).await?);
    }
    Ok(())
}
