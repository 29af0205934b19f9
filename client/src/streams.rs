//! Streams as such: what is known about one, listings, metadata, truncation, deletion.

use crate::call::{not_understood, reading};
use crate::client::Client;
use crate::retry::Repeat;
use icecore_core::{
    Appended, DeleteKind, Error, ExpectedRevision, ListStreams, Result, Revision, StreamInfo,
    StreamName, StreamPage,
};
use icecore_wire::{CategoryPage, Delete, ListCategories, SetStreamMetadata, Truncate, proto};
use serde::Serialize;

impl Client {
    /// What the store knows about a stream.
    ///
    /// # Errors
    ///
    /// `StreamNotFound`, when it never had an event nor metadata.
    pub async fn get_stream(&self, stream: &StreamName) -> Result<StreamInfo> {
        let request = proto::GetStreamRequest::from(stream.clone());
        let response = self
            .call(Repeat::Harmless, request, |client, request| async move {
                client.streams().get_stream(request).await
            })
            .await
            .map_err(reading)?;
        response.try_into().map_err(not_understood)
    }

    /// A page of streams, in byte order of their names. The next page begins after
    /// [`StreamPage::next_after`].
    pub async fn list_streams(&self, list: ListStreams) -> Result<StreamPage> {
        let request = proto::ListStreamsRequest::from(list);
        let response = self
            .call(Repeat::Harmless, request, |client, request| async move {
                client.streams().list_streams(request).await
            })
            .await
            .map_err(reading)?;
        response.try_into().map_err(not_understood)
    }

    /// A page of categories, in byte order. The next page begins after [`CategoryPage::next_after`].
    pub async fn list_categories(&self, list: ListCategories) -> Result<CategoryPage> {
        let request = proto::ListCategoriesRequest::from(list);
        let response = self
            .call(Repeat::Harmless, request, |client, request| async move {
                client.streams().list_categories(request).await
            })
            .await
            .map_err(reading)?;
        response.try_into().map_err(not_understood)
    }

    /// Replaces a stream's metadata by a value that is a JSON object. Keys that mean something:
    /// `$maxCount`, `$maxAge` (seconds), `$tb`, `$cacheControl` (seconds), `$acl`. `expected` is about
    /// the metadata stream, `$$` + stream.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for field `metadata`; `Refused`; `OutcomeUnknown`.
    pub async fn set_metadata(
        &self,
        stream: &StreamName,
        expected: ExpectedRevision,
        metadata: &impl Serialize,
    ) -> Result<Appended> {
        let metadata = serde_json::to_vec(metadata)
            .map_err(|error| Error::invalid("metadata", error.to_string()))?;
        let request = proto::SetStreamMetadataRequest::from(SetStreamMetadata {
            stream: stream.clone(),
            metadata: metadata.into(),
            expected,
        });
        let response = self
            .call(Repeat::Harmful, request, |client, request| async move {
                client.streams().set_stream_metadata(request).await
            })
            .await?;
        response.try_into().map_err(not_understood)
    }

    /// Hides the events of a stream with a lower revision than `before` (exclusive), for ever.
    ///
    /// # Errors
    ///
    /// `StreamNotFound`, `StreamDeleted`; `InvalidArgument`, when `before` lies beyond the next
    /// revision; `OutcomeUnknown`.
    pub async fn truncate(&self, stream: &StreamName, before: Revision) -> Result<Appended> {
        let stream = stream.clone();
        let request = proto::TruncateRequest::from(Truncate { stream, before });
        let response = self
            .call(Repeat::Harmful, request, |client, request| async move {
                client.streams().truncate(request).await
            })
            .await?;
        response.try_into().map_err(not_understood)
    }

    /// Deletes a stream: softly, so that an append opens it again, or for ever.
    ///
    /// # Errors
    ///
    /// `Refused`, when the stream is not as expected, never existed or is closed already;
    /// `OutcomeUnknown`.
    pub async fn delete(
        &self,
        stream: &StreamName,
        expected: ExpectedRevision,
        kind: DeleteKind,
    ) -> Result<Appended> {
        let request = proto::DeleteRequest::from(Delete {
            stream: stream.clone(),
            expected,
            kind,
        });
        let response = self
            .call(Repeat::Harmful, request, |client, request| async move {
                client.streams().delete(request).await
            })
            .await?;
        response.try_into().map_err(not_understood)
    }
}
