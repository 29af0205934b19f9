//! Decisions that rest on events of several streams: a query over types and tags is read, and what is
//! decided is appended on the condition that nothing else that matches was added since.

use crate::client::Client;
use crate::context::Context;
use crate::event::{Event, decode, encode};
use crate::id::new_event_id;
use crate::repository::{Attempts, ExecuteError, event_id};
use crate::retry::RetryPolicy;
use futures::TryStreamExt;
use futures::future::{BoxFuture, try_join_all};
use icecore_core::{
    Append, AppendBuilder, Appended, Condition, Error, ExpectedRevision, Filter, NameMatch,
    Position, Query, QueryItem, RecordedEvent, Result, StreamName, SystemStreams,
};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// A command that rests on a rule over several streams: unique names, seats of a course, one limit for
/// all cards of a customer.
///
/// Its query says which events it rests on. Those, and no others, make the store refuse what was decided
/// if one was added meanwhile; then it is decided anew.
///
/// ```
/// use icecore_client::{Decision, Event, Query, QueryItem, Result, Tag};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// enum UserEvent {
///     NameTaken { name: String },
/// }
///
/// impl Event for UserEvent {
///     fn tags(&self) -> Vec<String> {
///         let Self::NameTaken { name } = self;
///         vec![format!("user:{name}")]
///     }
/// }
///
/// /// Somebody wants a name that nobody has.
/// struct TakeName {
///     name: String,
/// }
///
/// #[derive(Debug, thiserror::Error)]
/// #[error("the name is taken")]
/// struct Taken;
///
/// impl Decision for TakeName {
///     type Event = UserEvent;
///     type State = bool;
///     type Error = Taken;
///
///     fn query(&self) -> Result<Query> {
///         let tags = vec![Tag::new(format!("user:{}", self.name))?];
///         Query::new(vec![QueryItem { types: vec![], tags }])
///     }
///
///     fn apply(&self, taken: &mut bool, event: &UserEvent) {
///         let UserEvent::NameTaken { .. } = event;
///         *taken = true;
///     }
///
///     fn handle(&self, taken: &bool) -> std::result::Result<Vec<(String, UserEvent)>, Taken> {
///         if *taken {
///             return Err(Taken);
///         }
///         let event = UserEvent::NameTaken { name: self.name.clone() };
///         Ok(vec![(format!("user-{}", self.name), event)])
///     }
/// }
///
/// # async fn take(client: icecore_client::Client) {
/// let name = "anna".to_owned();
/// match client.decide(&TakeName { name }).await {
///     Ok(_) => println!("yours"),
///     Err(refused) => println!("{refused}"),
/// }
/// # }
/// ```
pub trait Decision: Sync {
    /// What it looks at, and what can come out of it.
    type Event: Event;

    /// What it makes of the events. `Default` is what it knows before the first.
    type State: Default + Send + Sync;

    /// Why it refuses.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The events on which it rests.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a name, a tag or too many of them.
    fn query(&self) -> Result<Query>;

    /// Takes over what has happened. Pure.
    fn apply(&self, state: &mut Self::State, event: &Self::Event);

    /// Decides: what happens, each event with the name of its stream. Pure; it may be asked again, after
    /// another was faster.
    ///
    /// # Errors
    ///
    /// The domain's own.
    fn handle(&self, state: &Self::State) -> Result<Vec<(String, Self::Event)>, Self::Error>;
}

/// A decision that is being put together. Awaiting it decides.
#[derive(Debug)]
#[must_use = "nothing is decided before it is awaited"]
pub struct DecideCall<'a, D> {
    client: Client,
    decision: &'a D,
    context: Context,
    conflicts: RetryPolicy,
}

/// What came of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decided<E> {
    /// These events, which are durable.
    Appended(Vec<(String, E)>, Appended),
    /// Nothing happens.
    Nothing,
    /// A command of this id was decided before: its first event is among those that the query finds.
    DoneBefore,
}

impl Client {
    /// Decides a command over several streams, and decides anew when others were faster.
    ///
    /// # Errors
    ///
    /// Awaiting it gives `Domain`, `Conflict` or `Store`, as [`crate::Repository::execute`] does.
    pub fn decide<'a, D: Decision>(&self, decision: &'a D) -> DecideCall<'a, D> {
        DecideCall {
            client: self.clone(),
            decision,
            context: Context::new(),
            conflicts: RetryPolicy::CONFLICTS,
        }
    }
}

impl<D: Decision> DecideCall<'_, D> {
    /// Who asks, why, and under which id.
    pub fn context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// How often it is decided anew; [`RetryPolicy::CONFLICTS`] unless set.
    pub fn conflicts(mut self, policy: RetryPolicy) -> Self {
        self.conflicts = policy;
        self
    }

    async fn run(self) -> Result<Decided<D::Event>, ExecuteError<D::Error>> {
        let context = self.context.identified();
        let mut attempts = Attempts::new(self.conflicts);
        let mut known = Known::new(self.decision, &context)?;
        loop {
            known.read_on(&self.client).await?;
            if known.is_done {
                return Ok(Decided::DoneBefore);
            }
            let events = self.decision.handle(&known.state);
            let events = events.map_err(ExecuteError::Domain)?;
            if events.is_empty() {
                return Ok(Decided::Nothing);
            }
            let append = known.append(&events, &context)?;
            match self.client.append_request(&append).await {
                Ok(appended) => return Ok(Decided::Appended(events, appended)),
                Err(Error::Refused(refusal)) => attempts.failed(&refusal).await?,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl<'a, D: Decision> IntoFuture for DecideCall<'a, D> {
    type Output = Result<Decided<D::Event>, ExecuteError<D::Error>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// Stands in for the stream in the ids of the events that a decision makes.
const DECISION: &str = "decision";

/// What a decision knows.
struct Known<'a, D: Decision> {
    decision: &'a D,
    query: Query,
    state: D::State,
    /// Everything that matches up to here is in the state.
    after: Position,
    /// The id that the first event of the command has or will have.
    first: Option<Uuid>,
    /// That event is there: the command was decided before.
    is_done: bool,
}

impl<'a, D: Decision> Known<'a, D> {
    fn new(decision: &'a D, context: &Context) -> Result<Self> {
        Ok(Self {
            query: decision.query()?,
            decision,
            state: D::State::default(),
            after: Position::START,
            first: context.command().map(|id| event_id(id, DECISION, 0)),
            is_done: false,
        })
    }

    /// Takes over what matches and was added since.
    async fn read_on(&mut self, client: &Client) -> Result<()> {
        let any = [QueryItem::default()];
        let items = match self.query.items() {
            [] => &any,
            items => items,
        };
        let from = self.after.next();
        let reads = items.iter().map(|item| matching(client, item, from));
        let (matching, last) = merged(try_join_all(reads).await?);
        for recorded in matching {
            if let Some(event) = decode(&recorded)? {
                self.decision.apply(&mut self.state, &event);
            }
            self.is_done |= self.first == Some(recorded.id);
        }
        self.after = self.after.max(last);
        Ok(())
    }

    /// The events as one append, on the condition that nothing was added.
    fn append(&self, events: &[(String, D::Event)], context: &Context) -> Result<Append> {
        let command_id = context.command().unwrap_or_else(new_event_id);
        let mut append = AppendBuilder::default();
        let mut streams = HashMap::new();
        for (number, (stream, event)) in events.iter().enumerate() {
            let event = encode(event, event_id(command_id, DECISION, number), context)?;
            let stream = match streams.entry(stream) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => {
                    let name = StreamName::new(stream.as_str())?;
                    *new.insert(append.stream(name, ExpectedRevision::Any)?)
                }
            };
            append.event(stream, event, None)?;
        }
        append.condition(Condition {
            query: self.query.clone(),
            after: self.after,
        });
        append.build()
    }
}

/// What several reads have found, in order, each event once, and the position up to which all of it is
/// there. What one read has seen and another may not have seen comes with the next attempt.
fn merged(reads: Vec<(Vec<RecordedEvent>, Position)>) -> (Vec<RecordedEvent>, Position) {
    let last = reads.iter().map(|(_, up_to)| *up_to).min();
    let last = last.unwrap_or_default();
    let found = reads.into_iter().flat_map(|(events, _)| events);
    let found = found.filter(|event| event.position <= last);
    let found: BTreeMap<_, _> = found.map(|event| (event.position, event)).collect();
    (found.into_values().collect(), last)
}

/// The events that match, and the position up to which all of them are there.
async fn matching(
    client: &Client,
    item: &QueryItem,
    from: Position,
) -> Result<(Vec<RecordedEvent>, Position)> {
    let types = item
        .types
        .iter()
        .map(|event_type| event_type.as_str().to_owned().into());
    let filter = Filter {
        event_type: (!item.types.is_empty()).then(|| NameMatch::AnyOf(types.collect())),
        tags: item.tags.clone(),
        // As conditions see it.
        system: SystemStreams::Include,
        ..Filter::default()
    };
    let mut batches = client.read_all().from(from).filter(filter).batches();
    let (mut events, mut last) = (Vec::new(), None);
    while let Some(batch) = batches.try_next().await? {
        // The first batch tells what is there before anything is read.
        last.get_or_insert(batch.last_position);
        events.extend(batch.events);
    }
    let last = last.ok_or_else(|| Error::internal("the server ended a read without an answer"))?;
    Ok((events, last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::recorded;
    use crate::json::json_event;

    fn found(positions: &[u64], last: u64) -> (Vec<RecordedEvent>, Position) {
        let event = |position: &u64| RecordedEvent {
            position: Position::new(*position),
            ..recorded(json_event("Found", "").expect("a valid event"))
        };
        (positions.iter().map(event).collect(), Position::new(last))
    }

    #[test]
    fn what_only_one_of_several_reads_can_have_seen_is_left_for_later() {
        for (reads, expected, last) in [
            (vec![found(&[], 0)], vec![], 0),
            (vec![found(&[2, 9], 9)], vec![2, 9], 9),
            (vec![found(&[2, 9], 9), found(&[1, 2], 5)], vec![1, 2], 5),
            (vec![found(&[4], 4), found(&[3, 4, 8], 8)], vec![3, 4], 4),
        ] {
            let (events, up_to) = merged(reads);
            let positions: Vec<_> = events.iter().map(|event| event.position.get()).collect();
            assert_eq!((positions, up_to.get()), (expected, last));
        }
    }
}
