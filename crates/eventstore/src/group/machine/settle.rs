//! What becomes of an event that was handed out: it is processed, given back, late, or finished by an
//! append.

use super::{Entry, Flight, Machine, Origin, Park, TRIED_TOO_OFTEN};
use crate::group::arrival::Cursor;
use crate::group::progress::Checkpoint;
use bytestring::ByteString;
use icecore_core::{ConsumerId, DeliveryNumber, NackAction, Settled, StreamName};
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

/// Deliveries that an append is about to finish, and what the books say when it has.
#[derive(Clone, Debug)]
pub(in crate::group) struct Finishing {
    pub(in crate::group) deliveries: Vec<u64>,
    pub(in crate::group) checkpoint: Checkpoint,
    /// Revisions of the parked stream that are over then.
    pub(in crate::group) resolved: Vec<u64>,
    /// Streams that go on behind a parked event then.
    pub(in crate::group) lanes: BTreeMap<StreamName, Option<Cursor>>,
}

/// Whether the books know that an event is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Yes,
    No,
}

/// Whether handing an event out counts as a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Try {
    Counts,
    Free,
}

/// How a consumer leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::group) enum Leaving {
    /// By its own wish.
    Orderly,
    /// Nobody knows why.
    Broken,
}

impl Machine {
    /// A consumer leaves, and what it has goes to others. One that broke down was at the first of these,
    /// so only that counts as tried: what kills a consumer each time is parked at last, and what it had
    /// beside that is not.
    pub(in crate::group) fn leave(&mut self, id: ConsumerId, leaving: Leaving) {
        let Some(index) = self.consumers.iter().position(|consumer| consumer.id == id) else {
            return;
        };
        let of_it = |flight: &Flight| flight.consumer == id && !flight.finishing;
        let flights = self.flights.iter().filter(|(_, flight)| of_it(flight));
        let mut numbers: Vec<_> = flights.map(|(number, _)| *number).collect();
        numbers.sort_by_key(|number| self.place_of(*number));
        let mut counts = match leaving {
            Leaving::Orderly => Try::Free,
            Leaving::Broken => Try::Counts,
        };
        for number in numbers {
            self.give_back(number, counts, "The consumer left");
            counts = Try::Free;
        }
        self.consumers.remove(index);
        // Whose turn it was keeps it.
        self.turn -= usize::from(self.turn > index);
    }

    /// The oldest deliveries of these original events that the consumer has.
    pub(in crate::group) fn deliveries_of(
        &mut self,
        consumer: ConsumerId,
        events: &[Uuid],
    ) -> Vec<DeliveryNumber> {
        let Some(consumer) = self.consumer(consumer) else {
            return Vec::new();
        };
        let first = |id: &Uuid| {
            let mut of_it = consumer.flights.range((*id, 0)..=(*id, u64::MAX));
            of_it.next().map(|(_, number)| DeliveryNumber(*number))
        };
        events.iter().filter_map(first).collect()
    }

    /// A consumer answers. What it does not have any more is left out.
    pub(in crate::group) fn settle(
        &mut self,
        consumer: ConsumerId,
        deliveries: &[DeliveryNumber],
        settled: &Settled,
        now: Duration,
    ) {
        // However many events it is for, it is kept once.
        let why = match settled {
            Settled::Nack { reason, .. } => ByteString::from(reason.as_str()),
            Settled::Ack => ByteString::new(),
        };
        for DeliveryNumber(number) in deliveries {
            let Some(flight) = self.flights.get(number) else {
                continue;
            };
            if flight.consumer != consumer || flight.finishing {
                continue;
            }
            let entry = flight.entry;
            match settled {
                Settled::Ack => self.acknowledge(*number, now),
                Settled::Nack { action, .. } => match action {
                    NackAction::Skip => self.acknowledge(*number, now),
                    NackAction::Retry => self.give_back(*number, Try::Counts, &why),
                    NackAction::Stop => self.give_back(*number, Try::Free, &why),
                    NackAction::Park => {
                        self.land(*number);
                        self.park(entry, why.clone());
                    }
                },
            }
        }
    }

    fn acknowledge(&mut self, number: u64, now: Duration) {
        if let Some(flight) = self.land(number) {
            self.note_latency(&flight, now);
            self.finish(flight.entry, Known::No);
        }
    }

    /// When the next event is late.
    pub(in crate::group) fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Takes back what is late.
    pub(in crate::group) fn expire(&mut self, now: Duration) {
        while let Some((at, number)) = self.deadlines.first().copied() {
            if at > now {
                break;
            }
            self.deadlines.remove(&(at, number));
            self.give_back(number, Try::Counts, "The consumer did not answer in time");
        }
    }

    /// An append is about to finish these deliveries of a consumer; until [`Self::end_finishing`]
    /// nothing else concerns them. `None`, when it does not have one of them.
    pub(in crate::group) fn begin_finishing(
        &mut self,
        consumer: ConsumerId,
        deliveries: &[DeliveryNumber],
    ) -> Option<Finishing> {
        let mut numbers: Vec<_> = deliveries.iter().map(|delivery| delivery.0).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let has = |number: &u64| {
            let flight = self.flights.get(number);
            flight.is_some_and(|flight| flight.consumer == consumer && !flight.finishing)
        };
        if numbers.is_empty() || !numbers.iter().all(has) {
            return None;
        }
        // What others are about to finish stands in the books before this.
        let mut places = self.places_finishing();
        let (mut resolved, mut lanes) = (Vec::new(), BTreeMap::new());
        for number in &numbers {
            let flight = self.flights.get_mut(number)?;
            flight.finishing = true;
            if let Some(deadline) = flight.deadline.take() {
                self.deadlines.remove(&(deadline, *number));
            }
            let pending = self.pending.get(&flight.entry)?;
            match pending.origin {
                Origin::Source => places.push(pending.arrival.cursor.place),
                Origin::Replay(link) => resolved.push(link),
                Origin::Behind => {}
            }
            if let Some(lane) = &pending.lane
                && pending.origin != Origin::Source
            {
                lanes.insert(lane.clone(), Some(pending.arrival.cursor));
            }
        }
        Some(Finishing {
            deliveries: numbers,
            checkpoint: self.progress.checkpoint_with(&places),
            resolved,
            lanes,
        })
    }

    /// Whether these deliveries are of events that the group reads, so that finishing them writes nothing
    /// but a checkpoint.
    pub(in crate::group) fn are_read(&self, deliveries: &[DeliveryNumber]) -> bool {
        let entries = deliveries
            .iter()
            .filter_map(|number| self.flights.get(&number.0));
        let mut pending = entries.filter_map(|flight| self.pending.get(&flight.entry));
        pending.all(|pending| pending.origin == Origin::Source)
    }

    /// Where what stands that appends are about to finish.
    fn places_finishing(&self) -> Vec<u64> {
        let finishing = self.flights.values().filter(|flight| flight.finishing);
        let pending = finishing.filter_map(|flight| self.pending.get(&flight.entry));
        let read = pending.filter(|pending| pending.origin == Origin::Source);
        read.map(|pending| pending.arrival.cursor.place).collect()
    }

    /// The append of [`Self::begin_finishing`] was written, or it was not.
    pub(in crate::group) fn end_finishing(
        &mut self,
        deliveries: &[u64],
        written: bool,
        now: Duration,
    ) {
        for number in deliveries {
            if written {
                if let Some(flight) = self.land(*number) {
                    self.note_latency(&flight, now);
                    self.finish(flight.entry, Known::Yes);
                }
                continue;
            }
            let Some(consumer) = self.flights.get(number).map(|flight| flight.consumer) else {
                continue;
            };
            if self.consumer(consumer).is_none() {
                self.give_back(*number, Try::Free, "");
            } else if let Some(flight) = self.flights.get_mut(number) {
                flight.finishing = false;
                let timeout = self.settings.message_timeout;
                flight.deadline = (!timeout.is_zero()).then(|| now + timeout);
                self.deadlines
                    .extend(flight.deadline.map(|at| (at, *number)));
            }
        }
    }

    /// An event is done.
    fn finish(&mut self, entry: Entry, known: Known) {
        let Some(pending) = self.remove(entry) else {
            return;
        };
        self.finished += 1;
        match pending.origin {
            Origin::Source => self.progress.finish(pending.arrival.cursor.place),
            Origin::Replay(link) => {
                self.parked = self.parked.saturating_sub(1);
                if known == Known::No {
                    self.changes.resolved.push(link);
                }
                self.release_held();
            }
            Origin::Behind => {}
        }
        if let Some(lane) = &pending.lane {
            self.leave_lane(lane, &pending, known == Known::Yes);
        }
    }

    /// A consumer has not processed an event.
    fn give_back(&mut self, number: u64, counts: Try, reason: &str) {
        let Some(Flight { entry, .. }) = self.land(number) else {
            return;
        };
        let Some(pending) = self.pending.get_mut(&entry) else {
            return;
        };
        if counts == Try::Counts {
            if pending.tries >= self.settings.max_retry_count {
                let reason = match reason {
                    "" => ByteString::from_static(TRIED_TOO_OFTEN),
                    reason => format!("{TRIED_TOO_OFTEN}: {reason}").into(),
                };
                return self.park(entry, reason);
            }
            pending.tries += 1;
            if pending.origin == Origin::Source {
                self.progress
                    .tried(pending.arrival.cursor.place, pending.tries);
            }
        }
        self.make_ready(entry);
    }

    /// From now on the event waits to be parked. One that is replayed is parked already, and takes the
    /// place of the link that it was.
    fn park(&mut self, entry: Entry, reason: ByteString) {
        let Some(pending) = self.pending.get(&entry) else {
            return;
        };
        let replaces = match pending.origin {
            Origin::Replay(link) => Some(link),
            Origin::Source | Origin::Behind => None,
        };
        if replaces.is_none() {
            if self.is_full_of_parked() {
                self.held.push((entry, reason));
                return;
            }
            self.parked += 1;
        }
        self.changes.parks.push(Park {
            entry,
            stream: pending.arrival.original().stream.clone(),
            cursor: pending.arrival.cursor,
            reason,
            waiting: pending.lane.clone(),
            replaces,
        });
    }

    /// Parks what waits for that, as far as there is room.
    pub(super) fn release_held(&mut self) {
        while !self.is_full_of_parked()
            && let Some((entry, reason)) = self.held.pop()
        {
            self.park(entry, reason);
        }
    }

    fn place_of(&self, number: u64) -> Option<u64> {
        let flight = self.flights.get(&number)?;
        let pending = self.pending.get(&flight.entry)?;
        Some(pending.arrival.cursor.place)
    }
}
