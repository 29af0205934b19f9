//! Append sessions: many appends over one call, decided in the order in which they come and answered
//! in that order, without waiting for each.

use crate::grpc::admission::Admitted;
use futures::future::{BoxFuture, FutureExt, ready};
use futures::stream::unfold;
use futures::{Stream, StreamExt};
use icecore_core::Error;
use icecore_eventstore::EventStore;
use icecore_wire::proto::{AppendSessionRequest, AppendSessionResponse};
use icecore_wire::{SessionAppend, SessionDecoder, session_response, status};
use tokio::sync::OwnedSemaphorePermit;
use tonic::{Status, Streaming};

/// Appends of a session that are under way at a time.
const IN_FLIGHT_MAX: usize = 1_024;

/// An answer that is on its way.
type Pending = BoxFuture<'static, Result<AppendSessionResponse, Status>>;

/// The answers to a session's requests.
pub(crate) fn answers(
    store: EventStore,
    requests: Streaming<AppendSessionRequest>,
    admitted: Admitted,
) -> impl Stream<Item = Result<AppendSessionResponse, Status>> {
    let session = Session {
        store,
        requests,
        admitted,
        decoder: SessionDecoder::default(),
        room: Vec::new(),
        over: false,
    };
    unfold(session, |mut session| async move {
        let pending = session.next().await?;
        Some((pending, session))
    })
    .buffered(IN_FLIGHT_MAX)
}

/// The receiving side of a session.
struct Session {
    store: EventStore,
    requests: Streaming<AppendSessionRequest>,
    admitted: Admitted,
    decoder: SessionDecoder,
    /// Room of the parts of the append that is being put together.
    room: Vec<OwnedSemaphorePermit>,
    over: bool,
}

impl Session {
    /// Receives and submits the next append; `None` when the session is over.
    async fn next(&mut self) -> Option<Pending> {
        while !self.over {
            let request = match self.requests.message().await {
                Ok(Some(request)) => request,
                Ok(None) if self.decoder.is_complete() => return None,
                Ok(None) => {
                    let error = Error::invalid("more", "the session ended within an append");
                    return Some(self.end(status::from_error(error)));
                }
                Err(status) => return Some(self.end(status)),
            };
            self.room.extend(self.admitted.take());
            match self.decoder.push(request) {
                Ok(Some(append)) => return Some(self.submit(append).await),
                Ok(None) => {}
                Err(error) => return Some(self.end(status::from_error(error))),
            }
        }
        None
    }

    /// Hands an append to the writer; the answer is awaited while the next ones come.
    async fn submit(&mut self, append: SessionAppend) -> Pending {
        let SessionAppend { sequence, append } = append;
        let room = std::mem::take(&mut self.room);
        let submitted = match append {
            Ok(append) => self.store.submit(append).await,
            Err(error) => Err(error),
        };
        async move {
            let outcome = match submitted {
                Ok(pending) => pending.outcome().await,
                Err(error) => Err(error),
            };
            drop(room);
            Ok(session_response(sequence, outcome))
        }
        .boxed()
    }

    /// Ends the session with a status, after the answers that are on their way.
    fn end(&mut self, status: Status) -> Pending {
        self.over = true;
        ready(Err(status)).boxed()
    }
}
