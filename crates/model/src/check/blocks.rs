//! Which write made which events: the log, cut into appends.

use super::order::Known;
use super::writes::{in_short, is_answer};
use super::{Kind, Violation, name};
use crate::decide::{Answer, Decision};
use crate::history::{History, Outcome, Request, Tick, Write};
use crate::model::Model;
use icecore_core::{RecordedEvent, StreamName};
use std::collections::HashMap;
use uuid::Uuid;

/// Events of the store's own that an append may begin with, at most: one for each of its streams.
const OWN_EVENTS_MAX: usize = 64;

/// The log, cut into what each write has written.
pub(crate) struct Blocks {
    made: Vec<Made>,
    /// The last position of each block.
    ends: Vec<u64>,
}

/// What a write has written.
struct Made {
    /// The number of the write.
    write: usize,
    /// When it was sent, or the first of those that would have written the same.
    sent: Tick,
    /// The first of its positions.
    first: u64,
}

/// A write that would make the next events.
struct Match {
    write: usize,
    likelihood: Likelihood,
    /// How many events it makes.
    count: usize,
    answer: Answer,
}

/// How likely it is that a write that would make some events has made them; less is likelier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Likelihood {
    /// It was answered so.
    Answered,
    /// Nobody knows what became of it.
    Unknown,
    /// It was answered otherwise, as a retry may be.
    Repeated,
    /// It is said to have written nothing.
    Denied,
}

impl Blocks {
    /// Finds the write of each event.
    pub(crate) fn place(
        history: &History,
        log: &[RecordedEvent],
        known: &Known,
        violations: &mut Vec<Violation>,
    ) -> Self {
        let senders = Senders::of(history);
        let mut is_placed = vec![false; history.writes.len()];
        let mut blocks = Self {
            made: Vec::new(),
            ends: vec![0],
        };
        let mut model = Model::new();
        while let Some(rest) = log.get(model.log().len()..).filter(|rest| !rest.is_empty()) {
            let first = model.end() + 1;
            let candidates = senders.candidates(rest, &is_placed);
            let matches = matches(history, &candidates, &model, rest);
            let mut count = 1;
            if let Some(best) = matches.first() {
                let sent = sent(history, &matches, best);
                let write = &history.writes[best.write];
                violations.extend(complaint(write, &best.answer, first, known.before(sent)));
                is_placed[best.write] = true;
                let write = best.write;
                blocks.made.push(Made { write, sent, first });
                count = best.count;
            } else {
                violations.push(nobody(history, &candidates, &model, &rest[0]));
            }
            rest[..count].iter().for_each(|event| model.apply(event));
            blocks.ends.push(model.end());
        }
        blocks
    }

    /// Whether this write has made a block.
    pub(crate) fn has(&self, write: usize) -> bool {
        self.made.iter().any(|made| made.write == write)
    }

    /// Whether an append ends at this position.
    pub(crate) fn is_boundary(&self, position: u64) -> bool {
        self.ends.binary_search(&position).is_ok()
    }

    /// Where appends end, from one position to another (both inclusive).
    pub(crate) fn boundaries(&self, first: u64, last: u64) -> impl Iterator<Item = u64> {
        let begin = self.ends.partition_point(|end| *end < first);
        let ends = self.ends[begin..].iter().copied();
        ends.take_while(move |end| *end <= last)
    }

    /// The last position of the append that this position belongs to.
    pub(crate) fn end_of(&self, position: u64) -> u64 {
        let index = self.ends.partition_point(|end| *end < position);
        self.ends.get(index).copied().unwrap_or(position)
    }

    /// When each append was sent, and at which position it begins.
    pub(crate) fn begun(&self) -> Vec<(Tick, u64)> {
        let made = self.made.iter();
        made.map(|made| (made.sent, made.first)).collect()
    }
}

/// Who may have written an event.
struct Senders<'a> {
    history: &'a History,
    /// The writes that bring this event.
    by_id: HashMap<(&'a StreamName, Uuid), Vec<usize>>,
    /// The writes whose events get their ids from the store.
    others: Vec<usize>,
}

impl<'a> Senders<'a> {
    fn of(history: &'a History) -> Self {
        let mut by_id: HashMap<_, Vec<usize>> = HashMap::new();
        let mut others = Vec::new();
        for (index, write) in history.writes.iter().enumerate() {
            let Request::Append(append) = &write.request else {
                others.push(index);
                continue;
            };
            for event in append.events() {
                let stream = &append.streams()[event.stream].stream;
                let sent = by_id.entry((stream, event.event.id)).or_default();
                sent.push(index);
            }
        }
        Self {
            history,
            by_id,
            others,
        }
    }

    /// The writes that may have made the next events, in the order in which they were sent.
    fn candidates(&self, rest: &[RecordedEvent], is_placed: &[bool]) -> Vec<usize> {
        let mut own = rest.iter().take(OWN_EVENTS_MAX);
        let first = own.find_map(|event| self.by_id.get(&(&event.stream, event.id)));
        let mut found: Vec<_> = first.into_iter().flatten().copied().collect();
        let next = &rest[0].stream;
        let target = |request: &Request| match request {
            Request::SetMetadata(stream, ..)
            | Request::Truncate(stream, ..)
            | Request::Delete(stream, ..) => {
                next == stream || next.metadata_of().as_ref() == Some(stream)
            }
            Request::Append(_) => false,
        };
        let others = self.others.iter().copied();
        found.extend(others.filter(|index| target(&self.history.writes[*index].request)));
        found.retain(|index| !is_placed[*index]);
        found.sort_by_key(|index| self.history.writes[*index].sent);
        found
    }
}

/// The candidates that make the next events in this state, the likeliest first. Who brings the most of
/// what is there has written it; who brings less repeats it.
fn matches(
    history: &History,
    candidates: &[usize],
    model: &Model,
    rest: &[RecordedEvent],
) -> Vec<Match> {
    let made = candidates.iter().filter_map(|write| {
        let Write {
            request, outcome, ..
        } = &history.writes[*write];
        let Decision::Writes(events, answer) = model.decide(request) else {
            return None;
        };
        let found = rest.get(..events.len())?;
        let is_it = events
            .iter()
            .zip(found)
            .all(|(event, found)| event.is(found));
        is_it.then(|| Match {
            write: *write,
            likelihood: likelihood(outcome, &answer),
            count: events.len(),
            answer,
        })
    });
    let mut made: Vec<_> = made.collect();
    made.sort_by_key(|made| {
        let is_denied = made.likelihood == Likelihood::Denied;
        (is_denied, usize::MAX - made.count, made.likelihood)
    });
    made
}

fn likelihood(outcome: &Outcome, answer: &Answer) -> Likelihood {
    match outcome {
        Outcome::Appended(appended) if is_answer(appended, answer) => Likelihood::Answered,
        Outcome::Unknown => Likelihood::Unknown,
        Outcome::Appended(_) => Likelihood::Repeated,
        Outcome::Refused(_) | Outcome::Forbidden | Outcome::NotWritten => Likelihood::Denied,
    }
}

/// When the first was sent of those that may have written just this.
fn sent(history: &History, matches: &[Match], best: &Match) -> Tick {
    let same = matches
        .iter()
        .filter(|other| other.count == best.count && other.likelihood < Likelihood::Denied);
    let sent = same.map(|other| history.writes[other.write].sent).min();
    sent.unwrap_or(history.writes[best.write].sent)
}

/// What is wrong with a write that has made the events from `first` on and was first sent when those up
/// to `known` were known.
fn complaint(write: &Write, answer: &Answer, first: u64, known: u64) -> Option<Violation> {
    let (kind, text) = match &write.outcome {
        Outcome::Appended(appended) if !is_answer(appended, answer) => {
            (Kind::Answer, format!("the answer must be {answer:?}"))
        }
        Outcome::Refused(_) | Outcome::Forbidden | Outcome::NotWritten => {
            (Kind::Nothing, format!("it is in the log at {first}"))
        }
        _ if known >= first => {
            let text = format!("it stands at {first}, {known} was known before it was sent");
            (Kind::RealTime, text)
        }
        _ => return None,
    };
    let text = format!("{text}: {}", in_short(write));
    Some(Violation { kind, text })
}

/// That nobody can have written this event in this state, and what those would have who may.
fn nobody(
    history: &History,
    candidates: &[usize],
    model: &Model,
    event: &RecordedEvent,
) -> Violation {
    let decisions = candidates.iter().map(|write| {
        let write = &history.writes[*write];
        let decision = model.decide(&write.request);
        format!("\n  {} would be {decision:?}", in_short(write))
    });
    let (event, position) = (name(event), event.position);
    let decisions: String = decisions.collect();
    Violation {
        kind: Kind::Whole,
        text: format!("nobody can have written {event} at {position}{decisions}"),
    }
}
