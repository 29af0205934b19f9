//! The one task that owns the order. It takes what waits, has the ledger decide each append, hands
//! the group to the storage and answers everybody when that is durable. While a group syncs, the next
//! is gathered.
//!
//! It never reads: what the ledger lacks, the caller fetches (`append.rs`).

use crate::config::StoreConfig;
use crate::lead::Leadership;
use crate::ledger::{Decision, Ledger};
use crate::metrics::Metrics;
use crate::request::{Answer, Request};
use crate::ring::Ring;
use crate::room::Room;
use futures::FutureExt;
use futures::future::BoxFuture;
use icecore_core::{Error, Position, RecordedEvent, SharedEvents};
use icecore_storage::{Committed, Lease, NumberedAppend};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot, watch};

/// The writer's task.
pub(crate) struct Writer {
    pub(crate) leadership: Leadership,
    /// The lease, and its changes for those who take something out of the storage.
    pub(crate) lease: watch::Sender<Arc<Lease>>,
    pub(crate) ring: Arc<Ring>,
    pub(crate) config: StoreConfig,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) requests: mpsc::Receiver<Request>,
    /// Turns true when no further append is to be taken.
    pub(crate) stopping: watch::Receiver<bool>,
    /// Counts how often the writer has led again.
    pub(crate) leads: watch::Sender<u64>,
    /// Says why the writer gave up; `None` while it works.
    pub(crate) failed: watch::Sender<Option<Error>>,
}

/// Appends that become durable together.
#[derive(Debug, Default)]
struct Group {
    appends: Vec<SharedEvents>,
    events: u64,
    bytes: usize,
    answers: Vec<Waiting>,
}

/// A caller, and the answer that is true once everything decided up to it is durable.
#[derive(Debug)]
struct Waiting {
    caller: oneshot::Sender<Answer>,
    answer: Answer,
    kind: Kind,
    /// Given back with the answer.
    room: Room,
}

/// Whether an append is written with its group, or only waits for what was decided before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Write,
    Settled,
}

/// What a failure says about the appends of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The storage has not got them, or has refused them.
    NothingWritten,
    /// The storage cannot say.
    Unknown,
}

type CommitFuture = Pin<Box<dyn Future<Output = Committed> + Send>>;

/// A group that the storage is making durable.
struct InFlight {
    commit: CommitFuture,
    group: Group,
    since: Instant,
}

impl Writer {
    /// Works until it is told to stop and everything is answered, or until the storage takes no
    /// more. A panic is a failure like that.
    pub(crate) async fn run(mut self, ledger: BoxFuture<'static, Result<Ledger, Error>>) {
        match AssertUnwindSafe(self.work(ledger)).catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.give_up(error).await,
            Err(_) => self.give_up(Error::internal("the writer panicked")).await,
        }
    }

    async fn work(
        &mut self,
        mut ledger: BoxFuture<'static, Result<Ledger, Error>>,
    ) -> Result<(), Error> {
        while let Err(error) = self.lead_on(ledger.await?).await {
            tracing::warn!(%error, "a commit failed; leading again");
            let led = self.leadership.lead().await.map_err(|refused| {
                tracing::debug!(%refused, "the storage gives no new lease");
                error
            })?;
            self.ring.restart(led.last);
            self.lease.send_replace(Arc::new(led.lease));
            ledger = led.ledger;
            self.leads.send_modify(|leads| *leads += 1);
        }
        Ok(())
    }

    /// Works until it is told to stop and everything is answered, or until a commit fails.
    async fn lead_on(&mut self, mut ledger: Ledger) -> Result<(), Error> {
        let mut group = Group::default();
        let mut in_flight: Option<InFlight> = None;
        let mut durable = ledger.last();
        let (mut open, mut stopping) = (true, false);
        while open || in_flight.is_some() || !group.is_empty() {
            if in_flight.is_none() && !group.is_empty() {
                in_flight = self.begin(std::mem::take(&mut group), durable);
                continue;
            }
            tokio::select! {
                biased;
                committed = finished(&mut in_flight) => {
                    let Some(flown) = in_flight.take() else { continue };
                    if let Err(error) = self.finish(flown, committed, &mut durable) {
                        group.fail(Fate::NothingWritten, "the commit before this failed");
                        return Err(error);
                    }
                }
                request = self.requests.recv(), if open && group.has_room(&self.config) => {
                    match request {
                        Some(request) => self.gather(request, &mut ledger, &mut group),
                        None => open = false,
                    }
                }
                () = is_true(&mut self.stopping), if !stopping => {
                    stopping = true;
                    self.requests.close();
                }
            }
        }
        Ok(())
    }

    /// Decides what waits, as far as the group has room.
    fn gather(&mut self, first: Request, ledger: &mut Ledger, group: &mut Group) {
        self.decide(first, ledger, group);
        while group.has_room(&self.config) {
            match self.requests.try_recv() {
                Ok(request) => self.decide(request, ledger, group),
                Err(_) => break,
            }
        }
        self.metrics
            .queue_appends
            .set(i64::try_from(self.requests.len()).unwrap_or(i64::MAX));
    }

    fn decide(&self, request: Request, ledger: &mut Ledger, group: &mut Group) {
        let Request { submission, answer } = request;
        let storage = &self.leadership.storage;
        match ledger.decide(&submission, || storage.admits_writes()) {
            Decision::Write(events, written) => {
                group.add(events);
                group.answers.push(Waiting {
                    caller: answer,
                    answer: Answer::Appended(written),
                    kind: Kind::Write,
                    room: submission.room,
                });
            }
            Decision::Settled(settled) => {
                match &settled {
                    Answer::Appended(_) => self.metrics.retries.inc(),
                    _ => self.metrics.refusals.inc(),
                };
                group.answers.push(Waiting {
                    caller: answer,
                    answer: settled,
                    kind: Kind::Settled,
                    room: submission.room,
                });
            }
            // The caller may be gone; then nobody wants to know.
            Decision::Undecided(need) => drop(answer.send(Answer::Needs(need, submission))),
        }
    }

    /// Hands the group to the storage. What writes nothing rests on what is durable by now, since no
    /// other group is in flight.
    fn begin(&self, mut group: Group, durable: Position) -> Option<InFlight> {
        if group.appends.is_empty() {
            group.answer();
            return None;
        }
        let appends: Vec<_> = group
            .appends
            .iter()
            .map(|events| NumberedAppend {
                events: events.clone(),
            })
            .collect();
        let (storage, lease) = (self.leadership.storage(), Arc::clone(&self.lease.borrow()));
        let commit = Box::pin(async move { storage.commit(&lease, durable, appends).await });
        Some(InFlight {
            commit,
            group,
            since: Instant::now(),
        })
    }

    fn finish(
        &mut self,
        flown: InFlight,
        committed: Committed,
        durable: &mut Position,
    ) -> Result<(), Error> {
        let InFlight {
            mut group, since, ..
        } = flown;
        match committed {
            Committed::Done => {
                *durable = durable.plus(group.events);
                self.metrics
                    .commit_seconds
                    .observe(since.elapsed().as_secs_f64());
                self.count(&group);
                self.ring.push(std::mem::take(&mut group.appends));
                group.answer();
                Ok(())
            }
            Committed::Fenced => {
                let reason = "another writer has taken over";
                group.fail(Fate::NothingWritten, reason);
                Err(Error::unavailable(reason))
            }
            Committed::Unknown(error) => {
                group.fail(Fate::Unknown, &format!("the commit failed: {error}"));
                Err(error)
            }
        }
    }

    #[allow(clippy::cast_precision_loss)] // A group has thousands of appends, not 2^52.
    fn count(&self, group: &Group) {
        let bytes: usize = group
            .appends
            .iter()
            .flat_map(|e| e.iter())
            .map(RecordedEvent::size)
            .sum();
        self.metrics
            .group_appends
            .observe(group.appends.len() as f64);
        self.metrics.appends.inc_by(group.appends.len() as u64);
        self.metrics.events.inc_by(group.events);
        self.metrics.event_bytes.inc_by(bytes as u64);
    }

    /// Nothing is acknowledged any more.
    async fn give_up(mut self, error: Error) {
        tracing::error!(%error, "the writer stopped; no append is taken until a restart");
        self.failed.send_replace(Some(error));
        self.requests.close();
        while let Some(request) = self.requests.recv().await {
            drop(request.answer.send(Answer::Failed(stopped())));
        }
    }
}

/// What an append gets that comes after the writer has stopped.
pub(crate) fn stopped() -> Error {
    Error::unavailable("the store takes no appends until it is restarted")
}

/// Waits until the value is true; then, or when nobody can set it any more, waits no longer.
async fn is_true(flag: &mut watch::Receiver<bool>) {
    drop(flag.wait_for(|value| *value).await);
}

/// Waits for the commit in flight, or for ever.
async fn finished(in_flight: &mut Option<InFlight>) -> Committed {
    match in_flight {
        Some(in_flight) => in_flight.commit.as_mut().await,
        None => std::future::pending().await,
    }
}

impl Group {
    fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    fn has_room(&self, config: &StoreConfig) -> bool {
        self.bytes < config.group_bytes && self.answers.len() < config.group_appends
    }

    fn add(&mut self, events: SharedEvents) {
        self.events += events.len() as u64;
        self.bytes += events.iter().map(RecordedEvent::size).sum::<usize>();
        self.appends.push(events);
    }

    /// Tells everybody what was decided. A caller that is gone does not want to know.
    fn answer(&mut self) {
        for waiting in self.answers.drain(..) {
            drop(waiting.room);
            drop(waiting.caller.send(waiting.answer));
        }
    }

    /// Tells everybody that the group failed. Only who wrote nothing may hear that nothing was
    /// written: what a retry asks for may be there, by the append that it repeats.
    fn fail(&mut self, fate: Fate, reason: &str) {
        for Waiting {
            caller,
            answer,
            kind,
            room,
        } in self.answers.drain(..)
        {
            let is_unknown = match kind {
                Kind::Write => fate == Fate::Unknown,
                Kind::Settled => matches!(answer, Answer::Appended(_)),
            };
            let error = if is_unknown {
                let reason = reason.to_owned();
                Error::OutcomeUnknown { reason }
            } else {
                Error::unavailable(reason)
            };
            drop(room);
            drop(caller.send(Answer::Failed(error)));
        }
    }
}
