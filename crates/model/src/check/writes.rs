//! Answers: whether every one was right, in the state at its place or in some state between question
//! and answer.

use super::blocks::Blocks;
use super::order::Window;
use super::{Kind, Violation, replay};
use crate::decide::{Answer, Decision};
use crate::history::{History, Outcome, Request, Write};
use icecore_core::{Appended, RecordedEvent, Refusal};
use std::collections::HashMap;

/// Checks what was answered without having been written: retries, refusals, expectations alone.
pub(crate) fn check_answers(
    history: &History,
    log: &[RecordedEvent],
    blocks: &Blocks,
    window: &Window,
    violations: &mut Vec<Violation>,
) {
    let mut waiting: Vec<_> = history
        .writes
        .iter()
        .enumerate()
        .filter(|(index, write)| !blocks.has(*index) && is_claim(&write.outcome))
        .map(|(_, write)| (window.first(write.sent), window.last(write.answered), write))
        .collect();
    let mut right_would_be = HashMap::new();
    replay(log, blocks, |model| {
        let now = model.end();
        waiting.retain(|(first, last, write)| {
            if !(*first..=*last).contains(&now) {
                return true;
            }
            let decision = model.decide(&write.request);
            let is_right = is_right(&write.outcome, &decision, write);
            right_would_be.insert(write.sent, decision);
            !is_right
        });
    });
    for (first, last, write) in waiting {
        let kind = match write.outcome {
            Outcome::Appended(_) => Kind::Answer,
            _ => Kind::Refusal,
        };
        let right = right_would_be.get(&write.sent);
        let text = format!(
            "it is right in no state from {first} to {last}, where it would be {right:?}: {}",
            in_short(write)
        );
        violations.push(Violation { kind, text });
    }
    for write in &history.writes {
        if let Outcome::Refused(refusal) = &write.outcome {
            violations.extend(check_missed(refusal, log));
        }
    }
}

/// Whether the outcome says something about the state that it was decided in.
fn is_claim(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Appended(_) | Outcome::Refused(_) | Outcome::Forbidden => true,
        Outcome::NotWritten | Outcome::Unknown => false,
    }
}

fn is_right(outcome: &Outcome, decision: &Decision, write: &Write) -> bool {
    let is_append = matches!(write.request, Request::Append(_));
    match (outcome, decision) {
        (Outcome::Appended(appended), Decision::Answers(answer)) => is_answer(appended, answer),
        (Outcome::Refused(refusal), Decision::Refuses(violations, condition)) if is_append => {
            // A condition that cannot be checked is left out where the expectations refuse already.
            let unsaid = refusal.condition.is_none() && !violations.is_empty();
            refusal.violations == *violations && (refusal.condition == *condition || unsaid)
        }
        // What is done in two steps is refused by either of them.
        (Outcome::Refused(_) | Outcome::Forbidden, Decision::Refuses(..) | Decision::Forbids) => {
            !is_append
        }
        _ => false,
    }
}

/// The missed events of a refusal are events of their streams, in order.
fn check_missed(refusal: &Refusal, log: &[RecordedEvent]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for missed in &refusal.missed {
        let is_there = |event: &RecordedEvent| {
            let place = usize::try_from(event.position.previous().get()).unwrap_or(usize::MAX);
            event.stream == missed.stream && log.get(place) == Some(event)
        };
        let in_order = missed.events.is_sorted_by(|a, b| a.position < b.position);
        if !in_order || !missed.events.iter().all(is_there) {
            let text = format!("these events were not missed: {missed:?}");
            let kind = Kind::Refusal;
            violations.push(Violation { kind, text });
        }
    }
    violations
}

/// A write without what its events say.
pub(crate) fn in_short(write: &Write) -> String {
    let outcome = match &write.outcome {
        Outcome::Appended(appended) => {
            let streams = appended.streams.iter().map(|stream| stream.last_revision);
            let streams: Vec<_> = streams.collect();
            format!("answered {} {streams:?}", appended.last_position)
        }
        Outcome::Refused(refusal) => format!(
            "refused, {:?}, condition {:?}",
            refusal.violations, refusal.condition
        ),
        other => format!("{other:?}"),
    };
    let request = match &write.request {
        Request::Append(append) => {
            let ids = append
                .events()
                .iter()
                .map(|event| (event.stream, event.event.id));
            let ids: Vec<_> = ids.collect();
            format!("{:?} {ids:?} {:?}", append.streams(), append.condition())
        }
        other => format!("{other:?}"),
    };
    format!("{request}: {outcome}")
}

/// Whether this is the answer.
pub(crate) fn is_answer(appended: &Appended, answer: &Answer) -> bool {
    let last_revisions = appended.streams.iter().map(|stream| stream.last_revision);
    appended.last_position == answer.last_position
        && last_revisions.eq(answer.last_revisions.iter().copied())
}
