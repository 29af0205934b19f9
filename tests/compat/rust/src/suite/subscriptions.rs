//! Catch-up subscriptions: of a stream and of all, from each start, through a filter, with checkpoints.

use super::{append, done, event_of, events, new_id, new_name, revisions, stream_of, targets};
use crate::db::{
    Client, Error, Position, ResolvedEvent, StreamPosition, SubscribeToAllOptions,
    SubscribeToStreamOptions, Subscription, SubscriptionEvent, SubscriptionFilter,
};
use crate::words::{self, Expected};
use anyhow::{Result, bail, ensure};

pub(super) async fn check(client: &Client) -> Result<()> {
    of_a_stream(client).await?;
    of_all(client).await?;
    through_a_filter(client).await?;
    a_tombstone_ends_it(client).await?;
    done("subscriptions, checkpoints");
    Ok(())
}

/// What comes until the subscription is live: it is confirmed first.
async fn until_caught_up(subscription: &mut Subscription) -> Result<Vec<ResolvedEvent>> {
    let first = subscription.next_subscription_event().await?;
    ensure!(
        matches!(first, SubscriptionEvent::Confirmed(_)),
        "{first:?}"
    );
    let mut found = Vec::new();
    loop {
        match subscription.next_subscription_event().await? {
            SubscriptionEvent::EventAppeared(event) => found.push(event),
            caught_up if words::is_caught_up(&caught_up) => return Ok(found),
            SubscriptionEvent::Checkpoint(_) => {}
            other => bail!("{other:?}"),
        }
    }
}

async fn of_a_stream(client: &Client) -> Result<()> {
    let name = stream_of(client, 3).await?;
    let later = new_name("later");
    let subscribe = async |name: &str, from| {
        let options = SubscribeToStreamOptions::default().start_from(from);
        client.subscribe_to_stream(name, &options).await
    };
    let mut followers = Vec::new();
    for (from, expected) in [
        (StreamPosition::Start, &[0, 1, 2][..]),
        (StreamPosition::Position(1), &[2]),
        (StreamPosition::End, &[]),
    ] {
        let mut subscription = subscribe(&name, from).await;
        let found = revisions(&until_caught_up(&mut subscription).await?);
        ensure!(found == expected, "{found:?} from {from:?}");
        followers.push(subscription);
    }
    append(client, &name, words::revision(2), events(2)?).await?;
    for mut subscription in followers {
        let live = [subscription.next().await?, subscription.next().await?];
        ensure!(revisions(&live) == [3, 4]);
    }
    let mut missing = subscribe(&later, StreamPosition::Start).await;
    ensure!(until_caught_up(&mut missing).await?.is_empty());
    append(client, &later, Expected::NoStream, events(1)?).await?;
    ensure!(missing.next().await?.get_original_event().revision == 0);
    Ok(())
}

async fn of_all(client: &Client) -> Result<()> {
    let name = new_name("order");
    let first = append(client, &name, Expected::Any, events(1)?).await?;
    append(client, &name, Expected::Any, events(1)?).await?;
    let subscribe = async |from| {
        let options = SubscribeToAllOptions::default().position(from);
        client.subscribe_to_all(&options).await
    };
    let mut after = subscribe(StreamPosition::Position(first.position)).await;
    let mut from_end = subscribe(StreamPosition::End).await;
    let found = until_caught_up(&mut after).await?;
    ensure!(targets(&found) == [(name.clone(), 1)]);
    ensure!(until_caught_up(&mut from_end).await?.is_empty());
    append(client, &name, Expected::Any, events(1)?).await?;
    for mut subscription in [after, from_end] {
        let live = [subscription.next().await?];
        ensure!(targets(&live) == [(name.clone(), 2)]);
    }
    let mut whole = subscribe(StreamPosition::Start).await;
    ensure!(whole.next().await?.get_original_event().position <= first.position);
    Ok(())
}

async fn through_a_filter(client: &Client) -> Result<()> {
    let wanted = format!("Wanted{}", new_id().simple());
    let first = append(client, &new_name("order"), Expected::Any, events(1)?).await?;
    append(client, &new_name("order"), Expected::Any, events(25)?).await?;
    let last = vec![event_of(&wanted, 25)?];
    let last = append(client, &new_name("order"), Expected::Any, last).await?;
    let filter = SubscriptionFilter::on_event_type()
        .add_prefix(&wanted)
        .max(10);
    let options = SubscribeToAllOptions::default()
        .position(StreamPosition::Position(first.position))
        .filter(filter);
    let mut subscription = client.subscribe_to_all(&options).await;
    let mut reached: Vec<Position> = vec![first.position];
    loop {
        match subscription.next_subscription_event().await? {
            SubscriptionEvent::Checkpoint(position) => reached.push(position),
            SubscriptionEvent::EventAppeared(found) => {
                ensure!(found.get_original_event().position == last.position);
                break;
            }
            SubscriptionEvent::Confirmed(_) => {}
            other => bail!("{other:?}"),
        }
    }
    reached.push(last.position);
    ensure!(reached.len() > 2 && reached.is_sorted(), "{reached:?}");
    Ok(())
}

async fn a_tombstone_ends_it(client: &Client) -> Result<()> {
    let name = stream_of(client, 1).await?;
    let options = SubscribeToStreamOptions::default().start_from(StreamPosition::Start);
    let mut subscription = client.subscribe_to_stream(name.as_str(), &options).await;
    ensure!(subscription.next().await?.get_original_event().revision == 0);
    let options = words::tombstoning(Expected::Any);
    client.tombstone_stream(name.as_str(), &options).await?;
    let tombstone = subscription.next().await?;
    ensure!(tombstone.get_original_event().event_type == "$streamDeleted");
    let end = subscription.next().await;
    ensure!(matches!(end, Err(Error::ResourceDeleted)), "{end:?}");
    Ok(())
}
