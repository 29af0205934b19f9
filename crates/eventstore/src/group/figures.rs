//! What a group counts for those who watch it from outside: numbers that its task sets and everybody
//! reads, also while it sleeps.

use super::slot::Slot;
use crate::store::EventStore;
use icecore_core::limits::GROUP_FIGURES_MAX;
use icecore_core::{GroupId, Result};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The figures of one group, as they are kept.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// Whether the books were looked at since the store was opened.
    known: AtomicBool,
    consumers: AtomicU64,
    in_flight: AtomicU64,
    parked: AtomicU64,
    /// The first place that is not done.
    next: AtomicU64,
    delivered: AtomicU64,
    retried: AtomicU64,
    put_off: AtomicBool,
}

/// What a group has at the moment. Some of it changes while it is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) consumers: u64,
    pub(super) in_flight: u64,
    pub(super) parked: u64,
    pub(super) next: u64,
    pub(super) put_off: bool,
}

impl Figures {
    /// What there is now.
    pub(super) fn set(&self, level: Level) {
        self.consumers.store(level.consumers, Ordering::Relaxed);
        self.in_flight.store(level.in_flight, Ordering::Relaxed);
        self.parked.store(level.parked, Ordering::Relaxed);
        self.next.store(level.next, Ordering::Relaxed);
        self.put_off.store(level.put_off, Ordering::Relaxed);
        self.known.store(true, Ordering::Release);
    }

    /// Nobody is there any more; the rest stays.
    pub(super) fn rest(&self) {
        self.consumers.store(0, Ordering::Relaxed);
        self.in_flight.store(0, Ordering::Relaxed);
        self.put_off.store(false, Ordering::Relaxed);
    }

    /// An event was handed out, for the first time or again.
    pub(super) fn delivered(&self, again: bool) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
        self.retried.fetch_add(again.into(), Ordering::Relaxed);
    }
}

/// The figures of one group. What is counted is counted since the server was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupFigures {
    /// The group.
    pub group: GroupId,
    /// Consumers that have joined.
    pub consumers: u64,
    /// Events that consumers have and have not answered.
    pub in_flight: u64,
    /// Events that are parked, also those on their way again.
    pub parked: u64,
    /// How far the end of what it reads lies beyond what is done, in revisions or positions.
    pub lag: u64,
    /// Events handed out, each time counted.
    pub delivered: u64,
    /// Events handed out that were handed out before.
    pub retried: u64,
    /// Whether what is done cannot be written at the moment.
    pub put_off: bool,
}

impl EventStore {
    /// The figures of the first [`GROUP_FIGURES_MAX`] groups in the order of their keys.
    pub async fn group_figures(&self) -> Result<Vec<GroupFigures>> {
        let slots = self.slots().await?;
        let mut all = Vec::with_capacity(slots.len().min(GROUP_FIGURES_MAX));
        for slot in slots.iter().take(GROUP_FIGURES_MAX) {
            all.push(self.figures_of(slot).await?);
        }
        Ok(all)
    }

    async fn figures_of(&self, slot: &Slot) -> Result<GroupFigures> {
        let group = slot.record.group.id.clone();
        let figures = &slot.figures;
        if !figures.known.load(Ordering::Acquire) {
            let (books, checkpoint) = self.read_books(&group).await?;
            let done = checkpoint.and_then(|checkpoint| checkpoint.done);
            let level = Level {
                parked: books.parked().len() as u64,
                next: done.map_or(slot.record.begin, |done| done.saturating_add(1)),
                ..Level::default()
            };
            // Its task may have woken meanwhile, and knows better.
            if !figures.known.load(Ordering::Acquire) {
                figures.set(level);
            }
        }
        let last = match group.stream() {
            None => Some(self.last_position().get()),
            Some(stream) => self.last_place_of(stream).await?,
        };
        let end = last.map_or(0, |last| last.saturating_add(1));
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Ok(GroupFigures {
            consumers: read(&figures.consumers),
            in_flight: read(&figures.in_flight),
            parked: read(&figures.parked),
            lag: end.saturating_sub(read(&figures.next)),
            delivered: read(&figures.delivered),
            retried: read(&figures.retried),
            put_off: figures.put_off.load(Ordering::Relaxed),
            group,
        })
    }
}
