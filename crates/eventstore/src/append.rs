//! An append as its caller's task sees it: read what the writer cannot know without slow reads, hand
//! it over, read more when the writer asks for it, and add to a refusal what the caller has missed.

use crate::metadata::SOFT_DELETED;
use crate::request::{Answer, Evidence, Mode, Need, Request, Written, WrittenIds};
use crate::state::base;
use crate::store::EventStore;
use crate::visibility::Visibility;
use crate::window::Place;
use crate::writer::stopped;
use icecore_core::{
    Append, Appended, Direction, Error, ExpectedRevision, Imported, MissedEvents, PageLimit,
    Position, Refusal, Result, Revision, StreamName, Violation, event_types,
};
use tokio::sync::oneshot;

/// How often the writer may ask for more before the caller is told to try later. Each question is
/// about something that changed meanwhile, so this takes a very busy store.
const ROUNDS_MAX: usize = 32;

/// An append that the writer has and has not answered yet.
pub struct PendingAppend {
    store: EventStore,
    append: Append,
    mode: Mode,
    answer: oneshot::Receiver<Answer>,
}

impl PendingAppend {
    /// Waits until the append is durable or refused. Dropping it instead does not take it back.
    ///
    /// # Errors
    ///
    /// As [`EventStore::append`].
    pub async fn outcome(self) -> Result<Appended> {
        Ok(self.written().await?.appended)
    }

    async fn written(self) -> Result<Written> {
        let Self {
            store,
            append,
            mode,
            mut answer,
        } = self;
        for _ in 0..ROUNDS_MAX {
            let need = match answer.await {
                Ok(Answer::Appended(written)) => return Ok(written),
                Ok(Answer::Refused(refusal)) => return Err(store.refused(&append, refusal).await),
                Ok(Answer::Failed(error)) => return Err(error),
                Ok(Answer::Needs(need)) => need,
                Err(_) => {
                    let reason = "the writer broke off".to_owned();
                    return Err(Error::OutcomeUnknown { reason });
                }
            };
            let evidence = store.fetch(&append, need).await?;
            answer = store.send(append.clone(), mode, evidence).await?;
        }
        Err(Error::unavailable(format!(
            "the streams of this append change too fast: {ROUNDS_MAX} rounds without a decision"
        )))
    }
}

impl EventStore {
    /// Writes all events of the append, or none.
    ///
    /// # Errors
    ///
    /// - `Refused`, when an expectation or the condition does not hold; nothing was written.
    /// - `InvalidArgument`, `Exhausted` or `Unavailable`; nothing was written.
    /// - `OutcomeUnknown`, when the storage failed in the middle: send it again with the same ids.
    pub async fn append(&self, append: Append) -> Result<Appended> {
        self.submit(append).await?.outcome().await
    }

    /// Hands an append to the writer and does not wait for its outcome, so that a caller can send
    /// the next one at once. Appends that one task submits one after the other are decided in that
    /// order, unless the writer has to ask for more about one of them.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, `Exhausted` or `Unavailable`; nothing was written.
    pub async fn submit(&self, append: Append) -> Result<PendingAppend> {
        for event in append.events() {
            if event.event.event_type.as_str() == event_types::STREAM_DELETED {
                return Err(Error::invalid(
                    "events.type",
                    format!(
                        "`{}` is written by a deletion only",
                        event_types::STREAM_DELETED
                    ),
                ));
            }
        }
        self.hand_over(append, Mode::Ordinary).await
    }

    /// Writes a part of an earlier history: events keep the times that they bring, a `$metadata` or
    /// `$streamDeleted` event does what it did then, and nothing is added to them.
    ///
    /// # Errors
    ///
    /// As [`Self::append`]; `InvalidArgument` for a time more than a minute in the future.
    pub async fn import(&self, append: Append) -> Result<Imported> {
        let written = self.write(append, Mode::Verbatim).await?;
        let last_position = written.appended.last_position;
        Ok(Imported {
            last_position,
            clamped: written.clamped,
        })
    }

    pub(crate) async fn write(&self, append: Append, mode: Mode) -> Result<Written> {
        self.hand_over(append, mode).await?.written().await
    }

    async fn hand_over(&self, append: Append, mode: Mode) -> Result<PendingAppend> {
        let mut evidence = Evidence::default();
        self.read_records(&append, &mut evidence).await?;
        self.check_condition(&append, &mut evidence).await?;
        let append = append.detached();
        let answer = self.send(append.clone(), mode, evidence).await?;
        Ok(PendingAppend {
            store: self.clone(),
            append,
            mode,
            answer,
        })
    }

    async fn send(
        &self,
        append: Append,
        mode: Mode,
        evidence: Evidence,
    ) -> Result<oneshot::Receiver<Answer>> {
        let (answer, receiver) = oneshot::channel();
        let request = Request {
            append,
            mode,
            evidence,
            answer,
        };
        // A closed channel means that the writer has stopped: nothing was written.
        self.requests().send(request).await.map_err(|_| stopped())?;
        Ok(receiver)
    }

    /// Reads what the writer asks for, and everything else anew, since time has passed.
    async fn fetch(&self, append: &Append, need: Need) -> Result<Evidence> {
        let mut evidence = Evidence::default();
        let at = match &need {
            Need::Records { at } | Need::WrittenIds { at, .. } | Need::Condition { at } => *at,
        };
        self.wait_for(at).await?;
        self.read_records(append, &mut evidence).await?;
        if let Need::WrittenIds { stream, from, .. } = need {
            self.read_written_ids(append, stream, from, &mut evidence)
                .await?;
        }
        self.check_condition(append, &mut evidence).await?;
        Ok(evidence)
    }

    /// Waits until everything up to `position` (inclusive) is durable.
    async fn wait_for(&self, position: Position) -> Result<()> {
        let mut last_position = self.watch_last_position();
        let mut stopping = self.watch_stopping();
        tokio::select! {
            reached = last_position.wait_for(|last| *last >= position) => {
                reached.map(drop).map_err(|_| stopped())
            }
            error = self.failed() => Err(error),
            _ = stopping.wait_for(|stopping| *stopping) => Err(stopped()),
        }
    }

    /// Reads the records that the writer does not know.
    async fn read_records(&self, append: &Append, evidence: &mut Evidence) -> Result<()> {
        evidence.records_at = self.last_position();
        let mut bases: Vec<_> = append.streams().iter().map(|s| base(&s.stream)).collect();
        bases.sort_unstable();
        bases.dedup();
        for base in self.unknown_records(&bases) {
            let record = self.read_record(&base).await?;
            evidence.records.insert(base, record);
        }
        Ok(())
    }

    /// Reads the ids that stand where the append would have written.
    async fn read_written_ids(
        &self,
        append: &Append,
        stream: StreamName,
        from: Revision,
        evidence: &mut Evidence,
    ) -> Result<()> {
        let index = append
            .streams()
            .iter()
            .position(|expectation| expectation.stream == stream);
        let count = append
            .events()
            .iter()
            .filter(|event| Some(event.stream) == index)
            .count();
        let mut events = Vec::with_capacity(count);
        let mut next = from;
        while events.len() < count {
            let limit = PageLimit::events(count - events.len());
            let page = self
                .storage()
                .read_stream(&stream, next, Direction::Forwards, limit)
                .await?;
            events.extend(page.events.iter().map(|event| {
                (
                    event.id,
                    Place {
                        revision: event.revision,
                        position: event.position,
                    },
                )
            }));
            if page.end {
                break;
            }
            next = page.next;
        }
        evidence.written.push(WrittenIds {
            stream,
            from,
            events,
        });
        Ok(())
    }

    /// The error for a refusal, with the missed events if the append asked for them.
    async fn refused(&self, append: &Append, mut refusal: Refusal) -> Error {
        let mut left = append.missed_limit();
        for violation in &refusal.violations {
            if left == 0 {
                break;
            }
            match self.missed(violation, left).await {
                Ok(missed) => {
                    left -= missed.events.len();
                    refusal.missed.push(missed);
                }
                Err(error) => return error,
            }
        }
        Error::Refused(Box::new(refusal))
    }

    /// The visible events of a stream after the revision that the append expected.
    async fn missed(&self, violation: &Violation, events_max: usize) -> Result<MissedEvents> {
        let stream = &violation.stream;
        let record = self.record(&base(stream)).await?;
        let visibility = Visibility::of(stream, &record, self.now());
        let after = match violation.expected {
            ExpectedRevision::Exact(revision) => revision.next(),
            _ => Revision::FIRST,
        };
        if visibility.first == SOFT_DELETED {
            return Ok(MissedEvents {
                stream: stream.clone(),
                events: Vec::new(),
                end: true,
            });
        }
        let (from, limit) = (after.max(visibility.first), PageLimit::events(events_max));
        let page = self
            .storage()
            .read_stream(stream, from, Direction::Forwards, limit)
            .await?;
        let events = page
            .events
            .into_iter()
            .filter(|event| visibility.shows(event))
            .collect();
        Ok(MissedEvents {
            stream: stream.clone(),
            events,
            end: page.end,
        })
    }
}
