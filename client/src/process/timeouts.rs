//! Timeouts: each is a stream of its own, so that one of many workers lets it elapse, once.
//!
//! ```text
//! $timeout_<manager>-<process>/<name>:   $timeoutSet {due}   ->  $timeoutElapsed-<manager>
//!                                                            ->  $timeoutCancelled
//!                                                            ->  $timeoutSet {due}, which begins anew
//! ```
//!
//! Setting and cancelling go with the append of the reaction. When its time has come, each worker tries to
//! append `$timeoutElapsed` right behind the `$timeoutSet` that it knows; the store takes the first one,
//! and none when the timeout was cancelled or set again. What has elapsed reaches the process through the
//! group, like every other event.

use super::{ProcessManager, Timeout};
use crate::client::Client;
use crate::clock::Clock;
use crate::context::Context;
use crate::json::RecordedEventExt;
use crate::repository::Changes;
use crate::subscribe::passes;
use futures::TryStreamExt;
use icecore_core::{
    Error, EventData, EventType, ExpectedRevision, Filter, NameMatch, RecordedEvent, Result,
    Revision, StreamName, Subscribe, SubscriptionMessage, SystemStreams, Timestamp,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tokio::time::sleep;
use uuid::Uuid;

const SET: &str = "$timeoutSet";
const CANCELLED: &str = "$timeoutCancelled";
const ELAPSED_PREFIX: &str = "$timeoutElapsed-";

/// The pause after a timeout could not be made to elapse.
const PAUSE: Duration = Duration::from_secs(1);

/// The data of `$timeoutSet` and of `$timeoutElapsed`.
#[derive(Serialize, Deserialize)]
pub(super) struct TimeoutData {
    pub(super) process: String,
    pub(super) name: String,
    due: String,
}

impl TimeoutData {
    pub(super) fn time(&self) -> Result<Timestamp> {
        Timestamp::parse(&self.due)
    }
}

/// The type of the event that says that a timeout of this manager has elapsed.
pub(super) fn elapsed_type<P: ProcessManager>() -> Result<EventType> {
    EventType::new(format!("{ELAPSED_PREFIX}{}", P::NAME))
}

/// What a reaction to `event` at that time does to one timeout of a process, as an event with this id. A
/// timeout that has just elapsed must still be the last word on itself.
pub(super) fn changes<P: ProcessManager>(
    (event, at): (&RecordedEvent, Timestamp),
    (process, name, timeout): (&str, &str, Timeout),
    (id, context): (Uuid, &Context),
) -> Result<Changes> {
    let stream = stream_of::<P>(process, name)?;
    let (event_type, data) = match timeout {
        Timeout::Cancel => (CANCELLED, "{}".to_owned()),
        Timeout::Set(after) => {
            let nanos = i64::try_from(after.as_nanos()).unwrap_or(i64::MAX);
            let set = TimeoutData {
                process: process.into(),
                name: name.into(),
                due: at.plus_nanos(nanos).to_string(),
            };
            (SET, to_json(&set)?)
        }
    };
    let mut data = EventData::json(id, event_type, data)?;
    data.metadata = context.metadata(1)?;
    let expected = if event.stream == stream {
        ExpectedRevision::Exact(event.revision)
    } else {
        ExpectedRevision::Any
    };
    Ok(Changes::new(stream, expected, vec![data]))
}

fn to_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::invalid("timeout", error.to_string()))
}

fn prefix<P: ProcessManager>() -> String {
    format!("$timeout_{}-", P::NAME)
}

/// The stream of a timeout. The last `/` stands before the name, so a `/` within that is written otherwise.
fn stream_of<P: ProcessManager>(process: &str, name: &str) -> Result<StreamName> {
    let name = name.replace('%', "%25").replace('/', "%2F");
    StreamName::new(format!("{}{process}/{name}", prefix::<P>()))
}

/// The timeouts that have been set and are not done with.
#[derive(Default)]
struct Timeouts {
    of_streams: HashMap<StreamName, Pending>,
    by_due: BTreeSet<(Timestamp, StreamName)>,
}

/// A timeout that has been set.
struct Pending {
    set: Uuid,
    revision: Revision,
    due: Timestamp,
    data: TimeoutData,
    /// What is said about the event that it elapses with.
    context: Context,
}

/// Lets the timeouts of a process manager elapse. Ends only with an error.
pub(super) async fn watch<P: ProcessManager>(client: &Client, clock: &Clock) -> Result<()> {
    let filter = Filter {
        stream: Some(NameMatch::Prefixes(vec![prefix::<P>().into()])),
        system: SystemStreams::Include,
        ..Filter::default()
    };
    let mut subscription = client.subscribe(Subscribe {
        filter,
        ..Subscribe::all()
    });
    let mut pending = Timeouts::default();
    let mut caught_up = false;
    loop {
        tokio::select! {
            message = subscription.try_next() => match message? {
                Some(SubscriptionMessage::Events(events)) => {
                    for event in &events {
                        pending.take(event);
                    }
                }
                Some(SubscriptionMessage::CaughtUp { .. }) => caught_up = true,
                Some(_) => {}
                None => return Err(Error::unavailable("the subscription to timeouts ended")),
            },
            stream = pending.next(clock), if caught_up => {
                elapse::<P>(client, &mut pending, &stream).await?;
            }
        }
    }
}

impl Timeouts {
    /// What an event of a timeout's stream says: set, or done with.
    fn take(&mut self, event: &RecordedEvent) {
        self.remove(&event.stream);
        if event.event_type.as_str() != SET {
            return;
        }
        let data = event.json::<TimeoutData>();
        let Ok((due, data)) = data.and_then(|data| Ok((data.time()?, data))) else {
            tracing::warn!(stream = %event.stream, position = %event.position, "not a timeout");
            return;
        };
        let pending = Pending {
            set: event.id,
            revision: event.revision,
            due,
            data,
            context: Context::caused_by(event),
        };
        self.by_due.insert((due, event.stream.clone()));
        self.of_streams.insert(event.stream.clone(), pending);
    }

    fn remove(&mut self, stream: &StreamName) {
        if let Some(pending) = self.of_streams.remove(stream) {
            self.by_due.remove(&(pending.due, stream.clone()));
        }
    }

    /// Waits until the first of them is due.
    async fn next(&self, clock: &Clock) -> StreamName {
        match self.by_due.first() {
            Some((due, stream)) => {
                clock.wait_until(*due).await;
                stream.clone()
            }
            None => std::future::pending().await,
        }
    }
}

/// Appends that a timeout has elapsed, unless another worker or a cancellation was faster.
async fn elapse<P: ProcessManager>(
    client: &Client,
    pending: &mut Timeouts,
    stream: &StreamName,
) -> Result<()> {
    let Some(timeout) = pending.of_streams.get(stream) else {
        return Ok(());
    };
    let id = Uuid::new_v5(&timeout.set, b"elapsed");
    let mut event = EventData::json(id, elapsed_type::<P>()?.as_str(), to_json(&timeout.data)?)?;
    event.metadata = timeout.context.metadata(1)?;
    let expected = ExpectedRevision::Exact(timeout.revision);
    match client.append(stream, expected, [event]).await {
        Ok(_) | Err(Error::Refused(_) | Error::StreamDeleted { .. }) => {
            pending.remove(stream);
            Ok(())
        }
        Err(error) if passes(&error) => {
            tracing::warn!(%stream, %error, pause = ?PAUSE, "a timeout could not elapse yet");
            sleep(PAUSE).await;
            Ok(())
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::recorded;

    fn event(stream: &str, event_type: &str, due_nanos: i64) -> RecordedEvent {
        let data = TimeoutData {
            process: "1".into(),
            name: "a".into(),
            due: Timestamp::from_nanos(due_nanos).to_string(),
        };
        let data = to_json(&data).expect("data is JSON");
        let event = EventData::json(Uuid::nil(), event_type, data).expect("a valid event");
        RecordedEvent {
            stream: StreamName::new(stream.to_owned()).expect("a valid name"),
            ..recorded(event)
        }
    }

    #[test]
    fn the_first_that_is_due_comes_first_and_what_is_done_with_does_not_come() {
        let mut timeouts = Timeouts::default();
        let mut after = |stream, event_type, due| {
            timeouts.take(&event(stream, event_type, due));
            assert_eq!(timeouts.by_due.len(), timeouts.of_streams.len());
            let first = timeouts.by_due.first();
            first.map(|(due, stream)| (stream.to_string(), due.nanos()))
        };
        assert_eq!(after("a", SET, 5), Some(("a".into(), 5)));
        assert_eq!(after("b", SET, 3), Some(("b".into(), 3)));
        assert_eq!(after("b", SET, 9), Some(("a".into(), 5)));
        assert_eq!(after("a", CANCELLED, 0), Some(("b".into(), 9)));
        assert_eq!(after("b", "$timeoutElapsed-x", 9), None);
        assert_eq!(after("never-set", CANCELLED, 0), None);
    }
}
