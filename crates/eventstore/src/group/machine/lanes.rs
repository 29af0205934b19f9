//! Strict order, with the strategy `Ordered`: the events of one stream form a lane, of which only the
//! first is handed out. A lane that waits when the strategy is changed stays one until it has caught up. An event that is parked stops its lane: what stands behind it is not kept but
//! read again, from the stream itself, once the parked event is resolved. Until the lane has caught up
//! with the group, what arrives for it is left out as well.
//!
//! ```text
//! flowing --parked--> waiting --resolved--> reading on --caught up--> flowing
//!                        ^                     |
//!                        +-------parked--------+
//! ```

use super::{Entry, Machine, Origin, Pending};
use crate::group::arrival::{Arrival, Cursor};
use icecore_core::StreamName;
use std::collections::VecDeque;

/// The events of one stream.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// What is in memory, in order. Only the first may be with a consumer.
    queue: VecDeque<Entry>,
    /// What is not: a part of the stream has to be read again.
    backlog: Option<Backlog>,
}

/// The part of a stream behind a parked event.
#[derive(Debug)]
struct Backlog {
    /// The parked event, as a revision of the parked stream; `None` when it is resolved.
    head: Option<u64>,
    /// Everything up to here (inclusive) is done or in memory.
    read_to: Cursor,
    /// The last event that arrived and was left out.
    left_out: Option<u64>,
    /// Somebody reads.
    reading: bool,
}

/// A stream that waits behind a parked event, or goes on behind one, as the books know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::group) struct WaitingLane {
    pub(in crate::group) stream: StreamName,
    /// The parked event, as a revision of the parked stream; `None` when it is resolved.
    pub(in crate::group) head: Option<u64>,
    /// Where the parked event stands, or how far the stream is done.
    pub(in crate::group) after: Cursor,
}

/// A lane that has to be read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::group) struct BacklogRead {
    pub(in crate::group) stream: StreamName,
    /// The first event to read stands after this one.
    pub(in crate::group) after: Cursor,
    /// The last place to look at (inclusive).
    pub(in crate::group) up_to: u64,
}

impl Machine {
    /// Takes in what the books know. What is in them has been left out before.
    pub(super) fn resume_lane(&mut self, lane: WaitingLane) {
        let WaitingLane {
            stream,
            head,
            after,
        } = lane;
        let backlog = Backlog {
            head,
            read_to: after,
            left_out: self.progress.last_known(),
            reading: false,
        };
        self.lanes.entry(stream.clone()).or_default().backlog = Some(backlog);
        if head.is_none() {
            self.to_read.push_back(stream);
        }
    }

    /// How many streams wait behind a parked event.
    pub(super) fn waiting_streams(&self) -> u64 {
        let backlogs = self.lanes.values().filter_map(|lane| lane.backlog.as_ref());
        backlogs.filter(|backlog| backlog.head.is_some()).count() as u64
    }

    /// Whether an event that arrives has to be left out, because its stream waits.
    pub(super) fn falls_behind(&mut self, stream: &StreamName, place: u64) -> bool {
        let lane = self.lanes.get_mut(stream);
        let backlog = lane.and_then(|lane| lane.backlog.as_mut());
        backlog.is_some_and(|backlog| {
            backlog.left_out = backlog.left_out.max(Some(place));
            true
        })
    }

    /// Puts an event at the end of its lane; whether it is the first there.
    pub(super) fn join_lane(&mut self, stream: &StreamName, entry: Entry) -> bool {
        let lane = self.lanes.entry(stream.clone()).or_default();
        lane.queue.push_back(entry);
        lane.queue.len() == 1
    }

    /// The first event of a lane is done. `known` says that the books know.
    pub(super) fn leave_lane(&mut self, stream: &StreamName, pending: &Pending, known: bool) {
        let Some(lane) = self.lanes.get_mut(stream) else {
            return;
        };
        lane.queue.pop_front();
        let next = lane.queue.front().copied();
        match &mut lane.backlog {
            Some(backlog) => {
                if matches!(pending.origin, Origin::Replay(_)) {
                    backlog.head = None;
                    backlog.read_to = pending.arrival.cursor;
                }
                if !known {
                    let done = Some(pending.arrival.cursor);
                    self.changes.lanes.insert(stream.clone(), done);
                }
                if next.is_none() {
                    self.to_read.push_back(stream.clone());
                }
            }
            None if next.is_none() => drop(self.lanes.remove(stream)),
            None => {}
        }
        if let Some(next) = next {
            self.make_ready(next);
        }
    }

    /// The first event of a lane, which stands here, is parked, as this revision of the parked stream.
    /// The others are forgotten and read again later.
    pub(super) fn wait_behind(&mut self, stream: &StreamName, parked: Cursor, link: u64) {
        let mut lane = self.lanes.remove(stream).unwrap_or_default();
        lane.queue.pop_front();
        let mut left_out = lane.backlog.and_then(|backlog| backlog.left_out);
        for entry in lane.queue {
            if let Some(behind) = self.remove(entry)
                && behind.origin == Origin::Source
            {
                let place = behind.arrival.cursor.place;
                left_out = left_out.max(Some(place));
                self.progress.finish(place);
            }
        }
        let backlog = Backlog {
            head: Some(link),
            read_to: parked,
            left_out,
            reading: false,
        };
        let lane = Lane {
            queue: VecDeque::new(),
            backlog: Some(backlog),
        };
        self.lanes.insert(stream.clone(), lane);
        // What was read of it counts from here.
        self.changes.lanes.remove(stream);
    }

    /// Whether the lane waits behind this parked event, which is not on its way yet.
    pub(super) fn begin_replay(&mut self, stream: &StreamName, link: u64) -> bool {
        let Some(lane) = self.lanes.get(stream) else {
            return false;
        };
        let head = lane.backlog.as_ref().and_then(|backlog| backlog.head);
        head == Some(link) && lane.queue.is_empty()
    }

    /// The parked event of a lane, which stood here, is given up: the lane goes on behind it.
    pub(super) fn resolve_lane(&mut self, stream: &StreamName, link: u64, cursor: Cursor) {
        let Some(lane) = self.lanes.get_mut(stream) else {
            return;
        };
        let Some(backlog) = lane.backlog.as_mut().filter(|b| b.head == Some(link)) else {
            return;
        };
        backlog.head = None;
        backlog.read_to = cursor;
        lane.queue.clear();
        self.to_read.push_back(stream.clone());
    }

    /// A lane that has to be read on; [`Self::backlog_read`] brings what was found.
    pub(in crate::group) fn next_backlog(&mut self) -> Option<BacklogRead> {
        while let Some(stream) = self.to_read.pop_front() {
            let Some(lane) = self.lanes.get_mut(&stream) else {
                continue;
            };
            let Some(backlog) = lane.backlog.as_mut() else {
                continue;
            };
            if backlog.reading || backlog.head.is_some() || !lane.queue.is_empty() {
                continue;
            }
            backlog.reading = true;
            let after = backlog.read_to;
            let up_to = self.progress.last_known().unwrap_or(after.place);
            return Some(BacklogRead {
                stream,
                after,
                up_to,
            });
        }
        None
    }

    /// What was found for a lane: its next events, up to `reached` (inclusive). Without events and at
    /// the end the lane has caught up, unless something was left out meanwhile.
    pub(in crate::group) fn backlog_read(
        &mut self,
        read: &BacklogRead,
        events: Vec<Arrival>,
        reached: Cursor,
        end: bool,
    ) {
        let lane = self.lanes.get_mut(&read.stream);
        let Some(backlog) = lane.and_then(|lane| lane.backlog.as_mut()) else {
            return;
        };
        if !std::mem::take(&mut backlog.reading) || backlog.head.is_some() {
            return;
        }
        backlog.read_to = reached.max(backlog.read_to);
        let is_empty = events.is_empty();
        let has_caught_up = is_empty && end && backlog.left_out <= Some(read.up_to);
        for arrival in events {
            self.add(Pending {
                arrival,
                origin: Origin::Behind,
                tries: 0,
                lane: Some(read.stream.clone()),
            });
        }
        if has_caught_up {
            self.lanes.remove(&read.stream);
            self.changes.lanes.insert(read.stream.clone(), None);
        } else if is_empty {
            self.to_read.push_back(read.stream.clone());
        }
    }
}
