//! Records for any streams in one request, and checks of the states of these streams or others.

use super::errors::{checks_failed, failed};
use super::record::{Records, stream};
use crate::errors::status;
use crate::expectation::{from_number, signed};
use crate::proto::kurrentdb::protocol::v2::streams::consistency_check::{StreamStateCheck, Type};
use crate::proto::kurrentdb::protocol::v2::streams::{
    AppendRecord, AppendRecordsRequest, AppendRecordsResponse, ConsistencyCheck, StreamRevision,
};
use icecore_core::{Append, AppendBuilder, Appended, Error, ExpectedRevision, Role, StreamName};
use icecore_eventstore::{EventStore, Room};
use std::collections::HashMap;
use tonic::Status;

/// Writes the records, if the checks hold.
pub(super) async fn append(
    store: &EventStore,
    request: AppendRecordsRequest,
    room: Room,
) -> Result<AppendRecordsResponse, Status> {
    let AppendRecordsRequest { records, checks } = request;
    if records.is_empty() {
        return Err(Status::invalid_argument("records: there are none"));
    }
    let (append, written) = decode(store, records, checks)?;
    let streams = append.streams().iter().map(|s| s.stream.clone());
    let streams: Vec<_> = streams.collect();
    let outcome = match store.submit(append, room).await {
        Ok(pending) => pending.outcome().await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(appended) => Ok(answer(&appended, &written)),
        Err(Error::Refused(refusal)) => Err(checks_failed(&refusal, &streams)),
        Err(error) => Err(failed(error)),
    }
}

/// The append, and which of its streams are written, in the order of their first records. The streams that
/// are checked come first, so that the place of a stream is the place of its check.
fn decode(
    store: &EventStore,
    records: Vec<AppendRecord>,
    checks: Vec<ConsistencyCheck>,
) -> Result<(Append, Vec<usize>), Status> {
    let mut append = AppendBuilder::default();
    let mut places: HashMap<StreamName, usize> = HashMap::new();
    for check in checks {
        let (stream, expected) = checked(check)?;
        let place = append.stream(stream.clone(), expected).map_err(status)?;
        places.insert(stream, place);
    }
    let checked = places.len();
    append.reserve(records.len());
    let mut decoded = Records::new(store);
    let mut written = Vec::new();
    for mut record in records {
        let stream = stream(std::mem::take(&mut record.stream))?;
        let event = decoded.event(&stream, record)?;
        let place = if let Some(place) = places.get(&stream) {
            *place
        } else {
            let expected = ExpectedRevision::Any;
            let place = append.stream(stream.clone(), expected).map_err(status)?;
            places.insert(stream, place);
            place
        };
        append.event(place, event, None).map_err(status)?;
        if place < checked {
            append.hold_as(place, Role::WrittenAndChecked);
        }
        written.push(place);
    }
    let append = append.build().map_err(status)?;
    Ok((append, first_mentions(written)))
}

/// Each place once, where it came first.
fn first_mentions(places: Vec<usize>) -> Vec<usize> {
    let mut seen = std::collections::HashSet::new();
    places
        .into_iter()
        .filter(|place| seen.insert(*place))
        .collect()
}

fn checked(check: ConsistencyCheck) -> Result<(StreamName, ExpectedRevision), Status> {
    let Some(Type::StreamState(StreamStateCheck {
        stream: name,
        expected_state: number,
    })) = check.r#type
    else {
        return Err(Status::invalid_argument(
            "checks: one of them checks nothing",
        ));
    };
    match from_number(number) {
        Some(ExpectedRevision::Any) | None => Err(Status::invalid_argument(format!(
            "checks: expected_state {number} stands for nothing that can be checked"
        ))),
        Some(expected) => Ok((stream(name)?, expected)),
    }
}

fn answer(appended: &Appended, written: &[usize]) -> AppendRecordsResponse {
    let streams = written
        .iter()
        .filter_map(|place| appended.streams.get(*place));
    let revisions = streams.map(|stream| StreamRevision {
        stream: stream.stream.to_string(),
        revision: stream.last_revision.map_or(-1, signed),
    });
    AppendRecordsResponse {
        revisions: revisions.collect(),
        position: appended.last_position.get().cast_signed(),
    }
}
