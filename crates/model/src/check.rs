//! Holds a history to the log that the store has in the end.
//!
//! The positions are the order that the store claims. It is right when it agrees with real time, when
//! every append was decided as the model decides it in the state at its place, when every refusal and
//! every retry was answered as the model answers in some state between question and answer, and when
//! readers and subscribers saw nothing but prefixes of the log. Real time is `order.rs`, `blocks.rs`
//! finds whose events they are, the rest is in `writes.rs`, `reads.rs` and `subscriptions.rs`.

mod blocks;
mod order;
mod reads;
mod subscriptions;
mod timeline;
mod writes;

use crate::history::History;
use crate::model::Model;
use blocks::Blocks;
use icecore_core::{Position, RecordedEvent, Revision, Timestamp};
use order::{Known, Window};
use std::collections::HashMap;
use std::fmt;
use timeline::Timelines;

/// What cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which promise is broken.
    pub kind: Kind,
    /// By what.
    pub text: String,
}

/// The promises of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Positions and revisions are dense, times never decrease.
    Log,
    /// The log holds what somebody has sent, each append whole and as the state at its place admits.
    Whole,
    /// What was refused is not in the log.
    Nothing,
    /// An append that was sent after something was known stands behind it.
    RealTime,
    /// What was acknowledged is there, and the answer says where; a retry gets the original answer.
    Answer,
    /// A refusal was right at some moment between question and answer, and says why.
    Refusal,
    /// A read gives the prefix of the log that it names, as it was asked for.
    Read,
    /// A subscription delivers what is there, once, in order and without a gap.
    Subscription,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.text)
    }
}

/// What cannot be of this history over this log, which is all that the store holds in the end.
pub fn check(history: &History, log: &[RecordedEvent]) -> Vec<Violation> {
    let mut violations = check_log(log);
    if !violations.is_empty() {
        return violations;
    }
    let known = Known::of(history);
    let blocks = Blocks::place(history, log, &known, &mut violations);
    let window = Window::new(known, blocks.begun(), log.len() as u64);
    writes::check_answers(history, log, &blocks, &window, &mut violations);
    let timelines = Timelines::of(log, &blocks);
    for read in &history.reads {
        violations.extend(reads::check(read, log, &timelines, &blocks, &window));
    }
    for connection in &history.connections {
        violations.extend(subscriptions::check(connection, log, &timelines, &window));
    }
    violations
}

/// What is wrong with a log by itself.
fn check_log(log: &[RecordedEvent]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut next: HashMap<_, Revision> = HashMap::new();
    let mut time = Timestamp::from_nanos(i64::MIN);
    for (event, position) in log.iter().zip(1..) {
        let revision = next.entry(&event.stream).or_insert(Revision::FIRST);
        let is_closed = *revision > Revision::TOMBSTONE;
        let complaint = if event.position != Position::new(position) {
            "is not where its position says"
        } else if is_closed || (event.revision != *revision && !event.is_tombstone()) {
            "does not go on where its stream was"
        } else if event.recorded_at < time {
            "is older than the one before"
        } else {
            ""
        };
        if !complaint.is_empty() {
            violations.push(Violation {
                kind: Kind::Log,
                text: format!("{} at {position} {complaint}", name(event)),
            });
        }
        *revision = event.revision.next();
        time = event.recorded_at;
    }
    violations
}

/// An event in a few words.
fn name(event: &RecordedEvent) -> String {
    format!(
        "{}@{} ({} {})",
        event.stream, event.revision, event.event_type, event.id
    )
}

/// Calls `at_state` with every state that the log has gone through, an append at a time.
fn replay(log: &[RecordedEvent], blocks: &Blocks, mut at_state: impl FnMut(&Model)) {
    let mut model = Model::new();
    at_state(&model);
    for event in log {
        model.apply(event);
        if blocks.is_boundary(event.position.get()) {
            at_state(&model);
        }
    }
}
