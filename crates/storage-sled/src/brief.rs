//! Reads that are short enough for a thread of the runtime, although they may wait for the disk. The way
//! to a blocking thread and back takes longer than most of them.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

/// How many such reads are under way.
#[derive(Debug, Default)]
pub(crate) struct BriefReads(AtomicUsize);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct BriefRead<'a>(&'a BriefReads);

impl BriefReads {
    /// Leave to read at once, unless half of the runtime's threads do so: on a disk that hangs the
    /// others must go on.
    pub(crate) fn begin(&self, threads: usize) -> Option<BriefRead<'_>> {
        let others = self.0.fetch_add(1, SeqCst);
        let read = BriefRead(self);
        (others < threads / 2).then_some(read)
    }
}

impl Drop for BriefRead<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_threads_stay_free() {
        let reads = BriefReads::default();
        assert!(reads.begin(1).is_none(), "the only thread stays free");
        let held: Vec<_> = std::iter::from_fn(|| reads.begin(5)).collect();
        assert_eq!(held.len(), 2);
        drop(held);
        assert!(reads.begin(2).is_some(), "what has ended counts no more");
    }
}
