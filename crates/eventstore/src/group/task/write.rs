//! What a group writes: its books, one append at a time, and the appends that finish deliveries. A
//! failure of its own ends the task, since what stands there is the truth then.

use super::GroupTask;
use crate::group::books::{Books, BooksAppend, Entry, EntryEvents};
use crate::group::command::FinishCommand;
use crate::group::machine::Changes;
use crate::room::Room;
use crate::store::EventStore;
use futures::FutureExt;
use icecore_core::{Append, Appended, Error, Finish, GroupProblem, Result};
use std::time::Duration;
use tokio::sync::oneshot;

/// Events that a filter has left out before that alone is worth a checkpoint.
const PASSED_MAX: u64 = 65_536;

/// Appends that finish deliveries on their way at a time.
const FINISHES_MAX: usize = 64;

/// How soon a write is tried again that the store did not take; each time it takes twice as long ...
const PAUSE_FIRST: Duration = Duration::from_millis(250);

/// ... up to this.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A write that has ended.
pub(super) struct Written {
    entry: Entry,
    events: EntryEvents,
    outcome: Result<Appended>,
    /// The append that was written with it.
    finish: Option<Finished>,
}

/// A write that the store did not take: its disk is full, or its writer has stopped.
pub(super) struct PutOff {
    entry: Entry,
    events: EntryEvents,
    error: Error,
    attempts: u32,
    /// When it is tried again.
    at: Duration,
}

/// An append that finishes deliveries, on its way.
struct Finished {
    deliveries: Vec<u64>,
    /// As it was asked for, in case that it has to be decided anew.
    finish: Finish,
    append: Append,
    reply: oneshot::Sender<Result<Appended>>,
    /// Others were on their way before it, and it relies on them.
    relies: bool,
}

impl GroupTask {
    /// Begins the next write, if there is something to write and nothing is being written.
    pub(super) fn begin_writing(&mut self) -> Result<()> {
        while self.writing.is_empty() || self.may_join() {
            if self.writing.is_empty() {
                while let Some(command) = self.again.pop_back() {
                    self.finishes.push_front(command);
                }
            }
            if let Some(put_off) = &self.put_off {
                let is_due = put_off.at <= self.now() || self.ends();
                if !is_due {
                    self.turn_away();
                    break;
                }
                self.write_again()?;
            } else if self.must_write() {
                self.write_books()?;
            } else if let Some(command) = self.finishes.pop_front() {
                self.write_finish(command);
            } else {
                break;
            }
        }
        Ok(())
    }

    /// Whether the next append that finishes deliveries may be handed over behind those that are on their
    /// way. Its checkpoint says that theirs are done, and is expected behind theirs: when one of them is
    /// refused, it is refused as well and decided anew.
    fn may_join(&self) -> bool {
        let next = self.finishes.front();
        self.joinable
            && self.again.is_empty()
            && self.writing.len() < FINISHES_MAX
            && next.is_some_and(|next| self.machine.are_read(&next.finish.deliveries))
            && !self.must_write()
    }

    /// Whether the group falls asleep once everything is written.
    fn ends(&self) -> bool {
        self.outlets.is_empty() || self.ending.is_some()
    }

    /// Whether the books must be written now.
    fn must_write(&self) -> bool {
        let is_urgent = !self.parked_commands.is_empty()
            || !self.machine.changes().parks.is_empty()
            // An append that finishes deliveries relies on everything before it.
            || !self.finishes.is_empty() && !self.machine.changes().is_empty();
        let is_due = self.due_at().is_some_and(|at| at <= self.now());
        is_urgent || is_due || self.ends() && self.has_to_write()
    }

    /// Whether the books would say something new.
    pub(super) fn has_to_write(&self) -> bool {
        !self.machine.changes().is_empty() || self.machine.progress().checkpoint() != self.written
    }

    /// When the books are to be written, if they would say something new.
    pub(super) fn due_at(&self) -> Option<Duration> {
        if !self.writing.is_empty() {
            return None;
        }
        if let Some(put_off) = &self.put_off {
            return Some(put_off.at);
        }
        let settings = &self.record.group.settings;
        let finished = self.machine.finished();
        let passed = self.machine.progress().seen().unwrap_or(0);
        let passed = passed.saturating_sub(self.written.seen.unwrap_or(0));
        if finished >= settings.max_checkpoint_count.into() {
            Some(self.written_at)
        } else if finished >= settings.min_checkpoint_count.max(1).into() || passed > PASSED_MAX {
            Some(self.written_at + settings.checkpoint_after)
        } else {
            None
        }
    }

    fn write_books(&mut self) -> Result<()> {
        let replays = self.act_on_parked();
        let (checkpoint, changes) = self.machine.take_changes();
        self.written_at = self.now();
        let checkpoint = (checkpoint != self.written).then_some(checkpoint);
        let entry = Entry {
            checkpoint,
            changes,
            replays,
        };
        let events = self.events(&entry);
        let next_id = || self.store.next_id();
        match self.books.append(&events, next_id, None, 0)? {
            Some(append) => self.begin(entry, events, append, None, Room::default()),
            None => self.tell_waiting(),
        }
        Ok(())
    }

    /// Tries a write again.
    fn write_again(&mut self) -> Result<()> {
        let Some(put_off) = &self.put_off else {
            return Ok(());
        };
        let (entry, events) = (put_off.entry.clone(), put_off.events.clone());
        let next_id = || self.store.next_id();
        if let Some(append) = self.books.append(&events, next_id, None, 0)? {
            self.begin(entry, events, append, None, Room::default());
        }
        Ok(())
    }

    /// The store did not take a write. The consumers go on, and what they do is written when it does.
    fn postpone(&mut self, entry: Entry, events: EntryEvents, error: Error) {
        let attempts = self.put_off.as_ref().map_or(0, |put_off| put_off.attempts) + 1;
        let pause = PAUSE_FIRST.saturating_mul(1 << (attempts - 1).min(16));
        let pause = pause.min(PAUSE_MAX);
        let group = &self.record.group.id;
        tracing::warn!(%group, %error, attempts, ?pause, "what the group has done is not written, trying again");
        for (reply, _) in self.waiting.drain(..) {
            let reason = format!("it is tried again: {error}");
            drop(reply.send(Err(Error::OutcomeUnknown { reason })));
        }
        self.put_off = Some(PutOff {
            entry,
            events,
            error,
            attempts,
            at: self.now() + pause,
        });
    }

    /// Tells those who wait for a write that it takes some time.
    fn turn_away(&mut self) {
        let Some(PutOff { error, .. }) = &self.put_off else {
            return;
        };
        for command in self.finishes.drain(..) {
            drop(command.reply.send(Err(error.clone())));
        }
        for command in self.parked_commands.drain(..) {
            drop(command.reply.send(Err(error.clone())));
        }
    }

    /// Why nothing can be written, if so.
    pub(super) fn trouble(&self) -> Option<String> {
        let PutOff {
            error,
            attempts,
            at,
            ..
        } = self.put_off.as_ref()?;
        let pause = at.saturating_sub(self.now()).as_secs();
        Some(format!(
            "what is done cannot be written, after {attempts} attempts: {error}; the next one in {pause} s"
        ))
    }

    fn write_finish(&mut self, command: FinishCommand) {
        let FinishCommand {
            finish,
            append,
            room,
            reply,
        } = command;
        let now = self.now();
        self.machine.expire(now);
        let finishing = self
            .machine
            .begin_finishing(finish.consumer, &finish.deliveries);
        let Some(finishing) = finishing else {
            let _ = reply.send(Err(Error::group(&finish.group, GroupProblem::DeliveryLost)));
            return;
        };
        let entry = Entry {
            checkpoint: Some(finishing.checkpoint),
            changes: Changes {
                parks: Vec::new(),
                resolved: finishing.resolved,
                lanes: finishing.lanes,
            },
            replays: Vec::new(),
        };
        let events = self.events(&entry);
        let deliveries = finishing.deliveries;
        let next_id = || self.store.next_id();
        let ahead = self.writing.len();
        let with_books = self
            .books
            .append(&events, next_id, Some(&append), ahead as u64);
        match with_books {
            Ok(Some(with_books)) => {
                let finished = Finished {
                    deliveries,
                    finish,
                    append,
                    reply,
                    relies: ahead > 0,
                };
                self.begin(entry, events, with_books, Some(finished), room);
            }
            Ok(None) => {}
            // Only the append can be wrong.
            Err(error) => {
                self.machine.end_finishing(&deliveries, false, now);
                let _ = reply.send(Err(error));
            }
        }
    }

    fn events(&self, entry: &Entry) -> EntryEvents {
        let next_id = || self.store.next_id();
        self.books.events(entry, self.store.now(), next_id)
    }

    fn begin(
        &mut self,
        entry: Entry,
        events: EntryEvents,
        append: BooksAppend,
        finish: Option<Finished>,
        room: Room,
    ) {
        self.joinable = finish.is_some() && entry.changes.is_empty();
        let store = self.store.clone();
        let before = self.handed_over.take();
        let (handed_over, next) = oneshot::channel();
        let writing = async move {
            if let Some(before) = before {
                // It is told by being dropped.
                let _ = before.await;
            }
            let outcome = store.append_behind(append, room, handed_over).await;
            Written {
                entry,
                events,
                outcome,
                finish,
            }
        };
        self.handed_over = Some(next);
        self.writing.push_back(writing.boxed());
    }

    /// A write has ended.
    pub(super) fn wrote(&mut self, written: Written) -> Result<()> {
        let Written {
            entry,
            events,
            outcome,
            finish,
        } = written;
        let now = self.now();
        if let Err(error) = &outcome {
            let Some(finish) = finish else {
                if !was_not_taken(error) || self.ends() {
                    return Err(error.clone());
                }
                self.postpone(entry, events, error.clone());
                return Ok(());
            };
            self.machine.end_finishing(&finish.deliveries, false, now);
            let goes_on = says_nothing_of_books(error, &self.books);
            if !goes_on && finish.relies && matches!(error, Error::Refused(_)) {
                self.again.push_back(finish.asked_again());
                return Ok(());
            }
            let result = if goes_on { Ok(()) } else { Err(error.clone()) };
            let _ = finish.reply.send(outcome);
            return result;
        }
        if let Some(PutOff { attempts, .. }) = self.put_off.take() {
            let group = &self.record.group.id;
            tracing::info!(%group, attempts, "what the group has done is written");
        }
        for (entry, link) in self.books.written(&entry, &events) {
            self.machine.parked(entry, link);
        }
        if let Some(checkpoint) = entry.checkpoint {
            self.checkpointed = checkpoint.done;
            self.written = checkpoint;
        }
        self.replays.extend(entry.replays);
        if let Some(finished) = finish {
            self.machine.end_finishing(&finished.deliveries, true, now);
            let _ = finished.reply.send(outcome);
        } else {
            self.tell_waiting();
        }
        Ok(())
    }

    fn tell_waiting(&mut self) {
        for (reply, count) in self.waiting.drain(..) {
            let _ = reply.send(Ok(count));
        }
    }
}

impl Finished {
    /// What was asked for; its room was given back with the refusal.
    fn asked_again(self) -> FinishCommand {
        FinishCommand {
            finish: self.finish,
            append: self.append,
            room: Room::default(),
            reply: self.reply,
        }
    }
}

/// Whether a write of the books may be tried again as it is: nothing was written.
fn was_not_taken(error: &Error) -> bool {
    matches!(error, Error::Unavailable { .. } | Error::Exhausted { .. })
}

/// Whether an append that failed leaves the books as they are known: it was refused for what it is
/// itself, or was not taken at all.
fn says_nothing_of_books(error: &Error, books: &Books) -> bool {
    match error {
        Error::Refused(refusal) => {
            let mut violations = refusal.violations.iter();
            violations.all(|violation| !books.owns(&violation.stream))
        }
        Error::OutcomeUnknown { .. } => false,
        _ => true,
    }
}

impl EventStore {
    /// Writes an append of which the first streams are not the caller's and are left out of the
    /// answer. Drops `handed_over` when the writer has it.
    async fn append_behind(
        &self,
        append: BooksAppend,
        room: Room,
        handed_over: oneshot::Sender<()>,
    ) -> Result<Appended> {
        let BooksAppend {
            append,
            own_streams,
        } = append;
        let submitted = self.submit(append, room).await;
        drop(handed_over);
        let mut appended = submitted?.outcome().await?;
        appended
            .streams
            .drain(..own_streams.min(appended.streams.len()));
        Ok(appended)
    }
}
