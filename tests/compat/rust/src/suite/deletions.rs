//! Deletions, and streams that are closed for ever.

use super::{append, done, events, new_name, read, revisions_in, stream_of};
use crate::db::{Client, Error};
use crate::words::{self, Expected};
use anyhow::{Context as _, Result, ensure};

pub(super) async fn check(client: &Client) -> Result<()> {
    deleted_streams_come_back(client).await?;
    tombstones(client).await?;
    done("deletions, tombstones");
    Ok(())
}

/// The client has no word of its own for a wrong expectation in a deletion.
fn is_refused<T>(answer: &Result<T, Error>) -> bool {
    let Err(Error::Grpc { message, .. }) = answer else {
        return false;
    };
    message.contains("WrongExpectedVersion")
}

async fn deleted_streams_come_back(client: &Client) -> Result<()> {
    let name = stream_of(client, 1).await?;
    let delete = async |name: &str, expected| {
        let options = words::deleting(expected);
        client.delete_stream(name, &options).await
    };
    for expected in [Expected::NoStream, words::revision(7)] {
        ensure!(is_refused(&delete(&name, expected).await), "{expected:?}");
    }
    ensure!(is_refused(&delete(&new_name("order"), Expected::Any).await));
    let at = delete(&name, words::revision(0)).await?;
    ensure!(at.is_some());
    let gone = read(client, &name).await;
    ensure!(matches!(gone, Err(Error::ResourceNotFound)), "{gone:?}");
    let exists = append(client, &name, Expected::StreamExists, events(1)?).await;
    ensure!(matches!(exists, Err(Error::ResourceDeleted)), "{exists:?}");
    append(client, &name, Expected::NoStream, events(1)?).await?;
    ensure!(revisions_in(client, &name).await? == [1]);
    delete(&name, Expected::Any).await?;
    append(client, &name, words::revision(1), events(1)?).await?;
    ensure!(revisions_in(client, &name).await? == [2]);
    Ok(())
}

async fn tombstones(client: &Client) -> Result<()> {
    let name = stream_of(client, 2).await?;
    let tombstone = async |name: &str, expected| {
        let options = words::tombstoning(expected);
        client.tombstone_stream(name, &options).await
    };
    ensure!(is_refused(&tombstone(&name, words::revision(7)).await));
    let at = tombstone(&name, words::revision(1)).await?;
    at.context("the tombstone has no position")?;
    let closed = read(client, &name).await;
    ensure!(matches!(closed, Err(Error::ResourceDeleted)), "{closed:?}");
    for expected in [Expected::Any, Expected::NoStream, words::revision(1)] {
        let closed = append(client, &name, expected, events(1)?).await;
        ensure!(matches!(closed, Err(Error::ResourceDeleted)), "{closed:?}");
    }
    let again = tombstone(&name, Expected::Any).await;
    ensure!(matches!(again, Err(Error::ResourceDeleted)), "{again:?}");
    let options = words::deleting(Expected::Any);
    let deleted = client.delete_stream(name.as_str(), &options).await;
    ensure!(
        matches!(deleted, Err(Error::ResourceDeleted)),
        "{deleted:?}"
    );
    let unborn = new_name("order");
    ensure!(is_refused(
        &tombstone(&unborn, Expected::StreamExists).await
    ));
    tombstone(&unborn, Expected::NoStream).await?;
    let closed = append(client, &unborn, Expected::NoStream, events(1)?).await;
    ensure!(matches!(closed, Err(Error::ResourceDeleted)), "{closed:?}");
    Ok(())
}
