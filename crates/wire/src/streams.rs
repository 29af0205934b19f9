//! Streams as such: what is known about one, listings, metadata, truncation, deletion.

use crate::expectation::expected;
use crate::field::InField;
use crate::field::{
    count, required, size, store_id_bytes, stored_stream, stream_bytes, text, text_bytes, unknown,
    written_stream,
};
use crate::filter::{include_system, system_streams};
use crate::proto;
use crate::proto::delete_request::Kind;
use bytes::Bytes;
use icecore_core::limits::DERIVED_STREAM_NAME_BYTES_MAX;
use icecore_core::{
    Category, DeleteKind, Error, ExpectedRevision, ListStreams, Position, Result, Revision,
    StoreId, StreamEntry, StreamInfo, StreamName, StreamPage, StreamPlace, SystemStreams,
    Timestamp,
};

/// Which categories to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListCategories {
    /// Categories after this one (exclusive) in byte order.
    pub after: Option<Category>,
    /// Most categories; 0 takes the store's own page size.
    pub limit: usize,
    /// Whether categories that begin with `$` are listed too.
    pub system: SystemStreams,
}

/// Some categories, in byte order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CategoryPage {
    /// The categories.
    pub categories: Vec<Category>,
    /// Where the next page begins (exclusive), past what was left out; `None` at the end.
    pub next_after: Option<Category>,
}

/// New metadata of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetStreamMetadata {
    /// The stream, not its metadata stream.
    pub stream: StreamName,
    /// A JSON object with KurrentDB's keys; the store checks it.
    pub metadata: Bytes,
    /// What is expected of the metadata stream.
    pub expected: ExpectedRevision,
}

/// Hides the first events of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truncate {
    /// The stream.
    pub stream: StreamName,
    /// Events with a lower revision are hidden (exclusive).
    pub before: Revision,
}

/// Deletes a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// The stream.
    pub stream: StreamName,
    /// What is expected of it.
    pub expected: ExpectedRevision,
    /// Which way.
    pub kind: DeleteKind,
}

/// The stream that is asked for.
impl TryFrom<proto::GetStreamRequest> for StreamName {
    type Error = Error;

    fn try_from(request: proto::GetStreamRequest) -> Result<Self> {
        stored_stream(request.stream)
    }
}

impl From<StreamName> for proto::GetStreamRequest {
    fn from(stream: StreamName) -> Self {
        Self {
            stream: stream_bytes(stream),
        }
    }
}

impl From<(StoreId, StreamInfo)> for proto::GetStreamResponse {
    fn from((store_id, info): (StoreId, StreamInfo)) -> Self {
        Self {
            store_id: store_id_bytes(store_id),
            stream: stream_bytes(info.stream),
            state: Some(info.state.into()),
            first: info.first.map(Into::into),
            last: info.last.map(Into::into),
            metadata_revision: info.metadata_revision.map(Revision::get),
            metadata: info.metadata,
        }
    }
}

impl TryFrom<proto::GetStreamResponse> for StreamInfo {
    type Error = Error;

    fn try_from(response: proto::GetStreamResponse) -> Result<Self> {
        Ok(Self {
            stream: stored_stream(response.stream)?,
            state: required(response.state, "state")?.try_into()?,
            first: response.first.map(Into::into),
            last: response.last.map(Into::into),
            metadata_revision: response.metadata_revision.map(Revision::new),
            metadata: response.metadata,
        })
    }
}

impl From<StreamPlace> for proto::StreamPlace {
    fn from(place: StreamPlace) -> Self {
        Self {
            revision: place.revision.get(),
            position: place.position.get(),
            recorded_at: place.recorded_at.nanos(),
        }
    }
}

impl From<proto::StreamPlace> for StreamPlace {
    fn from(message: proto::StreamPlace) -> Self {
        Self {
            revision: Revision::new(message.revision),
            position: Position::new(message.position),
            recorded_at: Timestamp::from_nanos(message.recorded_at),
        }
    }
}

impl TryFrom<proto::ListStreamsRequest> for ListStreams {
    type Error = Error;

    fn try_from(request: proto::ListStreamsRequest) -> Result<Self> {
        if request.prefix.len() > DERIVED_STREAM_NAME_BYTES_MAX {
            return Err(Error::invalid(
                "prefix",
                format!("is longer than {DERIVED_STREAM_NAME_BYTES_MAX} bytes"),
            ));
        }
        Ok(Self {
            prefix: text(request.prefix).named("prefix")?.to_string(),
            after: request
                .after
                .map(stored_stream)
                .transpose()
                .named("after")?,
            limit: size(request.limit),
            system: system_streams(request.include_system),
        })
    }
}

impl From<ListStreams> for proto::ListStreamsRequest {
    fn from(list: ListStreams) -> Self {
        Self {
            prefix: list.prefix.into(),
            after: list.after.map(stream_bytes),
            limit: count(list.limit),
            include_system: include_system(list.system),
        }
    }
}

impl From<(StoreId, StreamPage)> for proto::ListStreamsResponse {
    fn from((store_id, page): (StoreId, StreamPage)) -> Self {
        let streams = page.streams.into_iter().map(|entry| proto::StreamEntry {
            stream: stream_bytes(entry.stream),
            state: Some(entry.state.into()),
            last_position: entry.last_position.get(),
        });
        Self {
            store_id: store_id_bytes(store_id),
            streams: streams.collect(),
            next_after: page.next_after.map(stream_bytes),
        }
    }
}

impl TryFrom<proto::ListStreamsResponse> for StreamPage {
    type Error = Error;

    fn try_from(response: proto::ListStreamsResponse) -> Result<Self> {
        let streams = response.streams.into_iter().map(|entry| {
            Ok(StreamEntry {
                stream: stored_stream(entry.stream)?,
                state: required(entry.state, "state")?.try_into()?,
                last_position: Position::new(entry.last_position),
            })
        });
        Ok(Self {
            streams: streams.collect::<Result<_>>()?,
            next_after: response.next_after.map(stored_stream).transpose()?,
        })
    }
}

fn category(bytes: Bytes) -> Result<Category> {
    text(bytes).and_then(Category::new)
}

fn category_bytes(category: Category) -> Bytes {
    text_bytes(category.into_inner())
}

impl TryFrom<proto::ListCategoriesRequest> for ListCategories {
    type Error = Error;

    fn try_from(request: proto::ListCategoriesRequest) -> Result<Self> {
        Ok(Self {
            after: request.after.map(category).transpose().named("after")?,
            limit: size(request.limit),
            system: system_streams(request.include_system),
        })
    }
}

impl From<ListCategories> for proto::ListCategoriesRequest {
    fn from(list: ListCategories) -> Self {
        Self {
            after: list.after.map(category_bytes),
            limit: count(list.limit),
            include_system: include_system(list.system),
        }
    }
}

impl From<(StoreId, CategoryPage)> for proto::ListCategoriesResponse {
    fn from((store_id, page): (StoreId, CategoryPage)) -> Self {
        Self {
            store_id: store_id_bytes(store_id),
            categories: page.categories.into_iter().map(category_bytes).collect(),
            next_after: page.next_after.map(category_bytes),
        }
    }
}

impl TryFrom<proto::ListCategoriesResponse> for CategoryPage {
    type Error = Error;

    fn try_from(response: proto::ListCategoriesResponse) -> Result<Self> {
        let categories = response.categories.into_iter().map(category);
        Ok(Self {
            categories: categories.collect::<Result<_>>()?,
            next_after: response.next_after.map(category).transpose()?,
        })
    }
}

impl TryFrom<proto::SetStreamMetadataRequest> for SetStreamMetadata {
    type Error = Error;

    fn try_from(request: proto::SetStreamMetadataRequest) -> Result<Self> {
        let stream = written_stream(request.stream)?;
        if stream.is_metadata() {
            return Err(Error::invalid(
                "stream",
                "is a metadata stream, which has no metadata of its own",
            ));
        }
        let expected = match request.expected {
            Some(message) => expected(Some(message))?,
            None => ExpectedRevision::Any,
        };
        Ok(Self {
            stream,
            metadata: request.metadata,
            expected,
        })
    }
}

impl From<SetStreamMetadata> for proto::SetStreamMetadataRequest {
    fn from(set: SetStreamMetadata) -> Self {
        Self {
            stream: stream_bytes(set.stream),
            metadata: set.metadata,
            expected: Some(set.expected.into()),
        }
    }
}

impl TryFrom<proto::TruncateRequest> for Truncate {
    type Error = Error;

    fn try_from(request: proto::TruncateRequest) -> Result<Self> {
        Ok(Self {
            stream: written_stream(request.stream)?,
            before: Revision::new(request.before),
        })
    }
}

impl From<Truncate> for proto::TruncateRequest {
    fn from(truncate: Truncate) -> Self {
        Self {
            stream: stream_bytes(truncate.stream),
            before: truncate.before.get(),
        }
    }
}

impl TryFrom<proto::DeleteRequest> for Delete {
    type Error = Error;

    fn try_from(request: proto::DeleteRequest) -> Result<Self> {
        let kind = match request.kind() {
            Kind::Unspecified => return unknown("kind", request.kind),
            Kind::Soft => DeleteKind::Soft,
            Kind::Tombstone => DeleteKind::Tombstone,
        };
        Ok(Self {
            stream: written_stream(request.stream)?,
            expected: expected(request.expected)?,
            kind,
        })
    }
}

impl From<Delete> for proto::DeleteRequest {
    fn from(delete: Delete) -> Self {
        let kind = match delete.kind {
            DeleteKind::Soft => Kind::Soft,
            DeleteKind::Tombstone => Kind::Tombstone,
        };
        Self {
            stream: stream_bytes(delete.stream),
            expected: Some(delete.expected.into()),
            kind: kind.into(),
        }
    }
}
