//! An append that is a call of its own: first what it expects, then its events one by one.

use crate::appending::{Done, Gathered, next_part};
use crate::errors::{AppendError, status};
use crate::event::stream;
use crate::proto::event_store::client::Empty;
use crate::proto::event_store::client::streams::{AppendReq, AppendResp, append_req, append_resp};
use icecore_core::{Error, ExpectedRevision, Result, Violation};
use icecore_eventstore::{Admitted, EventStore, Room};
use std::time::Duration;
use tonic::{Status, Streaming};

/// Receives and writes one append.
pub(super) async fn append(
    store: &EventStore,
    messages: Streaming<AppendReq>,
    admitted: &Admitted,
    message_timeout: Duration,
) -> Result<AppendResp, Status> {
    let (gathered, room) = gather(store, messages, admitted, message_timeout).await?;
    let outcome = match gathered.submit(store, room).await {
        Ok(pending) => pending.outcome().await.map_err(AppendError::from),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(appended) => Ok(success(appended.into())),
        Err(error) => match error.wrong_version() {
            Some(violation) => Ok(wrong_version(violation)),
            None => Err(error.into_status()),
        },
    }
}

/// The whole append, and the room that it has taken.
async fn gather(
    store: &EventStore,
    mut messages: Streaming<AppendReq>,
    admitted: &Admitted,
    message_timeout: Duration,
) -> Result<(Gathered, Room), Status> {
    let mut room = Room::default();
    let mut gathered: Option<Gathered> = None;
    loop {
        let Some(message) = next_part(store, &mut messages, message_timeout).await? else {
            break;
        };
        if let Some(permit) = admitted.take() {
            room.add(permit);
        }
        match (message.content, &mut gathered) {
            (Some(append_req::Content::Options(options)), None) => {
                gathered = Some(begin(options).map_err(status)?);
            }
            (Some(append_req::Content::ProposedMessage(event)), Some(gathered)) => event
                .try_into()
                .and_then(|event| gathered.add(event))
                .map_err(AppendError::into_status)?,
            _ => return Err(status(out_of_order())),
        }
    }
    let gathered = gathered.ok_or_else(|| status(out_of_order()))?;
    Ok((gathered, room))
}

fn out_of_order() -> Error {
    Error::invalid("content", "first come the options, once, then the events")
}

fn begin(options: append_req::Options) -> Result<Gathered> {
    let missing = || Error::invalid("expected_stream_revision", "is missing");
    let expected = options.expected_stream_revision.ok_or_else(missing)?;
    Ok(Gathered::new(
        stream(options.stream_identifier)?,
        expected.into(),
    ))
}

fn success(done: Done) -> AppendResp {
    use append_resp::success::{CurrentRevisionOption as Current, PositionOption};
    let revision = match done.revision {
        Some(revision) => Current::CurrentRevision(revision),
        None => Current::NoStream(Empty {}),
    };
    let position = match done.position {
        Some(position) => PositionOption::Position(append_resp::Position {
            commit_position: position,
            prepare_position: position,
        }),
        None => PositionOption::NoPosition(Empty {}),
    };
    AppendResp {
        result: Some(append_resp::Result::Success(append_resp::Success {
            current_revision_option: Some(revision),
            position_option: Some(position),
        })),
    }
}

/// What was expected and what is there, each also in the form that old clients read, for whom the last
/// number there is stands for no stream.
fn wrong_version(violation: &Violation) -> AppendResp {
    use append_resp::wrong_expected_version::{
        CurrentRevisionOption as Current, CurrentRevisionOption2060 as OldCurrent,
        ExpectedRevisionOption as Expected, ExpectedRevisionOption2060 as OldExpected,
    };
    let (current, old_current) = match violation.state.last_revision() {
        Some(revision) => (
            Current::CurrentRevision(revision.get()),
            OldCurrent::CurrentRevision2060(revision.get()),
        ),
        None => (
            Current::CurrentNoStream(Empty {}),
            OldCurrent::NoStream2060(Empty {}),
        ),
    };
    let (expected, old_expected) = match violation.expected {
        ExpectedRevision::Exact(revision) => (
            Expected::ExpectedRevision(revision.get()),
            OldExpected::ExpectedRevision2060(revision.get()),
        ),
        ExpectedRevision::NoStream => (
            Expected::ExpectedNoStream(Empty {}),
            OldExpected::ExpectedRevision2060(u64::MAX),
        ),
        ExpectedRevision::StreamExists => (
            Expected::ExpectedStreamExists(Empty {}),
            OldExpected::StreamExists2060(Empty {}),
        ),
        _ => (
            Expected::ExpectedAny(Empty {}),
            OldExpected::Any2060(Empty {}),
        ),
    };
    let wrong = append_resp::WrongExpectedVersion {
        current_revision_option_20_6_0: Some(old_current),
        expected_revision_option_20_6_0: Some(old_expected),
        current_revision_option: Some(current),
        expected_revision_option: Some(expected),
    };
    AppendResp {
        result: Some(append_resp::Result::WrongExpectedVersion(wrong)),
    }
}
