//! Random operations on a machine with its books: what is appended is processed, whatever consumers do
//! and however often the group begins anew, and the rules hold after every step.

mod parking;

use super::*;
use crate::group::books::{Books, Entry as BookEntry, EntryEvents};
use crate::test_events::event;
use icecore_core::{
    GroupDelivery, GroupId, GroupName, NackAction, RecordedEvent, Revision, Settled, Timestamp,
};
use proptest::prelude::*;
use uuid::Uuid;

const BUFFER: u32 = 3;
const TIMEOUT: Duration = Duration::from_millis(100);

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Append(u8),
    Read,
    Dispatch,
    Answer(u8, u8),
    Join,
    Leave(u8, bool),
    Wait(u8),
    Write,
    ReadLane,
    LaneRead,
    Replay,
    Discard(u8),
    Finish(u8, bool),
    Crash,
    /// The group gets another strategy.
    Change(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_u8).prop_map(Step::Append),
        4 => Just(Step::Read),
        6 => Just(Step::Dispatch),
        8 => (any::<u8>(), 0..10_u8).prop_map(|(which, how)| Step::Answer(which, how)),
        1 => Just(Step::Join),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(which, orderly)| Step::Leave(which, orderly)),
        1 => any::<u8>().prop_map(Step::Wait),
        3 => Just(Step::Write),
        2 => Just(Step::ReadLane),
        2 => Just(Step::LaneRead),
        1 => Just(Step::Replay),
        1 => any::<u8>().prop_map(Step::Discard),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(which, written)| Step::Finish(which, written)),
        1 => Just(Step::Crash),
    ]
}

fn step_or_change() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => step(),
        1 => any::<u8>().prop_map(Step::Change),
    ]
}

struct World {
    settings: GroupSettings,
    /// Whether every event was handed out under the strategy `Ordered`.
    always_ordered: bool,
    machine: Machine,
    books: Books,
    checkpoint: Checkpoint,
    log: Vec<RecordedEvent>,
    read: u64,
    now: Duration,
    last_consumer: u128,
    consumers: Vec<ConsumerId>,
    /// What consumers have, with the position of each.
    held: Vec<(ConsumerId, GroupDelivery)>,
    done: BTreeSet<u64>,
    /// What was read for lanes and has not arrived.
    lanes_read: Vec<(BacklogRead, Vec<Arrival>, bool)>,
    /// The parked stream, as far as it is not truncated.
    parked_stream: Vec<RecordedEvent>,
    last_parked: u64,
}

impl World {
    fn new(strategy: ConsumerStrategy) -> Self {
        let settings = GroupSettings {
            message_timeout: TIMEOUT,
            max_retry_count: 2,
            live_buffer_size: 5,
            read_batch_size: 2,
            history_buffer_size: 5,
            strategy,
            ..GroupSettings::default()
        };
        let group = GroupId::of_all(GroupName::new("g").unwrap());
        Self {
            machine: Machine::new(settings.clone(), Checkpoint::default(), 0, []),
            always_ordered: strategy == ConsumerStrategy::Ordered,
            settings,
            books: Books::new(group, None, None),
            checkpoint: Checkpoint::default(),
            log: Vec::new(),
            read: 0,
            now: Duration::ZERO,
            last_consumer: 0,
            consumers: Vec::new(),
            held: Vec::new(),
            done: BTreeSet::new(),
            lanes_read: Vec::new(),
            parked_stream: Vec::new(),
            last_parked: 0,
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append(stream) => self.append(stream),
            Step::Read => self.read(),
            Step::Dispatch => self.dispatch(),
            Step::Answer(which, how) => self.answer(which.into(), how),
            Step::Join => self.join(),
            Step::Leave(which, orderly) => self.leave(which.into(), orderly),
            Step::Wait(millis) => {
                self.now += Duration::from_millis(millis.into());
                self.machine.expire(self.now);
            }
            Step::Write => self.write(Vec::new()),
            Step::ReadLane => self.read_lane(),
            Step::LaneRead => self.lane_read(),
            Step::Replay => self.replay(),
            Step::Discard(which) => self.discard(which.into()),
            Step::Finish(which, written) => self.finish(which.into(), written),
            Step::Crash => self.crash(),
            Step::Change(which) => self.change(which.into()),
        }
        self.check();
    }

    fn append(&mut self, stream: u8) {
        let name = format!("s-{stream}");
        let of_it = self
            .log
            .iter()
            .filter(|event| event.stream.as_str() == name);
        let (revision, position) = (of_it.count() as u64, self.log.len() as u64 + 1);
        self.log.push(event(&name, revision, position));
    }

    fn read(&mut self) {
        while self.machine.wants_more(false) {
            let Some(event) = self.log.get(usize::try_from(self.read).unwrap()) else {
                break;
            };
            self.read += 1;
            self.machine.arrive(Arrival::new(self.read, event.clone()));
        }
    }

    fn dispatch(&mut self) {
        while let Some((consumer, delivery)) = self.machine.dispatch(self.now, |_, _| true) {
            self.check_order(&delivery);
            self.held.push((consumer, delivery));
            let has = self.held_by(consumer);
            assert!(has <= BUFFER as usize, "a consumer has {has}");
        }
    }

    /// Deliveries that the consumer has and the machine has not taken back.
    fn held_by(&self, consumer: ConsumerId) -> usize {
        let held = self.held.iter().filter(|(of, _)| *of == consumer);
        held.filter(|(_, delivery)| self.machine.flights.contains_key(&delivery.number.0))
            .count()
    }

    fn check_order(&self, delivery: &GroupDelivery) {
        if !self.always_ordered {
            return;
        }
        let event = delivery.event.as_ref().unwrap();
        let earlier = self
            .log
            .iter()
            .filter(|earlier| earlier.stream == event.stream && earlier.revision < event.revision);
        for earlier in earlier {
            let place = earlier.position.get();
            assert!(
                self.done.contains(&place),
                "{place} is not done before {event:?}"
            );
        }
        let of_stream = |(number, flight): &(&u64, &Flight)| {
            **number != delivery.number.0
                && self.machine.pending[&flight.entry].lane.as_ref() == Some(&event.stream)
        };
        assert!(!self.machine.flights.iter().any(|flight| of_stream(&flight)));
    }

    fn answer(&mut self, which: usize, how: u8) {
        if self.held.is_empty() {
            return;
        }
        let (consumer, delivery) = self.held.swap_remove(which % self.held.len());
        let nack = |action| Settled::Nack {
            action,
            reason: "no".to_owned(),
        };
        let settled = match how {
            0 => nack(NackAction::Park),
            1 | 2 => nack(NackAction::Retry),
            3 => nack(NackAction::Skip),
            4 => nack(NackAction::Stop),
            _ => Settled::Ack,
        };
        let counts = matches!(how, 3 | 5..) && self.is_held(&delivery);
        if counts {
            self.done.insert(place(&delivery));
        }
        let numbers = [delivery.number];
        self.machine.settle(consumer, &numbers, &settled, self.now);
    }

    fn is_held(&self, delivery: &GroupDelivery) -> bool {
        self.machine.flights.contains_key(&delivery.number.0)
    }

    fn join(&mut self) {
        self.last_consumer += 1;
        let id = ConsumerId(Uuid::from_u128(self.last_consumer));
        self.machine.join(id, BUFFER, self.now);
        self.consumers.push(id);
    }

    fn leave(&mut self, which: usize, orderly: bool) {
        if self.consumers.is_empty() {
            return;
        }
        let id = self.consumers.swap_remove(which % self.consumers.len());
        let leaving = if orderly {
            Leaving::Orderly
        } else {
            Leaving::Broken
        };
        self.machine.leave(id, leaving);
        self.held.retain(|(consumer, _)| *consumer != id);
    }

    /// Writes what there is to write, as the group's task does.
    fn write(&mut self, replays: Vec<u64>) {
        let (checkpoint, changes) = self.machine.take_changes();
        self.record(BookEntry {
            checkpoint: Some(checkpoint),
            changes,
            replays,
        });
    }

    fn record(&mut self, entry: BookEntry) {
        let mut id = 1_000_000;
        let events = self.books.events(&entry, Timestamp::from_nanos(0), || {
            id += 1;
            Uuid::from_u128(id)
        });
        self.keep(&events);
        for (entry, link) in self.books.written(&entry, &events) {
            self.machine.parked(entry, link);
        }
        self.checkpoint = entry.checkpoint.unwrap();
    }

    /// Keeps what was written to the parked stream, and truncates it.
    fn keep(&mut self, events: &EntryEvents) {
        for data in &events.parked {
            self.last_parked += 1;
            self.parked_stream.push(RecordedEvent {
                event_type: data.event_type.clone(),
                data: data.data.clone(),
                metadata: data.metadata.clone(),
                ..event("parked", self.last_parked - 1, 1)
            });
        }
        if let Some(before) = events.truncation {
            self.parked_stream
                .retain(|event| event.revision.get() >= before);
        }
    }

    fn read_lane(&mut self) {
        let Some(read) = self.machine.next_backlog() else {
            return;
        };
        let behind = self.log.iter().filter(|event| {
            let place = event.position.get();
            let after = read.after.revision;
            event.stream == read.stream && event.revision > after && place <= read.up_to
        });
        let behind: Vec<_> = behind.collect();
        let some = behind.iter().take(2);
        let events: Vec<_> = some
            .map(|event| Arrival::new(event.position.get(), (*event).clone()))
            .collect();
        self.lanes_read.push((read, events, behind.len() <= 2));
    }

    /// What was read for a lane arrives, some time after it was read.
    fn lane_read(&mut self) {
        if let Some((read, events, end)) = self.lanes_read.pop() {
            let reached = events.last().map_or(read.after, |last| last.cursor);
            self.machine.backlog_read(&read, events, reached, end);
        }
    }

    fn replay(&mut self) {
        let resting = self
            .books
            .parked()
            .iter()
            .filter(|(_, parked)| !parked.replaying);
        let links: Vec<_> = resting.map(|(link, _)| *link).collect();
        self.write(links.clone());
        self.load(&links);
    }

    fn load(&mut self, links: &[u64]) {
        for link in links {
            if let Some(parked) = self.books.parked().get(link) {
                let place = parked.cursor.place;
                let event = self.log[usize::try_from(place).unwrap() - 1].clone();
                let waiting = parked.waiting.as_ref();
                self.machine
                    .replay(*link, Arrival::new(place, event), waiting);
            }
        }
    }

    fn discard(&mut self, which: usize) {
        self.write(Vec::new());
        let parked: Vec<_> = self.books.parked().iter().collect();
        if parked.is_empty() {
            return;
        }
        let (link, parked) = parked[which % parked.len()];
        let (link, parked) = (*link, parked.clone());
        self.done.insert(parked.cursor.place);
        let waiting = parked.waiting.as_ref();
        self.machine
            .give_up(link, waiting.map(|stream| (stream, parked.cursor)));
        self.write(Vec::new());
    }

    fn finish(&mut self, which: usize, written: bool) {
        self.write(Vec::new());
        let held: Vec<_> = self
            .held
            .iter()
            .filter(|(_, delivery)| self.is_held(delivery))
            .collect();
        if held.is_empty() {
            return;
        }
        let (consumer, delivery) = held[which % held.len()].clone();
        let numbers = [delivery.number];
        let others = self.consumers.iter().find(|id| **id != consumer);
        if let Some(other) = others {
            assert!(self.machine.begin_finishing(*other, &numbers).is_none());
        }
        let finishing = self.machine.begin_finishing(consumer, &numbers).unwrap();
        self.machine
            .settle(consumer, &numbers, &Settled::Ack, self.now);
        assert!(self.is_held(&delivery), "nothing else concerns it");
        if written {
            self.done.insert(place(&delivery));
            let changes = Changes {
                parks: Vec::new(),
                resolved: finishing.resolved,
                lanes: finishing.lanes,
            };
            self.record(BookEntry {
                checkpoint: Some(finishing.checkpoint),
                changes,
                replays: Vec::new(),
            });
        }
        self.machine
            .end_finishing(&finishing.deliveries, written, self.now);
        assert_eq!(self.is_held(&delivery), !written);
    }

    fn crash(&mut self) {
        let (settings, checkpoint) = (self.settings.clone(), self.checkpoint.clone());
        self.read = checkpoint.done.unwrap_or(0);
        let group = GroupId::of_all(GroupName::new("g").unwrap());
        let last = self.last_parked.checked_sub(1).map(Revision::new);
        self.books = Books::new(group, None, last);
        self.parked_stream
            .iter()
            .for_each(|event| self.books.fold(event));
        self.lanes_read.clear();
        let parked = self.books.parked().len();
        let waiting: Vec<_> = self.books.waiting().collect();
        self.machine = Machine::new(settings, checkpoint, parked, waiting);
        self.consumers.clear();
        self.held.clear();
        let replaying = self
            .books
            .parked()
            .iter()
            .filter(|(_, parked)| parked.replaying);
        let links: Vec<_> = replaying.map(|(link, _)| *link).collect();
        self.load(&links);
    }

    /// What is done is written, and the group begins anew with another strategy.
    fn change(&mut self, which: usize) {
        self.always_ordered = false;
        self.write(Vec::new());
        self.settings.strategy = ConsumerStrategy::EACH[which % ConsumerStrategy::EACH.len()];
        self.crash();
    }

    /// What the books call done is done, is parked, or its stream remembers it.
    fn check(&self) {
        let parked: BTreeSet<_> = self
            .books
            .parked()
            .values()
            .map(|p| p.cursor.place)
            .collect();
        let waiting: Vec<_> = self.books.waiting().collect();
        let is_behind = |event: &RecordedEvent| {
            waiting
                .iter()
                .any(|lane| lane.stream == event.stream && lane.after.place < event.position.get())
        };
        for event in &self.log {
            let place = event.position.get();
            let known = Some(place) <= self.checkpoint.seen;
            if known && !self.checkpoint.unfinished.contains_key(&place) {
                let is_safe = self.done.contains(&place) || parked.contains(&place);
                assert!(is_safe || is_behind(event), "{place} is lost");
            }
        }
        if let Some(first) = self.checkpoint.unfinished.keys().next() {
            assert!(self.checkpoint.done < Some(*first));
        }
    }

    /// Whatever has happened: with one good consumer all is done at last.
    fn end_well(&mut self) {
        for id in std::mem::take(&mut self.consumers) {
            self.machine.leave(id, Leaving::Broken);
        }
        self.held.clear();
        self.join();
        for _ in 0..2_000 {
            if self.done.len() == self.log.len() {
                break;
            }
            self.read();
            self.read_lane();
            self.lane_read();
            self.dispatch();
            while !self.held.is_empty() {
                self.answer(0, 9);
            }
            self.replay();
            self.check();
        }
        let all: BTreeSet<_> = (1..=self.log.len() as u64).collect();
        assert_eq!(self.done, all);
    }
}

fn place(delivery: &GroupDelivery) -> u64 {
    delivery.event.as_ref().unwrap().position.get()
}

fn run(strategy: ConsumerStrategy, steps: Vec<Step>) {
    let mut world = World::new(strategy);
    world.join();
    for step in steps {
        world.take(step);
    }
    world.end_well();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_event_is_processed_in_order_of_its_stream(
        steps in prop::collection::vec(step(), 1..250)
    ) {
        run(ConsumerStrategy::Ordered, steps);
    }

    #[test]
    fn every_event_is_processed_with_every_other_strategy(
        which in 1..5_usize,
        steps in prop::collection::vec(step(), 1..250)
    ) {
        run(ConsumerStrategy::EACH[which], steps);
    }

    #[test]
    fn every_event_is_processed_though_the_strategy_changes(
        which in 0..5_usize,
        steps in prop::collection::vec(step_or_change(), 1..250)
    ) {
        run(ConsumerStrategy::EACH[which], steps);
    }
}
