//! Everything is read back, in every way there is, and compared with the log.

use super::report;
use crate::log::Expected;
use crate::process::{Icecore, ServerProcess};
use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use icecore_client::{
    Category, Client, Filter, ListCategories, ListStreams, Position, Read, RecordedEvent,
    StreamName, Tag,
};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Instant;

/// Streams that are read at a time.
const STREAMS_AT_A_TIME: usize = 32;

/// Reads the log, each stream and the listings back.
pub(super) async fn everything(client: &Client, expected: &[Expected]) -> Result<()> {
    let all = whole(client, expected).await?;
    numbers(client, &all).await?;
    streams(client, &all).await?;
    listings(client, &all).await?;
    filters(client, &all).await?;
    as_of(client, &all).await
}

/// The whole log, event by event.
async fn whole(client: &Client, expected: &[Expected]) -> Result<Vec<RecordedEvent>> {
    let since = Instant::now();
    let mut events = client.read_all().stream();
    let mut all = Vec::with_capacity(expected.len());
    for expected in expected {
        let found = events.try_next().await?;
        let found = found.with_context(|| format!("the store ends before {expected:?}"))?;
        expected.check(&found)?;
        all.push(found);
    }
    let more = events.try_next().await?;
    ensure!(more.is_none(), "the log does not have {more:?}");
    report("read the whole log", all.len(), since);
    let ids: HashSet<_> = all.iter().map(|event| (&event.stream, event.id)).collect();
    ensure!(ids.len() == all.len(), "ids stand twice in a stream");
    Ok(all)
}

/// Positions have no gap once the store's own streams are seen, and backwards is forwards reversed.
async fn numbers(client: &Client, all: &[RecordedEvent]) -> Result<()> {
    let since = Instant::now();
    let read = Read {
        filter: Filter::everything(),
        ..Read::all()
    };
    let mut everything = client.read(read).stream();
    let mut next = Position::FIRST;
    while let Some(event) = everything.try_next().await? {
        let at = event.position;
        ensure!(at == next, "position {at} stands where {next} should");
        next = next.next();
    }
    let count = usize::try_from(next.get() - 1)?;
    report("read it with the store's own streams", count, since);

    let since = Instant::now();
    let mut backwards = client.read_all().backwards().stream();
    for expected in all.iter().rev() {
        let found = backwards.try_next().await?;
        ensure!(found.as_ref() == Some(expected), "backwards: {found:?}");
    }
    ensure!(backwards.try_next().await?.is_none());
    report("read it backwards", all.len(), since);
    Ok(())
}

/// Each stream by itself.
async fn streams(client: &Client, all: &[RecordedEvent]) -> Result<()> {
    let since = Instant::now();
    let mut streams = BTreeMap::<&StreamName, Vec<&RecordedEvent>>::new();
    for event in all {
        streams.entry(&event.stream).or_default().push(event);
    }
    let count = streams.len();
    stream::iter(streams)
        .map(async |(stream, expected)| {
            let found = client.read_stream(stream).await?;
            let same = found.iter().eq(expected);
            ensure!(same, "`{stream}` reads differently by itself");
            Ok(())
        })
        .buffer_unordered(STREAMS_AT_A_TIME)
        .try_collect::<()>()
        .await?;
    report(format!("read {count} streams"), all.len(), since);
    Ok(())
}

/// The names of streams and categories.
async fn listings(client: &Client, all: &[RecordedEvent]) -> Result<()> {
    let names: BTreeSet<_> = all.iter().map(|event| event.stream.clone()).collect();
    let mut found = Vec::new();
    let mut list = ListStreams::default();
    loop {
        let page = client.list_streams(list.clone()).await?;
        found.extend(page.streams.into_iter().map(|entry| entry.stream));
        match page.next_after {
            Some(after) => list.after = Some(after),
            None => break,
        }
    }
    ensure!(found.iter().eq(&names), "other streams are listed");
    let categories: BTreeSet<_> = names.iter().filter_map(StreamName::category).collect();
    let found = client.list_categories(ListCategories::default()).await?;
    ensure!(
        found.categories.iter().eq(&categories),
        "other categories are listed: {found:?}"
    );
    println!(
        "listed {} streams, {} categories",
        names.len(),
        categories.len()
    );
    Ok(())
}

/// By category, type and tag.
async fn filters(client: &Client, all: &[RecordedEvent]) -> Result<()> {
    let some = &all[all.len() / 2];
    let event_type = some.event_type.as_str().to_owned();
    let of_type = client.read_all().types([event_type]).await?;
    compare("its type", &of_type, all, |event| {
        event.event_type == some.event_type
    })?;
    if let Some(tag) = some.tags.first() {
        let tagged = client.read_all().tag(Tag::clone(tag)).await?;
        compare("its tag", &tagged, all, |event| event.tags.contains(tag))?;
    }
    if let Some(category) = some.stream.category() {
        let of_category = client
            .read_all()
            .category(Category::clone(&category))
            .await?;
        compare("its category", &of_category, all, |event| {
            event.stream.category().as_ref() == Some(&category)
        })?;
    }
    Ok(())
}

/// What had been recorded by a time: of times before, within and after the log.
async fn as_of(client: &Client, all: &[RecordedEvent]) -> Result<()> {
    let first = all[0].recorded_at.plus_nanos(-1);
    let middle = all[all.len() / 3].recorded_at;
    let last = all[all.len() - 1].recorded_at;
    for time in [first, middle, last] {
        let found = client.read_all().as_of(time).await?;
        compare("as of a time", &found, all, |event| {
            event.recorded_at <= time
        })?;
    }
    let some = &all[all.len() / 3];
    let found = client.read_stream(&some.stream).as_of(middle).await?;
    compare("a stream as of a time", &found, all, |event| {
        event.stream == some.stream && event.recorded_at <= middle
    })
}

fn compare(
    what: &str,
    found: &[RecordedEvent],
    all: &[RecordedEvent],
    wanted: impl Fn(&RecordedEvent) -> bool,
) -> Result<()> {
    let expected: Vec<_> = all.iter().filter(|event| wanted(event)).collect();
    let (is, should) = (found.len(), expected.len());
    ensure!(is == should, "by {what}: {is} events, expected {should}");
    ensure!(found.iter().eq(expected), "by {what}: other events");
    println!("read by {what}: {is} events");
    Ok(())
}

/// The same question by the command line.
pub(super) async fn as_of_by_command(
    icecore: &Icecore,
    server: &ServerProcess,
    expected: &[Expected],
) -> Result<()> {
    let time = expected[expected.len() / 20].recorded_at;
    let wanted = expected.iter().filter(|event| event.recorded_at <= time);
    let text = time.to_string();
    let arguments = ["read", "--all", "--as-of", &text, "--output", "json"];
    let printed = icecore.must(server, &arguments).await?;
    let (is, should) = (printed.lines().count(), wanted.count());
    ensure!(
        is == should,
        "{arguments:?}: {is} events, expected {should}"
    );
    Ok(())
}
