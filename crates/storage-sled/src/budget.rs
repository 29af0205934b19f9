//! How much may be written to sled between two barriers. Everything that writes asks here.
//!
//! sled re-uses freed segments behind a weaker barrier than ours, so a power cut is only harmless
//! while little of its log lies between two of our barriers. The figures were found by cutting
//! power in simulation, see ARCHITECTURE.md.

/// Most bytes of index values between two barriers.
const INDEX_BYTES_MAX: usize = 256 * 1_024;

/// Most index keys between two barriers.
const INDEX_KEYS_MAX: usize = 32;

/// Most deletions between two barriers.
const DELETIONS_MAX: usize = 8;

/// A deletion rewrites the leaf it happens in: up to this many neighbours of about its size.
const NEIGHBOURS: usize = 16;

/// sled rewrites a leaf as a whole now and then, so a large value is written several times: a value
/// of the log counts once, and once more for each time that this fits in. Measured with the default
/// budget, large commits wrote up to 9.2 MB between two barriers when each value counted once, and up
/// to 3.5 MB like this.
const REWRITE_BYTES: usize = 4 * 1_024;

/// A value that is larger is part of a large chunk, whose neighbours in the leaf are large too: it weighs
/// twice as much. Without that large events made windows of up to 4.0 MiB, with it of up to 2.9 MiB
/// (3.5 in a build without optimization).
const LARGE_BYTES: usize = 24 * 1_024;

/// One write, as the budget counts it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Write {
    /// A value of the log, by its bytes before compression.
    Log { bytes: usize },
    /// A lot of the log whose keys are announced, by all that is written for it.
    Lot { bytes: usize },
    /// A value of the index.
    Index { bytes: usize },
    /// Keys that go, with the size of their values together.
    Deletions { keys: usize, bytes: usize },
}

/// What a value of the log costs.
fn log_cost(bytes: usize) -> usize {
    let factor = if bytes > LARGE_BYTES { 2 } else { 1 };
    bytes * (1 + factor * bytes / REWRITE_BYTES)
}

/// What has been written since the last barrier.
#[derive(Debug)]
pub(crate) struct Budget {
    log_bytes_max: usize,
    log_bytes: usize,
    index_bytes: usize,
    index_keys: usize,
    deletions: usize,
}

impl Budget {
    pub(crate) fn new(log_bytes_max: usize) -> Self {
        Self {
            log_bytes_max,
            log_bytes: 0,
            index_bytes: 0,
            index_keys: 0,
            deletions: 0,
        }
    }

    /// Most bytes of the log between two barriers.
    pub(crate) fn log_bytes_max(&self) -> usize {
        self.log_bytes_max
    }

    /// Whether nothing was written since the last barrier.
    pub(crate) fn is_untouched(&self) -> bool {
        self.log_bytes + self.index_keys + self.deletions == 0
    }

    /// Whether the write may happen before the next barrier. The first one always may.
    pub(crate) fn admits(&self, write: Write) -> bool {
        if self.is_untouched() {
            return true;
        }
        match write {
            Write::Log { bytes } => self.log_bytes + log_cost(bytes) <= self.log_bytes_max,
            Write::Lot { bytes } => self.log_bytes + bytes <= self.log_bytes_max,
            Write::Index { bytes } => {
                self.index_keys < INDEX_KEYS_MAX && self.index_bytes + bytes <= INDEX_BYTES_MAX
            }
            Write::Deletions { keys, bytes } => {
                self.deletions + keys <= DELETIONS_MAX
                    && self.log_bytes + NEIGHBOURS * bytes <= self.log_bytes_max
            }
        }
    }

    /// Counts a write that happened.
    pub(crate) fn note(&mut self, write: Write) {
        match write {
            Write::Log { bytes } => self.log_bytes += log_cost(bytes),
            Write::Lot { bytes } => self.log_bytes += bytes,
            Write::Index { bytes } => {
                self.index_bytes += bytes;
                self.index_keys += 1;
            }
            Write::Deletions { keys, bytes } => {
                self.deletions += keys;
                self.log_bytes += NEIGHBOURS * bytes;
            }
        }
    }

    /// A barrier has been passed.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.log_bytes_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writes_before_barrier(write: Write) -> usize {
        let mut budget = Budget::new(1_000_000);
        let mut count = 0;
        while budget.admits(write) {
            budget.note(write);
            count += 1;
        }
        budget.reset();
        assert!(budget.is_untouched() && budget.admits(write));
        count
    }

    #[test]
    fn each_kind_of_write_has_its_limit() {
        assert_eq!(writes_before_barrier(Write::Log { bytes: 4_000 }), 250);
        assert_eq!(writes_before_barrier(Write::Log { bytes: 10_000 }), 33);
        assert_eq!(writes_before_barrier(Write::Log { bytes: 40_000 }), 1);
        assert_eq!(writes_before_barrier(Write::Lot { bytes: 400_000 }), 2);
        assert_eq!(writes_before_barrier(Write::Index { bytes: 100 }), 32);
        assert_eq!(writes_before_barrier(Write::Index { bytes: 100_000 }), 2);
        assert_eq!(
            writes_before_barrier(Write::Deletions {
                keys: 1,
                bytes: 100
            }),
            8
        );
        assert_eq!(
            writes_before_barrier(Write::Deletions {
                keys: 3,
                bytes: 100
            }),
            2
        );
        assert_eq!(
            writes_before_barrier(Write::Deletions {
                keys: 1,
                bytes: 20_000
            }),
            3
        );
    }

    #[test]
    fn a_single_write_over_the_limit_is_admitted_alone() {
        assert_eq!(writes_before_barrier(Write::Log { bytes: 5_000_000 }), 1);
    }
}
