//! What is written in a trial: settings and appends, all from one seed, so that everybody knows what
//! must be in a store that reaches up to some position.

use clap::Args;
use icecore_core::{RecordedEvent, StoreId};
use icecore_storage::contract::generate::{Generator, Shape};
use icecore_storage::{NumberedAppend, Removal, RemovalKind};
use icecore_storage_sled::SledConfig;
use std::collections::HashMap;
use std::path::Path;
use uuid::Uuid;

const KIB: usize = 1_024;
const MIB: usize = 1_024 * KIB;

/// How a store is set up and what goes into it.
#[derive(Clone, Copy, Debug)]
struct Profile {
    segment_bytes: usize,
    chunk_bytes: usize,
    open_chunk_bytes: usize,
    sync_budget_bytes: usize,
    run_events: usize,
    shape: Shape,
    /// Groups of a recording.
    groups: usize,
}

const DEFAULT: Profile = Profile {
    segment_bytes: 8 * MIB,
    chunk_bytes: 8 * KIB,
    open_chunk_bytes: 2 * KIB,
    sync_budget_bytes: MIB,
    run_events: 262_144,
    shape: Shape {
        streams: 24,
        append_events_max: 12,
        group_appends_max: 4,
        data_bytes_max: 40_000,
    },
    groups: 60,
};

/// They take turns by seed.
const PROFILES: [Profile; 5] = [
    // Everything happens often.
    Profile {
        segment_bytes: 512 * KIB,
        chunk_bytes: KIB,
        open_chunk_bytes: 400,
        sync_budget_bytes: 16 * KIB,
        run_events: 20,
        shape: Shape {
            data_bytes_max: 4_000,
            ..DEFAULT.shape
        },
        ..DEFAULT
    },
    // The least segments, which are used again soonest.
    Profile {
        segment_bytes: 512 * KIB,
        run_events: 100,
        ..DEFAULT
    },
    // Values of middle size, and runs that are merged.
    Profile {
        segment_bytes: 2 * MIB,
        run_events: 150,
        shape: Shape {
            data_bytes_max: 200_000,
            ..DEFAULT.shape
        },
        groups: 40,
        ..DEFAULT
    },
    // Events of several MiB, each with syncs inside of its append.
    Profile {
        run_events: 100,
        shape: Shape {
            data_bytes_max: 3 * MIB,
            append_events_max: 6,
            ..DEFAULT.shape
        },
        groups: 24,
        ..DEFAULT
    },
    // Many small events in large groups.
    Profile {
        run_events: 2_000,
        shape: Shape {
            append_events_max: 300,
            data_bytes_max: 1_000,
            ..DEFAULT.shape
        },
        groups: 24,
        ..DEFAULT
    },
];

fn profile(seed: u64) -> Profile {
    PROFILES[usize::try_from(seed % PROFILES.len() as u64).unwrap_or(0)]
}

/// How the store of a seed is opened.
pub(crate) fn config(seed: u64, directory: &Path) -> SledConfig {
    let Profile {
        segment_bytes,
        chunk_bytes,
        open_chunk_bytes,
        sync_budget_bytes,
        run_events,
        ..
    } = profile(seed);
    SledConfig {
        // Small, so that reads get to sled.
        cache_bytes: MIB,
        chunk_cache_bytes: 64 * KIB,
        segment_bytes,
        chunk_bytes,
        open_chunk_bytes,
        sync_budget_bytes,
        run_events,
        // How full the disk of the machine is does not matter.
        free_bytes_min: Some(0),
        ballast_bytes: 0,
        ..SledConfig::new(
            directory,
            StoreId::new(Uuid::from_u128(u128::from(seed) + 1)),
        )
    }
}

/// How many groups the recording of a seed writes.
pub(crate) fn groups(seed: u64) -> usize {
    profile(seed).groups
}

/// The appends of a seed, made when they are asked for.
pub(crate) struct History {
    generator: Generator,
    appends: Vec<NumberedAppend>,
}

impl History {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            generator: Generator::with_shape(seed, profile(seed).shape),
            appends: Vec::new(),
        }
    }

    /// The appends that end at or before a position, if one of them ends there.
    pub(crate) fn up_to(&mut self, last: u64) -> Option<&[NumberedAppend]> {
        while self.generator.last_position().get() < last {
            self.appends.push(self.generator.append());
        }
        let count = self.appends.partition_point(|append| end(append) <= last);
        let ends = count.checked_sub(1).map_or(0, |at| end(&self.appends[at]));
        (ends == last).then_some(&self.appends[..count])
    }

    /// The next appends after a position that is the end of one.
    pub(crate) fn after(&mut self, last: u64, count: usize) -> Vec<NumberedAppend> {
        let known = self.appends.partition_point(|append| end(append) <= last);
        while self.appends.len() < known + count {
            self.appends.push(self.generator.append());
        }
        self.appends[known..known + count].to_vec()
    }
}

/// What a store has been heard to say.
#[derive(Args, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Promised {
    /// Up to where commits have been acknowledged before
    #[arg(long, default_value_t = 0)]
    pub(crate) acknowledged: u64,
    /// Up to where everything has been removed that is to go
    #[arg(long, default_value_t = 0)]
    pub(crate) removed: u64,
}

impl Promised {
    /// What has been promised now or before.
    pub(crate) fn and(self, before: Self) -> Self {
        Self {
            acknowledged: self.acknowledged.max(before.acknowledged),
            removed: self.removed.max(before.removed),
        }
    }
}

/// What is to be taken away of the events up to `bound`: of some streams the beginning, of some events
/// the payload. Never the last event of a stream.
pub(crate) fn removals(appends: &[NumberedAppend], bound: u64) -> Vec<Removal> {
    let events = || appends.iter().flat_map(|append| append.events.iter());
    let mut last = HashMap::new();
    for event in events().filter(|event| event.position.get() <= bound) {
        last.insert(&event.stream, event.position);
    }
    let removal = |event: &RecordedEvent| {
        let is_last = last
            .get(&event.stream)
            .is_none_or(|last| *last <= event.position);
        Some(Removal {
            position: event.position,
            kind: fate(event).filter(|kind| *kind == RemovalKind::Payload || !is_last)?,
        })
    };
    events()
        .take_while(|event| event.position.get() <= bound)
        .filter_map(removal)
        .collect()
}

/// What is to become of an event, sooner or later.
fn fate(event: &RecordedEvent) -> Option<RemovalKind> {
    let name = event.stream.as_str().bytes().map(u64::from).sum::<u64>();
    if event.is_tombstone() {
        None
    } else if event.revision.get() < name % 12 {
        Some(RemovalKind::Event)
    } else {
        let goes = event.id.as_u128().is_multiple_of(7);
        goes.then_some(RemovalKind::Payload)
    }
}

/// The last position of an append.
pub(crate) fn end(append: &NumberedAppend) -> u64 {
    let last = append.events.last();
    last.map_or(0, |event: &RecordedEvent| event.position.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_the_same_in_whatever_pieces_it_is_asked_for() {
        let (mut one, mut other) = (History::new(5), History::new(5));
        let first = one.after(0, 3);
        let middle = end(&first[0]);
        assert_eq!(other.after(0, 1), first[..1]);
        assert_eq!(other.after(middle, 2), first[1..]);
        let last = end(&first[2]);
        assert_eq!(other.up_to(last), Some(&first[..]));
        assert_eq!(other.up_to(0), Some(&[][..]));
        if first[1].events.len() > 1 {
            assert_eq!(other.up_to(middle + 1), None);
        }
    }
}
