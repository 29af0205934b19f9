//! The one error that every layer speaks. A variant exists only where a caller acts differently on
//! it; how it travels over gRPC is `wire`'s to know.

use crate::{GroupId, Refusal, StoreId, StreamName};
use std::borrow::Cow;
use std::sync::Arc;

/// A result with Icecore's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, by what the caller can do about it.
///
/// It is `Clone`, because one failed commit answers many waiting appends.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The call is wrong: correct it. Nothing was written.
    #[error("{field}: {reason}")]
    InvalidArgument {
        /// The field, as the protocol names it.
        field: Cow<'static, str>,
        /// What is wrong with it, with the limit.
        reason: String,
    },

    /// An expectation or the condition did not hold: read again, decide again. Nothing was written.
    #[error("{0}")]
    Refused(Box<Refusal>),

    /// The stream does not exist, or is soft-deleted.
    #[error("stream `{stream}` does not exist")]
    StreamNotFound {
        /// The stream.
        stream: StreamName,
    },

    /// The stream is closed for ever.
    #[error("stream `{stream}` is deleted")]
    StreamDeleted {
        /// The stream.
        stream: StreamName,
    },

    /// A group cannot do this: what to do depends on the problem. Nothing was written.
    #[error("group `{group}` {problem}")]
    Group {
        /// The group, as `stream::name`.
        group: String,
        /// What is wrong.
        problem: GroupProblem,
    },

    /// The server cannot serve this now: try again. Nothing was written.
    #[error("not available: {reason}")]
    Unavailable {
        /// Why, and for how long if that is known.
        reason: String,
    },

    /// No connection could be made, so nothing was sent.
    #[error("cannot reach {server}: {reason}")]
    Unreachable {
        /// The address that was tried.
        server: String,
        /// What the network said.
        reason: String,
    },

    /// A limit is used up: slow down or ask for less. Nothing was written.
    #[error("{limit}: {reason}")]
    Exhausted {
        /// The limit by name.
        limit: Cow<'static, str>,
        /// What was asked and what is allowed.
        reason: String,
    },

    /// The call broke off after it was sent. Whether it took effect is not known: send it again with
    /// the same event ids.
    #[error("outcome unknown, send it again with the same event ids: {reason}")]
    OutcomeUnknown {
        /// How it broke off.
        reason: String,
    },

    /// The caller's checkpoint belongs to another history: start afresh.
    #[error("the checkpoint is of store {expected}, this is store {actual}: start afresh")]
    WrongStore {
        /// The id that came with the checkpoint.
        expected: StoreId,
        /// The id of this store.
        actual: StoreId,
    },

    /// Stored bytes are damaged: call the operator.
    #[error("stored data is damaged: {reason}")]
    Corrupted {
        /// What is damaged and where.
        reason: String,
    },

    /// A fault of the store itself: call the operator, report a bug.
    #[error("internal error: {reason}")]
    Internal {
        /// What happened.
        reason: String,
        /// The cause, where there is one; it stays in the process.
        #[source]
        source: Option<Arc<dyn std::error::Error + Send + Sync>>,
    },
}

/// Why a group cannot do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupProblem {
    /// There is none of this name: create it.
    #[error("does not exist")]
    NotFound,
    /// There is one of this name.
    #[error("exists already")]
    Exists,
    /// The consumer was sent away: join again, unless that was its own wish.
    #[error("dropped this consumer: {reason}")]
    Dropped {
        /// Why.
        reason: String,
    },
    /// The events that an append finishes are not the consumer's any more: they timed out, were
    /// answered, or went to another. Give up what was done for them; they are delivered again.
    #[error("has taken back a delivery that the append finishes")]
    DeliveryLost,
}

impl Error {
    /// The group has this problem.
    pub fn group(group: &GroupId, problem: GroupProblem) -> Self {
        Self::Group {
            group: group.to_string(),
            problem,
        }
    }

    /// The argument `field` is wrong for `reason`.
    pub fn invalid(field: impl Into<Cow<'static, str>>, reason: impl Into<String>) -> Self {
        Self::InvalidArgument {
            field: field.into(),
            reason: reason.into(),
        }
    }

    /// Nothing can be done now.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable {
            reason: reason.into(),
        }
    }

    /// The limit called `limit` is used up.
    pub fn exhausted(limit: impl Into<Cow<'static, str>>, reason: impl Into<String>) -> Self {
        Self::Exhausted {
            limit: limit.into(),
            reason: reason.into(),
        }
    }

    /// Stored bytes are damaged.
    pub fn corrupted(reason: impl Into<String>) -> Self {
        Self::Corrupted {
            reason: reason.into(),
        }
    }

    /// A fault without a cause of another type.
    pub fn internal(reason: impl Into<String>) -> Self {
        Self::Internal {
            reason: reason.into(),
            source: None,
        }
    }

    /// A fault with its cause.
    pub fn internal_from(
        reason: impl Into<String>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self::Internal {
            reason: reason.into(),
            source: Some(Arc::new(source)),
        }
    }
}
