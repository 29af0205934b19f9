//! Batch appends: many appends over one call that stays open, each under its correlation id and maybe in
//! several parts. They are handed to the writer in the order in which they are complete, and answered in
//! that order, without waiting for each.
//!
//! An append that fails is answered and the call goes on, unless the store takes no appends at all: then the
//! call ends, and clients connect anew and try again.
//!
//! A task of its own receives and submits, so a client that does not read its answers holds up nobody:
//! when its answers fill their queue, its next appends are not received any more.

use crate::appending::{Done, Gathered};
use crate::errors::AppendError;
use crate::event::stream;
use crate::id;
use crate::proto::event_store::client as shared;
use crate::proto::event_store::client::streams::batch_append_req::options::{
    DeadlineOption, ExpectedStreamPosition,
};
use crate::proto::event_store::client::streams::batch_append_resp::{
    self, ExpectedStreamPosition as Expected,
};
use crate::proto::event_store::client::streams::{
    BatchAppendReq, BatchAppendResp, batch_append_req,
};
use crate::ticks::until;
use futures::Stream;
use icecore_core::{Error, Result};
use icecore_eventstore::{Admitted, EventStore, Room};
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tracing::Instrument;
use uuid::Uuid;

/// Appends of a call that are under way, or answered and not taken, at a time.
const IN_FLIGHT_MAX: usize = 1_024;

/// Appends of a call of which parts are still to come, at a time; also such as were given up.
const INCOMPLETE_MAX: usize = 1_024;

/// The answers to a call's appends. `limit` is the longest that an append may take, from its first part
/// until it is decided.
pub(super) fn answers(
    store: EventStore,
    requests: Streaming<BatchAppendReq>,
    admitted: Admitted,
    limit: Duration,
) -> impl Stream<Item = Result<BatchAppendResp, Status>> {
    let (pending, answers) = mpsc::channel(IN_FLIGHT_MAX);
    let batch = Batch {
        store,
        requests,
        admitted,
        limit,
        incomplete: HashMap::new(),
    };
    tokio::spawn(batch.run(pending).in_current_span());
    ReceiverStream::new(answers).then(Pending::answer)
}

/// An answer that is on its way, or the end of the call.
enum Pending {
    Append(Echo, JoinHandle<Result<Done, AppendError>>),
    Failed(Echo, AppendError),
    End(Status),
}

impl Pending {
    async fn answer(self) -> Result<BatchAppendResp, Status> {
        match self {
            Self::End(status) => Err(status),
            Self::Failed(echo, error) => echo.into_answer(Err(error)),
            Self::Append(echo, outcome) => {
                let outcome = outcome.await.unwrap_or(Err(AppendError::Timeout));
                echo.into_answer(outcome)
            }
        }
    }
}

/// What an answer repeats of its request.
#[derive(Debug, Default)]
struct Echo {
    correlation_id: Option<shared::Uuid>,
    stream: Option<shared::StreamIdentifier>,
    expected: Option<Expected>,
}

impl Echo {
    /// The answer, or why there are no more of them.
    fn into_answer(self, outcome: Result<Done, AppendError>) -> Result<BatchAppendResp, Status> {
        let result = match outcome {
            Ok(done) => batch_append_resp::Result::Success(success(done)),
            Err(error) if error.concerns_all() => return Err(error.into_status()),
            Err(error) => batch_append_resp::Result::Error(error.into_answer()),
        };
        Ok(BatchAppendResp {
            correlation_id: self.correlation_id,
            stream_identifier: self.stream,
            result: Some(result),
            expected_stream_position: self.expected,
        })
    }
}

fn success(done: Done) -> batch_append_resp::Success {
    use batch_append_resp::success::{CurrentRevisionOption as Current, PositionOption};
    batch_append_resp::Success {
        current_revision_option: Some(match done.revision {
            Some(revision) => Current::CurrentRevision(revision),
            None => Current::NoStream(()),
        }),
        position_option: Some(match done.position {
            Some(position) => PositionOption::Position(shared::AllStreamPosition {
                commit_position: position,
                prepare_position: position,
            }),
            None => PositionOption::NoPosition(()),
        }),
    }
}

/// The receiving side of a call.
struct Batch {
    store: EventStore,
    requests: Streaming<BatchAppendReq>,
    admitted: Admitted,
    limit: Duration,
    incomplete: HashMap<Uuid, Incomplete>,
}

/// An append of which parts may be still to come.
struct Incomplete {
    echo: Echo,
    deadline: Instant,
    /// Why it will fail when it is complete, as soon as that is known.
    gathered: Result<Gathered, AppendError>,
    /// Room of the parts.
    room: Room,
    /// It was given up. What still comes of it is passed over.
    answered: bool,
}

/// What a call has to deal with next.
enum Next {
    Request(BatchAppendReq),
    /// An append is not complete and its time is over.
    Late(Uuid),
    End(Option<Status>),
}

impl Batch {
    /// Receives and submits until either side ends the call.
    async fn run(mut self, answers: mpsc::Sender<Pending>) {
        loop {
            let pending = match self.next().await {
                Next::Request(request) => self.receive(request).await,
                Next::Late(id) => self.give_up(id),
                Next::End(None) => return,
                Next::End(Some(status)) => Some(Pending::End(status)),
            };
            let Some(pending) = pending else { continue };
            let over = matches!(pending, Pending::End(_));
            // A client that is gone wants no answers.
            if answers.send(pending).await.is_err() || over {
                return;
            }
        }
    }

    async fn next(&mut self) -> Next {
        let waiting = self
            .incomplete
            .iter()
            .filter(|(_, append)| !append.answered);
        let late = waiting.map(|(id, append)| (append.deadline, *id)).min();
        let wait = async {
            match late {
                Some((deadline, id)) => {
                    sleep_until(deadline).await;
                    id
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            request = self.requests.message() => match request {
                Ok(Some(request)) => Next::Request(request),
                Ok(None) => Next::End(None),
                Err(status) => Next::End(Some(status)),
            },
            id = wait => Next::Late(id),
            () = self.store.stopping() => {
                Next::End(Some(Status::unavailable("the server is stopping")))
            }
        }
    }

    /// Takes in a part, and submits the append if it was the last one.
    async fn receive(&mut self, request: BatchAppendReq) -> Option<Pending> {
        let room = self.admitted.room();
        let BatchAppendReq {
            correlation_id,
            options,
            proposed_messages,
            is_final,
        } = request;
        let id = match id::read(correlation_id.as_ref()) {
            Ok(id) => id,
            Err(error) => {
                let status = Status::invalid_argument(format!("correlation_id: {error}"));
                return Some(Pending::End(status));
            }
        };
        // Options come with a first part, so an append that was given up may be sent once more.
        let begun = self.incomplete.remove(&id);
        let begun = begun.filter(|append| !append.answered || options.is_none());
        let mut append = begun.unwrap_or_else(|| self.begin(correlation_id, options));
        append.add(proposed_messages, room);
        if is_final && append.answered {
            return None;
        }
        if is_final {
            return Some(self.submit(append).await);
        }
        if self.incomplete.len() == INCOMPLETE_MAX {
            let text = format!("more than {INCOMPLETE_MAX} appends are not complete");
            return Some(Pending::End(Status::resource_exhausted(text)));
        }
        self.incomplete.insert(id, append);
        None
    }

    fn begin(
        &self,
        correlation_id: Option<shared::Uuid>,
        options: Option<batch_append_req::Options>,
    ) -> Incomplete {
        let options = options.unwrap_or_default();
        let echo = Echo {
            correlation_id,
            stream: options.stream_identifier.clone(),
            expected: options.expected_stream_position.map(echoed),
        };
        let time = self.time(options.deadline_option);
        Incomplete {
            echo,
            deadline: Instant::now() + time.unwrap_or_default(),
            gathered: match time {
                Some(_) => begin(options).map_err(AppendError::from),
                None => Err(AppendError::Timeout),
            },
            room: Room::default(),
            answered: false,
        }
    }

    /// How long the append may take; `None` when its time is over already. Some clients give a moment
    /// where a duration belongs, so nothing longer than our own limit is believed.
    fn time(&self, deadline: Option<DeadlineOption>) -> Option<Duration> {
        let wanted = match deadline {
            None => return Some(self.limit),
            Some(DeadlineOption::Deadline21100(then)) => until(self.store.now(), &then),
            Some(DeadlineOption::Deadline(duration)) => {
                Duration::try_from(duration).unwrap_or_default()
            }
        };
        (!wanted.is_zero()).then(|| wanted.min(self.limit))
    }

    /// Hands an append to the writer. Its outcome is awaited in a task of its own, whether the client
    /// takes answers or not.
    async fn submit(&self, append: Incomplete) -> Pending {
        let Incomplete {
            echo,
            deadline,
            gathered,
            room,
            ..
        } = append;
        let submitted = match gathered {
            Ok(gathered) => gathered.submit(&self.store, room).await,
            Err(error) => Err(error),
        };
        let pending = match submitted {
            Ok(pending) => pending,
            Err(error) => return Pending::Failed(echo, error),
        };
        let outcome = async move {
            let outcome = timeout_at(deadline, pending.outcome()).await;
            let appended = outcome.map_err(|_| AppendError::Timeout)??;
            Ok(appended.into())
        };
        Pending::Append(echo, tokio::spawn(outcome.in_current_span()))
    }

    /// An append whose parts did not come in time is answered, once, and nothing of it is written.
    fn give_up(&mut self, id: Uuid) -> Option<Pending> {
        let append = self.incomplete.get_mut(&id)?;
        append.answered = true;
        append.room = Room::default();
        let gathered = std::mem::replace(&mut append.gathered, Err(AppendError::Timeout));
        let why = gathered.err().unwrap_or(AppendError::Timeout);
        Some(Pending::Failed(std::mem::take(&mut append.echo), why))
    }
}

impl Incomplete {
    /// Takes in the events of a part. Of an append that will fail nothing more is kept.
    fn add(&mut self, events: Vec<batch_append_req::ProposedMessage>, room: Room) {
        let Ok(gathered) = &mut self.gathered else {
            return;
        };
        self.room.merge(room);
        let mut events = events.into_iter();
        if let Err(error) = events.try_for_each(|event| gathered.add(event.try_into()?)) {
            self.gathered = Err(error);
            self.room = Room::default();
        }
    }
}

fn begin(options: batch_append_req::Options) -> Result<Gathered> {
    let missing = || Error::invalid("expected_stream_position", "is missing");
    let expected = options.expected_stream_position.ok_or_else(missing)?;
    Ok(Gathered::new(
        stream(options.stream_identifier)?,
        expected.into(),
    ))
}

fn echoed(expected: ExpectedStreamPosition) -> Expected {
    match expected {
        ExpectedStreamPosition::StreamPosition(revision) => Expected::StreamPosition(revision),
        ExpectedStreamPosition::NoStream(()) => Expected::NoStream(()),
        ExpectedStreamPosition::Any(()) => Expected::Any(()),
        ExpectedStreamPosition::StreamExists(()) => Expected::StreamExists(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    async fn answered(error: Error) -> Result<BatchAppendResp, Status> {
        let error = AppendError::from(error);
        Pending::Failed(Echo::default(), error).answer().await
    }

    #[tokio::test]
    async fn the_call_ends_when_no_append_is_taken() {
        let full = answered(Error::unavailable("the disk is nearly full")).await;
        let status = full.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.message().contains("the disk is nearly full"));
        let one = answered(Error::invalid("id", "is none")).await.unwrap();
        assert!(matches!(
            one.result,
            Some(batch_append_resp::Result::Error(_))
        ));
    }
}
