//! An append as its caller's task sees it: read what the writer cannot know without slow reads, hand
//! it over, read more when the writer asks for it, and add to a refusal what the caller has missed.

use crate::metadata::SOFT_DELETED;
use crate::request::{Answer, Evidence, Mode, Need, Request, Submission, Written, WrittenIds};
use crate::room::Room;
use crate::state::base;
use crate::store::EventStore;
use crate::virtual_stream;
use crate::visibility::Visibility;
use crate::window::Place;
use crate::writer::stopped;
use icecore_core::limits::STREAM_METADATA_BYTES_MAX;
use icecore_core::{
    Append, Appended, Direction, Error, ExpectedRevision, Imported, MissedEvents, PageLimit,
    Position, RecordedEvent, Refusal, Result, Revision, StreamName, Violation, event_types,
};
use tokio::sync::{oneshot, watch};

/// How often the writer may ask for more before the caller is told to try later. Each question is
/// about something that changed meanwhile, so this takes a very busy store.
const ROUNDS_MAX: usize = 32;

/// Up to this size an append does not wait for its turn among large ones.
const SMALL_APPEND_BYTES_MAX: usize = 64 * 1_024;

/// An append that the writer has and has not answered yet.
pub struct PendingAppend {
    store: EventStore,
    /// How many missed events a refusal shall carry.
    missed_limit: usize,
    leads: watch::Receiver<u64>,
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
            missed_limit,
            mut leads,
            mut answer,
        } = self;
        for _ in 0..ROUNDS_MAX {
            let (need, mut submission) = match answer.await {
                Ok(Answer::Appended(written)) => return Ok(written),
                Ok(Answer::Refused(refusal)) => {
                    return Err(store.refused(missed_limit, refusal).await);
                }
                Ok(Answer::Failed(error)) => return Err(error),
                Ok(Answer::Needs(need, submission)) => (need, submission),
                Err(_) => {
                    let reason = "the writer broke off".to_owned();
                    return Err(Error::OutcomeUnknown { reason });
                }
            };
            store.fetch(&mut submission, need, &mut leads).await?;
            leads.mark_unchanged();
            answer = store.send(submission).await?;
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
        self.submit(append, Room::default()).await?.outcome().await
    }

    /// Hands an append to the writer and does not wait for its outcome, so that a caller can send
    /// the next one at once. Appends that one task submits one after the other are decided in that
    /// order, unless the writer has to ask for more about one of them. `room` is given back when the
    /// append is decided, or when it could not be handed over.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, `Exhausted` or `Unavailable`; nothing was written.
    pub async fn submit(&self, append: Append, room: Room) -> Result<PendingAppend> {
        for event in append.events() {
            let event_type = event.event.event_type.as_str();
            if event_types::STORES_OWN.contains(&event_type) {
                return Err(Error::invalid(
                    "events.type",
                    format!("`{event_type}` is written by the store only"),
                ));
            }
            if event.times.is_some() {
                return Err(Error::invalid(
                    "events.times",
                    "is set by the store; only an import brings its times",
                ));
            }
        }
        self.hand_over(append, Mode::Ordinary, room).await
    }

    /// Writes a part of an earlier history: events keep the times that they bring, a `$metadata` or
    /// `$streamDeleted` event does what it did then, and nothing is added to them.
    ///
    /// # Errors
    ///
    /// As [`Self::append`]; `InvalidArgument` for a time more than a minute in the future, and for a
    /// deletion of a metadata stream, which ends with its stream.
    pub async fn import(&self, append: Append) -> Result<Imported> {
        self.import_in(append, Room::default()).await
    }

    /// As [`Self::import`]; `room` is given back when the batch is decided.
    pub async fn import_in(&self, append: Append, room: Room) -> Result<Imported> {
        for event in append.events() {
            let stream = &append.streams()[event.stream].stream;
            let closes = event.event.event_type.as_str() == event_types::STREAM_DELETED;
            if closes && stream.is_metadata() {
                return Err(Error::invalid(
                    "events.type",
                    format!("`{stream}` is a metadata stream and ends with its stream only"),
                ));
            }
        }
        let written = self.hand_over(append, Mode::Verbatim, room).await?;
        let written = written.written().await?;
        let last_position = written.appended.last_position;
        Ok(Imported {
            last_position,
            clamped: written.clamped,
        })
    }

    pub(crate) async fn write(&self, append: Append, mode: Mode) -> Result<Written> {
        let pending = self.hand_over(append, mode, Room::default()).await?;
        pending.written().await
    }

    async fn hand_over(&self, append: Append, mode: Mode, mut room: Room) -> Result<PendingAppend> {
        virtual_stream::check_append(&append)?;
        check_metadata(&append)?;
        self.wait_for_turn(&append, &mut room).await?;
        let mut submission = Box::new(Submission::new(append, mode, room));
        self.read_evidence(&mut submission).await?;
        submission.append = submission.append.detached();
        let leads = self.watch_leads();
        Ok(PendingAppend {
            store: self.clone(),
            missed_limit: submission.append.missed_limit(),
            leads,
            answer: self.send(submission).await?,
        })
    }

    /// A large append waits until there are not too many others before the writer. What stands there
    /// is written in its order, so it is what a small append has to wait for.
    async fn wait_for_turn(&self, append: &Append, room: &mut Room) -> Result<()> {
        if append.size() > SMALL_APPEND_BYTES_MAX {
            let bytes = append.size().min(self.config().queue_bytes);
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            let turn = self.turns().acquire_many_owned(bytes).await;
            room.add(turn.map_err(|_| stopped())?);
        }
        Ok(())
    }

    async fn send(&self, submission: Box<Submission>) -> Result<oneshot::Receiver<Answer>> {
        let (answer, written) = oneshot::channel();
        let request = Request { submission, answer };
        // A closed channel means that the writer has stopped: nothing was written.
        self.requests().send(request).await.map_err(|_| stopped())?;
        Ok(written)
    }

    /// Reads what the writer asks for, and everything else anew, since time has passed.
    async fn fetch(
        &self,
        submission: &mut Submission,
        need: Need,
        leads: &mut watch::Receiver<u64>,
    ) -> Result<()> {
        let at = match &need {
            Need::Records { at } | Need::WrittenIds { at, .. } | Need::Condition { at } => *at,
        };
        self.wait_for(at, leads).await?;
        self.read_evidence(submission).await?;
        if let Need::WrittenIds { stream, from, .. } = need {
            self.read_written_ids(submission, stream, from).await?;
        }
        Ok(())
    }

    async fn read_evidence(&self, submission: &mut Submission) -> Result<()> {
        let Submission {
            append, evidence, ..
        } = submission;
        self.read_records(append, evidence).await?;
        self.check_condition(append, evidence).await;
        Ok(())
    }

    /// Waits until everything up to `position` (inclusive) is durable, or until the writer leads
    /// again: then it never may be, and what the writer asked for has changed.
    async fn wait_for(&self, position: Position, leads: &mut watch::Receiver<u64>) -> Result<()> {
        let mut last_position = self.watch_last_position();
        let mut stopping = self.watch_stopping();
        tokio::select! {
            reached = last_position.wait_for(|last| *last >= position) => {
                reached.map(drop).map_err(|_| stopped())
            }
            _ = leads.changed() => Ok(()),
            // The append may be a retry of one whose commit failed.
            error = self.writer_failed() => Err(Error::OutcomeUnknown {
                reason: error.to_string(),
            }),
            _ = stopping.wait_for(|stopping| *stopping) => Err(stopped()),
        }
    }

    /// Reads the records that the writer does not know.
    async fn read_records(&self, append: &Append, evidence: &mut Evidence) -> Result<()> {
        evidence.records.clear();
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
        submission: &mut Submission,
        stream: StreamName,
        from: Revision,
    ) -> Result<()> {
        let mut streams = submission.append.streams().iter();
        let index = streams.position(|expectation| expectation.stream == stream);
        let count = index.map_or(0, |index| submission.ids[index].len());
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
        let written = &mut submission.evidence.written;
        written.retain(|w| w.stream != stream || w.from != from);
        written.push(WrittenIds {
            stream,
            from,
            events,
        });
        Ok(())
    }

    /// The error for a refusal, with the missed events if the append asked for them.
    async fn refused(&self, missed_limit: usize, mut refusal: Refusal) -> Error {
        let mut left = PageLimit {
            events: missed_limit,
            ..PageLimit::MAX
        };
        for violation in &refusal.violations {
            if left.events == 0 || left.bytes == 0 {
                break;
            }
            match self.missed(violation, left).await {
                Ok(missed) => {
                    let bytes = missed.events.iter().map(RecordedEvent::size).sum();
                    left.events -= missed.events.len();
                    left.bytes = left.bytes.saturating_sub(bytes);
                    refusal.missed.push(missed);
                }
                Err(error) => return error,
            }
        }
        Error::Refused(Box::new(refusal))
    }

    /// The visible events of a stream after the revision that the append expected.
    async fn missed(&self, violation: &Violation, limit: PageLimit) -> Result<MissedEvents> {
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
        let from = after.max(visibility.first);
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

/// Holds what goes to metadata streams to a size that the writer can read in passing.
fn check_metadata(append: &Append) -> Result<()> {
    for event in append.events() {
        let stream = &append.streams()[event.stream].stream;
        let bytes = event.event.data.len();
        if stream.is_metadata() && bytes > STREAM_METADATA_BYTES_MAX {
            return Err(Error::invalid(
                "events.data",
                format!(
                    "metadata for `{stream}` is {bytes} bytes, the limit is \
                     {STREAM_METADATA_BYTES_MAX}"
                ),
            ));
        }
    }
    Ok(())
}
