//! Expectations and stream states.

use crate::field::{required, unknown};
use crate::proto;
use crate::proto::expected_revision::Expected;
use crate::proto::stream_state::Kind;
use icecore_core::{Error, ExpectedRevision, Result, Revision, StreamState};

/// What is expected, where it must be said.
pub(crate) fn expected(expected: Option<proto::ExpectedRevision>) -> Result<ExpectedRevision> {
    expected.unwrap_or_default().try_into()
}

impl TryFrom<proto::ExpectedRevision> for ExpectedRevision {
    type Error = Error;

    fn try_from(message: proto::ExpectedRevision) -> Result<Self> {
        use proto::ExpectedState as State;
        let state = match message.expected {
            Some(Expected::Exact(revision)) => return Ok(Self::Exact(Revision::new(revision))),
            Some(Expected::State(state)) => State::try_from(state).unwrap_or_default(),
            None => State::Unspecified,
        };
        match state {
            State::Unspecified => Err(Error::invalid("expected", "unknown expectation")),
            State::Any => Ok(Self::Any),
            State::NoStream => Ok(Self::NoStream),
            State::Exists => Ok(Self::StreamExists),
            State::SoftDeleted => Ok(Self::SoftDeleted),
            State::Tombstoned => Ok(Self::Tombstoned),
        }
    }
}

impl From<ExpectedRevision> for proto::ExpectedRevision {
    fn from(expected: ExpectedRevision) -> Self {
        use proto::ExpectedState as State;
        let state = match expected {
            ExpectedRevision::Any => State::Any,
            ExpectedRevision::NoStream => State::NoStream,
            ExpectedRevision::StreamExists => State::Exists,
            ExpectedRevision::SoftDeleted => State::SoftDeleted,
            ExpectedRevision::Tombstoned => State::Tombstoned,
            ExpectedRevision::Exact(revision) => {
                return Self {
                    expected: Some(Expected::Exact(revision.get())),
                };
            }
        };
        Self {
            expected: Some(Expected::State(state.into())),
        }
    }
}

impl TryFrom<proto::StreamState> for StreamState {
    type Error = Error;

    fn try_from(message: proto::StreamState) -> Result<Self> {
        let last = || required(message.last_revision, "state.last_revision").map(Revision::new);
        match message.kind() {
            Kind::Unspecified => unknown("state.kind", message.kind),
            Kind::Absent => Ok(Self::Absent),
            Kind::OnlyMetadata => Ok(Self::OnlyMetadata),
            Kind::Living => Ok(Self::Living { last: last()? }),
            Kind::SoftDeleted => Ok(Self::SoftDeleted { last: last()? }),
            Kind::Tombstoned => Ok(Self::Tombstoned),
        }
    }
}

impl From<StreamState> for proto::StreamState {
    fn from(state: StreamState) -> Self {
        let (kind, last) = match state {
            StreamState::Absent => (Kind::Absent, None),
            StreamState::OnlyMetadata => (Kind::OnlyMetadata, None),
            StreamState::Living { last } => (Kind::Living, Some(last)),
            StreamState::SoftDeleted { last } => (Kind::SoftDeleted, Some(last)),
            StreamState::Tombstoned => (Kind::Tombstoned, None),
        };
        Self {
            kind: kind.into(),
            last_revision: last.map(Revision::get),
        }
    }
}
