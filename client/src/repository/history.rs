//! What an aggregate was, and how it came to be what it is.

use super::{Loaded, Repository, each_batch};
use crate::aggregate::Aggregate;
use crate::context::Context;
use crate::event::decode;
use futures::{Stream, StreamExt};
use icecore_core::{Position, RecordedEvent, Result, Revision, Timestamp};
use std::fmt::Display;

/// A point in history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// After this revision of its stream (inclusive).
    Revision(Revision),
    /// After this position of the store (inclusive).
    Position(Position),
    /// After everything that had been recorded by then (inclusive).
    Time(Timestamp),
}

/// An event as a value, and as it is recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct TypedEvent<E> {
    /// The value.
    pub event: E,
    /// When and where it was recorded, under which id.
    pub recorded: RecordedEvent,
}

impl<E> TypedEvent<E> {
    /// By whom, why, and in which conversation.
    pub fn context(&self) -> Context {
        Context::of(&self.recorded)
    }
}

impl<A: Aggregate> Repository<A> {
    /// The aggregate as it was at some point of its history. Snapshots are not used.
    ///
    /// ```
    /// # use icecore_client::*;
    /// # async fn at<Account: Aggregate>(accounts: &Repository<Account>) -> Result<()> {
    /// let new_year = Timestamp::parse("2026-01-01T00:00:00Z")?;
    /// let account = accounts.load_at("anna", At::Time(new_year)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Self::load`].
    pub async fn load_at(&self, id: impl Display, at: At) -> Result<Loaded<A>> {
        let mut loaded = Loaded::new(self.stream(id)?);
        let read = self.client.read_stream(loaded.stream());
        let read = match at {
            At::Revision(last) => read.limit(last.get().saturating_add(1)),
            At::Time(time) => read.as_of(time),
            At::Position(_) => read,
        };
        let is_past = |event: &RecordedEvent| match at {
            At::Revision(last) => event.revision <= last,
            At::Position(last) => event.position <= last,
            At::Time(_) => true,
        };
        each_batch(read, |events| {
            let mut past = events.iter().filter(|event| is_past(event));
            past.try_for_each(|event| loaded.take(event))
        })
        .await?;
        Ok(loaded)
    }

    /// Everything that happened to an aggregate: the audit trail. Events that are left out when it is
    /// loaded are left out here.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for the id; the stream gives `StreamNotFound`, and as [`Self::load`].
    pub fn history(
        &self,
        id: impl Display,
    ) -> Result<impl Stream<Item = Result<TypedEvent<A::Event>>> + Send + Unpin + 'static> {
        let events = self.client.read_stream(&self.stream(id)?).stream();
        Ok(events.filter_map(|recorded| std::future::ready(typed(recorded).transpose())))
    }
}

fn typed<E: crate::event::Event>(recorded: Result<RecordedEvent>) -> Result<Option<TypedEvent<E>>> {
    let recorded = recorded?;
    let event = decode(&recorded)?;
    Ok(event.map(|event| TypedEvent { event, recorded }))
}
