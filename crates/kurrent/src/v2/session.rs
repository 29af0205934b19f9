//! A session: one request for each stream, with what it expects of it; all of them are written or none.

use super::errors::{failed, no_requests, session_refused, stream_twice};
use super::record::{Records, stream};
use crate::appending::next_part;
use crate::errors::status;
use crate::expectation::{from_number, signed};
use crate::proto::kurrentdb::protocol::v2::streams::{
    AppendRequest, AppendResponse, AppendSessionResponse,
};
use icecore_core::{Append, AppendBuilder, Appended, Error, ExpectedRevision};
use icecore_eventstore::{Admitted, EventStore, Room};
use std::collections::HashSet;
use std::time::Duration;
use tonic::{Status, Streaming};

/// Receives and writes a session.
pub(super) async fn append(
    store: &EventStore,
    requests: Streaming<AppendRequest>,
    admitted: &Admitted,
    message_timeout: Duration,
) -> Result<AppendSessionResponse, Status> {
    let (append, room) = gather(store, requests, admitted, message_timeout).await?;
    let outcome = match store.submit(append, room).await {
        Ok(pending) => pending.outcome().await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(appended) => Ok(answer(appended)),
        Err(Error::Refused(refusal)) => Err(session_refused(&refusal)),
        Err(error) => Err(failed(error)),
    }
}

/// The whole session, and the room that it has taken.
async fn gather(
    store: &EventStore,
    mut requests: Streaming<AppendRequest>,
    admitted: &Admitted,
    message_timeout: Duration,
) -> Result<(Append, Room), Status> {
    let mut room = Room::default();
    let mut append = AppendBuilder::default();
    let mut records = Records::new(store);
    let mut names = HashSet::new();
    loop {
        let Some(request) = next_part(store, &mut requests, message_timeout).await? else {
            break;
        };
        if let Some(permit) = admitted.take() {
            room.add(permit);
        }
        let stream = stream(request.stream)?;
        if !names.insert(stream.as_str().to_lowercase()) {
            return Err(stream_twice(&stream));
        }
        if request.records.is_empty() {
            return Err(Status::invalid_argument(format!(
                "records: stream `{stream}` gets none"
            )));
        }
        let expected = expected(request.expected_revision)?;
        let target = append.stream(stream.clone(), expected).map_err(status)?;
        append.reserve(request.records.len());
        for record in request.records {
            let event = records.event(&stream, record)?;
            append.event(target, event, None).map_err(status)?;
        }
    }
    if names.is_empty() {
        return Err(no_requests());
    }
    Ok((append.build().map_err(status)?, room))
}

/// What a request expects; nothing where it does not say.
fn expected(revision: Option<i64>) -> Result<ExpectedRevision, Status> {
    let Some(number) = revision else {
        return Ok(ExpectedRevision::Any);
    };
    match from_number(number) {
        Some(ExpectedRevision::SoftDeleted | ExpectedRevision::Tombstoned) | None => Err(
            Status::invalid_argument(format!("expected_revision: {number} stands for nothing")),
        ),
        Some(expected) => Ok(expected),
    }
}

fn answer(appended: Appended) -> AppendSessionResponse {
    let position = appended.last_position.get().cast_signed();
    let streams = appended.streams.into_iter();
    let output = streams.map(|written| AppendResponse {
        stream: written.stream.to_string(),
        stream_revision: written.last_revision.map_or(-1, signed),
        position: Some(position),
    });
    AppendSessionResponse {
        output: output.collect(),
        position,
    }
}
