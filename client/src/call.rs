//! What all calls share: deadlines, retries, and what a broken call means for one that only reads.

use crate::client::Client;
use crate::retry::{Repeat, retry};
use icecore_core::{Error, Result};
use tokio::time::timeout;
use tonic::{Request, Response, Status};

impl Client {
    /// A call with one answer, `attempt` being one attempt at it. The request carries the deadline.
    pub(crate) async fn call<M: Clone, R, F>(
        &self,
        repeat: Repeat,
        request: M,
        attempt: impl Fn(Self, Request<M>) -> F,
    ) -> Result<R>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        retry(self.retry_policy(), repeat, || async {
            let mut request = Request::new(request.clone());
            request.set_timeout(self.call_timeout());
            attempt(self.clone(), request)
                .await
                .map(Response::into_inner)
                .map_err(|status| self.error(&status))
        })
        .await
    }

    /// The beginning of a stream of answers. What comes after may take as long as it takes.
    pub(crate) async fn open<R>(
        &self,
        opening: impl Future<Output = Result<Response<R>, Status>>,
    ) -> Result<R> {
        match timeout(self.call_timeout(), opening).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.error(&status)),
            Err(_) => Err(Error::OutcomeUnknown {
                reason: format!("no answer within {:?}", self.call_timeout()),
            }),
        }
    }
}

/// A call that only reads has no outcome that could be unknown: it can be made again.
pub(crate) fn reading(error: Error) -> Error {
    match error {
        Error::OutcomeUnknown { reason } => Error::Unavailable { reason },
        other => other,
    }
}

/// The server's answer is not one that this release understands.
pub(crate) fn not_understood(error: Error) -> Error {
    match error {
        Error::InvalidArgument { field, reason } => Error::internal(format!(
            "the server's answer is not understood: {field}: {reason}"
        )),
        other => other,
    }
}
