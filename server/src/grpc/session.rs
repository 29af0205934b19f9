//! Append sessions: many appends over one call, submitted in the order in which they come and answered
//! in that order, without waiting for each. One that the writer has to ask more about may be decided
//! after the next ones.
//!
//! A task of its own receives and submits; every append then goes its way by itself. So a client that
//! does not read its answers holds up nobody: when its answers fill their queue, its next appends are
//! not received any more.

use futures::{Stream, StreamExt};
use icecore_core::{Appended, Error, Result};
use icecore_eventstore::{Admitted, EventStore, Room};
use icecore_wire::proto::{AppendSessionRequest, AppendSessionResponse};
use icecore_wire::{SessionAppend, SessionDecoder, session_response, status};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tracing::Instrument;

/// Appends of a session that are under way, or answered and not taken, at a time.
const IN_FLIGHT_MAX: usize = 1_024;

/// An answer that is on its way, or the end of the session.
enum Pending {
    Append {
        sequence: u64,
        outcome: JoinHandle<Result<Appended>>,
    },
    End(Status),
}

/// The answers to a session's requests. `message_timeout` is how long the next part of an append may
/// take to come.
pub(crate) fn answers(
    store: EventStore,
    requests: Streaming<AppendSessionRequest>,
    admitted: Admitted,
    message_timeout: Duration,
) -> impl Stream<Item = Result<AppendSessionResponse, Status>> {
    let (pending, answers) = mpsc::channel(IN_FLIGHT_MAX);
    let session = Session {
        store,
        requests,
        admitted,
        message_timeout,
        decoder: SessionDecoder::default(),
        room: Room::default(),
    };
    tokio::spawn(session.run(pending).in_current_span());
    ReceiverStream::new(answers).then(Pending::answer)
}

impl Pending {
    async fn answer(self) -> Result<AppendSessionResponse, Status> {
        match self {
            Self::End(status) => Err(status),
            Self::Append { sequence, outcome } => {
                let outcome = outcome.await.unwrap_or_else(|error| {
                    let reason = format!("the append broke off: {error}");
                    Err(Error::OutcomeUnknown { reason })
                });
                Ok(session_response(sequence, outcome))
            }
        }
    }
}

/// The receiving side of a session.
struct Session {
    store: EventStore,
    requests: Streaming<AppendSessionRequest>,
    admitted: Admitted,
    message_timeout: Duration,
    decoder: SessionDecoder,
    /// Room of the parts of the append that is being put together.
    room: Room,
}

impl Session {
    /// Receives and submits until either side ends the session.
    async fn run(mut self, answers: mpsc::Sender<Pending>) {
        loop {
            let (pending, over) = match self.receive().await {
                Ok(Some(append)) => (self.submit(append).await, false),
                Ok(None) => return,
                Err(status) => (Pending::End(status), true),
            };
            // A client that is gone wants no answers.
            if answers.send(pending).await.is_err() || over {
                return;
            }
        }
    }

    /// The next whole append; `None` when the client has said that there are no more.
    async fn receive(&mut self) -> Result<Option<SessionAppend>, Status> {
        loop {
            let Some(request) = self.next_message().await? else {
                if self.decoder.is_complete() {
                    return Ok(None);
                }
                let error = Error::invalid("more", "the session ended within an append");
                return Err(status::from_error(error));
            };
            if let Some(permit) = self.admitted.take() {
                self.room.add(permit);
            }
            let complete = self.decoder.push(request).map_err(status::from_error)?;
            if complete.is_some() {
                return Ok(complete);
            }
        }
    }

    /// The next message. Between appends a session may rest; within one it must not, since what came
    /// of it takes room.
    async fn next_message(&mut self) -> Result<Option<AppendSessionRequest>, Status> {
        let is_within = !self.decoder.is_complete();
        let stopping = self.store.stopping();
        let message = async {
            let message = self.requests.message();
            if !is_within {
                return message.await;
            }
            timeout(self.message_timeout, message)
                .await
                .unwrap_or_else(|_| Err(stalled(self.message_timeout)))
        };
        tokio::select! {
            message = message => message,
            () = stopping => {
                let error = Error::unavailable("the server is stopping");
                Err(status::from_error(error))
            }
        }
    }

    /// Hands an append to the writer. Its outcome is awaited in a task of its own, whether the client
    /// takes answers or not.
    async fn submit(&mut self, append: SessionAppend) -> Pending {
        let SessionAppend { sequence, append } = append;
        let room = std::mem::take(&mut self.room);
        let submitted = match append {
            Ok(append) => self.store.submit(append, room).await,
            Err(error) => Err(error),
        };
        let outcome = tokio::spawn(async move { submitted?.outcome().await }.in_current_span());
        Pending::Append { sequence, outcome }
    }
}

fn stalled(limit: Duration) -> Status {
    status::from_error(Error::unavailable(format!(
        "the next part of the append did not come within {} ms, nothing of it was written",
        limit.as_millis()
    )))
}
