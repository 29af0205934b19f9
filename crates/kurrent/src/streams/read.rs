//! Reads: the events of one stream or all, and what is said where a stream is not there.

use crate::errors::status;
use crate::event::identifier;
use crate::proto::event_store::client::streams::read_resp;
use crate::streams::Answers;
use crate::streams::answer::ReadAnswer;
use crate::streams::question::{Ends, Links, View};
use futures::stream::{self, try_unfold};
use futures::{Stream, StreamExt, TryStreamExt};
use icecore_core::{
    Error, Read, ReadFrom, RecordedEvent, Result, Revision, StreamName, event_types,
};
use icecore_eventstore::{EventStore, Resolved};
use std::collections::VecDeque;
use tonic::Status;

/// The answers to a read. It waits for the first events: only then is it known whether the stream is
/// there.
pub(super) async fn answers(
    store: EventStore,
    read: Read,
    view: View,
) -> Result<Answers<ReadAnswer>, Status> {
    let stream = match &read.from {
        ReadFrom::Stream(stream, _) => Some(stream.clone()),
        ReadFrom::All(_) => None,
    };
    let last = match &stream {
        Some(stream) if view.ends == Ends::Told => last_revision(&store, stream).await?,
        _ => None,
    };
    let mut batches = store.read(read).boxed();
    let first = match batches.next().await {
        Some(Err(Error::StreamNotFound { stream })) => {
            let answer = stream::once(async { Ok(not_found(stream)) });
            return Ok(answer.boxed());
        }
        first => first.transpose().map_err(status)?,
    };
    let events = stream::iter(first.map(Ok))
        .chain(batches)
        .map(move |batch| match batch {
            Ok(batch) => Ok(shown(store.clone(), batch.events, view)),
            Err(error) => Err(status(error)),
        })
        .try_flatten();
    let end = last.map(|last| Ok(read_resp::Content::LastStreamPosition(last.get()).into()));
    Ok(events.chain(stream::iter(end)).boxed())
}

/// The last revision of a stream; `None` when it has none.
pub(super) async fn last_revision(
    store: &EventStore,
    stream: &StreamName,
) -> Result<Option<Revision>, Status> {
    match store.stream_info(stream).await {
        Ok(info) => Ok(info.state.last_revision()),
        Err(Error::StreamNotFound { .. }) => Ok(None),
        Err(error) => Err(status(error)),
    }
}

fn not_found(stream: StreamName) -> ReadAnswer {
    let stream_identifier = Some(identifier(stream));
    read_resp::Content::StreamNotFound(read_resp::StreamNotFound { stream_identifier }).into()
}

/// Events as the caller wants to see them.
pub(super) fn shown(
    store: EventStore,
    events: Vec<RecordedEvent>,
    view: View,
) -> impl Stream<Item = Result<ReadAnswer, Status>> + Send + 'static {
    let has_links = || {
        let mut types = events.iter().map(|event| event.event_type.as_str());
        types.any(|event_type| event_type == event_types::LINK)
    };
    let answer = move |resolved| Ok(ReadAnswer::found(resolved, view.ids));
    if view.links == Links::Shown || !has_links() {
        let events = events.into_iter().map(Resolved::plain);
        return stream::iter(events.map(answer)).left_stream();
    }
    let left = (store, VecDeque::from(events));
    let pages = try_unfold(left, |(store, mut events)| async move {
        if events.is_empty() {
            return Ok::<_, Status>(None);
        }
        let page = store.resolve_links(&mut events).await.map_err(status)?;
        Ok(Some((page, (store, events))))
    });
    pages
        .map_ok(move |page| stream::iter(page.into_iter().map(answer)))
        .try_flatten()
        .right_stream()
}
