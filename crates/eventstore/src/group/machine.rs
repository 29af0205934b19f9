//! A group that is awake, apart from what reads, writes, waits and tells the time: what it has in
//! memory, who has which event, what is done, what is to be parked. Everything here is decided by what
//! it is told, so that a test can tell it everything.
//!
//! Who gets an event: `machine/dispatch.rs`. Answers, timeouts and retries: `machine/settle.rs`. Strict
//! order, and streams that wait behind a parked event: `machine/lanes.rs`.

mod dispatch;
mod lanes;
mod settle;
#[cfg(test)]
mod tests;

use super::arrival::{Arrival, Cursor};
use super::progress::{Checkpoint, Progress};
use bytestring::ByteString;
use dispatch::Consumer;
pub(super) use dispatch::per_second;
use icecore_core::limits::GROUP_PARKED_MAX;
use icecore_core::{ConsumerId, ConsumerStrategy, GroupSettings, StreamName};
use lanes::Lane;
pub(super) use lanes::{BacklogRead, WaitingLane};
pub(super) use settle::Leaving;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

/// Bytes of events that a group keeps in memory, beside the one event that it always may.
const BYTES_MAX: usize = 16 * 1_024 * 1_024;

/// Events that a group has in memory, with those that consumers have.
const PENDING_MAX: usize = 65_536;

/// Events that are parked with one write.
const PARKED_AT_ONCE: usize = 1_000;

/// Why an event was parked that was tried too often, as KurrentDB says it.
const TRIED_TOO_OFTEN: &str = "Reached retry count";

/// The state of a group.
#[derive(Debug)]
pub(super) struct Machine {
    settings: GroupSettings,
    progress: Progress,
    /// Everything that is in memory and not done.
    pending: HashMap<Entry, Pending>,
    /// What may be handed out, in the order in which it is.
    ready: BTreeSet<Turn>,
    /// What consumers have.
    flights: BTreeMap<u64, Flight>,
    deadlines: BTreeSet<(Duration, u64)>,
    /// In the order in which they joined.
    consumers: Vec<Consumer>,
    /// Whose turn it is, as an index into `consumers`.
    turn: usize,
    /// The streams that are in memory or wait, with the strategy `Ordered`; with another one those that
    /// wait since it was `Ordered`.
    lanes: HashMap<StreamName, Lane>,
    /// Lanes that have to be read on.
    to_read: VecDeque<StreamName>,
    /// What is to be parked when there is room again.
    held: Vec<(Entry, ByteString)>,
    /// Events that are parked, or about to be.
    parked: usize,
    changes: Changes,
    /// Events that were done since the books were written.
    finished: u64,
    bytes: usize,
    last_entry: u64,
    last_delivery: u64,
    delivered: u64,
}

/// An event in memory, numbered as they came.
type Entry = u64;

/// Place in the line of what may be handed out: what was tried before first, then by place.
type Turn = (Rank, u64, Entry);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Again,
    New,
}

/// An event that is not done.
#[derive(Debug)]
struct Pending {
    arrival: Arrival,
    origin: Origin,
    tries: u32,
    /// The stream in whose order it stands, if order counts for it.
    lane: Option<StreamName>,
}

impl Pending {
    /// Whether it is to be handed out for the first time.
    fn is_new(&self) -> bool {
        self.tries == 0 && self.origin == Origin::Source
    }
}

/// How an event came into memory, which says who has to know when it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// From what the group reads: the checkpoint.
    Source,
    /// It was parked, as this revision of the parked stream, and is replayed: the parked stream.
    Replay(u64),
    /// It stood behind a parked event of its stream: its lane.
    Behind,
}

/// An event that a consumer has.
#[derive(Debug)]
struct Flight {
    entry: Entry,
    consumer: ConsumerId,
    sent: Duration,
    deadline: Option<Duration>,
    /// An append is about to finish it: neither time nor answers concern it.
    finishing: bool,
}

/// What the books have to take in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// To be parked; [`Machine::parked`] says when it is.
    pub(super) parks: Vec<Park>,
    /// Revisions of the parked stream that are over.
    pub(super) resolved: Vec<u64>,
    /// How far the streams are that go on behind a parked event; `None` for those that have caught up.
    pub(super) lanes: BTreeMap<StreamName, Option<Cursor>>,
}

impl Changes {
    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.parks.is_empty() && self.resolved.is_empty() && self.lanes.is_empty()
    }
}

/// An event that is to be parked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Park {
    pub(super) entry: u64,
    /// The stream of the event, or of the link by which it was found.
    pub(super) stream: StreamName,
    /// Where it stands.
    pub(super) cursor: Cursor,
    pub(super) reason: ByteString,
    /// The stream that waits behind it.
    pub(super) waiting: Option<StreamName>,
    /// It was parked before, as this revision of the parked stream.
    pub(super) replaces: Option<u64>,
}

/// What there is of what, for operators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) new: u64,
    pub(super) again: u64,
    pub(super) in_flight: u64,
    pub(super) waiting_streams: u64,
    pub(super) delivered: u64,
}

impl Machine {
    /// Goes on after a checkpoint; so many events are parked and these streams wait or go on behind
    /// one.
    pub(super) fn new(
        settings: GroupSettings,
        checkpoint: Checkpoint,
        parked: usize,
        waiting: impl IntoIterator<Item = WaitingLane>,
    ) -> Self {
        let mut machine = Self {
            settings,
            progress: Progress::resume(checkpoint),
            pending: HashMap::new(),
            ready: BTreeSet::new(),
            flights: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            consumers: Vec::new(),
            turn: 0,
            lanes: HashMap::new(),
            to_read: VecDeque::new(),
            held: Vec::new(),
            parked,
            changes: Changes::default(),
            finished: 0,
            bytes: 0,
            last_entry: 0,
            last_delivery: 0,
            delivered: 0,
        };
        for lane in waiting {
            machine.resume_lane(lane);
        }
        machine
    }

    /// The last event that was looked at.
    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// How many events consumers have.
    pub(super) fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Events that were done since [`Self::take_changes`].
    pub(super) fn finished(&self) -> u64 {
        self.finished
    }

    /// Whether there is room for an event more; `live` says which buffer counts.
    pub(super) fn wants_more(&self, live: bool) -> bool {
        let buffer = if live {
            self.settings.live_buffer_size
        } else {
            self.settings.history_buffer_size
        };
        let waiting = self.pending.len() - self.flights.len();
        waiting < buffer as usize && self.pending.len() < PENDING_MAX && self.bytes < BYTES_MAX
    }

    /// Takes in the next event of what the group reads, unless it is done.
    pub(super) fn arrive(&mut self, arrival: Arrival) {
        let place = arrival.cursor.place;
        let Some(tries) = self.progress.take(place) else {
            return;
        };
        let lane = self.lane_of(&arrival);
        if let Some(lane) = &lane
            && self.falls_behind(lane, place)
        {
            // Its lane remembers it.
            self.progress.finish(place);
            return;
        }
        let pending = Pending {
            arrival,
            origin: Origin::Source,
            tries,
            lane,
        };
        self.add(pending);
    }

    /// Everything up to here (inclusive) was looked at.
    pub(super) fn pass(&mut self, place: u64) {
        self.progress.pass(place);
    }

    /// A parked event, a revision of the parked stream, comes again; this stream waits behind it.
    pub(super) fn replay(&mut self, link: u64, arrival: Arrival, waiting: Option<&StreamName>) {
        if let Some(stream) = waiting
            && !self.begin_replay(stream, link)
        {
            return;
        }
        self.add(Pending {
            arrival,
            origin: Origin::Replay(link),
            tries: 0,
            lane: waiting.cloned(),
        });
    }

    /// An event is parked, as this revision of the parked stream.
    pub(super) fn parked(&mut self, entry: u64, link: u64) {
        let Some(pending) = self.remove(entry) else {
            return;
        };
        if pending.origin == Origin::Source {
            self.progress.finish(pending.arrival.cursor.place);
        }
        if let Some(lane) = &pending.lane {
            self.wait_behind(lane, pending.arrival.cursor, link);
        }
        self.finished += 1;
    }

    /// A parked event is given up.
    fn discard(&mut self, link: u64, waiting: Option<(&StreamName, Cursor)>) {
        self.parked = self.parked.saturating_sub(1);
        let replayed = |pending: &&Pending| pending.origin == Origin::Replay(link);
        let entry = self.pending.iter().find(|(_, pending)| replayed(pending));
        if let Some(entry) = entry.map(|(entry, _)| *entry) {
            self.take_back(entry);
            self.remove(entry);
            self.changes.parks.retain(|park| park.entry != entry);
        }
        if let Some((stream, cursor)) = waiting {
            self.resolve_lane(stream, link, cursor);
        }
        self.release_held();
    }

    /// A parked event is given up, by an operator or because it is not there any more. The books have
    /// to take it in.
    pub(super) fn give_up(&mut self, link: u64, waiting: Option<(&StreamName, Cursor)>) {
        self.discard(link, waiting);
        self.changes.resolved.push(link);
        if let Some((stream, cursor)) = waiting {
            self.changes.lanes.insert(stream.clone(), Some(cursor));
        }
    }

    /// What the books have to take in now. The caller writes it.
    pub(super) fn take_changes(&mut self) -> (Checkpoint, Changes) {
        self.finished = 0;
        let at_once = self.changes.parks.len().min(PARKED_AT_ONCE);
        let later = self.changes.parks.split_off(at_once);
        let changes = std::mem::take(&mut self.changes);
        self.changes.parks = later;
        (self.progress.checkpoint(), changes)
    }

    /// What is waiting to be written.
    pub(super) fn changes(&self) -> &Changes {
        &self.changes
    }

    /// What there is of what.
    pub(super) fn counts(&self) -> Counts {
        let out: HashSet<_> = self.flights.values().map(|flight| flight.entry).collect();
        let waiting = self
            .pending
            .iter()
            .filter(|(entry, _)| !out.contains(entry));
        let new = waiting.filter(|(_, pending)| pending.is_new()).count();
        Counts {
            new: new as u64,
            again: (self.pending.len() - self.flights.len() - new) as u64,
            in_flight: self.flights.len() as u64,
            waiting_streams: self.waiting_streams(),
            delivered: self.delivered,
        }
    }

    fn is_ordered(&self) -> bool {
        self.settings.strategy == ConsumerStrategy::Ordered
    }

    /// The stream in whose order an event stands that arrives: with another strategy than `Ordered` only
    /// one that waits since then, until it has caught up.
    fn lane_of(&self, arrival: &Arrival) -> Option<StreamName> {
        if self.is_ordered() {
            return Some(arrival.lane());
        }
        if self.lanes.is_empty() {
            return None;
        }
        Some(arrival.lane()).filter(|lane| self.lanes.contains_key(lane))
    }

    fn add(&mut self, pending: Pending) {
        self.last_entry += 1;
        let entry = self.last_entry;
        self.bytes += pending.arrival.size();
        let is_first = match &pending.lane {
            Some(lane) => self.join_lane(lane, entry),
            None => true,
        };
        self.pending.insert(entry, pending);
        if is_first {
            self.make_ready(entry);
        }
    }

    /// From now on the event may be handed out.
    fn make_ready(&mut self, entry: Entry) {
        if let Some(turn) = self.turn_of(entry) {
            self.ready.insert(turn);
        }
    }

    fn turn_of(&self, entry: Entry) -> Option<Turn> {
        let pending = self.pending.get(&entry)?;
        let rank = if pending.is_new() {
            Rank::New
        } else {
            Rank::Again
        };
        Some((rank, pending.arrival.cursor.place, entry))
    }

    /// Takes an event out of memory; no consumer has it any more.
    fn remove(&mut self, entry: Entry) -> Option<Pending> {
        if let Some(turn) = self.turn_of(entry) {
            self.ready.remove(&turn);
        }
        let pending = self.pending.remove(&entry)?;
        self.bytes -= pending.arrival.size();
        Some(pending)
    }

    /// Whether so many are parked that no other may be.
    fn is_full_of_parked(&self) -> bool {
        self.parked >= GROUP_PARKED_MAX
    }
}
