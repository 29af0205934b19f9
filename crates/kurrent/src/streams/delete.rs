//! Deletion: softly, so that an append reopens the stream, or for ever.

use crate::event::stream;
use crate::proto::event_store::client::streams::{
    DeleteReq, DeleteResp, TombstoneReq, TombstoneResp, delete_resp, tombstone_resp,
};
use icecore_core::{DeleteKind, Error, ExpectedRevision, Position, Result, StreamName, Violation};
use icecore_eventstore::EventStore;

/// A stream that is to be deleted, and what is expected of it.
pub(super) struct Deletion {
    stream: StreamName,
    expected: ExpectedRevision,
}

impl Deletion {
    fn new(stream: StreamName, expected: Option<ExpectedRevision>) -> Result<Self> {
        let missing = || Error::invalid("expected_stream_revision", "is missing");
        let expected = expected.ok_or_else(missing)?;
        Ok(Self { stream, expected })
    }

    /// Deletes the stream. The result is where that stands.
    pub(super) async fn carry_out(self, store: &EventStore, kind: DeleteKind) -> Result<Position> {
        let mut deleted = store.delete(&self.stream, self.expected, kind).await;
        if let Err(Error::Refused(refusal)) = &mut deleted {
            self.keep_own(&mut refusal.violations);
        }
        Ok(deleted?.last_position)
    }

    /// Leaves out what is said of the metadata stream, of which the caller expected nothing.
    fn keep_own(&self, violations: &mut Vec<Violation>) {
        let is_own = |violation: &Violation| violation.stream == self.stream;
        if violations.iter().any(is_own) {
            violations.retain(is_own);
        }
    }
}

impl TryFrom<DeleteReq> for Deletion {
    type Error = Error;

    fn try_from(request: DeleteReq) -> Result<Self> {
        let options = request.options.ok_or_else(no_options)?;
        let expected = options.expected_stream_revision.map(Into::into);
        Self::new(stream(options.stream_identifier)?, expected)
    }
}

impl TryFrom<TombstoneReq> for Deletion {
    type Error = Error;

    fn try_from(request: TombstoneReq) -> Result<Self> {
        let options = request.options.ok_or_else(no_options)?;
        let expected = options.expected_stream_revision.map(Into::into);
        Self::new(stream(options.stream_identifier)?, expected)
    }
}

fn no_options() -> Error {
    Error::invalid("options", "is missing")
}

/// The answer to a soft deletion.
pub(super) fn deleted(position: Position) -> DeleteResp {
    let position = delete_resp::Position {
        commit_position: position.get(),
        prepare_position: position.get(),
    };
    DeleteResp {
        position_option: Some(delete_resp::PositionOption::Position(position)),
    }
}

/// The answer to a deletion for ever.
pub(super) fn tombstoned(position: Position) -> TombstoneResp {
    let position = tombstone_resp::Position {
        commit_position: position.get(),
        prepare_position: position.get(),
    };
    TombstoneResp {
        position_option: Some(tombstone_resp::PositionOption::Position(position)),
    }
}
