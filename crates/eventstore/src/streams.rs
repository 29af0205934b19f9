//! What concerns one stream as a whole: its description, its metadata, truncation and deletion; and
//! the listings of streams and categories.
//!
//! Metadata, truncation and soft deletion are `$metadata` events of `$$s`, a tombstone is a
//! `$streamDeleted` event of `s`: appends like any other, with what KurrentDB expects of them.

use crate::metadata::{SOFT_DELETED, StreamMetadata};
use crate::request::Mode;
use crate::state::{StreamRecord, base};
use crate::store::EventStore;
use crate::virtual_stream::{VirtualStream, check_ordinary};
use crate::visibility::Visibility;
use bytes::Bytes;
use icecore_core::{
    Append, AppendBuilder, Appended, Category, ContentType, DeleteKind, Direction, Error,
    EventData, EventType, ExpectedRevision, ListStreams, PageLimit, Position, RecordedEvent,
    Refusal, Result, Revision, Role, StreamEntry, StreamInfo, StreamName, StreamPage, StreamPlace,
    StreamState, SystemStreams, Violation, ViolationKind, event_types,
};

/// Streams or categories that a page of a listing holds at most.
const LIST_MAX: usize = 1_000;

/// How often a change of metadata is tried again when somebody else changes it at the same time.
const METADATA_TRIES: usize = 16;

impl EventStore {
    /// Describes a stream.
    ///
    /// # Errors
    ///
    /// `StreamNotFound`, when it never had an event nor metadata.
    pub async fn stream_info(&self, stream: &StreamName) -> Result<StreamInfo> {
        if let Some(stream) = VirtualStream::named(stream) {
            return self.virtual_info(stream).await;
        }
        let record = self.record(&base(stream)).await?;
        let state = record.state_of(stream);
        if state == StreamState::Absent {
            return Err(Error::StreamNotFound {
                stream: stream.clone(),
            });
        }
        let visibility = Visibility::of(stream, &record, self.now());
        let first = self
            .visible_from(stream, visibility.first, visibility)
            .await?;
        let last = match first {
            Some(_) => self.last_place(stream).await?,
            None => None,
        };
        let metadata_tail = if stream.is_metadata() {
            None
        } else {
            record.metadata_tail
        };
        let metadata = metadata_tail.map_or_else(Bytes::new, |_| record.metadata.to_bytes());
        Ok(StreamInfo {
            stream: stream.clone(),
            state,
            first,
            last,
            metadata_revision: metadata_tail.map(|tail| tail.last_revision),
            metadata,
        })
    }

    async fn virtual_info(&self, stream: VirtualStream) -> Result<StreamInfo> {
        let first = self.virtual_end(&stream, Direction::Forwards).await?;
        let last = self.virtual_end(&stream, Direction::Backwards).await?;
        let Some(end) = last else {
            return Err(Error::StreamNotFound {
                stream: stream.name,
            });
        };
        Ok(StreamInfo {
            stream: stream.name,
            state: StreamState::Living { last: end.revision },
            first,
            last,
            metadata_revision: None,
            metadata: Bytes::new(),
        })
    }

    /// The first or the last link of a virtual stream.
    pub(crate) async fn virtual_end(
        &self,
        stream: &VirtualStream,
        direction: Direction,
    ) -> Result<Option<StreamPlace>> {
        let from = match direction {
            Direction::Forwards => Position::FIRST,
            Direction::Backwards => self.last_position(),
        };
        let limit = PageLimit::events(1);
        let storage = self.storage();
        let page = storage
            .read_term(&stream.term, from, direction, limit)
            .await?;
        let link = |target| place(&stream.link(self.store_id(), target));
        Ok(page.events.first().map(link))
    }

    /// The first visible event from a revision on.
    async fn visible_from(
        &self,
        stream: &StreamName,
        first: Revision,
        visibility: Visibility,
    ) -> Result<Option<StreamPlace>> {
        let mut next = first;
        loop {
            let limit = PageLimit::events(64);
            let page = self
                .storage()
                .read_stream(stream, next, Direction::Forwards, limit)
                .await?;
            if let Some(event) = page.events.iter().find(|event| visibility.shows(event)) {
                return Ok(Some(place(event)));
            }
            if page.end {
                return Ok(None);
            }
            next = page.next;
        }
    }

    async fn last_place(&self, stream: &StreamName) -> Result<Option<StreamPlace>> {
        let (from, limit) = (Revision::TOMBSTONE, PageLimit::events(1));
        let page = self
            .storage()
            .read_stream(stream, from, Direction::Backwards, limit)
            .await?;
        Ok(page.events.first().map(place))
    }

    /// Lists streams in byte order of their names.
    pub async fn list_streams(&self, list: &ListStreams) -> Result<StreamPage> {
        let limit = match list.limit {
            0 => LIST_MAX,
            limit => limit.min(LIST_MAX),
        };
        let system = list.system == SystemStreams::Include || list.prefix.starts_with('$');
        let mut after = list.after.clone();
        let mut streams = Vec::new();
        loop {
            let wanted = limit - streams.len();
            let page = self
                .storage()
                .stream_names(&list.prefix, after.as_ref(), wanted)
                .await?;
            after = page.names.last().cloned().or(after);
            let names: Vec<_> = page
                .names
                .into_iter()
                .filter(|name| system || !name.is_system())
                .collect();
            streams.extend(self.entries(names).await?);
            if page.end {
                return Ok(StreamPage {
                    streams,
                    next_after: None,
                });
            }
            if streams.len() == limit {
                return Ok(StreamPage {
                    streams,
                    next_after: after,
                });
            }
        }
    }

    async fn entries(&self, names: Vec<StreamName>) -> Result<Vec<StreamEntry>> {
        let mut entries = Vec::with_capacity(names.len());
        for stream in names {
            let record = self.record(&base(&stream)).await?;
            if let Some(tail) = record.tail_of(&stream) {
                let (state, last_position) = (record.state_of(&stream), tail.last_position);
                entries.push(StreamEntry {
                    stream,
                    state,
                    last_position,
                });
            }
        }
        Ok(entries)
    }

    /// Lists categories after `after` (exclusive) in byte order, and where the next page begins
    /// (exclusive; `None` at the end). `limit` 0 takes the store's own page size.
    pub async fn list_categories(
        &self,
        after: Option<Category>,
        limit: usize,
        system: SystemStreams,
    ) -> Result<(Vec<Category>, Option<Category>)> {
        let limit = if limit == 0 {
            LIST_MAX
        } else {
            limit.min(LIST_MAX)
        };
        let mut after = after;
        let mut categories = Vec::new();
        loop {
            let wanted = limit - categories.len();
            let page = self.storage().categories(after.as_ref(), wanted).await?;
            after = page.categories.last().cloned().or(after);
            let shown = |category: &Category| {
                system == SystemStreams::Include || !category.as_str().starts_with('$')
            };
            categories.extend(page.categories.into_iter().filter(shown));
            if page.end {
                return Ok((categories, None));
            }
            if categories.len() == limit {
                return Ok((categories, after));
            }
        }
    }

    /// Replaces the metadata of a stream, a JSON object with KurrentDB's keys. `expected` concerns
    /// `$$stream`; `id` makes a retry harmless.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for field `stream` or `metadata`, and as [`EventStore::append`].
    pub async fn set_metadata(
        &self,
        stream: &StreamName,
        expected: ExpectedRevision,
        metadata: &[u8],
    ) -> Result<Appended> {
        let metadata = StreamMetadata::parse(metadata)?;
        let append = Append::to_stream(
            metadata_stream(stream)?,
            expected,
            vec![self.event(&metadata)],
        )?;
        self.append(append).await
    }

    /// Hides the events of a stream before a revision (exclusive). It never brings hidden ones back.
    ///
    /// # Errors
    ///
    /// `StreamNotFound`, `StreamDeleted`, or `InvalidArgument` for a revision beyond the next one.
    pub async fn truncate(&self, stream: &StreamName, before: Revision) -> Result<Appended> {
        self.change_metadata(stream, |record| {
            let next = match record.state_of(stream) {
                StreamState::Living { last } => last.next(),
                StreamState::Tombstoned => {
                    return Err(Error::StreamDeleted {
                        stream: stream.clone(),
                    });
                }
                _ => {
                    return Err(Error::StreamNotFound {
                        stream: stream.clone(),
                    });
                }
            };
            if before > next {
                return Err(Error::invalid(
                    "before",
                    format!("is {before}, the next revision of `{stream}` is {next}"),
                ));
            }
            let before = record
                .metadata
                .truncate_before
                .unwrap_or(before)
                .max(before);
            Ok((
                record.metadata.truncated_before(before),
                ExpectedRevision::Any,
            ))
        })
        .await
    }

    /// Deletes a stream: softly, so that an append reopens it, or for ever.
    ///
    /// # Errors
    ///
    /// `Refused`, when the stream is not as expected, never existed, or is closed already.
    pub async fn delete(
        &self,
        stream: &StreamName,
        expected: ExpectedRevision,
        kind: DeleteKind,
    ) -> Result<Appended> {
        match kind {
            DeleteKind::Tombstone => self.tombstone(stream, expected).await,
            DeleteKind::Soft => {
                self.change_metadata(stream, |record| {
                    let state = record.state_of(stream);
                    if matches!(state, StreamState::Absent | StreamState::OnlyMetadata) {
                        return Err(refused(stream, expected, state));
                    }
                    Ok((record.metadata.truncated_before(SOFT_DELETED), expected))
                })
                .await
            }
        }
    }

    async fn tombstone(&self, stream: &StreamName, expected: ExpectedRevision) -> Result<Appended> {
        metadata_stream(stream)?;
        let event = EventData {
            event_type: EventType::new(event_types::STREAM_DELETED)?,
            ..self.event(&StreamMetadata::default())
        };
        let append = Append::to_stream(stream.clone(), expected, vec![event])?;
        // The stream is not to be reopened first, when it is soft-deleted.
        Ok(self.write(append, Mode::Verbatim).await?.appended)
    }

    /// Writes metadata that depends on what is there, and holds the stream itself to an expectation
    /// as if it were written to. Tries again when the metadata changes meanwhile.
    async fn change_metadata(
        &self,
        stream: &StreamName,
        change: impl Fn(&StreamRecord) -> Result<(StreamMetadata, ExpectedRevision)>,
    ) -> Result<Appended> {
        let metadata_stream = metadata_stream(stream)?;
        for _ in 0..METADATA_TRIES {
            let record = self.record(&base(stream)).await?;
            let (metadata, expected) = change(&record)?;
            let metadata_expected = match record.metadata_tail {
                Some(tail) => ExpectedRevision::Exact(tail.last_revision),
                None => ExpectedRevision::NoStream,
            };
            let mut append = AppendBuilder::default();
            let target = append.stream(metadata_stream.clone(), metadata_expected)?;
            let checked = append.stream(stream.clone(), expected)?;
            append
                .hold_as(checked, Role::Written)
                .event(target, self.event(&metadata), None)?;
            match self.append(append.build()?).await {
                Err(Error::Refused(refusal)) if is_only_about(&refusal, &metadata_stream) => {}
                other => return other,
            }
        }
        Err(Error::unavailable(format!(
            "the metadata of `{stream}` changes all the time"
        )))
    }

    fn event(&self, metadata: &StreamMetadata) -> EventData {
        EventData {
            id: self.next_id(),
            event_type: EventType::new(event_types::METADATA).expect("it is a valid type"),
            content_type: ContentType::JSON,
            data: metadata.to_bytes(),
            metadata: Bytes::new(),
            tags: Vec::new(),
        }
    }
}

fn metadata_stream(stream: &StreamName) -> Result<StreamName> {
    check_ordinary(stream)?;
    stream.metadata_stream().ok_or_else(|| {
        Error::invalid(
            "stream",
            format!("`{stream}` is a metadata stream, it has no metadata"),
        )
    })
}

fn is_only_about(refusal: &Refusal, stream: &StreamName) -> bool {
    refusal
        .violations
        .iter()
        .all(|violation| violation.stream == *stream)
}

fn refused(stream: &StreamName, expected: ExpectedRevision, state: StreamState) -> Error {
    let kind = ViolationKind::WrongExpectedRevision;
    let violation = Violation {
        stream: stream.clone(),
        expected,
        state,
        kind,
    };
    Error::Refused(Box::new(Refusal::new(vec![violation], None)))
}

fn place(event: &RecordedEvent) -> StreamPlace {
    StreamPlace {
        revision: event.revision,
        position: event.position,
        recorded_at: event.recorded_at,
    }
}
