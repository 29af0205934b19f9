//! Appends in each form, conflicts, and retries.

use super::{append, done, event, events, new_id, new_name, read, revisions_in, stream_of};
use crate::db::{BatchAppendOptions, Client, CurrentRevision, Error, EventData};
use crate::words::{self, Expected};
use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use futures::future::try_join_all;

/// The status of a batch that found another revision than it expected.
const ALREADY_EXISTS: i32 = 6;

pub(super) async fn check(client: &Client) -> Result<()> {
    each_form(client).await?;
    an_event_comes_back_as_it_was(client).await?;
    conflicts(client).await?;
    conflicts_of_batches(client).await?;
    retries_are_written_once(client).await?;
    large_appends(client).await?;
    done("appends, conflicts, retries");
    Ok(())
}

async fn each_form(client: &Client) -> Result<()> {
    let name = new_name("order");
    let first = append(client, &name, Expected::NoStream, events(2)?).await?;
    ensure!(first.next_expected_version == 1);
    ensure!(first.position.commit == first.position.prepare);
    let options = words::appending(words::revision(1));
    let one = client.append_to_stream(name.as_str(), &options, event(2)?);
    let one = one.await?;
    ensure!(one.next_expected_version == 2 && one.position > first.position);
    append(client, &name, Expected::StreamExists, events(1)?).await?;
    append(client, &name, Expected::Any, events(1)?).await?;
    let found = read(client, &name).await?;
    let positions = found
        .iter()
        .map(|found| found.get_original_event().position);
    let positions: Vec<_> = positions.collect();
    ensure!(positions.len() == 5 && positions.is_sorted());
    ensure!(positions[1] == first.position && positions[2] == one.position);

    let batch = client.batch_append(&BatchAppendOptions::default()).await?;
    let names: Vec<_> = (0..50).map(|_| new_name("batch")).collect();
    let put = async |name: &String| {
        let answer = batch.append_to_stream(name, Expected::NoStream, events(2)?);
        anyhow::Ok(answer.await?)
    };
    let answers = try_join_all(names.iter().map(put)).await?;
    for (name, answer) in names.iter().zip(answers) {
        ensure!(answer.stream_name() == name && answer.current_revision() == Some(1));
        ensure!(revisions_in(client, name).await? == [0, 1]);
    }
    Ok(())
}

async fn an_event_comes_back_as_it_was(client: &Client) -> Result<()> {
    let name = new_name("order");
    let id = new_id();
    let data: Bytes = (0..=255_u8).collect();
    let metadata = Bytes::from_static(b"{ \"$correlationId\": \"c\", \"n\": 1.50 }");
    let scanned = EventData::binary("Scanned", data.clone()).id(id);
    let scanned = vec![scanned.metadata(metadata.clone()), event(7)?];
    append(client, &name, Expected::Any, scanned).await?;
    let found = read(client, &name).await?;
    let [scanned, json] = &found[..] else {
        anyhow::bail!("{} events", found.len());
    };
    let scanned = scanned.get_original_event();
    ensure!(words::stream_of(scanned) == name && scanned.id == id);
    ensure!(scanned.event_type == "Scanned" && !scanned.is_json);
    ensure!(scanned.data == data && scanned.custom_metadata == metadata);
    let json = json.get_original_event();
    ensure!(json.is_json && json.created >= scanned.created);
    ensure!(json.as_json::<serde_json::Value>()? == serde_json::json!({ "n": 7 }));
    Ok(())
}

fn is_conflict<T>(answer: &Result<T, Error>, wanted: Expected, found: CurrentRevision) -> bool {
    let Err(Error::WrongExpectedVersion { expected, current }) = answer else {
        return false;
    };
    (*expected, *current) == (wanted, found)
}

async fn conflicts(client: &Client) -> Result<()> {
    let name = stream_of(client, 2).await?;
    let current = CurrentRevision::Current(1);
    for expected in [Expected::NoStream, words::revision(0), words::revision(7)] {
        let answer = append(client, &name, expected, events(1)?).await;
        ensure!(is_conflict(&answer, expected, current), "{expected:?}");
    }
    let absent = new_name("order");
    for expected in [Expected::StreamExists, words::revision(0)] {
        let answer = append(client, &absent, expected, events(1)?).await;
        let none = CurrentRevision::NoStream;
        ensure!(is_conflict(&answer, expected, none), "{expected:?}");
    }
    ensure!(revisions_in(client, &name).await? == [0, 1]);
    Ok(())
}

/// The client ends its call when a batch is refused, and begins another.
async fn conflicts_of_batches(client: &Client) -> Result<()> {
    let name = stream_of(client, 2).await?;
    for expected in [Expected::NoStream, words::revision(0), words::revision(7)] {
        let batch = client.batch_append(&BatchAppendOptions::default()).await?;
        let refused = batch.append_to_stream(&name, expected, events(1)?).await;
        let Err(Error::Grpc { code, message }) = refused else {
            bail!("{refused:?}");
        };
        ensure!(code as i32 == ALREADY_EXISTS, "{code:?}: {message}");
    }
    let batch = client.batch_append(&BatchAppendOptions::default()).await?;
    batch
        .append_to_stream(&name, words::revision(1), events(1)?)
        .await?;
    ensure!(revisions_in(client, &name).await? == [0, 1, 2]);
    Ok(())
}

async fn retries_are_written_once(client: &Client) -> Result<()> {
    let name = new_name("order");
    let all = events(4)?;
    let put = async |expected, events: &[EventData]| {
        append(client, &name, expected, events.to_vec()).await
    };
    let first = put(Expected::NoStream, &all[..2]).await?;
    let second = put(words::revision(1), &all[2..3]).await?;
    for (expected, events, answer) in [
        (Expected::NoStream, &all[..2], &first),
        (words::revision(1), &all[2..3], &second),
        (words::revision(0), &all[1..3], &second),
        (Expected::Any, &all[2..3], &second),
        (Expected::StreamExists, &all[..2], &first),
    ] {
        let again = put(expected, events).await?;
        ensure!(again.position == answer.position, "{expected:?}");
        ensure!(again.next_expected_version == answer.next_expected_version);
    }
    for expected in [words::revision(1), Expected::Any] {
        let mixed = put(expected, &all[2..]).await;
        ensure!(
            is_conflict(&mixed, expected, CurrentRevision::Current(2)),
            "{expected:?}"
        );
    }
    retried_batch(client, &name, &all[..2]).await?;
    ensure!(revisions_in(client, &name).await? == [0, 1, 2]);
    Ok(())
}

async fn retried_batch(client: &Client, name: &str, events: &[EventData]) -> Result<()> {
    let batch = client.batch_append(&BatchAppendOptions::default()).await?;
    let again = batch.append_to_stream(name, Expected::NoStream, events.to_vec());
    ensure!(again.await?.current_revision() == Some(1));
    Ok(())
}

async fn large_appends(client: &Client) -> Result<()> {
    let name = new_name("order");
    let data = Bytes::from(vec![7; 3_000_000]);
    let large = (0..5).map(|_| EventData::binary("Scanned", data.clone()).id(new_id()));
    append(client, &name, Expected::NoStream, large.collect()).await?;
    let found = read(client, &name).await?;
    ensure!(found.len() == 5);
    ensure!(
        found
            .iter()
            .all(|found| found.get_original_event().data == data)
    );
    let many = new_name("order");
    let answer = append(client, &many, Expected::NoStream, events(10_000)?).await?;
    ensure!(answer.next_expected_version == 9_999);
    Ok(())
}
