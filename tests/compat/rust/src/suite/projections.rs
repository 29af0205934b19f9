//! Projections: those of the system as streams of links, and the books of those of users.

use super::{all_of, append, done, event_of, events, new_id, new_name, targets};
use crate::db::{
    Client, CreateProjectionOptions, DeleteProjectionOptions, Error, EventData,
    GenericProjectionOptions, GetResultProjectionOptions, GetStateProjectionOptions,
    ProjectionClient, ReadStreamOptions, ResolvedEvent, StreamPosition, SubscribeToStreamOptions,
    UpdateProjectionOptions,
};
use crate::words::{self, Expected};
use anyhow::{Context as _, Result, ensure};
use futures::TryStreamExt as _;

const QUERY: &str = "fromAll().when({ $init() { return {}; } })";

pub(super) async fn check(client: &Client) -> Result<()> {
    streams_of_links(client).await?;
    the_first_event_of_each_stream(client).await?;
    books_are_kept(client).await?;
    done("projections");
    Ok(())
}

/// The links as they are, and what they lead to.
async fn links_in(client: &Client, stream: &str) -> Result<Vec<(String, u64)>> {
    let plain = all_of(
        client
            .read_stream(stream, &ReadStreamOptions::default())
            .await?,
    )
    .await?;
    let is_link = |found: &ResolvedEvent| {
        let link = found.get_original_event();
        link.event_type == "$>" && words::stream_of(link) == stream && !found.is_resolved()
    };
    ensure!(plain.iter().all(is_link), "{plain:?}");
    let options = ReadStreamOptions::default().resolve_link_tos();
    let resolved = all_of(client.read_stream(stream, &options).await?).await?;
    ensure!(resolved.iter().all(ResolvedEvent::is_resolved));
    let texts = plain
        .iter()
        .map(|found| found.get_original_event().data.clone());
    let named = targets(&resolved);
    let expected = named.iter().map(|(stream, n)| format!("{n}@{stream}"));
    ensure!(texts.eq(expected), "a link says what it leads to");
    let back = options.position(StreamPosition::End).backwards();
    let mut back = targets(&all_of(client.read_stream(stream, &back).await?).await?);
    back.reverse();
    ensure!(back == named);
    Ok(named)
}

async fn streams_of_links(client: &Client) -> Result<()> {
    let unique = new_id().simple().to_string();
    let (one, two) = (format!("{unique}-1"), format!("{unique}-2"));
    let correlated =
        |event: EventData| event.metadata_as_json(&serde_json::json!({ "$correlationId": unique }));
    let mine = correlated(event_of(&unique, 0)?)?;
    append(
        client,
        &one,
        Expected::Any,
        vec![mine, event_of("Other", 1)?],
    )
    .await?;
    let mine = correlated(event_of(&unique, 2)?)?;
    append(client, &two, Expected::Any, vec![mine]).await?;
    let (all, mine) = (
        [(one.clone(), 0), (one.clone(), 1), (two.clone(), 0)],
        [(one, 0), (two.clone(), 0)],
    );
    for (stream, expected) in [("ce", &all[..]), ("et", &mine), ("bc", &mine)] {
        let found = links_in(client, &format!("${stream}-{unique}")).await?;
        ensure!(found == expected, "${stream}: {found:?}");
    }
    let category = format!("$ce-{unique}");
    let refused = append(client, &category, Expected::Any, events(1)?).await;
    ensure!(refused.is_err(), "{refused:?}");
    let options = SubscribeToStreamOptions::default()
        .start_from(StreamPosition::Start)
        .resolve_link_tos();
    let mut subscription = client.subscribe_to_stream(category, &options).await;
    let mut followed = Vec::new();
    while followed.len() < 4 {
        followed.push(subscription.next().await?);
        if followed.len() == 3 {
            append(client, &two, Expected::Any, events(1)?).await?;
        }
    }
    ensure!(targets(&followed[..3]) == all);
    ensure!(targets(&followed[3..]) == [(two, 1)]);
    Ok(())
}

async fn the_first_event_of_each_stream(client: &Client) -> Result<()> {
    let names = [new_name("order"), new_name("order")];
    for name in &names {
        append(client, name, Expected::NoStream, events(2)?).await?;
    }
    let newest = ReadStreamOptions::default().position(StreamPosition::End);
    let newest = newest.backwards().max_count(2).resolve_link_tos();
    let found = all_of(client.read_stream("$streams", &newest).await?).await?;
    let [one, two] = names;
    ensure!(targets(&found) == [(two, 0), (one, 0)]);
    Ok(())
}

/// Projections of users are listed and switched, and say that they are not run.
async fn books_are_kept(client: &Client) -> Result<()> {
    let projections = ProjectionClient::from(client.clone());
    let (name, plain) = (new_name("projection"), GenericProjectionOptions::default());
    let options = CreateProjectionOptions::default().emit(true);
    projections.create(&name, QUERY.into(), &options).await?;
    let twice = projections.create(&name, QUERY.into(), &options).await;
    ensure!(
        matches!(twice, Err(Error::ResourceAlreadyExists)),
        "{twice:?}"
    );
    let status = async || {
        let status = projections.get_status(&name, &plain).await?;
        anyhow::Ok(status.context("no status")?)
    };
    let created = status().await?;
    ensure!(created.name == name && created.status == "Running" && created.mode == "Continuous");
    ensure!(created.state_reason.contains("not run"), "{created:?}");
    let listed: Vec<_> = projections.list(&plain).await?.try_collect().await?;
    for name in [name.as_str(), "$by_category", "$by_event_type", "$streams"] {
        ensure!(listed.iter().any(|each| each.name == name), "{name}");
    }
    projections.disable(&name, &plain).await?;
    ensure!(status().await?.status == "Stopped");
    projections.enable(&name, &plain).await?;
    ensure!(status().await?.status == "Running");
    let options = UpdateProjectionOptions::default();
    projections.update(&name, QUERY.into(), &options).await?;
    ensure!(status().await?.version > created.version);
    projections.reset(&name, &plain).await?;
    projections.abort(&name, &plain).await?;
    nothing_is_computed(&projections, &name).await?;
    let options = DeleteProjectionOptions::default();
    projections.delete(&name, &options).await?;
    let gone = projections.get_status(&name, &plain).await;
    ensure!(matches!(gone, Err(Error::ResourceNotFound)), "{gone:?}");
    projections.restart_subsystem(&plain).await?;
    Ok(())
}

async fn nothing_is_computed(projections: &ProjectionClient, name: &str) -> Result<()> {
    let options = GetStateProjectionOptions::default();
    let state = projections.get_state::<_, serde_json::Value>(name, &options);
    let state = state.await;
    ensure!(matches!(state, Err(Error::UnsupportedFeature)), "{state:?}");
    let options = GetResultProjectionOptions::default();
    let result = projections.get_result::<_, serde_json::Value>(name, &options);
    let result = result.await;
    ensure!(
        matches!(result, Err(Error::UnsupportedFeature)),
        "{result:?}"
    );
    Ok(())
}
