//! Figures about the store, and imports.

use crate::call::{not_understood, reading};
use crate::client::Client;
use crate::retry::Repeat;
use icecore_core::{Append, Imported, Result, StoreStats};
use icecore_wire::proto;

impl Client {
    /// Figures about the store.
    pub async fn stats(&self) -> Result<StoreStats> {
        let request = proto::StatsRequest {};
        let response = self
            .call(Repeat::Harmless, request, |client, request| async move {
                client.operations().stats(request).await
            })
            .await
            .map_err(reading)?;
        response.try_into().map_err(not_understood)
    }

    /// Appends one batch whose events may carry the time at which they shall count as recorded
    /// ([`icecore_core::AppendEvent::times`]): all of them or none. The batch must fit a message
    /// of 17 MiB.
    ///
    /// Put your own progress into the same batch, as an event of a stream `$import-...` with an exact
    /// expectation: then a batch that was sent twice is recognised however late that is.
    ///
    /// # Errors
    ///
    /// As [`Self::append_request`]; `InvalidArgument` also for a time more than a minute in the future
    /// and for a batch with a condition.
    pub async fn import(&self, batch: &Append) -> Result<Imported> {
        let request = proto::ImportRequest::try_from(batch)?;
        let response = self
            .call(Repeat::Harmless, request, |client, request| async move {
                client.operations().import(request).await
            })
            .await?;
        Ok(response.into())
    }
}
