//! Who gets an event: the consumers of a group, and the strategies that choose among them.

use super::{Entry, Flight, Machine, Pending};
use icecore_core::{
    ConsumerId, ConsumerInfo, ConsumerStrategy, CorrelationId, DeliveryNumber, GroupDelivery,
};
use icecore_storage::correlation_id;
use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;
use uuid::Uuid;

/// The newest latencies of a consumer, of which its statistics are made.
const LATENCIES_MAX: usize = 1_000;

/// A consumer of the group.
#[derive(Debug)]
pub(in crate::group) struct Consumer {
    pub(super) id: ConsumerId,
    buffer_size: usize,
    /// What it has, by the id of the original event.
    pub(super) flights: BTreeSet<(Uuid, u64)>,
    since: Duration,
    delivered: u64,
    /// How many it had got when it was asked last.
    measured: u64,
    /// Milliseconds.
    latencies: VecDeque<u64>,
}

impl Consumer {
    fn free(&self) -> usize {
        self.buffer_size.saturating_sub(self.flights.len())
    }

    fn info(&mut self, now: Duration) -> ConsumerInfo {
        let measured = std::mem::replace(&mut self.measured, self.delivered);
        ConsumerInfo {
            id: self.id,
            address: String::new(),
            name: String::new(),
            average_per_second: per_second(self.delivered, now.saturating_sub(self.since)),
            total_items: self.delivered,
            count_since_last_measurement: self.delivered - measured,
            available_slots: self.free() as u64,
            in_flight_count: self.flights.len() as u64,
            latencies: statistics(&self.latencies),
        }
    }
}

impl Machine {
    /// A consumer joins; it may have so many events.
    pub(in crate::group) fn join(&mut self, id: ConsumerId, buffer_size: u32, now: Duration) {
        self.consumers.push(Consumer {
            id,
            buffer_size: buffer_size as usize,
            flights: BTreeSet::new(),
            since: now,
            delivered: 0,
            measured: 0,
            latencies: VecDeque::new(),
        });
    }

    /// How many consumers there are.
    pub(in crate::group) fn consumers(&self) -> usize {
        self.consumers.len()
    }

    /// What each consumer has; counts what is asked for the next time.
    pub(in crate::group) fn consumer_infos(&mut self, now: Duration) -> Vec<ConsumerInfo> {
        let consumers = self.consumers.iter_mut();
        consumers.map(|consumer| consumer.info(now)).collect()
    }

    /// The next delivery, if there is an event that a consumer can take. `has_room` says whether a
    /// consumer that has so many has taken enough of what it was sent.
    pub(in crate::group) fn dispatch(
        &mut self,
        now: Duration,
        has_room: impl Fn(ConsumerId, usize) -> bool,
    ) -> Option<(ConsumerId, GroupDelivery)> {
        let able = |consumer: &Consumer| {
            consumer.free() > 0 && has_room(consumer.id, consumer.flights.len())
        };
        let free: Vec<_> = self.consumers.iter().map(able).collect();
        if !free.contains(&true) {
            return None;
        }
        let mut turns = self.ready.iter();
        let (turn, index) = turns.find_map(|turn| {
            let pending = self.pending.get(&turn.2)?;
            Some((*turn, self.choose(pending, &free)?))
        })?;
        self.ready.remove(&turn);
        if self.settings.strategy != ConsumerStrategy::DispatchToSingle {
            self.turn = index + 1;
        }
        Some((self.consumers[index].id, self.send(turn.2, index, now)?))
    }

    /// The consumer for an event, as an index; `free` says which can take one.
    fn choose(&self, pending: &Pending, free: &[bool]) -> Option<usize> {
        let count = self.consumers.len();
        match self.settings.strategy {
            ConsumerStrategy::Ordered | ConsumerStrategy::RoundRobin => (0..count)
                .map(|step| (self.turn + step) % count)
                .find(|index| free[*index]),
            ConsumerStrategy::DispatchToSingle => free.iter().position(|free| *free),
            ConsumerStrategy::Pinned => self
                .pinned(pending.arrival.target().as_str())
                .filter(|index| free[*index]),
            ConsumerStrategy::PinnedByCorrelation => {
                let event = pending.arrival.event.as_ref();
                let correlation = event.and_then(|event| correlation_id(&event.metadata));
                let target = pending.arrival.target();
                let by = correlation
                    .as_ref()
                    .map_or(target.as_str(), CorrelationId::as_str);
                self.pinned(by).filter(|index| free[*index])
            }
        }
    }

    /// The consumer to which this text is bound: the one with which it has the highest hash, so that a
    /// consumer that comes or goes moves only what it takes or had.
    fn pinned(&self, by: &str) -> Option<usize> {
        let weight = |consumer: &Consumer| {
            let mut hasher = DefaultHasher::new();
            (by, consumer.id).hash(&mut hasher);
            hasher.finish()
        };
        let consumers = self.consumers.iter().enumerate();
        let highest = consumers.max_by_key(|(_, consumer)| weight(consumer));
        highest.map(|(index, _)| index)
    }

    fn send(&mut self, entry: Entry, index: usize, now: Duration) -> Option<GroupDelivery> {
        let pending = self.pending.get(&entry)?;
        self.last_delivery += 1;
        self.delivered += 1;
        let number = self.last_delivery;
        let consumer = &mut self.consumers[index];
        let id = pending.arrival.original().id;
        consumer.flights.insert((id, number));
        consumer.delivered += 1;
        let timeout = self.settings.message_timeout;
        let deadline = (!timeout.is_zero()).then(|| now + timeout);
        self.deadlines.extend(deadline.map(|at| (at, number)));
        let flight = Flight {
            entry,
            consumer: consumer.id,
            sent: now,
            deadline,
            finishing: false,
        };
        self.flights.insert(number, flight);
        Some(GroupDelivery {
            number: DeliveryNumber(number),
            event: pending.arrival.event.clone(),
            link: pending.arrival.link.clone(),
            retry_count: pending.tries,
        })
    }

    /// Takes an event back from the consumer that has it.
    pub(super) fn land(&mut self, number: u64) -> Option<Flight> {
        let flight = self.flights.remove(&number)?;
        if let Some(deadline) = flight.deadline {
            self.deadlines.remove(&(deadline, number));
        }
        let original = self.pending.get(&flight.entry)?.arrival.original().id;
        if let Some(consumer) = self.consumer(flight.consumer) {
            consumer.flights.remove(&(original, number));
        }
        Some(flight)
    }

    /// Takes an event back from whoever has it.
    pub(super) fn take_back(&mut self, entry: Entry) {
        let mut flights = self.flights.iter();
        let number = flights.find(|(_, flight)| flight.entry == entry);
        if let Some(number) = number.map(|(number, _)| *number) {
            self.land(number);
        }
    }

    pub(super) fn consumer(&mut self, id: ConsumerId) -> Option<&mut Consumer> {
        self.consumers.iter_mut().find(|consumer| consumer.id == id)
    }

    /// Keeps how long a consumer took, if that is wanted.
    pub(super) fn note_latency(&mut self, flight: &Flight, now: Duration) {
        if !self.settings.extra_statistics {
            return;
        }
        let took = now.saturating_sub(flight.sent).as_millis();
        let Some(consumer) = self.consumer(flight.consumer) else {
            return;
        };
        if consumer.latencies.len() == LATENCIES_MAX {
            consumer.latencies.pop_front();
        }
        let took = u64::try_from(took).unwrap_or(u64::MAX);
        consumer.latencies.push_back(took);
    }
}

/// How many of something there were in a second.
pub(in crate::group) fn per_second(count: u64, time: Duration) -> u64 {
    count / time.as_secs().max(1)
}

/// Mean, extremes and percentiles, as KurrentDB names them.
fn statistics(latencies: &VecDeque<u64>) -> Vec<(String, u64)> {
    if latencies.is_empty() {
        return Vec::new();
    }
    let mut sorted: Vec<_> = latencies.iter().copied().collect();
    sorted.sort_unstable();
    let mean = sorted.iter().sum::<u64>() / sorted.len() as u64;
    // In tenths of a percent.
    let at = |share: usize| sorted[(sorted.len() * share).div_ceil(1_000).max(1) - 1];
    let mut found = vec![
        ("Mean".to_owned(), mean),
        ("Median".to_owned(), at(500)),
        ("Fastest".to_owned(), at(0)),
    ];
    for (name, share) in [("90%", 900), ("95%", 950), ("99%", 990), ("99.9%", 999)] {
        found.push((name.to_owned(), at(share)));
    }
    found.push(("Highest".to_owned(), at(1_000)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_of_what_there_is() {
        assert!(statistics(&VecDeque::new()).is_empty());
        let found = statistics(&(1..=1_000).rev().collect());
        let of = |name: &str| found.iter().find(|(found, _)| found == name).unwrap().1;
        assert_eq!((of("Mean"), of("Median"), of("Fastest")), (500, 500, 1));
        assert_eq!((of("90%"), of("99.9%"), of("Highest")), (900, 999, 1_000));
    }
}
