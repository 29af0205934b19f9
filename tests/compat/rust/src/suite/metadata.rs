//! The metadata of streams, and what it hides.

use super::{done, new_name, revisions_in, stream_of};
use crate::db::{
    Acl, Client, Error, ReadStreamOptions, StreamAclBuilder, StreamMetadata, StreamMetadataResult,
    StreamPosition,
};
use crate::words::{self, Expected};
use anyhow::{Result, ensure};
use std::time::Duration;

async fn metadata_of(client: &Client, name: &str) -> Result<StreamMetadataResult, Error> {
    let last = ReadStreamOptions::default().position(StreamPosition::End);
    let last = last.backwards().max_count(1);
    client.get_stream_metadata(name, &last).await
}

pub(super) async fn check(client: &Client) -> Result<()> {
    let name = stream_of(client, 5).await?;
    ensure!(metadata_of(client, &name).await?.is_not_found());
    ensure!(
        metadata_of(client, &new_name("order"))
            .await?
            .is_not_found()
    );
    let set = async |expected, metadata: &StreamMetadata| {
        let options = words::appending(expected);
        client
            .set_stream_metadata(name.as_str(), &options, metadata)
            .await
    };
    let acl = StreamAclBuilder::new().add_read_roles("$admins").build();
    let whole = StreamMetadata::builder()
        .max_count(3)
        .max_age(Duration::from_secs(9_999))
        .cache_control(Duration::from_secs(15))
        .acl(Acl::Stream(acl))
        .insert_custom_property("mine", vec![1, 2])
        .build();
    set(Expected::NoStream, &whole).await?;
    let StreamMetadataResult::Success(found) = metadata_of(client, &name).await? else {
        anyhow::bail!("no metadata");
    };
    ensure!(found.version() == 0 && found.metadata() == &whole);
    ensure!(revisions_in(client, &name).await? == [2, 3, 4]);
    let wrong = set(Expected::NoStream, &whole).await;
    ensure!(
        matches!(wrong, Err(Error::WrongExpectedVersion { .. })),
        "{wrong:?}"
    );
    let cut = StreamMetadata::builder().truncate_before(4).build();
    set(words::revision(0), &cut).await?;
    ensure!(revisions_in(client, &name).await? == [4]);
    let options = words::tombstoning(Expected::Any);
    client.tombstone_stream(name.as_str(), &options).await?;
    let closed = metadata_of(client, &name).await;
    ensure!(matches!(closed, Err(Error::ResourceDeleted)), "{closed:?}");
    done("metadata");
    Ok(())
}
