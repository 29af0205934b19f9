//! How each stream stood at each position.

use super::blocks::Blocks;
use crate::model::Model;
use icecore_core::{RecordedEvent, Revision, StreamName, StreamState};
use std::collections::HashMap;

/// How a stream stood from some position on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) from: u64,
    pub(crate) state: StreamState,
    /// The first revision that its readers see.
    pub(crate) first: Revision,
}

/// The moments of every stream, ascending.
pub(crate) struct Timelines(HashMap<StreamName, Vec<Moment>>);

const BEGINNING: Moment = Moment {
    from: 0,
    state: StreamState::Absent,
    first: Revision::FIRST,
};

impl Timelines {
    pub(crate) fn of(log: &[RecordedEvent], blocks: &Blocks) -> Self {
        let mut lines: HashMap<StreamName, Vec<Moment>> = HashMap::new();
        let mut model = Model::new();
        for event in log {
            model.apply(event);
            let base = event.stream.metadata_of();
            let base = base.unwrap_or_else(|| event.stream.clone());
            let from = blocks.end_of(event.position.get());
            for stream in base.metadata_stream().into_iter().chain([base]) {
                let moment = Moment {
                    from,
                    state: model.state(&stream),
                    first: model.first_visible(&stream),
                };
                let line = lines.entry(stream).or_insert_with(|| vec![BEGINNING]);
                // Nobody sees how it stood in the middle of an append.
                if line.last().is_some_and(|last| last.from == from) {
                    line.pop();
                }
                line.push(moment);
            }
        }
        Self(lines)
    }

    /// How the stream stood from one position to another (both inclusive).
    pub(crate) fn between(&self, stream: &StreamName, first: u64, last: u64) -> Vec<Moment> {
        let Some(line) = self.0.get(stream) else {
            return vec![BEGINNING];
        };
        let begin = line.partition_point(|moment| moment.from <= first);
        let moments = line[begin.saturating_sub(1)..].iter();
        moments.take_while(|m| m.from <= last).copied().collect()
    }
}
