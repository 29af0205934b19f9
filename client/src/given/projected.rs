//! Projections in tests: events through a handler into a sink, without a store.

use super::recorded;
use crate::context::Context;
use crate::event::{Event, decode, encode, event_types_of};
use crate::projection::{
    Advance, BoxError, Checkpoint, Generation, Projection, ProjectionId, Sink,
};
use icecore_core::{Position, RecordedEvent, Revision, StoreId, StreamName, Timestamp};
use std::collections::HashMap;
use uuid::Uuid;

const SECOND_NANOS: i64 = 1_000_000_000;

/// Hands events to a projection, as if they stood in the store behind those of the call before, and
/// commits what it makes of them. What the read model is then, the test asks the sink.
///
/// The events are given as who appends them says them, each with its stream; what the projection does not
/// listen to is left out. Revisions count from 0 in each call, the second event of a store was
/// recorded a second after the first.
///
/// ```
/// # use icecore_client::*;
/// # use serde::{Deserialize, Serialize};
/// # use std::collections::BTreeMap;
/// # #[derive(Serialize, Deserialize)]
/// # enum AccountEvent { Opened { owner: String }, Deposited { cents: u64 } }
/// # impl Event for AccountEvent {}
/// # #[derive(Serialize, Deserialize)]
/// # enum BalanceEvent { Deposited { cents: u64 } }
/// # impl Event for BalanceEvent {}
/// # struct Balances;
/// # impl Projection<MemoryTransaction<BTreeMap<String, u64>>> for Balances {
/// #     type Event = BalanceEvent;
/// #     fn name(&self) -> &str { "balances" }
/// #     async fn handle(
/// #         &self, balances: &mut MemoryTransaction<BTreeMap<String, u64>>, event: BalanceEvent,
/// #         recorded: &RecordedEvent,
/// #     ) -> std::result::Result<(), BoxError> {
/// #         let BalanceEvent::Deposited { cents } = event;
/// #         *balances.entry(recorded.stream.to_string()).or_default() += cents;
/// #         Ok(())
/// #     }
/// # }
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let sink = MemorySink::new();
/// let owner = "anna".into();
/// project(&sink, &Balances, [
///     ("account-1", AccountEvent::Opened { owner }),
///     ("account-1", AccountEvent::Deposited { cents: 7 }),
/// ])
/// .await?;
/// assert_eq!(sink.model("balances").unwrap()["account-1"], 7);
/// # Ok::<(), BoxError>(()) }).unwrap();
/// ```
///
/// # Errors
///
/// What the handler or the sink fails with; nothing is committed then. An event that cannot be written
/// and read.
pub async fn project<S: Sink, P: Projection<S::Transaction>, E: Event>(
    sink: &S,
    projection: &P,
    events: impl IntoIterator<Item = (&str, E)>,
) -> Result<(), BoxError> {
    let id = ProjectionId::new(projection.name().to_owned(), Generation::FIRST);
    let stored = sink.generations(projection.name()).await?;
    let from = match stored.first() {
        Some(stored) => stored.checkpoint,
        None => set_up(sink, projection, &id).await?,
    };
    let events = record(from.position, events)?;
    let position = events.last().map_or(from.position, |event| event.position);
    let to = Checkpoint { position, ..from };
    let advance = Advance {
        from: Some(from),
        to,
    };
    let mut transaction = sink.begin(&id, &advance).await?;
    let types = event_types_of::<P::Event>()?;
    for event in events
        .iter()
        .filter(|event| types.contains(&event.event_type))
    {
        if let Some(value) = decode::<P::Event>(event)? {
            projection.handle(&mut transaction, value, event).await?;
        }
    }
    Ok(sink.commit(transaction).await?)
}

async fn set_up<S: Sink, P: Projection<S::Transaction>>(
    sink: &S,
    projection: &P,
    id: &ProjectionId,
) -> Result<Checkpoint, BoxError> {
    let to = Checkpoint {
        store_id: StoreId::new(Uuid::nil()),
        position: Position::START,
    };
    let mut transaction = sink.begin(id, &Advance { from: None, to }).await?;
    projection.set_up(&mut transaction).await?;
    sink.commit(transaction).await?;
    Ok(to)
}

/// The events as the store would have them behind a position.
fn record<'a, E: Event>(
    after: Position,
    events: impl IntoIterator<Item = (&'a str, E)>,
) -> Result<Vec<RecordedEvent>, BoxError> {
    let mut position = after;
    let mut next_revision = HashMap::new();
    let mut all = Vec::new();
    for (stream, event) in events {
        position = position.next();
        let id = Uuid::from_u128(position.get().into());
        let mut event = recorded(encode(&event, id, &Context::new())?);
        let next = next_revision.entry(stream).or_insert(Revision::FIRST);
        event.stream = StreamName::new(stream.to_owned())?;
        (event.revision, event.position) = (*next, position);
        let seconds = i64::try_from(position.get()).unwrap_or(i64::MAX);
        event.recorded_at = Timestamp::from_nanos(seconds.saturating_mul(SECOND_NANOS));
        *next = next.next();
        all.push(event);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projection::{MemorySink, MemoryTransaction};
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    enum DoorEvent {
        Opened,
        Painted,
        Broken,
    }

    impl Event for DoorEvent {}

    #[derive(Serialize, Deserialize)]
    enum Seen {
        Opened,
        Broken,
    }

    impl Event for Seen {}

    /// Where and when doors were opened.
    struct Openings;

    type Model = MemoryTransaction<Vec<(String, u64, u64, Timestamp)>>;

    impl Projection<Model> for Openings {
        type Event = Seen;

        fn name(&self) -> &'static str {
            "openings"
        }

        async fn handle(
            &self,
            openings: &mut Model,
            event: Seen,
            recorded: &RecordedEvent,
        ) -> Result<(), BoxError> {
            let (stream, at) = (recorded.stream.to_string(), recorded.recorded_at);
            let (revision, position) = (recorded.revision.get(), recorded.position.get());
            match event {
                Seen::Opened => openings.push((stream, revision, position, at)),
                Seen::Broken => return Err("a broken door".into()),
            }
            Ok(())
        }
    }

    #[tokio::test]
    async fn events_stand_one_behind_the_other_and_failures_change_nothing() {
        let sink = MemorySink::new();
        let opened = |stream| (stream, DoorEvent::Opened);
        let events = [
            opened("door-1"),
            ("door-2", DoorEvent::Painted),
            opened("door-2"),
        ];
        project(&sink, &Openings, events).await.unwrap();
        let broken = [opened("door-3"), ("door-3", DoorEvent::Broken)];
        let error = project(&sink, &Openings, broken).await.unwrap_err();
        assert_eq!(error.to_string(), "a broken door");
        project(&sink, &Openings, [opened("door-1")]).await.unwrap();

        let seconds = |seconds: i64| Timestamp::from_nanos(seconds * SECOND_NANOS);
        let expected = [
            ("door-1".to_owned(), 0, 1, seconds(1)),
            ("door-2".to_owned(), 1, 3, seconds(3)),
            ("door-1".to_owned(), 0, 4, seconds(4)),
        ];
        assert_eq!(sink.model("openings").unwrap()[..], expected);
    }
}
