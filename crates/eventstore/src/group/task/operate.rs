//! What is asked of a group: to take a consumer or its answers, to tell about itself, to replay or
//! discard what is parked, to end.

use super::GroupTask;
use crate::group::command::{Answered, Command, ParkedAct};
use crate::group::consumer::{GroupConsumer, GroupDeliveries};
use crate::group::machine::{Leaving, per_second};
use icecore_core::limits::GROUP_CONSUMERS_MAX;
use icecore_core::{
    Consume, ConsumerId, ConsumerInfo, Error, GroupDelivery, GroupInfo, GroupProblem, GroupStatus,
    NackAction, Result, Revision, Settled,
};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;

/// Parked events that one write replays or gives up: with the longest names of streams it still fits an
/// event.
const ACTED_AT_ONCE: usize = 1_000;

/// A consumer, as the group's task sees it.
pub(super) struct Outlet {
    deliveries: mpsc::Sender<GroupDelivery>,
    end: Arc<OnceLock<Option<Error>>>,
    /// Told to the consumer when the group waits for it to take something.
    awaited: Arc<AtomicBool>,
    address: String,
    name: String,
}

impl Outlet {
    /// Whether the consumer, which has so many, has taken enough of what it was sent. What it lost since
    /// stands there until it is taken, so that one that takes nothing is not sent more and more.
    pub(super) fn has_room(&self, held: usize) -> bool {
        let fits = || {
            let room = self.deliveries.capacity();
            room > 0 && self.deliveries.max_capacity() - room <= held
        };
        if fits() {
            return true;
        }
        self.awaited.store(true, Ordering::SeqCst);
        // It may have taken something just before it could see that.
        fits()
    }

    /// Whether it was sent.
    pub(super) fn send(&self, delivery: GroupDelivery) -> bool {
        self.deliveries.try_send(delivery).is_ok()
    }

    /// Tells the consumer that there is no more, once it is dropped, and why, unless it wanted that.
    pub(super) fn end(&self, why: Option<&Error>) {
        let _ = self.end.set(why.cloned());
    }
}

impl GroupTask {
    pub(super) fn asked(&mut self, command: Option<Command>) {
        match command {
            // Nobody can ask any more: the store has forgotten the group.
            None => self.ending = Some(Error::unavailable("the store is closed")),
            Some(Command::Join { consume, reply }) => {
                self.let_leave();
                let joined = self.join(consume);
                let consumer = joined.as_ref().ok().map(|(consumer, _)| consumer.id());
                // Who has gone meanwhile leaves by dropping what it got.
                if reply.send(joined).is_err()
                    && let Some(consumer) = consumer
                {
                    self.left(consumer, Leaving::Orderly);
                }
            }
            Some(Command::Settle {
                consumer,
                what,
                settled,
            }) => self.settle(consumer, what, &settled),
            Some(Command::Leave { consumer }) => {
                if let Some(outlet) = self.outlets.get(&consumer) {
                    outlet.end(None);
                }
                self.left(consumer, Leaving::Orderly);
            }
            Some(Command::Info { reply }) => {
                let info = self.info();
                let _ = reply.send(info);
            }
            Some(Command::Parked(command)) => self.parked_commands.push_back(command),
            Some(Command::Finish(command)) => self.finishes.push_back(*command),
            Some(Command::Stop { why }) => self.ending = Some(why),
        }
    }

    fn join(&mut self, consume: Consume) -> Result<(GroupConsumer, GroupDeliveries)> {
        let limit = match self.record.group.settings.max_subscriber_count {
            0 => GROUP_CONSUMERS_MAX,
            limit => GROUP_CONSUMERS_MAX.min(limit as usize),
        };
        let group = &self.record.group.id;
        if self.machine.consumers() >= limit {
            return Err(Error::exhausted(
                "max_subscriber_count",
                format!("group `{group}` has {limit} consumers and may have no more"),
            ));
        }
        let Some(commands) = self.commands_of.upgrade() else {
            return Err(Error::unavailable("the group is closing"));
        };
        let id = ConsumerId(self.store.next_id());
        let (deliveries, receiver) = mpsc::channel(consume.buffer_size as usize);
        let end = Arc::new(OnceLock::new());
        let awaited = Arc::new(AtomicBool::new(false));
        let outlet = Outlet {
            deliveries,
            end: Arc::clone(&end),
            awaited: Arc::clone(&awaited),
            address: consume.address,
            name: consume.name,
        };
        let now = self.now();
        self.machine.join(id, consume.buffer_size, now);
        self.outlets.insert(id, outlet);
        let consumer = GroupConsumer {
            id,
            group: group.to_string(),
            commands,
        };
        let deliveries = GroupDeliveries {
            id,
            deliveries: receiver,
            end,
            awaited,
            taken: Arc::clone(&self.taken),
            leaves: self.leaves_of.clone(),
            ended: false,
        };
        Ok((consumer, deliveries))
    }

    /// A consumer leaves. What it has answered before stands among the commands.
    pub(super) fn leaves(&mut self, consumer: ConsumerId) {
        self.leaving.push(consumer);
        while let Ok(command) = self.commands.try_recv() {
            self.asked(Some(command));
        }
        self.let_leave();
    }

    /// Gives the places of those free who leave.
    fn let_leave(&mut self) {
        while let Ok(consumer) = self.leaves.try_recv() {
            self.leaving.push(consumer);
        }
        for consumer in std::mem::take(&mut self.leaving) {
            self.left(consumer, Leaving::Broken);
        }
    }

    pub(super) fn left(&mut self, consumer: ConsumerId, leaving: Leaving) {
        if self.outlets.remove(&consumer).is_some() {
            self.machine.leave(consumer, leaving);
        }
    }

    fn settle(&mut self, consumer: ConsumerId, what: Answered, settled: &Settled) {
        let now = self.now();
        // What is late by now is late, even if nobody has looked.
        self.machine.expire(now);
        let deliveries = match what {
            Answered::Deliveries(deliveries) => deliveries,
            Answered::Events(events) => self.machine.deliveries_of(consumer, &events),
        };
        self.machine.settle(consumer, &deliveries, settled, now);
        let stops = matches!(
            settled,
            Settled::Nack {
                action: NackAction::Stop,
                ..
            }
        );
        if stops && let Some(outlet) = self.outlets.get(&consumer) {
            let reason = "it asked to stop".to_owned();
            let problem = GroupProblem::Dropped { reason };
            outlet.end(Some(&Error::group(&self.record.group.id, problem)));
            self.left(consumer, Leaving::Orderly);
        }
    }

    fn info(&mut self) -> GroupInfo {
        let now = self.now();
        let counts = self.machine.counts();
        let is_live = self.source.is_live();
        let status = match self.outlets.len() {
            0 => GroupStatus::Idle,
            _ if is_live => GroupStatus::Live,
            _ => GroupStatus::Behind,
        };
        let measured = std::mem::replace(&mut self.measured, counts.delivered);
        let (live, behind) = if is_live {
            (counts.new, 0)
        } else {
            (0, counts.new)
        };
        let last_known = self.machine.progress().last_known();
        let parked = self.books.parked().values();
        let resting = parked.filter(|parked| !parked.replaying).count();
        GroupInfo {
            group: self.record.group.clone(),
            status,
            consumers: self.consumer_infos(),
            last_checkpointed: self.checkpointed,
            last_known: last_known.filter(|last| *last >= self.record.begin),
            average_per_second: per_second(counts.delivered, now),
            total_items: counts.delivered,
            count_since_last_measurement: counts.delivered - measured,
            read_buffer_count: behind,
            live_buffer_count: live,
            retry_buffer_count: counts.again,
            in_flight_count: counts.in_flight,
            parked_count: resting as u64,
            waiting_streams: counts.waiting_streams,
            trouble: self.trouble(),
        }
    }

    fn consumer_infos(&mut self) -> Vec<ConsumerInfo> {
        let now = self.now();
        let mut infos = self.machine.consumer_infos(now);
        for info in &mut infos {
            if let Some(outlet) = self.outlets.get(&info.id) {
                info.address.clone_from(&outlet.address);
                info.name.clone_from(&outlet.name);
            }
        }
        infos
    }

    /// Does the next of what was asked about parked events, or as much of it as one write takes; nothing
    /// is being written. Whoever asked hears when it is written. What goes to consumers again is returned.
    pub(super) fn act_on_parked(&mut self) -> Vec<u64> {
        let mut replays = Vec::new();
        let Some(mut command) = self.parked_commands.pop_front() else {
            return replays;
        };
        // What is parked from now on is not meant.
        command.range = self.books.bounded(command.range);
        // What is over and not written yet stands there still.
        let over: HashSet<_> = self.machine.changes().resolved.iter().copied().collect();
        let parked = self.books.parked().iter();
        let meant = parked.filter(|(link, parked)| {
            let is_meant = command.range.contains(Revision::new(**link)) && !over.contains(link);
            is_meant && (command.act == ParkedAct::Discard || !parked.replaying)
        });
        let meant = meant.map(|(link, parked)| (*link, parked.waiting.clone(), parked.cursor));
        let mut meant: Vec<_> = meant.take(ACTED_AT_ONCE + 1).collect();
        let is_all = meant.len() <= ACTED_AT_ONCE;
        meant.truncate(ACTED_AT_ONCE);
        command.done += meant.len() as u64;
        for (link, waiting, cursor) in meant {
            match command.act {
                ParkedAct::Replay => replays.push(link),
                ParkedAct::Discard => {
                    let waiting = waiting.as_ref().map(|stream| (stream, cursor));
                    self.machine.give_up(link, waiting);
                }
            }
        }
        if is_all {
            self.waiting.push((command.reply, command.done));
        } else {
            self.parked_commands.push_front(command);
        }
        replays
    }
}
