//! What an append may expect of a stream, in which states a stream can be, and the table that says
//! which of them go together.

use crate::{Error, Result, Revision};
use std::fmt;
use std::str::FromStr;

/// What an append expects of a stream before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExpectedRevision {
    /// Anything but a tombstone.
    Any,
    /// No events: never written to, or soft-deleted.
    NoStream,
    /// A living stream.
    StreamExists,
    /// Exactly this last revision.
    Exact(Revision),
    /// A soft-deleted stream.
    SoftDeleted,
    /// A tombstone. No stream that the append writes to can be so.
    Tombstoned,
}

impl fmt::Display for ExpectedRevision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::NoStream => f.write_str("no-stream"),
            Self::StreamExists => f.write_str("exists"),
            Self::Exact(revision) => revision.fmt(f),
            Self::SoftDeleted => f.write_str("soft-deleted"),
            Self::Tombstoned => f.write_str("tombstoned"),
        }
    }
}

impl FromStr for ExpectedRevision {
    type Err = Error;

    /// Reads what [`fmt::Display`] writes.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "any" => Ok(Self::Any),
            "no-stream" => Ok(Self::NoStream),
            "exists" => Ok(Self::StreamExists),
            "soft-deleted" => Ok(Self::SoftDeleted),
            "tombstoned" => Ok(Self::Tombstoned),
            _ => text
                .parse()
                .map(|n| Self::Exact(Revision::new(n)))
                .map_err(|_| {
                    Error::invalid(
                        "expected",
                        format!("`{text}` is none of any, no-stream, exists or a revision"),
                    )
                }),
        }
    }
}

/// State of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamState {
    /// Never written to.
    Absent,
    /// Has metadata but never had an event.
    OnlyMetadata,
    /// Has events; the last one stands at `last`.
    Living {
        /// Revision of the last event.
        last: Revision,
    },
    /// Deleted, but an append reopens it; revisions go on after `last`.
    SoftDeleted {
        /// Revision of the last event before the deletion.
        last: Revision,
    },
    /// Closed for ever.
    Tombstoned,
}

impl StreamState {
    /// Where the next event would stand; `None` when the stream is closed.
    pub fn next_revision(self) -> Option<Revision> {
        match self {
            Self::Absent | Self::OnlyMetadata => Some(Revision::FIRST),
            Self::Living { last } | Self::SoftDeleted { last } => Some(last.next()),
            Self::Tombstoned => None,
        }
    }

    /// Revision of the last event, whether it is hidden or not; `None` without events.
    pub fn last_revision(self) -> Option<Revision> {
        match self {
            Self::Absent | Self::OnlyMetadata => None,
            Self::Living { last } | Self::SoftDeleted { last } => Some(last),
            Self::Tombstoned => Some(Revision::TOMBSTONE),
        }
    }
}

impl fmt::Display for StreamState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent | Self::OnlyMetadata => f.write_str("no stream"),
            Self::Living { last } => write!(f, "{last}"),
            Self::SoftDeleted { last } => write!(f, "soft-deleted after {last}"),
            Self::Tombstoned => f.write_str("tombstoned"),
        }
    }
}

/// What the append does with the stream that it expects something of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It writes events to it.
    Written,
    /// It only looks at it.
    Checked,
    /// It writes events to it, and holds it to the table of checks, which is stricter.
    WrittenAndChecked,
}

impl Role {
    /// Whether the append writes to the stream.
    pub fn writes(self) -> bool {
        self != Self::Checked
    }

    /// Whether the table of checks holds.
    fn checks(self) -> bool {
        self != Self::Written
    }
}

/// Whether an expectation holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Admitted,
    /// The stream is in another state than expected.
    WrongExpectedRevision,
    /// The stream is deleted, and the append needs it living.
    StreamDeleted,
}

impl ExpectedRevision {
    /// Whether a stream in `state` meets this expectation. The tables are those of KurrentDB: of its
    /// appends for streams that are written, of its consistency checks for streams that are looked at,
    /// and of both for streams that are written under a check.
    pub fn admits(self, state: StreamState, role: Role) -> Verdict {
        use StreamState::{Absent, Living, OnlyMetadata, SoftDeleted, Tombstoned};
        let holds = match (self, state) {
            (_, Tombstoned) if role.writes() => return Verdict::StreamDeleted,
            (Self::StreamExists, SoftDeleted { .. }) if !role.checks() => {
                return Verdict::StreamDeleted;
            }
            (Self::Any, _)
            | (Self::NoStream, Absent | OnlyMetadata | SoftDeleted { .. } | Tombstoned)
            | (Self::StreamExists, Living { .. })
            | (Self::SoftDeleted, SoftDeleted { .. })
            | (Self::Tombstoned, Tombstoned) => true,
            (Self::StreamExists, OnlyMetadata) => !role.checks(),
            (Self::Exact(expected), Living { last }) => expected == last,
            (Self::Exact(expected), SoftDeleted { last }) => !role.checks() && expected == last,
            _ => false,
        };
        if holds {
            Verdict::Admitted
        } else {
            Verdict::WrongExpectedRevision
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: Revision = Revision::new(4);
    const STATES: [StreamState; 5] = [
        StreamState::Absent,
        StreamState::OnlyMetadata,
        StreamState::Living { last: LAST },
        StreamState::SoftDeleted { last: LAST },
        StreamState::Tombstoned,
    ];

    /// One row a expectation, one letter a state: `+` admitted, `w` wrong revision, `d` deleted.
    fn check(role: Role, rows: &[(ExpectedRevision, &str)]) {
        for (expected, row) in rows {
            let found: String = STATES
                .iter()
                .map(|state| match expected.admits(*state, role) {
                    Verdict::Admitted => '+',
                    Verdict::WrongExpectedRevision => 'w',
                    Verdict::StreamDeleted => 'd',
                })
                .collect();
            assert_eq!(&found, row, "{expected} as {role:?}");
        }
    }

    #[test]
    fn written_streams_follow_the_append_table() {
        check(
            Role::Written,
            &[
                (ExpectedRevision::Any, "++++d"),
                (ExpectedRevision::NoStream, "++w+d"),
                (ExpectedRevision::StreamExists, "w++dd"),
                (ExpectedRevision::Exact(LAST), "ww++d"),
                (ExpectedRevision::Exact(Revision::new(3)), "wwwwd"),
                (ExpectedRevision::SoftDeleted, "www+d"),
                (ExpectedRevision::Tombstoned, "wwwwd"),
            ],
        );
    }

    #[test]
    fn checked_streams_follow_the_consistency_table() {
        check(
            Role::Checked,
            &[
                (ExpectedRevision::NoStream, "++w++"),
                (ExpectedRevision::StreamExists, "ww+ww"),
                (ExpectedRevision::Exact(LAST), "ww+ww"),
                (ExpectedRevision::SoftDeleted, "www+w"),
                (ExpectedRevision::Tombstoned, "wwww+"),
            ],
        );
    }

    #[test]
    fn streams_written_under_a_check_follow_both_tables() {
        check(
            Role::WrittenAndChecked,
            &[
                (ExpectedRevision::Any, "++++d"),
                (ExpectedRevision::NoStream, "++w+d"),
                (ExpectedRevision::StreamExists, "ww+wd"),
                (ExpectedRevision::Exact(LAST), "ww+wd"),
                (ExpectedRevision::Exact(Revision::new(3)), "wwwwd"),
                (ExpectedRevision::SoftDeleted, "www+d"),
                (ExpectedRevision::Tombstoned, "wwwwd"),
            ],
        );
    }

    #[test]
    fn text_and_back() {
        for text in [
            "any",
            "no-stream",
            "exists",
            "17",
            "soft-deleted",
            "tombstoned",
        ] {
            assert_eq!(text.parse::<ExpectedRevision>().unwrap().to_string(), text);
        }
        for bad in ["", "-1", "maybe", "18446744073709551616"] {
            assert!(bad.parse::<ExpectedRevision>().is_err(), "{bad}");
        }
    }
}
