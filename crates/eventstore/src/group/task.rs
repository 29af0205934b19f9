//! A group that is awake: the task that reads for it, hands out, takes answers and writes its books.
//! What it decides is `machine.rs`; this is what moves it. It ends when the last consumer has left and
//! everything is written, and with the first error of the storage: whoever joins next wakes the group
//! anew with what its books say.
//!
//! What is asked of it: `task/operate.rs`. What it writes: `task/write.rs`.

mod operate;
mod write;

use super::arrival::Arrival;
use super::books::Books;
use super::command::{Command, FinishCommand, ParkedCommand};
use super::config::GroupRecord;
use super::figures::{Figures, Level};
use super::machine::{BacklogRead, Leaving, Machine};
use super::progress::Checkpoint;
use super::source::{Behind, Found, Source};
use crate::store::EventStore;
use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, FuturesUnordered};
use futures::{FutureExt, StreamExt};
use icecore_core::{ConsumerId, Error, Result};
use operate::Outlet;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use write::{PutOff, Written};

/// Commands that wait for the task.
const COMMANDS_MAX: usize = 256;

/// Streams behind a parked event that are read at a time.
const LANE_READS_MAX: usize = 8;

/// A group that is awake, from outside.
#[derive(Debug)]
pub(super) struct Awake {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) task: JoinHandle<()>,
}

/// The task of a group.
struct GroupTask {
    store: EventStore,
    record: Arc<GroupRecord>,
    figures: Arc<Figures>,
    machine: Machine,
    books: Books,
    source: Source,
    started: Instant,
    outlets: HashMap<ConsumerId, Outlet>,
    /// For those who join.
    commands_of: mpsc::WeakSender<Command>,
    commands: mpsc::Receiver<Command>,
    leaves_of: mpsc::UnboundedSender<ConsumerId>,
    leaves: mpsc::UnboundedReceiver<ConsumerId>,
    /// Who leaves when what it has answered is taken in.
    leaving: Vec<ConsumerId>,
    taken: Arc<Notify>,
    /// Where the checkpoint stands; `None` when there is none.
    checkpointed: Option<u64>,
    /// What the checkpoint says, or would say if there were one, and since when.
    written: Checkpoint,
    written_at: Duration,
    /// What is being written, in the order in which it is handed to the writer: one write of the books, or
    /// several appends that finish deliveries.
    writing: FuturesOrdered<BoxFuture<'static, Written>>,
    /// Whether those write nothing but checkpoints, so that others may join them.
    joinable: bool,
    /// Told when the last of them is handed over.
    handed_over: Option<oneshot::Receiver<()>>,
    /// A write that the store did not take, to be tried again. Until then nothing else is written.
    put_off: Option<PutOff>,
    lane_reads: FuturesUnordered<BoxFuture<'static, (BacklogRead, Result<Behind>)>>,
    /// Parked events that are to be replayed, as revisions of the parked stream.
    replays: VecDeque<u64>,
    loading: Option<BoxFuture<'static, (u64, Result<Option<Arrival>>)>>,
    finishes: VecDeque<FinishCommand>,
    /// Those that have to be decided anew, once nothing is being written.
    again: VecDeque<FinishCommand>,
    parked_commands: VecDeque<ParkedCommand>,
    /// Who wants to know when what has changed is written.
    waiting: Vec<(oneshot::Sender<Result<u64>>, u64)>,
    /// Deliveries when the group was asked last.
    measured: u64,
    ending: Option<Error>,
}

impl EventStore {
    /// Wakes a group.
    ///
    /// # Errors
    ///
    /// `WrongStore`, when its checkpoint came from another store; what the storage says.
    pub(super) async fn wake(
        &self,
        record: Arc<GroupRecord>,
        figures: Arc<Figures>,
    ) -> Result<Awake> {
        let (mut books, checkpoint) = self.read_books(&record.group.id).await?;
        self.check_history(&record.group.id, books.history())
            .await?;
        books.set_history(self.history().await);
        let checkpointed = checkpoint.as_ref().and_then(|checkpoint| checkpoint.done);
        let checkpoint = checkpoint.unwrap_or_else(|| Checkpoint {
            done: record.begin.checked_sub(1),
            seen: record.begin.checked_sub(1),
            ..Checkpoint::default()
        });
        let from = checkpoint.done.map_or(0, |done| done.saturating_add(1));
        let source = Source::new(self.clone(), Arc::clone(&record), from).await?;
        let parked = books.parked();
        let machine = Machine::new(
            record.group.settings.clone(),
            checkpoint.clone(),
            parked.len(),
            books.waiting(),
        );
        let replays = parked.iter().filter(|(_, parked)| parked.replaying);
        let replays = replays.map(|(link, _)| *link).collect();
        let (commands_of, commands) = mpsc::channel(COMMANDS_MAX);
        let (leaves_of, leaves) = mpsc::unbounded_channel();
        let task = GroupTask {
            store: self.clone(),
            record,
            figures,
            machine,
            books,
            source,
            started: Instant::now(),
            outlets: HashMap::new(),
            commands_of: commands_of.downgrade(),
            commands,
            leaves_of,
            leaves,
            leaving: Vec::new(),
            taken: Arc::new(Notify::new()),
            checkpointed,
            written: checkpoint,
            written_at: Duration::ZERO,
            writing: FuturesOrdered::new(),
            joinable: false,
            handed_over: None,
            put_off: None,
            lane_reads: FuturesUnordered::new(),
            replays,
            loading: None,
            finishes: VecDeque::new(),
            again: VecDeque::new(),
            parked_commands: VecDeque::new(),
            waiting: Vec::new(),
            measured: 0,
            ending: None,
        };
        Ok(Awake {
            commands: commands_of,
            task: tokio::spawn(task.run()),
        })
    }
}

/// What has happened.
enum Happened {
    Asked(Option<Command>),
    Left(ConsumerId),
    Wrote(Written),
    ReadLane(BacklogRead, Result<Behind>),
    Loaded(u64, Result<Option<Arrival>>),
    Filled(Result<()>),
    Nothing,
}

impl GroupTask {
    async fn run(mut self) {
        let why = match self.work().await {
            Ok(why) => why,
            Err(error) => {
                let group = &self.record.group.id;
                tracing::warn!(%group, %error, "the group begins anew");
                match error {
                    Error::Unavailable { .. } | Error::Corrupted { .. } => error,
                    error => Error::unavailable(format!("group `{group}` begins anew: {error}")),
                }
            }
        };
        self.close(&why);
    }

    /// Works until the group has nothing to do, or is told to end; why it ends.
    async fn work(&mut self) -> Result<Error> {
        // Somebody has woken the group and will say what for.
        let first = self.commands.recv().await;
        self.asked(first);
        loop {
            self.go_on()?;
            self.count();
            if self.is_over() {
                let idle = || Error::unavailable("the group has fallen asleep");
                return Ok(self.ending.take().unwrap_or_else(idle));
            }
            match self.next().await {
                Happened::Asked(command) => self.asked(command),
                Happened::Left(consumer) => self.leaves(consumer),
                Happened::Wrote(written) => {
                    self.wrote(written)?;
                }
                Happened::ReadLane(read, found) => {
                    let Behind {
                        events,
                        reached,
                        end,
                    } = found?;
                    self.machine.backlog_read(&read, events, reached, end);
                }
                Happened::Loaded(link, arrival) => {
                    self.loading = None;
                    self.loaded(link, arrival?);
                }
                Happened::Filled(filled) => filled?,
                Happened::Nothing => {}
            }
            let now = self.now();
            self.machine.expire(now);
        }
    }

    /// Does what can be done at once.
    fn go_on(&mut self) -> Result<()> {
        if self.ending.is_none() {
            // What was parked and what stands behind it come first: a group that is far behind would
            // have room for nothing else until it has caught up.
            self.hand_out();
            self.begin_lane_reads();
            self.begin_loading();
            self.take_in();
            self.hand_out();
        }
        self.begin_writing()
    }

    /// Takes in what was read, as long as there is room.
    fn take_in(&mut self) {
        while self.machine.wants_more(self.source.is_live())
            && let Some(found) = self.source.take()
        {
            match found {
                Found::Event(arrival) => self.machine.arrive(*arrival),
                Found::Passed(place) => self.machine.pass(place),
            }
        }
    }

    fn hand_out(&mut self) {
        let now = self.now();
        let outlets = &self.outlets;
        let has_room = |id, held| {
            let outlet = outlets.get(&id);
            outlet.is_some_and(|outlet| outlet.has_room(held))
        };
        let mut gone = Vec::new();
        while let Some((consumer, delivery)) = self.machine.dispatch(now, has_room) {
            self.figures.delivered(delivery.retry_count > 0);
            let outlet = outlets.get(&consumer);
            if !outlet.is_some_and(|outlet| outlet.send(delivery)) {
                gone.push(consumer);
            }
        }
        for consumer in gone {
            self.left(consumer, Leaving::Broken);
        }
    }

    fn begin_lane_reads(&mut self) {
        while self.lane_reads.len() < LANE_READS_MAX
            && self.machine.wants_more(self.source.is_live())
            && let Some(read) = self.machine.next_backlog()
        {
            let (store, record) = (self.store.clone(), Arc::clone(&self.record));
            let reading = async move {
                let found = store.read_behind(&record, &read).await;
                (read, found)
            };
            self.lane_reads.push(reading.boxed());
        }
    }

    /// Loads the next parked event that is to be replayed.
    fn begin_loading(&mut self) {
        if self.loading.is_some() || !self.machine.wants_more(self.source.is_live()) {
            return;
        }
        while let Some(link) = self.replays.pop_front() {
            let Some(parked) = self.books.parked().get(&link) else {
                continue;
            };
            let (stream, revision) = (parked.stream.clone(), parked.cursor.revision);
            let (store, record) = (self.store.clone(), Arc::clone(&self.record));
            let load = async move {
                let found = store.parked_event(&record, &stream, revision).await;
                (link, found)
            };
            self.loading = Some(load.boxed());
            break;
        }
    }

    fn loaded(&mut self, link: u64, arrival: Option<Arrival>) {
        // It may have been discarded meanwhile.
        let Some(parked) = self.books.parked().get(&link) else {
            return;
        };
        let waiting = parked.waiting.as_ref();
        if let Some(arrival) = arrival {
            self.machine.replay(link, arrival, waiting);
        } else {
            let waiting = waiting.map(|stream| (stream, parked.cursor));
            self.machine.give_up(link, waiting);
        }
    }

    /// Waits for the next thing to happen.
    async fn next(&mut self) -> Happened {
        let wants_more = self.ending.is_none()
            && self.machine.wants_more(self.source.is_live())
            && !self.source.has_ended();
        let wake_at = self.wakes_at().map(|at| self.started + at);
        tokio::select! {
            Some(consumer) = self.leaves.recv() => Happened::Left(consumer),
            command = self.commands.recv(), if self.ending.is_none() => Happened::Asked(command),
            Some(written) = self.writing.next() => Happened::Wrote(written),
            Some((read, found)) = self.lane_reads.next() => Happened::ReadLane(read, found),
            (link, loaded) = done(&mut self.loading) => Happened::Loaded(link, loaded),
            filled = self.source.fill(), if wants_more => Happened::Filled(filled),
            () = self.taken.notified() => Happened::Nothing,
            () = until(wake_at) => Happened::Nothing,
        }
    }

    /// Sets the figures.
    fn count(&self) {
        let done = self.machine.progress().done();
        self.figures.set(Level {
            consumers: self.outlets.len() as u64,
            in_flight: self.machine.in_flight() as u64,
            parked: self.books.parked().len() as u64,
            next: done.map_or(0, |done| done.saturating_add(1)),
            put_off: self.put_off.is_some(),
        });
    }

    /// When something becomes late or due.
    fn wakes_at(&self) -> Option<Duration> {
        let late = self.machine.next_deadline();
        late.into_iter().chain(self.due_at()).min()
    }

    /// Whether nothing is left to do.
    fn is_over(&self) -> bool {
        let is_idle = self.outlets.is_empty() && self.commands.is_empty();
        (is_idle || self.ending.is_some())
            && self.writing.is_empty()
            && self.put_off.is_none()
            && self.finishes.is_empty()
            && self.again.is_empty()
            && self.parked_commands.is_empty()
            && !self.has_to_write()
    }

    /// Tells everybody that the group ends.
    fn close(mut self, why: &Error) {
        self.figures.rest();
        for outlet in self.outlets.values() {
            outlet.end(Some(why));
        }
        // A caller that is gone does not want to know.
        for (reply, _) in self.waiting.drain(..) {
            drop(reply.send(Err(why.clone())));
        }
        for command in self.parked_commands.drain(..) {
            drop(command.reply.send(Err(why.clone())));
        }
        for command in self.again.drain(..).chain(self.finishes.drain(..)) {
            drop(command.reply.send(Err(why.clone())));
        }
    }

    /// How long the group has been awake.
    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Waits for something under way, or for ever. It is not taken out.
async fn done<T>(under_way: &mut Option<BoxFuture<'static, T>>) -> T {
    match under_way {
        Some(under_way) => under_way.await,
        None => std::future::pending().await,
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
