//! Append sessions: many appends under way at the same time, over one call.

use crate::append::no_answer;
use crate::call::not_understood;
use crate::client::Client;
use futures::{StreamExt, stream};
use icecore_core::{Append, Appended, Error, Result};
use icecore_wire::proto::{AppendSessionRequest, AppendSessionResponse};
use icecore_wire::{SessionAnswer, session_requests};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Appends under way at most, in KiB of events.
const IN_FLIGHT_KIB_MAX: u32 = 64 * 1_024;

/// What an append counts at least, in KiB. It bounds their number to 1,024.
const APPEND_KIB_MIN: u32 = 64;

/// Appends handed to the connection that it has not taken yet.
const HANDED_OVER_MAX: usize = 64;

/// Sends appends without waiting for the answer to the one before, in the order in which they are
/// given. The answers come in the same order.
///
/// At most 1,024 appends or 64 MiB are under way; [`Self::append`] waits when there are more. A
/// session does not reconnect: when it breaks, every append without an answer ends with
/// [`Error::OutcomeUnknown`], and those are to be sent again, with the same event ids, through another
/// session.
#[derive(Debug)]
pub struct AppendSession {
    sequence: u64,
    in_flight: Arc<Semaphore>,
    requests: mpsc::Sender<Vec<AppendSessionRequest>>,
    waiting: mpsc::UnboundedSender<Waiting>,
    answers: JoinHandle<()>,
}

/// An append that was sent. Awaiting it gives the answer; dropping it does not take the append back.
#[derive(Debug)]
#[must_use = "the answer says whether the append took effect"]
pub struct PendingAppend(oneshot::Receiver<Result<Appended>>);

/// Somebody who waits for an answer. The permit makes room for another append when it comes.
#[derive(Debug)]
struct Waiting {
    sequence: u64,
    answer: oneshot::Sender<Result<Appended>>,
    _permit: OwnedSemaphorePermit,
}

impl Client {
    /// Begins a session.
    ///
    /// # Errors
    ///
    /// `Unreachable` or `Unavailable`, when it cannot begin.
    pub async fn append_session(&self) -> Result<AppendSession> {
        let (requests, handed_over) = mpsc::channel(HANDED_OVER_MAX);
        let (waiting, queue) = mpsc::unbounded_channel();
        let handed_over = ReceiverStream::new(handed_over).flat_map(stream::iter);
        let mut client = self.streams();
        let answers = self.open(client.append_session(handed_over)).await;
        let answers = answers.map_err(crate::call::reading)?;
        Ok(AppendSession {
            sequence: 0,
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT_KIB_MAX as usize)),
            requests,
            waiting,
            answers: tokio::spawn(hand_out(self.clone(), answers, queue)),
        })
    }
}

impl AppendSession {
    /// Sends an append, as soon as there is room. Once this has returned, the append is under way; if
    /// its future is dropped before, nothing was sent.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, when the append cannot be sent; `Unavailable`, when the session has ended.
    pub async fn append(&mut self, append: &Append) -> Result<PendingAppend> {
        let sequence = self.sequence + 1;
        let requests = session_requests(sequence, append)?;
        let over = |_| Error::unavailable("the session has ended");
        let permit = Arc::clone(&self.in_flight)
            .acquire_many_owned(cost_kib(append))
            .await
            .map_err(|_| Error::unavailable("the session has ended"))?;
        let place = self.requests.reserve().await.map_err(over)?;
        let (answer, pending) = oneshot::channel();
        let waiting = Waiting {
            sequence,
            answer,
            _permit: permit,
        };
        self.waiting
            .send(waiting)
            .map_err(|_| Error::unavailable("the session has ended"))?;
        place.send(requests);
        self.sequence = sequence;
        Ok(PendingAppend(pending))
    }

    /// Ends the session after the answers to all of its appends are there.
    pub async fn close(self) {
        let Self {
            requests,
            waiting,
            answers,
            ..
        } = self;
        drop((requests, waiting));
        // The task ends by itself, with the answers or with the connection.
        let _ = answers.await;
    }
}

impl Future for PendingAppend {
    type Output = Result<Appended>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.0).poll(context));
        Poll::Ready(answer.unwrap_or_else(|_| Err(no_answer())))
    }
}

fn cost_kib(append: &Append) -> u32 {
    let kib = u32::try_from(append.size().div_ceil(1_024)).unwrap_or(u32::MAX);
    kib.clamp(APPEND_KIB_MIN, IN_FLIGHT_KIB_MAX)
}

/// Gives each answer to who waits for it. Whoever still waits at the end learns that the outcome is
/// not known, and why.
async fn hand_out(
    client: Client,
    mut answers: Streaming<AppendSessionResponse>,
    mut queue: mpsc::UnboundedReceiver<Waiting>,
) {
    let error = loop {
        let answer = match answers.next().await {
            Some(Ok(answer)) => answer,
            Some(Err(status)) => break client.error(&status),
            None => break no_answer(),
        };
        let answer = match SessionAnswer::try_from(answer) {
            Ok(answer) => answer,
            Err(error) => break not_understood(error),
        };
        match queue.recv().await {
            Some(waiting) if waiting.sequence == answer.sequence => {
                // Nobody may be listening any more; the append took effect all the same.
                let _ = waiting.answer.send(answer.outcome);
            }
            _ => break Error::internal("the server answered an append that was not sent"),
        }
    };
    queue.close();
    while let Some(waiting) = queue.recv().await {
        let _ = waiting.answer.send(Err(Error::OutcomeUnknown {
            reason: error.to_string(),
        }));
    }
}
