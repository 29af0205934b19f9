//! Reads: one stream or all, both directions, filtered, up to a moment. A read ends where the store
//! ended when it began; what follows is a subscription's business.

use crate::matcher::Matcher;
use crate::scan::Scan;
use crate::state::base;
use crate::store::EventStore;
use crate::virtual_stream::{self, VirtualStream};
use crate::visibility::Visibility;
use futures::Stream;
use futures::stream::try_unfold;
use icecore_core::{
    Direction, Error, PageLimit, Position, Read, ReadBatch, ReadFrom, RecordedEvent, Result,
    Revision, StreamName, StreamState, Timestamp,
};
use icecore_storage::StreamTail;

/// Events that one batch of a read carries at most.
const BATCH_EVENTS: usize = 1_024;

/// Bytes of events that one batch of a read carries at most, or one event.
const BATCH_BYTES: usize = 1_024 * 1_024;

impl EventStore {
    /// Reads events in batches, at the pace of whoever takes them. There is at least one batch.
    ///
    /// # Errors
    ///
    /// The stream ends with `InvalidArgument`, `StreamNotFound` (also for a soft-deleted stream),
    /// `StreamDeleted` or `Corrupted`.
    pub fn read(&self, read: Read) -> impl Stream<Item = Result<ReadBatch>> + Send + 'static {
        let store = self.clone();
        try_unfold(Phase::Begin(store, Box::new(read)), |phase| async move {
            let mut reading = match phase {
                Phase::Begin(store, read) => Box::new(Reading::begin(store, *read).await?),
                Phase::Reading(reading) => reading,
                Phase::End => return Ok(None),
            };
            let batch = reading.next_batch().await?;
            let after = if reading.end {
                Phase::End
            } else {
                Phase::Reading(reading)
            };
            Ok(Some((batch, after)))
        })
    }

    /// The last position that had been recorded by `time` (inclusive).
    pub(crate) async fn position_at(&self, time: Timestamp) -> Result<Position> {
        let (mut low, mut high) = (Position::START, self.last_position());
        while low < high {
            let middle = Position::new(low.get() + (high.get() - low.get()).div_ceil(2));
            let page = self
                .storage()
                .read_all(middle, Direction::Forwards, PageLimit::events(1))
                .await?;
            match page.events.first() {
                Some(event) if event.recorded_at <= time => low = middle,
                _ => high = middle.previous(),
            }
        }
        Ok(low)
    }
}

enum Phase {
    Begin(EventStore, Box<Read>),
    Reading(Box<Reading>),
    End,
}

/// A read under way.
struct Reading {
    store: EventStore,
    source: Source,
    /// The last position when it began: what came later is not looked at.
    last: Position,
    /// Events that may still be returned.
    left: u64,
    end: bool,
}

enum Source {
    All(Scan),
    Stream(StreamWalk),
    Virtual(Scan, VirtualStream),
    Nothing,
}

/// A walk over the visible events of one stream.
struct StreamWalk {
    stream: StreamName,
    direction: Direction,
    next: Revision,
    /// Events after this position are left out.
    bound: Position,
    visibility: Visibility,
    matcher: Matcher,
}

impl Reading {
    async fn begin(store: EventStore, read: Read) -> Result<Self> {
        read.check()?;
        let left = read.limit.unwrap_or(u64::MAX);
        let last = store.last_position();
        let bound = match read.as_of {
            Some(time) => last.min(store.position_at(time).await?),
            None => last,
        };
        let source = match &read.from {
            ReadFrom::All(from) => {
                let scan = all(&store, Matcher::all(&read.filter)?, &read, *from, bound);
                scan.map_or(Source::Nothing, Source::All)
            }
            ReadFrom::Stream(stream, from) => match VirtualStream::named(stream) {
                Some(stream) => links(&store, &read, stream, *from, bound).await?,
                None => one_stream(&store, &read, stream, *from, bound).await?,
            },
        };
        Ok(Self {
            store,
            source,
            last,
            left,
            end: false,
        })
    }

    /// The next events; empty only when there are none at all any more.
    async fn next_batch(&mut self) -> Result<ReadBatch> {
        let events_max = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(BATCH_EVENTS);
        let limit = PageLimit {
            events: events_max,
            bytes: BATCH_BYTES,
        };
        let mut events = Vec::new();
        while events.is_empty() && !self.end {
            (events, self.end) = match &mut self.source {
                Source::All(scan) => {
                    let step = scan.step(limit).await?;
                    (step.events, step.end)
                }
                Source::Stream(walk) => walk.step(&self.store, limit).await?,
                Source::Virtual(scan, stream) => {
                    let step = scan.step(limit).await?;
                    let store = self.store.store_id();
                    let links = step.events.iter().map(|event| stream.link(store, event));
                    (links.collect(), step.end)
                }
                Source::Nothing => (Vec::new(), true),
            };
        }
        self.left -= events.len() as u64;
        self.end |= self.left == 0;
        Ok(ReadBatch {
            events,
            last_position: self.last,
        })
    }
}

/// A walk over all events that match; `None` when there is nowhere to go.
fn all(
    store: &EventStore,
    matcher: Matcher,
    read: &Read,
    from: Option<Position>,
    bound: Position,
) -> Option<Scan> {
    let (from, bound) = match read.direction {
        Direction::Forwards => (from.unwrap_or(Position::FIRST).max(Position::FIRST), bound),
        Direction::Backwards => (from.unwrap_or(bound).min(bound), Position::FIRST),
    };
    let is_empty = match read.direction {
        Direction::Forwards => from > bound,
        Direction::Backwards => from < bound,
    };
    let storage = store.storage_handle();
    (!is_empty).then(|| Scan::new(storage, matcher, read.direction, from, bound))
}

/// The links of a virtual stream, which is there as soon as it has one.
async fn links(
    store: &EventStore,
    read: &Read,
    stream: VirtualStream,
    from: Option<Revision>,
    bound: Position,
) -> Result<Source> {
    virtual_stream::check_filter(&read.filter)?;
    if store
        .virtual_end(&stream, Direction::Forwards)
        .await?
        .is_none()
    {
        return Err(Error::StreamNotFound {
            stream: stream.name,
        });
    }
    let from = from.map(|from| Position::new(from.get()));
    let scan = all(store, Matcher::term(stream.term.clone()), read, from, bound);
    Ok(scan.map_or(Source::Nothing, |scan| Source::Virtual(scan, stream)))
}

async fn one_stream(
    store: &EventStore,
    read: &Read,
    stream: &StreamName,
    from: Option<Revision>,
    bound: Position,
) -> Result<Source> {
    let record = store.record(&base(stream)).await?;
    let tail = match record.state_of(stream) {
        StreamState::Living { .. } => record.tail_of(stream),
        StreamState::Tombstoned => {
            return Err(Error::StreamDeleted {
                stream: stream.clone(),
            });
        }
        StreamState::Absent | StreamState::OnlyMetadata | StreamState::SoftDeleted { .. } => {
            return Err(Error::StreamNotFound {
                stream: stream.clone(),
            });
        }
    };
    let visibility = Visibility::of(stream, &record, store.now());
    let next = match read.direction {
        Direction::Forwards => from.unwrap_or(Revision::FIRST).max(visibility.first),
        Direction::Backwards => {
            let last = match tail {
                Some(tail) => last_revision_at(store, stream, tail, bound).await?,
                None => None,
            };
            match last {
                Some(last) => from.unwrap_or(last).min(last),
                None => return Ok(Source::Nothing),
            }
        }
    };
    let matcher = Matcher::one_stream(&read.filter)?;
    let (stream, direction) = (stream.clone(), read.direction);
    Ok(Source::Stream(StreamWalk {
        stream,
        direction,
        next,
        bound,
        visibility,
        matcher,
    }))
}

/// The last revision of the stream up to a position.
pub(crate) async fn last_revision_at(
    store: &EventStore,
    stream: &StreamName,
    tail: StreamTail,
    bound: Position,
) -> Result<Option<Revision>> {
    if tail.last_position <= bound {
        return Ok(Some(tail.last_revision));
    }
    // The first revision that lies beyond the bound is in `low..=high`.
    let (mut low, mut high) = (0, tail.last_revision.get());
    while low < high {
        let middle = low + (high - low) / 2;
        let from = Revision::new(middle);
        let limit = PageLimit::events(1);
        let page = store
            .storage()
            .read_stream(stream, from, Direction::Forwards, limit)
            .await?;
        match page.events.first() {
            Some(event) if event.position <= bound => low = event.revision.get() + 1,
            _ => high = middle,
        }
    }
    Ok(Revision::new(low).previous())
}

impl StreamWalk {
    async fn step(
        &mut self,
        store: &EventStore,
        limit: PageLimit,
    ) -> Result<(Vec<RecordedEvent>, bool)> {
        let storage = store.storage();
        let page = storage
            .read_stream(&self.stream, self.next, self.direction, limit)
            .await?;
        self.next = page.next;
        let mut end = page.end;
        let mut events = Vec::with_capacity(page.events.len());
        for event in page.events {
            let beyond = event.position > self.bound;
            let too_old = event.revision < self.visibility.first;
            end |= match self.direction {
                Direction::Forwards => beyond,
                Direction::Backwards => too_old,
            };
            if !beyond && self.visibility.shows(&event) && self.matcher.matches(&event)? {
                events.push(event);
            }
        }
        Ok((events, end))
    }
}
