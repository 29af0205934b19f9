//! Room on the disk: whether new events are taken, and what the operator is told when they are not.
//! A disk that is full to the last byte makes sled fail, and then a restart as well; so appends are
//! refused while there is still room for everything else. It deletes nothing; see [`crate::ballast`].

use crate::config::SledConfig;
use crate::system::{Space, System};
use icecore_core::{Error, Result};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// By default this much must be free, or [`FREE_SHARE`] of the file system if that is more.
const FREE_BYTES_MIN: u64 = 1 << 30;

/// One part in so many.
const FREE_SHARE: u64 = 20;

/// A small file system is not kept empty for the sake of the default: one part in so many at most.
const FREE_SHARE_MAX: u64 = 4;

/// The room on the disk of a store, as it was last looked at.
#[derive(Debug)]
pub(crate) struct Room {
    directory: PathBuf,
    system: Arc<dyn System>,
    /// What was set; `None` is the default, 0 means that nothing is refused.
    free_bytes_min: Option<u64>,
    free: AtomicU64,
    /// What must be free, by the size that the file system had.
    limit: AtomicU64,
    is_low: AtomicBool,
    is_unknown: AtomicBool,
}

impl Room {
    /// Nothing is refused before the first [`Self::look`].
    pub(crate) fn new(directory: PathBuf, config: &SledConfig) -> Self {
        Self {
            directory,
            system: config.system.clone(),
            free_bytes_min: config.free_bytes_min,
            free: AtomicU64::new(u64::MAX),
            limit: AtomicU64::new(0),
            is_low: AtomicBool::new(false),
            is_unknown: AtomicBool::new(false),
        }
    }

    /// Asks the system, and tells the log when appends are refused from now on or taken again. When
    /// the system does not answer, what it said last counts on.
    pub(crate) fn look(&self) -> Option<Space> {
        let space = match self.system.space(&self.directory) {
            Ok(space) => space,
            Err(error) => {
                if !self.is_unknown.swap(true, Relaxed) {
                    tracing::warn!(%error, "the free space of the disk cannot be found");
                }
                return None;
            }
        };
        let limit = self
            .free_bytes_min
            .unwrap_or_else(|| default_limit(space.total_bytes));
        self.free.store(space.free_bytes, Relaxed);
        self.limit.store(limit, Relaxed);
        let is_low = space.free_bytes < limit;
        match (self.is_low.swap(is_low, Relaxed), is_low) {
            (false, true) => tracing::warn!("{}", self.explanation()),
            (true, false) => tracing::info!("there is room on the disk again, appends are taken"),
            _ => {}
        }
        Some(space)
    }

    /// `Unavailable` with what to do, while too little is free.
    pub(crate) fn check(&self) -> Result<()> {
        match self.shortage() {
            Some(explanation) => Err(Error::unavailable(explanation)),
            None => Ok(()),
        }
    }

    /// Why appends are refused, if they are.
    pub(crate) fn shortage(&self) -> Option<String> {
        self.is_low.load(Relaxed).then(|| self.explanation())
    }

    /// What must be free, in bytes.
    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Relaxed)
    }

    /// Free bytes when they were last looked at, and how many must be.
    pub(crate) fn figures(&self) -> (u64, u64) {
        (self.free.load(Relaxed), self.limit())
    }

    fn explanation(&self) -> String {
        let (free, limit) = self.figures();
        format!(
            "the disk of {} is nearly full: {free} bytes are free, and appends are refused below \
             {limit}; free some space or enlarge the disk, then appends are taken again without a \
             restart (the limit is free-bytes-min)",
            self.directory.display()
        )
    }
}

fn default_limit(total_bytes: u64) -> u64 {
    FREE_BYTES_MIN
        .max(total_bytes / FREE_SHARE)
        .min(total_bytes / FREE_SHARE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_keeps_a_twentieth_or_a_gibibyte_but_no_more_than_a_quarter() {
        const GIB: u64 = 1 << 30;
        for (total, limit) in [
            (0, 0),
            (GIB, GIB / 4),
            (4 * GIB, GIB),
            (20 * GIB, GIB),
            (100 * GIB, 5 * GIB),
        ] {
            assert_eq!(default_limit(total), limit, "of {total}");
        }
    }
}
