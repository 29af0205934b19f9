//! The acts of erasure that a log holds. Who copies a log goes by them, so that an erased payload does
//! not come back from an older copy of its event.

use icecore_core::{EntryContent, LogEntry, Position, RecordedEvent, event_types, system_streams};
use serde_json::Value;
use std::collections::BTreeMap;

/// Which events were erased, by position: stream and revision.
#[derive(Debug, Default)]
pub(super) struct Erasures(BTreeMap<Position, (String, u64)>);

impl Erasures {
    /// Takes note of an entry if it is such an act.
    pub(super) fn note(&mut self, entry: &LogEntry) {
        if let Some((position, of)) = entry.event().and_then(act) {
            self.0.insert(position, of);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The positions that are named, both ends inclusive.
    pub(super) fn any_within(&self, first: Position, last: Position) -> bool {
        self.0.range(first..=last).next().is_some()
    }

    /// Erases an entry if one of the acts was about it.
    pub(super) fn apply(&self, entry: &mut LogEntry) {
        let Some((stream, revision)) = self.0.get(&entry.position) else {
            return;
        };
        let is_meant = entry.event().is_some_and(|event| {
            event.stream.as_str() == stream && event.revision.get() == *revision
        });
        if is_meant {
            let nothing = EntryContent::Removed {
                leaf: icecore_core::Hash([0; 32]),
            };
            let content = std::mem::replace(&mut entry.content, nothing);
            entry.content = content.into_erased();
        }
    }
}

fn act(event: &RecordedEvent) -> Option<(Position, (String, u64))> {
    let is_act = event.stream.as_str() == system_streams::ERASURES
        && event.event_type.as_str() == event_types::EVENT_ERASED;
    if !is_act {
        return None;
    }
    let act: Value = serde_json::from_slice(&event.data).ok()?;
    let position = Position::new(act["position"].as_u64()?);
    let stream = act["stream"].as_str()?.to_owned();
    Some((position, (stream, act["revision"].as_u64()?)))
}
