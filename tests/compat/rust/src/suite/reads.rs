//! Reads in each direction, through filters, and of links.

use super::{all_of, append, done, event_of, events, new_id, new_name, read, revisions};
use super::{stream_of, targets};
use crate::db::{
    Client, Error, EventData, Position, ReadAllOptions, ReadStreamOptions, ResolvedEvent,
    StreamPosition, SubscriptionFilter,
};
use crate::words::{self, Expected};
use anyhow::{Context as _, Result, ensure};

pub(super) async fn check(client: &Client) -> Result<()> {
    of_a_stream(client).await?;
    of_all(client).await?;
    filters(client).await?;
    links(client).await?;
    done("reads, filters, links");
    Ok(())
}

async fn of_a_stream(client: &Client) -> Result<()> {
    let name = stream_of(client, 5).await?;
    let from = |position| ReadStreamOptions::default().position(position);
    let end = from(StreamPosition::End).backwards();
    for (options, expected) in [
        (from(StreamPosition::Start), &[0, 1, 2, 3, 4][..]),
        (from(StreamPosition::Start).max_count(2), &[0, 1]),
        (from(StreamPosition::Position(3)), &[3, 4]),
        (from(StreamPosition::Position(9)), &[]),
        (end.clone(), &[4, 3, 2, 1, 0]),
        (end.max_count(1), &[4]),
        (from(StreamPosition::Position(1)).backwards(), &[1, 0]),
    ] {
        let found = all_of(client.read_stream(name.as_str(), &options).await?);
        let found = revisions(&found.await?);
        ensure!(found == expected, "{found:?} instead of {expected:?}");
    }
    let absent = read(client, &new_name("order")).await;
    ensure!(matches!(absent, Err(Error::ResourceNotFound)), "{absent:?}");
    Ok(())
}

fn positions(events: &[ResolvedEvent]) -> Vec<Position> {
    let original = events.iter().map(ResolvedEvent::get_original_event);
    original.map(|event| event.position).collect()
}

async fn read_all(client: &Client, options: ReadAllOptions) -> Result<Vec<ResolvedEvent>> {
    Ok(all_of(client.read_all(&options).await?).await?)
}

async fn of_all(client: &Client) -> Result<()> {
    let name = new_name("order");
    let first = append(client, &name, Expected::Any, events(1)?)
        .await?
        .position;
    let last = append(client, &name, Expected::Any, events(1)?)
        .await?
        .position;
    let all = ReadAllOptions::default;
    let from = all().position(StreamPosition::Position(first));
    ensure!(positions(&read_all(client, from).await?) == [first, last]);
    let end = all().position(StreamPosition::End).backwards();
    let newest = read_all(client, end.max_count(2)).await?;
    ensure!(positions(&newest) == [last, first]);
    ensure!(targets(&newest) == [(name.clone(), 1), (name, 0)]);
    let back = all().position(StreamPosition::Position(last)).backwards();
    ensure!(positions(&read_all(client, back.max_count(1)).await?) == [first]);
    let oldest = all().position(StreamPosition::Start).max_count(1);
    let oldest = positions(&read_all(client, oldest).await?);
    ensure!(oldest.len() == 1 && oldest[0] <= first);
    Ok(())
}

async fn filters(client: &Client) -> Result<()> {
    let prefix = new_id().simple().to_string();
    let (a, b) = (format!("{prefix}-a"), format!("{prefix}-b"));
    let one = append(client, &a, Expected::Any, vec![event_of("OneThing", 0)?]).await?;
    let two = vec![event_of("OtherThing", 1)?, event_of("OneThing", 2)?];
    append(client, &b, Expected::Any, two).await?;
    let (on_type, on_name) = (
        SubscriptionFilter::on_event_type,
        SubscriptionFilter::on_stream_name,
    );
    for (filter, expected) in [
        (on_type().add_prefix("One"), &[(&a, 0), (&b, 1)][..]),
        (on_type().regex("^Other"), &[(&b, 0)]),
        (
            on_type().exclude_system_events(),
            &[(&a, 0), (&b, 0), (&b, 1)],
        ),
        (on_type().regex("^(?!One)"), &[(&b, 0)]),
        (on_name().add_prefix(&b), &[(&b, 0), (&b, 1)]),
        (on_name().regex(format!("^{prefix}-[a]$")), &[(&a, 0)]),
    ] {
        let from = StreamPosition::Position(one.position);
        let from = ReadAllOptions::default().position(from);
        let Some(options) = words::filtered(from, filter) else {
            return Ok(());
        };
        let found = targets(&read_all(client, options).await?);
        let expected: Vec<_> = expected.iter().map(|(s, n)| ((*s).clone(), *n)).collect();
        ensure!(found == expected, "{found:?} instead of {expected:?}");
    }
    Ok(())
}

async fn links(client: &Client) -> Result<()> {
    let name = stream_of(client, 3).await?;
    let list = new_name("list");
    // The last one leads nowhere.
    let links = [2, 0, 9].map(|n| EventData::binary("$>", format!("{n}@{name}").into()));
    append(client, &list, Expected::NoStream, links.to_vec()).await?;
    let plain = read(client, &list).await?;
    ensure!(revisions(&plain) == [0, 1, 2]);
    let is_link = |found: &ResolvedEvent| found.get_original_event().event_type == "$>";
    ensure!(plain.iter().all(is_link) && !plain[0].is_resolved());
    let options = ReadStreamOptions::default().resolve_link_tos();
    let found = all_of(client.read_stream(list.as_str(), &options).await?).await?;
    ensure!(revisions(&found) == [0, 1, 2]);
    ensure!(targets(&found) == [(name.clone(), 2), (name, 0)]);
    let broken = found.last().context("a link")?;
    ensure!(broken.event.is_none() && broken.link.is_some());
    Ok(())
}
