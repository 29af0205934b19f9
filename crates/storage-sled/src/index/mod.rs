//! The index: which events belong to a stream, a category, a type, a tag. Derived from the log and
//! never part of a commit.
//!
//! From oldest to newest: runs on disk, frozen tails that wait to become runs, the live tail. Each
//! covers a contiguous range of positions, so answers of one after the other are in order. Which
//! chunk holds a position is [`crate::log`]'s to know.

mod block;
mod bloom;
mod manifest;
mod names;
mod posting;
mod run;
mod section;
mod tail;
mod term;
mod writing;

pub(crate) use manifest::Manifest;
pub(crate) use names::{Listed, NameQuery};
pub(crate) use posting::{Axis, Posting, Query};
pub(crate) use run::{Run, RunReader, delete_run};
pub(crate) use section::{INDEX_FORMAT, SectionKey, encode, run_of, run_start};
pub(crate) use tail::Tail;
pub(crate) use term::{for_each as for_each_term, goes_with_payload, stream_key, term_key};
pub(crate) use writing::{Halt, RunPlan, RunWriter};

#[cfg(feature = "fuzzing")]
pub(crate) use {
    block::{BlockBuilder, BlockReader, Entry},
    bloom::{Bloom, hash as bloom_hash},
    run::{RunInfo, encode_chunks, encode_starts, parse_chunks, parse_starts},
    section::decode as decode_section,
};

use crate::log::ReadError;
use crate::read::Miss;
use icecore_core::{Direction, Error, RecordedEvent};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Events that are added to the live tail in one go; readers get their turn in between.
const ADD_STEP: usize = 64;

/// The whole index.
pub(crate) struct Index {
    run_events: u64,
    run_bytes: usize,
    state: RwLock<IndexState>,
    damaged: Mutex<Damaged>,
}

/// Runs that were found damaged since the start.
#[derive(Default)]
struct Damaged {
    runs: BTreeSet<u64>,
    /// Some were found since the manifest was last told.
    news: bool,
}

struct IndexState {
    /// Ascending in positions; replaced as a whole.
    runs: Arc<Vec<Arc<Run>>>,
    /// Oldest first.
    frozen: Vec<Arc<Tail>>,
    live: Tail,
    /// Ids from here on have never been used.
    next_run: u64,
    merges: u64,
}

/// What a lookup needs of the newest parts, taken in one moment.
struct View {
    runs: Arc<Vec<Arc<Run>>>,
    frozen: Vec<Arc<Tail>>,
    live: Vec<Posting>,
    /// The live tail alone answers the query.
    covered: bool,
}

/// Figures of the index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IndexFigures {
    pub(crate) runs: u64,
    pub(crate) tail_events: u64,
    pub(crate) merges: u64,
    pub(crate) streams: u64,
    pub(crate) damaged_runs: u64,
}

impl Index {
    /// An empty index of a store whose next run has id `next_run`.
    pub(crate) fn new(run_events: usize, run_bytes: usize, next_run: u64) -> Self {
        let state = IndexState {
            runs: Arc::default(),
            frozen: Vec::new(),
            live: Tail::new(1),
            next_run,
            merges: 0,
        };
        Self {
            run_events: run_events as u64,
            run_bytes,
            state: RwLock::new(state),
            damaged: Mutex::default(),
        }
    }

    fn state(&self) -> RwLockReadGuard<'_, IndexState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, IndexState> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the next events. `reader` is asked whether a stream that is closed ever had an event.
    pub(crate) fn add<'e>(
        &self,
        reader: RunReader<'_>,
        events: impl IntoIterator<Item = &'e RecordedEvent>,
    ) {
        let mut events = events.into_iter().peekable();
        while let Some(next) = events.peek() {
            let opens_stream = next.is_tombstone() && self.is_unknown(reader, next);
            let mut state = self.state_mut();
            let mut added = 0;
            while let Some(event) =
                events.next_if(|event| added == 0 || (added < ADD_STEP && !event.is_tombstone()))
            {
                state.live.add(event, opens_stream && added == 0);
                added += 1;
            }
        }
    }

    /// Covers everything up to `last`: what was not added has been removed.
    pub(crate) fn reach(&self, last: u64) {
        self.state_mut().live.reach(last);
    }

    /// Whether a stream has no event yet. Damage counts as "no": only a figure depends on it.
    fn is_unknown(&self, reader: RunReader<'_>, event: &RecordedEvent) -> bool {
        let term = stream_key(&event.stream);
        let query = Query {
            term: &term,
            axis: Axis::Position,
            from: 0,
            direction: Direction::Forwards,
            take: 1,
            last: u64::MAX,
        };
        self.find(Some(reader), &query)
            .is_ok_and(|found| found.is_empty())
    }

    /// Postings of a term, in the direction of the query. Without a reader only memory is asked.
    pub(crate) fn find(
        &self,
        reader: Option<RunReader<'_>>,
        query: &Query<'_>,
    ) -> Result<Vec<Posting>, Miss> {
        let view = self.view(query);
        match query.direction {
            Direction::Forwards => self.find_forwards(reader, query, view),
            Direction::Backwards => self.find_backwards(reader, query, view),
        }
    }

    fn view(&self, query: &Query<'_>) -> View {
        let state = self.state();
        let mut live = Vec::new();
        state.live.find(query, &mut live);
        View {
            runs: state.runs.clone(),
            frozen: state.frozen.clone(),
            live,
            covered: state.live.covers(query),
        }
    }

    fn find_forwards(
        &self,
        reader: Option<RunReader<'_>>,
        query: &Query<'_>,
        view: View,
    ) -> Result<Vec<Posting>, Miss> {
        if view.covered {
            return Ok(view.live);
        }
        let mut found = Vec::new();
        let covering = view.frozen.iter().rposition(|tail| tail.covers(query));
        if covering.is_none() {
            let hash = bloom::hash(query.term);
            for run in view.runs.iter().filter(|run| run.may_answer(query, hash)) {
                if self.ask(reader, run, query, &mut found)? {
                    return Ok(found);
                }
            }
        }
        for tail in &view.frozen[covering.unwrap_or(0)..] {
            if tail.find(query, &mut found) {
                return Ok(found);
            }
        }
        let room = query.take - found.len();
        found.extend(view.live.into_iter().take(room));
        Ok(found)
    }

    fn find_backwards(
        &self,
        reader: Option<RunReader<'_>>,
        query: &Query<'_>,
        view: View,
    ) -> Result<Vec<Posting>, Miss> {
        let mut found = view.live;
        if found.len() == query.take {
            return Ok(found);
        }
        for tail in view.frozen.iter().rev() {
            if tail.find(query, &mut found) {
                return Ok(found);
            }
        }
        let hash = bloom::hash(query.term);
        for run in view
            .runs
            .iter()
            .rev()
            .filter(|run| run.may_answer(query, hash))
        {
            if self.ask(reader, run, query, &mut found)? {
                break;
            }
        }
        Ok(found)
    }

    fn ask(
        &self,
        reader: Option<RunReader<'_>>,
        run: &Run,
        query: &Query<'_>,
        found: &mut Vec<Posting>,
    ) -> Result<bool, Miss> {
        let reader = reader.ok_or(Miss::NotResident)?;
        run.find(reader, query, found)
            .map_err(|error| Miss::Failed(self.damage(run, &error)))
    }

    /// Notes that a run is damaged, so that it is left out of the manifest and rebuilt at the next
    /// start.
    fn damage(&self, run: &Run, error: &ReadError) -> Error {
        let id = run.info.id;
        tracing::error!(run = id, %error, "an index run is damaged; a restart rebuilds it");
        self.mark_damaged(id);
        Error::corrupted(format!(
            "index run {id}: {error}; a restart rebuilds it from the log"
        ))
    }

    pub(crate) fn mark_damaged(&self, run: u64) {
        let mut damaged = self.lock_damaged();
        damaged.news |= damaged.runs.insert(run);
    }

    pub(crate) fn damaged(&self) -> BTreeSet<u64> {
        self.lock_damaged().runs.clone()
    }

    /// Whether runs were found damaged since this was last asked.
    pub(crate) fn has_new_damage(&self) -> bool {
        std::mem::take(&mut self.lock_damaged().news)
    }

    fn lock_damaged(&self) -> MutexGuard<'_, Damaged> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the live tail is large enough to become a run.
    pub(crate) fn is_full(&self) -> bool {
        let state = self.state();
        state.live.events() >= self.run_events || state.live.bytes() >= self.run_bytes
    }

    /// Closes the live tail, if it holds anything, and begins the next one.
    pub(crate) fn freeze(&self) {
        let mut state = self.state_mut();
        if state.live.events() > 0 {
            let next = Tail::new(state.live.last() + 1);
            let full = std::mem::replace(&mut state.live, next);
            state.frozen.push(Arc::new(full));
        }
    }

    /// Begins an empty live tail at a position; for recovery, which fills gaps between runs.
    pub(crate) fn begin_at(&self, first: u64) {
        let mut state = self.state_mut();
        debug_assert!(state.live.events() == 0 && state.frozen.is_empty());
        state.live = Tail::new(first);
    }

    pub(crate) fn frozen(&self) -> usize {
        self.state().frozen.len()
    }

    pub(crate) fn oldest_frozen(&self) -> Option<Arc<Tail>> {
        self.state().frozen.first().cloned()
    }

    pub(crate) fn runs(&self) -> Arc<Vec<Arc<Run>>> {
        self.state().runs.clone()
    }

    /// An id that no run has had.
    pub(crate) fn new_run_id(&self) -> u64 {
        let mut state = self.state_mut();
        let id = state.next_run;
        state.next_run += 1;
        id
    }

    /// Leaves out ids below `next`, which a manifest says were used.
    pub(crate) fn skip_run_ids(&self, next: u64) {
        let mut state = self.state_mut();
        state.next_run = state.next_run.max(next);
    }

    /// What the manifest has to say once `runs` are the runs.
    pub(crate) fn manifest(&self, runs: &[Arc<Run>]) -> Manifest {
        let damaged = self.damaged();
        let sound = runs.iter().filter(|run| !damaged.contains(&run.info.id));
        Manifest {
            next_id: self.state().next_run,
            runs: sound.map(|run| run.info.clone()).collect(),
        }
    }

    /// Makes `runs` the runs, in the place of as many of the oldest frozen tails as they cover.
    pub(crate) fn install(&self, runs: Vec<Arc<Run>>) {
        let mut state = self.state_mut();
        let last = runs.last().map_or(0, |run| run.info.last);
        state.frozen.retain(|tail| tail.first() > last);
        if state.live.events() == 0 && state.live.first() <= last {
            state.live = Tail::new(last + 1);
        }
        state.runs = Arc::new(runs);
    }

    pub(crate) fn note_merge(&self) {
        self.state_mut().merges += 1;
    }

    pub(crate) fn figures(&self) -> IndexFigures {
        let damaged_runs = self.damaged().len() as u64;
        let state = self.state();
        let frozen = state
            .frozen
            .iter()
            .map(|tail| (tail.events(), tail.streams()));
        let (events, streams) = frozen.fold((0, 0), |sum, tail| (sum.0 + tail.0, sum.1 + tail.1));
        let on_disk: u64 = state.runs.iter().map(|run| run.info.streams).sum();
        IndexFigures {
            runs: state.runs.len() as u64,
            tail_events: state.live.events() + events,
            merges: state.merges,
            streams: state.live.streams() + streams + on_disk,
            damaged_runs,
        }
    }
}
