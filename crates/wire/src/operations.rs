//! Figures about the store, and imports.

use crate::append::{append_event, check_has_events, stream_expectation};
use crate::event::locate;
use crate::expectation::expected;
use crate::field::{
    InField, required, size, store_id, store_id_bytes, text, text_bytes, written_stream,
};
use crate::proto;
use crate::proto::stats_response::Figure;
use bytes::Bytes;
use icecore_core::{
    Append, AppendBuilder, Error, EventData, ImportTimes, Imported, Position, Result, StoreId,
    StoreStats, StreamName, Timestamp,
};

/// An import batch is an append whose events may ask for a recorded time.
impl TryFrom<proto::ImportRequest> for Append {
    type Error = Error;

    fn try_from(request: proto::ImportRequest) -> Result<Self> {
        let mut append = AppendBuilder::for_import();
        for (n, message) in request.streams.into_iter().enumerate() {
            let stream = imported_stream(message.stream).inside(|| format!("streams[{n}]"))?;
            let expected = expected(message.expected).inside(|| format!("streams[{n}]"))?;
            append.stream(stream, expected)?;
        }
        for (n, message) in request.events.into_iter().enumerate() {
            let times = times(&message).inside(|| format!("events[{n}]"))?;
            let event = required(message.event, "event").inside(|| format!("events[{n}]"))?;
            let stream = size(event.stream);
            let event = EventData::try_from(event).inside(|| format!("events[{n}].event"))?;
            append
                .event(stream, event, times)
                .map_err(|error| locate(error, n))?;
        }
        let append = append.build()?;
        check_has_events(&append)?;
        Ok(append)
    }
}

fn times(message: &proto::ImportEvent) -> Result<Option<ImportTimes>> {
    let created_at = message.created_at.map(Timestamp::from_nanos);
    match message.recorded_at.map(Timestamp::from_nanos) {
        Some(recorded_at) => Ok(Some(ImportTimes {
            recorded_at,
            created_at,
        })),
        None if created_at.is_some() => Err(Error::invalid(
            "created_at",
            "stands without recorded_at, beside which it is kept",
        )),
        None => Ok(None),
    }
}

/// An import also takes back what an export of the whole store wrote, and so names that the store
/// derived from others.
fn imported_stream(bytes: Bytes) -> Result<StreamName> {
    if bytes.starts_with(b"$") && !bytes.starts_with(b"$$") {
        text(bytes).and_then(StreamName::derived).named("stream")
    } else {
        written_stream(bytes)
    }
}

/// What can be sent as an import batch: it has events and no condition.
impl TryFrom<&Append> for proto::ImportRequest {
    type Error = Error;

    fn try_from(append: &Append) -> Result<Self> {
        check_has_events(append)?;
        if append.condition().is_some() {
            return Err(Error::invalid("condition", "an import takes none"));
        }
        let events = append.events().iter().map(|event| proto::ImportEvent {
            event: Some(append_event(event)),
            recorded_at: event.times.map(|times| times.recorded_at.nanos()),
            created_at: event
                .times
                .and_then(|times| times.created_at)
                .map(Timestamp::nanos),
        });
        Ok(Self {
            streams: append.streams().iter().map(stream_expectation).collect(),
            events: events.collect(),
        })
    }
}

impl From<(StoreId, Imported)> for proto::ImportResponse {
    fn from((store_id, imported): (StoreId, Imported)) -> Self {
        Self {
            store_id: store_id_bytes(store_id),
            last_position: imported.last_position.get(),
            clamped: imported.clamped,
        }
    }
}

impl From<proto::ImportResponse> for Imported {
    fn from(response: proto::ImportResponse) -> Self {
        Self {
            last_position: Position::new(response.last_position),
            clamped: response.clamped,
        }
    }
}

impl From<StoreStats> for proto::StatsResponse {
    fn from(stats: StoreStats) -> Self {
        let details = stats.details.into_iter().map(|(name, value)| Figure {
            name: text_bytes(name),
            value,
        });
        Self {
            store_id: store_id_bytes(stats.store_id),
            last_position: stats.last_position.get(),
            streams: stats.streams,
            disk_bytes: stats.disk_bytes,
            subscriptions: stats.subscriptions,
            details: details.collect(),
        }
    }
}

impl TryFrom<proto::StatsResponse> for StoreStats {
    type Error = Error;

    fn try_from(response: proto::StatsResponse) -> Result<Self> {
        let details = response
            .details
            .into_iter()
            .map(|figure| Ok((text(figure.name)?.to_string(), figure.value)));
        Ok(Self {
            store_id: store_id(&response.store_id)?,
            last_position: Position::new(response.last_position),
            streams: response.streams,
            disk_bytes: response.disk_bytes,
            subscriptions: response.subscriptions,
            details: details.collect::<Result<_>>().named("details.name")?,
        })
    }
}
