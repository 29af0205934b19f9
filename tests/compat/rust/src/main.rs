//! What KurrentDB's Rust client does with Icecore, with asserted results.
//!
//! The server's address is in `ICECORE`. Projections are not here.

mod persistent;

use anyhow::{Context as _, Result, ensure};
use kurrentdb::{
    AppendToStreamOptions, BatchAppendOptions, Client, DeleteStreamOptions, Error, EventData,
    ReadAllOptions, ReadStream, ReadStreamOptions, StreamPosition, StreamState,
    SubscribeToStreamOptions, TombstoneStreamOptions,
};
use uuid::Uuid;

#[expect(clippy::disallowed_methods, reason = "these are the caller's ids")]
fn new_id() -> Uuid {
    Uuid::new_v4()
}

fn event(n: u64) -> Result<EventData> {
    let event = EventData::json("OrderPlaced", &serde_json::json!({ "n": n }))?;
    Ok(event.id(new_id()))
}

fn new_name() -> String {
    format!("order-{}", new_id())
}

fn expecting(state: StreamState) -> AppendToStreamOptions {
    AppendToStreamOptions::default().stream_state(state)
}

async fn revisions(mut events: ReadStream) -> Result<Vec<u64>, Error> {
    let mut revisions = Vec::new();
    while let Some(found) = events.next().await? {
        revisions.push(found.get_original_event().revision);
    }
    Ok(revisions)
}

async fn read(client: &Client, name: &str) -> Result<Vec<u64>, Error> {
    let options = ReadStreamOptions::default().position(StreamPosition::Start);
    revisions(client.read_stream(name, &options).await?).await
}

async fn appends_and_conflicts(client: &Client) -> Result<()> {
    let name = new_name();
    let events = [event(0)?, event(1)?];
    let none = expecting(StreamState::NoStream);
    let first = client
        .append_to_stream(name.as_str(), &none, events.to_vec())
        .await?;
    ensure!(first.next_expected_version == 1);
    ensure!(first.position.commit == first.position.prepare);
    let again = client
        .append_to_stream(name.as_str(), &none, events.to_vec())
        .await?;
    ensure!(again.position == first.position, "a retry");
    let wrong = client
        .append_to_stream(name.as_str(), &none, event(2)?)
        .await;
    ensure!(
        matches!(wrong, Err(Error::WrongExpectedVersion { .. })),
        "{wrong:?}"
    );
    let exact = expecting(StreamState::StreamRevision(1));
    client
        .append_to_stream(name.as_str(), &exact, event(2)?)
        .await?;
    ensure!(read(client, &name).await? == [0, 1, 2]);
    let batch = client.batch_append(&BatchAppendOptions::default()).await?;
    let other = new_name();
    let answer = batch
        .append_to_stream(other.as_str(), StreamState::NoStream, vec![event(0)?])
        .await;
    answer.context("a batch")?;
    ensure!(read(client, &other).await? == [0]);
    Ok(())
}

async fn reads(client: &Client) -> Result<()> {
    let name = new_name();
    let events = (0..5).map(event).collect::<Result<Vec<_>>>()?;
    client
        .append_to_stream(name.as_str(), &expecting(StreamState::Any), events)
        .await?;
    let back = ReadStreamOptions::default()
        .position(StreamPosition::End)
        .backwards();
    let back = client.read_stream(name.as_str(), &back).await?;
    ensure!(revisions(back).await? == [4, 3, 2, 1, 0]);
    let two = ReadStreamOptions::default()
        .position(StreamPosition::Position(2))
        .max_count(2);
    ensure!(revisions(client.read_stream(name.as_str(), &two).await?).await? == [2, 3]);
    let absent = read(client, &new_name()).await;
    ensure!(matches!(absent, Err(Error::ResourceNotFound)), "{absent:?}");
    let last = ReadAllOptions::default()
        .position(StreamPosition::End)
        .backwards()
        .max_count(1);
    let mut last = client.read_all(&last).await?;
    let last = last.next().await?.context("an event")?;
    ensure!(last.get_original_event().stream_id() == name);
    Ok(())
}

async fn deletions(client: &Client) -> Result<()> {
    let name = new_name();
    client
        .append_to_stream(name.as_str(), &expecting(StreamState::Any), event(0)?)
        .await?;
    client
        .delete_stream(name.as_str(), &DeleteStreamOptions::default())
        .await?;
    let gone = read(client, &name).await;
    ensure!(matches!(gone, Err(Error::ResourceNotFound)), "{gone:?}");
    client
        .append_to_stream(name.as_str(), &expecting(StreamState::NoStream), event(1)?)
        .await?;
    ensure!(read(client, &name).await? == [1]);
    client
        .tombstone_stream(name.as_str(), &TombstoneStreamOptions::default())
        .await?;
    let closed = read(client, &name).await;
    ensure!(matches!(closed, Err(Error::ResourceDeleted)), "{closed:?}");
    Ok(())
}

async fn subscriptions(client: &Client) -> Result<()> {
    let name = new_name();
    client
        .append_to_stream(
            name.as_str(),
            &expecting(StreamState::Any),
            vec![event(0)?, event(1)?],
        )
        .await?;
    let options = SubscribeToStreamOptions::default().start_from(StreamPosition::Start);
    let mut subscription = client.subscribe_to_stream(name.as_str(), &options).await;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.push(subscription.next().await?.get_original_event().revision);
        if seen.len() == 2 {
            client
                .append_to_stream(name.as_str(), &expecting(StreamState::Any), event(2)?)
                .await?;
        }
    }
    ensure!(seen == [0, 1, 2], "{seen:?}");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let address = std::env::var("ICECORE").context("ICECORE is not set")?;
    let settings = format!("kurrentdb://{address}?tls=false").parse()?;
    let client = Client::new(settings).map_err(|error| anyhow::anyhow!("{error}"))?;
    appends_and_conflicts(&client)
        .await
        .context("appends and conflicts")?;
    reads(&client).await.context("reads")?;
    deletions(&client).await.context("deletions")?;
    subscriptions(&client).await.context("subscriptions")?;
    persistent::persistent_subscriptions(&client)
        .await
        .context("persistent subscriptions")?;
    println!("kurrentdb: ok");
    Ok(())
}
