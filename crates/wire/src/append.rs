//! Appends and what they did. How the parts of a large one come through a session stands in
//! `session.rs`.

use crate::event::{event_data, locate};
use crate::expectation::expected;
use crate::field::{
    InField, count, size, store_id, store_id_bytes, stored_stream, stream_bytes, written_stream,
};
use crate::proto::append_response::Outcome;
use crate::{proto, refusal, status};
use icecore_core::{
    Append, AppendBuilder, AppendEvent, Appended, Error, Finish, Position, Refusal, Result,
    Revision, StreamAppended, StreamExpectation,
};
use tonic::Status;

impl TryFrom<proto::AppendRequest> for Append {
    type Error = Error;

    fn try_from(request: proto::AppendRequest) -> Result<Self> {
        let mut parts = AppendParts::default();
        parts.add(request)?;
        parts.finish()
    }
}

/// An append, and what it finishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendCall {
    /// The append.
    pub append: Append,
    /// Deliveries of a group that are done with it.
    pub finish: Option<Finish>,
}

impl TryFrom<proto::AppendRequest> for AppendCall {
    type Error = Error;

    fn try_from(mut request: proto::AppendRequest) -> Result<Self> {
        let finish = request.finish.take().map(Finish::try_from).transpose();
        Ok(Self {
            finish: finish.inside(|| "finish".into())?,
            append: request.try_into()?,
        })
    }
}

/// What can be sent as an append: it has events, and none of them asks for a recorded time.
impl TryFrom<&Append> for proto::AppendRequest {
    type Error = Error;

    fn try_from(append: &Append) -> Result<Self> {
        check_has_events(append)?;
        if let Some(n) = append.events().iter().position(|e| e.times.is_some()) {
            return Err(Error::invalid(
                format!("events[{n}].recorded_at"),
                "only an import gives events their time",
            ));
        }
        Ok(Self {
            streams: append.streams().iter().map(stream_expectation).collect(),
            events: append.events().iter().map(append_event).collect(),
            condition: append.condition().cloned().map(Into::into),
            missed_limit: count(append.missed_limit()),
            finish: None,
        })
    }
}

/// An append that is put together from one message or from several.
#[derive(Debug, Default)]
pub(crate) struct AppendParts {
    builder: AppendBuilder,
    streams: usize,
    events: usize,
    bytes: usize,
    conditioned: bool,
}

impl AppendParts {
    /// Adds what one message holds.
    pub(crate) fn add(&mut self, part: proto::AppendRequest) -> Result<()> {
        if part.finish.is_some() {
            let reason =
                "does not go into a session, nor into an append of several messages: call Append";
            return Err(Error::invalid("finish", reason));
        }
        self.add_streams(part.streams)?;
        if let Some(condition) = part.condition {
            if self.conditioned {
                return Err(Error::invalid("condition", "stands in two parts"));
            }
            self.conditioned = true;
            let condition = condition.try_into().inside(|| "condition".into())?;
            self.builder.condition(condition);
        }
        if part.missed_limit > 0 {
            self.builder.missed_limit(size(part.missed_limit));
        }
        self.builder.reserve(part.events.len());
        for event in part.events {
            let n = self.events;
            let stream = size(event.stream);
            let event: icecore_core::EventData =
                event.try_into().inside(|| format!("events[{n}]"))?;
            self.bytes += event.size();
            self.builder
                .event(stream, event, None)
                .map_err(|error| locate(error, n))?;
            self.events += 1;
        }
        Ok(())
    }

    fn add_streams(&mut self, streams: Vec<proto::StreamExpectation>) -> Result<()> {
        for message in streams {
            let n = self.streams;
            let stream = written_stream(message.stream).inside(|| format!("streams[{n}]"))?;
            let expected = expected(message.expected).inside(|| format!("streams[{n}]"))?;
            self.builder.stream(stream, expected)?;
            self.streams += 1;
        }
        Ok(())
    }

    /// Bytes of the events so far.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The append, when it is whole.
    pub(crate) fn finish(self) -> Result<Append> {
        let append = self.builder.build()?;
        check_has_events(&append)?;
        Ok(append)
    }
}

/// An append that only checks is for programs inside of the server.
pub(crate) fn check_has_events(append: &Append) -> Result<()> {
    if append.events().is_empty() {
        return Err(Error::invalid("events", "the append has no events"));
    }
    Ok(())
}

/// A stream of an append as it goes into a message.
pub(crate) fn stream_expectation(stream: &StreamExpectation) -> proto::StreamExpectation {
    proto::StreamExpectation {
        stream: stream_bytes(stream.stream.clone()),
        expected: Some(stream.expected.into()),
    }
}

/// An event of an append as it goes into a message.
pub(crate) fn append_event(event: &AppendEvent) -> proto::EventData {
    event_data(count(event.stream), event.event.clone())
}

/// The answer to an append. A refusal is an answer where the append asked for missed events, and
/// otherwise a status, like every other error.
pub fn append_response(
    outcome: Result<Appended>,
    missed_limit: usize,
) -> Result<proto::AppendResponse, Status> {
    let outcome = match outcome {
        Ok(appended) => Outcome::Appended(appended.into()),
        Err(Error::Refused(refusal)) if missed_limit > 0 => {
            Outcome::Refused(refusal::in_answer(*refusal))
        }
        Err(error) => return Err(status::from_error(error)),
    };
    Ok(proto::AppendResponse {
        outcome: Some(outcome),
    })
}

/// What the answer to an append says: what it did, or that it was refused.
impl TryFrom<proto::AppendResponse> for Appended {
    type Error = Error;

    fn try_from(response: proto::AppendResponse) -> Result<Self> {
        match response.outcome {
            Some(Outcome::Appended(appended)) => appended.try_into(),
            Some(Outcome::Refused(refusal)) => {
                let refusal = Refusal::try_from(refusal).inside(|| "refused".into())?;
                Err(Error::Refused(Box::new(refusal)))
            }
            None => Err(Error::invalid("outcome", "is missing")),
        }
    }
}

impl From<Appended> for proto::Appended {
    fn from(appended: Appended) -> Self {
        let streams = appended.streams.into_iter().map(|s| proto::StreamAppended {
            stream: stream_bytes(s.stream),
            last_revision: s.last_revision.map(Revision::get),
        });
        Self {
            store_id: store_id_bytes(appended.store_id),
            last_position: appended.last_position.get(),
            streams: streams.collect(),
        }
    }
}

impl TryFrom<proto::Appended> for Appended {
    type Error = Error;

    fn try_from(message: proto::Appended) -> Result<Self> {
        let streams = message.streams.into_iter().map(|s| {
            Ok(StreamAppended {
                stream: stored_stream(s.stream)?,
                last_revision: s.last_revision.map(Revision::new),
            })
        });
        Ok(Self {
            store_id: store_id(&message.store_id)?,
            last_position: Position::new(message.last_position),
            streams: streams.collect::<Result<_>>()?,
        })
    }
}
