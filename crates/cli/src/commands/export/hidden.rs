//! What readers of a stream do not see, although reads of all streams do.
//!
//! Only deleted streams and streams with metadata hide anything, so only those are asked for: the
//! listing of streams says which are deleted, that of `$$` streams which have metadata.

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use icecore_client::{
    Client, Error, ListStreams, RecordedEvent, Revision, StreamEntry, StreamName, StreamState,
};
use std::collections::HashMap;

/// Streams that are asked for at the same time.
const CALLS_AT_A_TIME: usize = 32;

/// The streams that hide events, each with its first visible revision; `None` hides all.
pub(super) struct Hidden(HashMap<StreamName, Option<Revision>>);

impl Hidden {
    pub(super) fn nothing() -> Self {
        Self(HashMap::new())
    }

    /// What is hidden now.
    pub(super) async fn load(client: &Client) -> Result<Self> {
        let mut hidden = HashMap::new();
        let mut with_metadata = Vec::new();
        for_each_stream(client, "", |entry| {
            if !matches!(entry.state, StreamState::Living { .. }) {
                hidden.insert(entry.stream, None);
            }
        })
        .await?;
        for_each_stream(client, "$$", |entry| {
            let of = entry.stream.metadata_of();
            with_metadata.extend(of.filter(|of| !of.is_system() && !hidden.contains_key(of)));
        })
        .await?;
        let first = |stream: StreamName| async move {
            Ok::<_, Error>(match client.get_stream(&stream).await {
                Ok(info) => (stream, info.first.map(|first| first.revision)),
                Err(Error::StreamNotFound { .. }) => (stream, None),
                Err(error) => return Err(error),
            })
        };
        let found = stream::iter(with_metadata)
            .map(first)
            .buffer_unordered(CALLS_AT_A_TIME);
        let found: Vec<_> = found.try_collect().await?;
        hidden.extend(
            found
                .into_iter()
                .filter(|(_, first)| *first != Some(Revision::FIRST)),
        );
        Ok(Self(hidden))
    }

    /// Whether readers of its stream see this event.
    pub(super) fn shows(&self, event: &RecordedEvent) -> bool {
        match self.0.get(&event.stream) {
            None => !event.is_tombstone(),
            Some(None) => false,
            Some(Some(first)) => event.revision >= *first && !event.is_tombstone(),
        }
    }
}

async fn for_each_stream(
    client: &Client,
    prefix: &str,
    mut each: impl FnMut(StreamEntry),
) -> Result<()> {
    let mut list = ListStreams {
        prefix: prefix.to_owned(),
        ..ListStreams::default()
    };
    loop {
        let page = client.list_streams(list.clone()).await?;
        page.streams.into_iter().for_each(&mut each);
        list.after = page.next_after;
        if list.after.is_none() {
            return Ok(());
        }
    }
}
