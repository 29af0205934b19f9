//! A history: what clients have sent and heard, and in which order. One clock that only counts stands
//! for real time: what was heard at a lower tick than something else was sent came before it.

use bytes::Bytes;
use icecore_core::{
    Append, Appended, DeleteKind, Error, ExpectedRevision, Position, Read as ReadRequest,
    RecordedEvent, Refusal, Result, Revision, StreamName, Subscribe, SubscriptionMessage,
};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A moment of a history.
pub type Tick = u64;

/// Everything that was recorded.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What was written, or was to be.
    pub writes: Vec<Write>,
    /// What was read.
    pub reads: Vec<Read>,
    /// What was subscribed to, each connection on its own.
    pub connections: Vec<Connection>,
}

/// A write that was sent once. The same request may have been sent again; that is another write.
#[derive(Clone, Debug)]
pub struct Write {
    /// When it was sent.
    pub sent: Tick,
    /// When the answer was heard; [`Tick::MAX`] without one.
    pub answered: Tick,
    /// What was sent.
    pub request: Request,
    /// What was heard.
    pub outcome: Outcome,
}

/// What a client may want to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Events, or expectations alone.
    Append(Append),
    /// Other metadata for a stream.
    SetMetadata(StreamName, ExpectedRevision, Bytes),
    /// No events of a stream before this revision (exclusive).
    Truncate(StreamName, Revision),
    /// No stream any more.
    Delete(StreamName, ExpectedRevision, DeleteKind),
}

/// How a write ended, as its client knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable, and this is the answer.
    Appended(Appended),
    /// It was refused, so nothing was written.
    Refused(Refusal),
    /// The state of the stream forbids it, so nothing was written.
    Forbidden,
    /// Nothing was written, for reasons that no model knows.
    NotWritten,
    /// Nobody knows.
    Unknown,
}

impl From<Result<Appended>> for Outcome {
    fn from(result: Result<Appended>) -> Self {
        match result {
            Ok(appended) => Self::Appended(appended),
            Err(Error::Refused(refusal)) => Self::Refused(*refusal),
            Err(
                Error::StreamNotFound { .. }
                | Error::StreamDeleted { .. }
                | Error::InvalidArgument { .. },
            ) => Self::Forbidden,
            Err(
                Error::Unavailable { .. }
                | Error::Exhausted { .. }
                | Error::Corrupted { .. }
                | Error::WrongStore { .. }
                | Error::Group { .. },
            ) => Self::NotWritten,
            Err(
                Error::OutcomeUnknown { .. } | Error::Unreachable { .. } | Error::Internal { .. },
            ) => Self::Unknown,
        }
    }
}

/// A read and what it gave.
#[derive(Clone, Debug)]
pub struct Read {
    /// When it was sent.
    pub sent: Tick,
    /// When the last of it was heard.
    pub answered: Tick,
    /// What was asked for.
    pub request: ReadRequest,
    /// The events, and where the store ended when they were read; or that the stream is not there.
    pub result: Result<(Vec<RecordedEvent>, Position)>,
}

/// A subscription from its call to its end.
#[derive(Clone, Debug)]
pub struct Connection {
    /// When it was asked for.
    pub sent: Tick,
    /// What was asked for.
    pub request: Subscribe,
    /// What was heard, and when.
    pub messages: Vec<(Tick, SubscriptionMessage)>,
    /// The error that ended it, if one did.
    pub ended: Option<Error>,
}

/// Takes down a history while it happens. Clones write the same one.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    clock: Arc<AtomicU64>,
    history: Arc<Mutex<History>>,
}

impl Recorder {
    /// The next moment.
    pub fn tick(&self) -> Tick {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// What was taken down.
    pub fn history(&self) -> History {
        self.with(|history| history.clone())
    }

    /// Takes down that a write is on its way. What is not [`Self::heard`] of it stays unknown.
    pub fn sent(&self, request: &Request) -> usize {
        let write = Write {
            sent: self.tick(),
            answered: Tick::MAX,
            request: request.clone(),
            outcome: Outcome::Unknown,
        };
        self.with(|history| {
            history.writes.push(write);
            history.writes.len() - 1
        })
    }

    /// Takes down how the write ended that [`Self::sent`] gave this number.
    pub fn heard(&self, write: usize, outcome: Outcome) {
        let now = self.tick();
        self.with(|history| {
            let write = &mut history.writes[write];
            (write.answered, write.outcome) = (now, outcome);
        });
    }

    /// Takes down a read that was sent at a moment and has ended now.
    pub fn read(
        &self,
        sent: Tick,
        request: ReadRequest,
        result: Result<(Vec<RecordedEvent>, Position)>,
    ) {
        let answered = self.tick();
        let read = Read {
            sent,
            answered,
            request,
            result,
        };
        self.with(|history| history.reads.push(read));
    }

    /// Takes down that a subscription was asked for.
    pub fn subscribed(&self, request: Subscribe) -> usize {
        let connection = Connection {
            sent: self.tick(),
            request,
            messages: Vec::new(),
            ended: None,
        };
        self.with(|history| {
            history.connections.push(connection);
            history.connections.len() - 1
        })
    }

    /// Takes down what the subscription that [`Self::subscribed`] gave this number says.
    pub fn message(&self, connection: usize, message: Result<SubscriptionMessage>) {
        let now = self.tick();
        self.with(|history| {
            let connection = &mut history.connections[connection];
            match message {
                Ok(message) => connection.messages.push((now, message)),
                Err(error) => connection.ended = Some(error),
            }
        });
    }

    fn with<T>(&self, change: impl FnOnce(&mut History) -> T) -> T {
        change(&mut self.history.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
