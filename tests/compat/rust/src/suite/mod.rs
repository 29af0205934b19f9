//! What both Rust clients do with Icecore, with asserted results: the cases by subject, and what they
//! share. The client is `crate::db`, and what it calls differently is in `crate::words`.
//!
//! The server's address is in `ICECORE`, and `RESTART` kills the server and starts it again.

mod appends;
mod deletions;
mod groups;
mod groups_of_all;
mod metadata;
mod operations;
mod projections;
mod reads;
mod restart;
mod subscriptions;

use crate::db::{
    Client, ClientSettings, Error, EventData, ReadStream, ReadStreamOptions, ResolvedEvent,
    StreamPosition, WriteResult,
};
use crate::words::{self, Expected};
use anyhow::{Context as _, Result, ensure};
use std::time::Duration;
use tokio::process::Command;
use uuid::Uuid;

/// How often something that takes a moment is looked for, and how long until the next look.
const TRIES: usize = 300;
const PAUSE: Duration = Duration::from_millis(100);

#[expect(clippy::disallowed_methods, reason = "these are the caller's ids")]
fn new_id() -> Uuid {
    Uuid::new_v4()
}

fn new_name(prefix: &str) -> String {
    format!("{prefix}-{}", new_id())
}

fn event_of(event_type: &str, n: u64) -> Result<EventData> {
    let event = EventData::json(event_type, &serde_json::json!({ "n": n }))?;
    Ok(event.id(new_id()))
}

fn event(n: u64) -> Result<EventData> {
    event_of("OrderPlaced", n)
}

fn events(count: u64) -> Result<Vec<EventData>> {
    (0..count).map(event).collect()
}

async fn append(
    client: &Client,
    stream: &str,
    expected: Expected,
    events: Vec<EventData>,
) -> Result<WriteResult, Error> {
    let options = words::appending(expected);
    client.append_to_stream(stream, &options, events).await
}

/// A new stream with so many events.
async fn stream_of(client: &Client, count: u64) -> Result<String> {
    let stream = new_name("order");
    append(client, &stream, Expected::NoStream, events(count)?).await?;
    Ok(stream)
}

async fn all_of(mut read: ReadStream) -> Result<Vec<ResolvedEvent>, Error> {
    let mut events = Vec::new();
    while let Some(event) = read.next().await? {
        events.push(event);
    }
    Ok(events)
}

async fn read(client: &Client, stream: &str) -> Result<Vec<ResolvedEvent>, Error> {
    let options = ReadStreamOptions::default().position(StreamPosition::Start);
    all_of(client.read_stream(stream, &options).await?).await
}

/// What stands in the stream that was read: of a resolved link, the link.
fn revisions(events: &[ResolvedEvent]) -> Vec<u64> {
    let original = events.iter().map(ResolvedEvent::get_original_event);
    original.map(|event| event.revision).collect()
}

async fn revisions_in(client: &Client, stream: &str) -> Result<Vec<u64>, Error> {
    Ok(revisions(&read(client, stream).await?))
}

/// The events themselves, of resolved links their targets.
fn targets(events: &[ResolvedEvent]) -> Vec<(String, u64)> {
    let targets = events.iter().filter_map(|found| found.event.as_ref());
    let named = targets.map(|event| (words::stream_of(event).to_owned(), event.revision));
    named.collect()
}

/// Kills the server and starts it again.
async fn restart_server() -> Result<()> {
    let command = std::env::var("RESTART").context("RESTART is not set")?;
    let status = Command::new("sh").arg("-c").arg(command).status().await?;
    ensure!(status.success(), "the server is not back: {status}");
    Ok(())
}

fn settings() -> Result<ClientSettings> {
    let address = std::env::var("ICECORE").context("ICECORE is not set")?;
    Ok(format!("{}://{address}?tls=false", words::SCHEME).parse()?)
}

pub(crate) async fn run() -> Result<()> {
    let client = words::connect(settings()?)?;
    appends::check(&client).await.context("appends")?;
    reads::check(&client).await.context("reads")?;
    deletions::check(&client).await.context("deletions")?;
    metadata::check(&client).await.context("metadata")?;
    subscriptions::check(&client)
        .await
        .context("subscriptions")?;
    groups::check(&client).await.context("groups")?;
    groups_of_all::check(&client)
        .await
        .context("groups of all streams")?;
    projections::check(&client).await.context("projections")?;
    operations::check(&client).await.context("operations")?;
    restart::check(&client).await.context("restart")?;
    println!("{}: ok", words::NAME);
    Ok(())
}

/// Says that a case is through.
fn done(case: &str) {
    println!("{}: {case}: ok", words::NAME);
}
