//! Reads: a prefix of the log, as it was asked for.

use super::blocks::Blocks;
use super::order::Window;
use super::timeline::{Moment, Timelines};
use super::{Kind, Violation};
use crate::filter::admits;
use crate::history::Read;
use icecore_core::{Direction, Error, ReadFrom, RecordedEvent, Revision, StreamName, StreamState};

/// What is wrong with this read.
pub(crate) fn check(
    read: &Read,
    log: &[RecordedEvent],
    timelines: &Timelines,
    blocks: &Blocks,
    window: &Window,
) -> Option<Violation> {
    let (first, last) = (window.first(read.sent), window.last(read.answered));
    let complaint = match &read.result {
        Ok((_, end)) if !(first..=last).contains(&end.get()) => {
            Some(format!("the store must end between {first} and {last}"))
        }
        Ok((_, end)) if !blocks.is_boundary(end.get()) => {
            Some("the store does not end within an append".to_owned())
        }
        Ok((events, end)) => {
            // The read goes as far as the store went when it began, and that was not said.
            let mut bounds = blocks.boundaries(first, end.get());
            let is_right = bounds.any(|bound| {
                let moments = (timelines, bound, last);
                is_prefix(read, events, &log[..index(bound)], moments)
            });
            (!is_right).then(|| format!("no state from {first} to {end} has these events"))
        }
        Err(error) => check_error(read, error, (first, last), timelines),
    };
    complaint.map(|complaint| Violation {
        kind: Kind::Read,
        text: format!("{complaint}: {}", in_short(read)),
    })
}

/// The read with the positions of what it gave.
fn in_short(read: &Read) -> String {
    let Read { request, .. } = read;
    match &read.result {
        Ok((events, end)) => {
            let positions = events.iter().map(|event| event.position.get());
            let positions: Vec<_> = positions.collect();
            format!("{request:?} gave {positions:?} of a store that ended at {end}")
        }
        Err(error) => format!("{request:?} gave {error}"),
    }
}

/// Whether these are the events that the read asks for of a prefix of the log, when what is hidden was
/// looked up between the end of the prefix and `last`.
fn is_prefix(
    read: &Read,
    found: &[RecordedEvent],
    prefix: &[RecordedEvent],
    (timelines, bound, last): (&Timelines, u64, u64),
) -> bool {
    match &read.request.from {
        ReadFrom::All(_) => asked_for(read, prefix, Revision::FIRST).eq(found),
        ReadFrom::Stream(stream, _) => {
            let moments = timelines.between(stream, bound, last);
            let living = |moment: &&Moment| matches!(moment.state, StreamState::Living { .. });
            let mut living = moments.iter().filter(living);
            living.any(|moment| asked_for(read, prefix, moment.first).eq(found))
        }
    }
}

fn index(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

/// The events of a prefix of the log that the read asks for, hidden ones left out.
fn asked_for<'a>(
    read: &'a Read,
    prefix: &'a [RecordedEvent],
    visible: Revision,
) -> Box<dyn Iterator<Item = &'a RecordedEvent> + 'a> {
    let request = &read.request;
    let forwards = request.direction == Direction::Forwards;
    let wanted = move |event: &&RecordedEvent| {
        let (one, begins) = match &request.from {
            ReadFrom::All(from) => (None, reaches(*from, event.position, forwards)),
            ReadFrom::Stream(stream, from) => {
                (Some(stream), reaches(*from, event.revision, forwards))
            }
        };
        let is_visible = one.is_none() || event.revision >= visible;
        begins && is_visible && admits(&request.filter, one, event)
    };
    let limit = request.limit.map_or(usize::MAX, index);
    if forwards {
        Box::new(prefix.iter().filter(wanted).take(limit))
    } else {
        Box::new(prefix.iter().rev().filter(wanted).take(limit))
    }
}

fn reaches<At: PartialOrd + Copy>(from: Option<At>, at: At, forwards: bool) -> bool {
    from.is_none_or(|from| if forwards { at >= from } else { at <= from })
}

fn check_error(
    read: &Read,
    error: &Error,
    (first, last): (u64, u64),
    timelines: &Timelines,
) -> Option<String> {
    let stands = |stream: &StreamName, is: fn(StreamState) -> bool| {
        let moments = timelines.between(stream, first, last);
        moments.iter().any(|moment| is(moment.state))
    };
    let is_right = match (error, &read.request.from) {
        (Error::StreamNotFound { .. }, ReadFrom::Stream(stream, _)) => stands(stream, |state| {
            !matches!(state, StreamState::Living { .. } | StreamState::Tombstoned)
        }),
        (Error::StreamDeleted { .. }, ReadFrom::Stream(stream, _)) => {
            stands(stream, |state| state == StreamState::Tombstoned)
        }
        // Of these no model knows; the last is a call that broke off.
        (
            Error::Unavailable { .. }
            | Error::Corrupted { .. }
            | Error::Unreachable { .. }
            | Error::OutcomeUnknown { .. },
            _,
        ) => true,
        _ => false,
    };
    (!is_right).then(|| "the error is right at no moment".to_owned())
}
