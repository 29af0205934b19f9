//! How far a group is: which events of what it reads are done. This is what its checkpoint says.

use std::collections::BTreeMap;

/// What a checkpoint says. Places are revisions of the group's stream, or positions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Everything up to here (inclusive) is done; `None` when nothing is.
    pub(crate) done: Option<u64>,
    /// Everything up to here (inclusive) is done, except what is `unfinished`.
    pub(crate) seen: Option<u64>,
    /// What lies above `done` and is not done, each with how often it was tried.
    pub(crate) unfinished: BTreeMap<u64, u32>,
}

/// The events of what the group reads that are not done. As many as the group has in memory.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The last place that was looked at.
    seen: Option<u64>,
    unfinished: BTreeMap<u64, u32>,
    /// What the checkpoint had left, and has not been read again yet.
    left: BTreeMap<u64, u32>,
    /// Up to here (inclusive) only what was left is taken again.
    left_up_to: Option<u64>,
}

impl Progress {
    /// Goes on where a checkpoint was written: after its `done`.
    pub(crate) fn resume(checkpoint: Checkpoint) -> Self {
        Self {
            seen: checkpoint.done,
            unfinished: BTreeMap::new(),
            left: checkpoint.unfinished,
            left_up_to: checkpoint.seen,
        }
    }

    /// The last place that was looked at.
    pub(crate) fn seen(&self) -> Option<u64> {
        self.seen
    }

    /// The last place that was looked at, now or before the checkpoint.
    pub(crate) fn last_known(&self) -> Option<u64> {
        self.seen.max(self.left_up_to)
    }

    /// Everything up to here (inclusive) is done; `None` when nothing is.
    pub(crate) fn done(&self) -> Option<u64> {
        let open = self.unfinished.keys().next();
        let left = self.left.keys().next();
        match open.into_iter().chain(left).min() {
            Some(first) => first.checked_sub(1),
            None => self.last_known(),
        }
    }

    /// Takes in an event: how often it was tried before, or `None` when it is done.
    pub(crate) fn take(&mut self, place: u64) -> Option<u32> {
        let tries = if Some(place) <= self.left_up_to {
            self.left.remove(&place)
        } else {
            Some(0)
        };
        self.pass(place);
        if let Some(tries) = tries {
            self.unfinished.insert(place, tries);
        }
        tries
    }

    /// Everything up to here (inclusive) was looked at; what was left there and did not come again is
    /// not there any more.
    pub(crate) fn pass(&mut self, place: u64) {
        self.seen = self.seen.max(Some(place));
        if !self.left.is_empty() {
            self.left = self.left.split_off(&place.saturating_add(1));
        }
    }

    /// An event was tried so often and is not done.
    pub(crate) fn tried(&mut self, place: u64, tries: u32) {
        if let Some(known) = self.unfinished.get_mut(&place) {
            *known = tries;
        }
    }

    /// An event is done.
    pub(crate) fn finish(&mut self, place: u64) {
        self.unfinished.remove(&place);
    }

    /// What a checkpoint says now.
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        self.checkpoint_with(&[])
    }

    /// What a checkpoint says when these are done, too.
    pub(crate) fn checkpoint_with(&self, done: &[u64]) -> Checkpoint {
        let mut unfinished = self.left.clone();
        unfinished.extend(
            self.unfinished
                .iter()
                .map(|(place, tries)| (*place, *tries)),
        );
        for place in done {
            unfinished.remove(place);
        }
        let seen = self.last_known();
        let done = match unfinished.keys().next() {
            Some(first) => first.checked_sub(1),
            None => seen,
        };
        Checkpoint {
            done,
            seen,
            unfinished,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn done_up_to(progress: &Progress) -> Option<u64> {
        progress.checkpoint().done
    }

    #[test]
    fn everything_below_the_lowest_unfinished_one_is_done() {
        let mut progress = Progress::default();
        assert_eq!(done_up_to(&progress), None);
        for place in 0..5 {
            assert_eq!(progress.take(place), Some(0));
        }
        assert_eq!(done_up_to(&progress), None);
        progress.finish(1);
        progress.finish(0);
        assert_eq!(done_up_to(&progress), Some(1));
        progress.finish(3);
        assert_eq!(done_up_to(&progress), Some(1));
        progress.finish(2);
        progress.finish(4);
        assert_eq!(done_up_to(&progress), Some(4));
        progress.pass(90);
        assert_eq!(done_up_to(&progress), Some(90));
    }

    #[test]
    fn what_was_left_comes_again_with_its_tries_and_what_has_gone_is_done() {
        let checkpoint = Checkpoint {
            done: Some(1),
            seen: Some(9),
            unfinished: BTreeMap::from([(2, 3), (5, 0), (7, 1)]),
        };
        let mut progress = Progress::resume(checkpoint.clone());
        assert_eq!(progress.checkpoint(), checkpoint);
        assert_eq!(progress.take(2), Some(3));
        assert_eq!(progress.take(4), None, "it was done before");
        assert_eq!(progress.take(7), Some(1), "and 5 is not there any more");
        assert_eq!(progress.take(10), Some(0));
        progress.finish(2);
        assert_eq!(done_up_to(&progress), Some(6));
        progress.finish(7);
        assert_eq!(done_up_to(&progress), Some(9));
    }

    proptest! {
        /// Over any number of restarts each event is taken until it is done, and never after a
        /// checkpoint that says so.
        #[test]
        fn nothing_is_lost_over_restarts(
            steps in prop::collection::vec((0_u8..4, 0_u64..40), 1..200)
        ) {
            let mut progress = Progress::default();
            let mut done = BTreeSet::new();
            let mut open = BTreeSet::new();
            let mut next = 0;
            for (step, which) in steps {
                match step {
                    0 | 1 => {
                        if progress.take(next).is_some() {
                            open.insert(next);
                        } else {
                            prop_assert!(done.contains(&next), "{} was lost", next);
                        }
                        next += 1;
                    }
                    2 => {
                        let picked = open.iter().nth(usize::try_from(which).unwrap()).copied();
                        if let Some(place) = picked {
                            open.remove(&place);
                            done.insert(place);
                            progress.finish(place);
                        }
                    }
                    _ => {
                        let checkpoint = progress.checkpoint();
                        prop_assert_eq!(progress.done(), checkpoint.done);
                        let below = checkpoint.done.map_or(0, |done| done + 1);
                        prop_assert!((0..below).all(|place| done.contains(&place)));
                        prop_assert!(open.iter().all(|place| checkpoint.unfinished.contains_key(place)));
                        progress = Progress::resume(checkpoint);
                        open.clear();
                        next = below;
                    }
                }
            }
        }
    }
}
