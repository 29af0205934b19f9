//! Reads and writes the books of a group. Whatever belongs together is one append, with the exact
//! revisions that are known: who else writes to these streams ends the group, which then begins anew
//! with what stands there.

use super::{Books, CHECKPOINT, EntryEvents, checkpoint, own_event};
use crate::group::progress::Checkpoint;
use crate::store::EventStore;
use bytes::Bytes;
use futures::TryStreamExt;
use icecore_core::{
    Append, AppendBuilder, Direction, Error, ExpectedRevision, GroupId, Read, RecordedEvent,
    Result, Revision, StreamName, StreamState,
};
use serde_json::json;

impl EventStore {
    /// What a group remembers, and its checkpoint when it has one.
    pub(in crate::group) async fn read_books(
        &self,
        group: &GroupId,
    ) -> Result<(Books, Option<Checkpoint>)> {
        let (checkpoint_stream, parked_stream) = (group.checkpoint_stream(), group.parked_stream());
        let checkpoint_last = self.last_of(&checkpoint_stream).await?;
        let parked_last = self.last_of(&parked_stream).await?;
        let mut books = Books::new(group.clone(), checkpoint_last, parked_last);
        let last = self.read_last_checkpoint(&checkpoint_stream).await?;
        books.set_history(last.as_ref().and_then(checkpoint::history));
        let checkpoint = last.as_ref().map(checkpoint::read).transpose()?;
        let parked = self.record(&parked_stream).await?;
        let before = parked.metadata.truncate_before;
        books.truncated_before = before.map_or(0, Revision::get);
        let mut read = std::pin::pin!(self.read(Read::stream(parked_stream)));
        while let Some(batch) = next_unless_absent(&mut read).await? {
            batch.events.iter().for_each(|event| books.fold(event));
        }
        Ok((books, checkpoint))
    }

    async fn read_last_checkpoint(&self, stream: &StreamName) -> Result<Option<RecordedEvent>> {
        let read = Read {
            direction: Direction::Backwards,
            limit: Some(1),
            ..Read::stream(stream.clone())
        };
        let mut read = std::pin::pin!(self.read(read));
        let Some(batch) = next_unless_absent(&mut read).await? else {
            return Ok(None);
        };
        let last = batch.events.into_iter().next();
        Ok(last.filter(|event| event.event_type.as_str() == CHECKPOINT))
    }

    async fn last_of(&self, stream: &StreamName) -> Result<Option<Revision>> {
        match self.record(stream).await?.state() {
            StreamState::Tombstoned => Err(Error::StreamDeleted {
                stream: stream.clone(),
            }),
            state => Ok(state.last_revision()),
        }
    }
}

/// The next batch of a read; a stream that is not there has none.
async fn next_unless_absent<B>(
    read: &mut (impl futures::Stream<Item = Result<B>> + Unpin),
) -> Result<Option<B>> {
    match read.try_next().await {
        Err(Error::StreamNotFound { .. }) => Ok(None),
        other => other,
    }
}

/// An append of the books' events, before those of `with`, and how many streams come before its own.
pub(in crate::group) struct BooksAppend {
    pub(in crate::group) append: Append,
    pub(in crate::group) own_streams: usize,
}

impl Books {
    /// The append that writes these events, together with another append, behind so many checkpoints that
    /// are on their way. `None`, when there is nothing to write.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, when the other append is too large for this, or writes to the group's own
    /// streams.
    pub(in crate::group) fn append(
        &self,
        events: &EntryEvents,
        next_id: impl FnOnce() -> uuid::Uuid,
        with: Option<&Append>,
        ahead: u64,
    ) -> Result<Option<BooksAppend>> {
        let mut append = AppendBuilder::default();
        let mut own_streams = 0;
        if let Some(event) = &events.checkpoint {
            let last = (0..ahead).fold(self.checkpoint_last, |last, _| {
                Some(last.map_or(Revision::FIRST, Revision::next))
            });
            let expected = exactly(last);
            let stream = append.stream(self.group.checkpoint_stream(), expected)?;
            append.event(stream, event.clone(), None)?;
            own_streams += 1;
        }
        if !events.parked.is_empty() {
            let expected = exactly(self.parked_last);
            let stream = append.stream(self.group.parked_stream(), expected)?;
            for event in &events.parked {
                append.event(stream, event.clone(), None)?;
            }
            own_streams += 1;
        }
        if let Some(before) = events.truncation
            && let Some(metadata) = self.group.parked_stream().metadata_stream()
        {
            let stream = append.stream(metadata, ExpectedRevision::Any)?;
            let event = own_event(
                next_id(),
                icecore_core::event_types::METADATA,
                &json!({"$tb": before}),
                Bytes::new(),
            );
            append.event(stream, event, None)?;
            own_streams += 1;
        }
        if let Some(with) = with {
            add(&mut append, with)?;
        } else if own_streams == 0 {
            return Ok(None);
        }
        let append = append.build()?;
        Ok(Some(BooksAppend {
            append,
            own_streams,
        }))
    }
}

fn exactly(last: Option<Revision>) -> ExpectedRevision {
    last.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact)
}

/// Adds all of another append behind what is there.
fn add(append: &mut AppendBuilder, other: &Append) -> Result<()> {
    let mut places = Vec::with_capacity(other.streams().len());
    for expectation in other.streams() {
        let place = append.stream(expectation.stream.clone(), expectation.expected)?;
        append.hold_as(place, expectation.role);
        places.push(place);
    }
    for event in other.events() {
        append.event(places[event.stream], event.event.clone(), event.times)?;
    }
    if let Some(condition) = other.condition() {
        append.condition(condition.clone());
    }
    append.missed_limit(other.missed_limit());
    Ok(())
}
