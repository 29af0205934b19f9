//! Appends that wait for their answer. Many at a time: `session.rs`.

use crate::call::not_understood;
use crate::client::Client;
use crate::retry::{Repeat, retry};
use futures::{StreamExt, stream};
use icecore_core::{Append, Appended, Error, EventData, ExpectedRevision, Result, StreamName};
use icecore_wire::{SessionAnswer, fits_message, proto, session_requests};

impl Client {
    /// Appends events to one stream: all of them or none, durable when the answer is there.
    ///
    /// # Errors
    ///
    /// As [`Self::append_request`].
    pub async fn append(
        &self,
        stream: &StreamName,
        expected: ExpectedRevision,
        events: impl IntoIterator<Item = EventData>,
    ) -> Result<Appended> {
        let events = events.into_iter().collect();
        self.append_request(&Append::to_stream(stream.clone(), expected, events)?)
            .await
    }

    /// Makes an append, of whatever shape and size. One that breaks off is sent again with the same
    /// event ids, as the client's [`crate::RetryPolicy`] says.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, also for an append without events; `Refused`, when an expectation or the
    /// condition does not hold, with the missed events if the append asks for them; `Unavailable`,
    /// `Unreachable` and `Exhausted`, with nothing written; `OutcomeUnknown`: send the same append
    /// again.
    pub async fn append_request(&self, append: &Append) -> Result<Appended> {
        let request = proto::AppendRequest::try_from(append)?;
        if !fits_message(&request) {
            return self.append_in_parts(append).await;
        }
        let response = self
            .call(Repeat::Harmless, request, |client, request| async move {
                client.streams().append(request).await
            })
            .await?;
        Appended::try_from(response).map_err(not_understood)
    }

    /// An append that is larger than a message: a session with nothing else in it.
    async fn append_in_parts(&self, append: &Append) -> Result<Appended> {
        let requests = session_requests(1, append)?;
        retry(self.retry_policy(), Repeat::Harmless, || async {
            let opening = async {
                let mut client = self.streams();
                let answers = client
                    .append_session(stream::iter(requests.clone()))
                    .await?;
                let first = answers.into_inner().next().await;
                first.transpose().map(tonic::Response::new)
            };
            let answer = self.open(opening).await?.ok_or_else(no_answer)?;
            SessionAnswer::try_from(answer)
                .map_err(not_understood)?
                .outcome
        })
        .await
    }
}

/// The server ended a session without an answer.
pub(crate) fn no_answer() -> Error {
    Error::OutcomeUnknown {
        reason: "the session ended before the answer".into(),
    }
}
