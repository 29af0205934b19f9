//! Append sessions: appends cut into parts that fit a message and put together again, and the answers
//! in their order.

use crate::append::AppendParts;
use crate::field::InField;
use crate::proto::append_session_response::Outcome;
use crate::{proto, refusal, status};
use icecore_core::limits::MESSAGE_BYTES_MAX;
use icecore_core::{Append, Appended, Error, Refusal, Result};
use prost::Message as _;

/// Where a part is cut, in bytes of its message; a larger event is a part of its own.
const PART_BYTES: usize = 4 * 1_024 * 1_024;

/// The messages that carry an append through a session: one, when it is small.
///
/// # Errors
///
/// `InvalidArgument`: it has no events, or one of them asks for a recorded time.
pub fn session_requests(
    sequence: u64,
    append: &Append,
) -> Result<Vec<proto::AppendSessionRequest>> {
    let whole = proto::AppendRequest::try_from(append)?;
    let mut parts = if whole.encoded_len() <= PART_BYTES {
        vec![whole]
    } else {
        cut(whole)
    };
    let last = parts.pop();
    let message = |append, more| proto::AppendSessionRequest {
        sequence,
        append: Some(append),
        more,
    };
    Ok(parts
        .into_iter()
        .map(|part| message(part, true))
        .chain(last.map(|part| message(part, false)))
        .collect())
}

/// Cuts an append into parts: first its condition, then its streams, then its events.
fn cut(whole: proto::AppendRequest) -> Vec<proto::AppendRequest> {
    let mut bytes = whole
        .condition
        .as_ref()
        .map_or(0, prost::Message::encoded_len);
    let mut part = proto::AppendRequest {
        condition: whole.condition,
        missed_limit: whole.missed_limit,
        ..Default::default()
    };
    let mut parts = Vec::new();
    let mut make_room = |part: &mut proto::AppendRequest, more: usize| {
        if bytes > 0 && bytes + more > PART_BYTES {
            parts.push(std::mem::take(part));
            bytes = 0;
        }
        bytes += more;
    };
    for stream in whole.streams {
        make_room(&mut part, stream.encoded_len());
        part.streams.push(stream);
    }
    for event in whole.events {
        make_room(&mut part, event.encoded_len());
        part.events.push(event);
    }
    parts.push(part);
    parts
}

/// Puts the appends of one session together from their messages.
#[derive(Debug, Default)]
pub struct SessionDecoder {
    /// The greatest sequence so far.
    last: Option<u64>,
    /// The append whose next part is awaited; its error, when an earlier part was wrong.
    open: Option<Result<AppendParts>>,
}

/// An append that came through a session.
#[derive(Debug)]
pub struct SessionAppend {
    /// What the client calls it; goes back with the answer.
    pub sequence: u64,
    /// The append, or what is wrong with it; that is an answer and does not end the session.
    pub append: Result<Append>,
}

impl SessionDecoder {
    /// Takes the next message; returns the append that it completes.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, when the message breaks the protocol; the session is over then.
    pub fn push(&mut self, request: proto::AppendSessionRequest) -> Result<Option<SessionAppend>> {
        let proto::AppendSessionRequest {
            sequence,
            append,
            more,
        } = request;
        let parts = self.parts_of(sequence)?;
        let part = append.ok_or_else(|| Error::invalid("append", "is missing"))?;
        let parts = parts.and_then(|mut parts| parts.add(part).map(|()| parts));
        if more {
            self.open = Some(parts);
            return Ok(None);
        }
        Ok(Some(SessionAppend {
            sequence,
            append: parts.and_then(AppendParts::finish),
        }))
    }

    /// Bytes of events held for an append that is not complete.
    pub fn pending_bytes(&self) -> usize {
        match &self.open {
            Some(Ok(parts)) => parts.bytes(),
            _ => 0,
        }
    }

    /// What is there already of the append that a message belongs to.
    fn parts_of(&mut self, sequence: u64) -> Result<Result<AppendParts>> {
        let last = self.last.replace(sequence);
        match self.open.take() {
            Some(parts) if last == Some(sequence) => Ok(parts),
            Some(_) => Err(Error::invalid(
                "sequence",
                format!("is {sequence}, but the append before goes on in this message"),
            )),
            None if last.is_some_and(|last| sequence <= last) => Err(Error::invalid(
                "sequence",
                format!("is {sequence}, not greater than that of the append before"),
            )),
            None => Ok(Ok(AppendParts::default())),
        }
    }

    /// Whether the messages ended at the end of an append. Otherwise the client broke off within one,
    /// of which nothing was written.
    pub fn is_complete(&self) -> bool {
        self.open.is_none()
    }
}

/// The answer to an append of a session.
pub fn session_response(sequence: u64, outcome: Result<Appended>) -> proto::AppendSessionResponse {
    let outcome = match outcome {
        Ok(appended) => Outcome::Appended(appended.into()),
        Err(Error::Refused(refusal)) => Outcome::Refused(refusal::in_answer(*refusal)),
        Err(error) => Outcome::Error(status::to_detail(error)),
    };
    proto::AppendSessionResponse {
        sequence,
        outcome: Some(outcome),
    }
}

/// How an append of a session ended, as its client sees it.
#[derive(Debug)]
pub struct SessionAnswer {
    /// What the client called it.
    pub sequence: u64,
    /// What it did, or why not.
    pub outcome: Result<Appended>,
}

impl TryFrom<proto::AppendSessionResponse> for SessionAnswer {
    type Error = Error;

    fn try_from(response: proto::AppendSessionResponse) -> Result<Self> {
        let outcome = match response.outcome {
            Some(Outcome::Appended(appended)) => Ok(appended.try_into()?),
            Some(Outcome::Refused(refusal)) => {
                let refusal = Refusal::try_from(refusal).inside(|| "refused".into())?;
                Err(Error::Refused(Box::new(refusal)))
            }
            Some(Outcome::Error(detail)) => Err(status::from_detail(detail)?),
            None => return Err(Error::invalid("outcome", "is missing")),
        };
        Ok(Self {
            sequence: response.sequence,
            outcome,
        })
    }
}

/// Whether an append can be sent as one message rather than in parts through a session.
pub fn fits_message(append: &proto::AppendRequest) -> bool {
    append.encoded_len() <= MESSAGE_BYTES_MAX
}
