//! Does many things with few threads.

use anyhow::Result;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::ScopedJoinHandle;

/// Does `work` for each item, several at a time; ends early when one of them cannot be done.
pub(crate) fn for_each<T: Sync>(
    jobs: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<()> + Sync,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let job = || -> Result<()> {
        while let Some(item) = items.get(next.fetch_add(1, Relaxed)) {
            if let Err(error) = work(item) {
                next.store(items.len(), Relaxed);
                return Err(error);
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let jobs: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(job)).collect();
        let mut outcomes = jobs.into_iter().map(ScopedJoinHandle::join);
        outcomes.try_for_each(|outcome| outcome.expect("work does not panic"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_done_unless_something_fails() {
        let items: Vec<_> = (1..=100_usize).collect();
        let sum = AtomicUsize::new(0);
        let add = |item: &usize| {
            sum.fetch_add(*item, Relaxed);
            Ok(())
        };
        for_each(3, &items, add).unwrap();
        assert_eq!(sum.load(Relaxed), 5_050);
        let fail = |item: &usize| match item {
            40 => anyhow::bail!("no"),
            _ => Ok(()),
        };
        assert!(for_each(3, &items, fail).is_err());
    }
}
