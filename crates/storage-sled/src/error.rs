//! Why a store cannot be opened, in words for the operator: what is wrong, where, what to do.

use icecore_core::Error;
use std::io;
use std::path::{Path, PathBuf};

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Somebody else has it open.
    #[error(
        "{} is in use by another process; stop that one first, or choose another directory",
        path.display()
    )]
    InUse {
        /// The lock file.
        path: PathBuf,
    },

    /// The directory holds something else.
    #[error(
        "{} is not empty and holds no Icecore store (found `{found}`); choose an empty directory",
        path.display()
    )]
    NotAStore {
        /// The directory.
        path: PathBuf,
        /// One of the foreign files.
        found: String,
    },

    /// A restore into the directory was begun and not finished.
    #[error(
        "{} holds a store that was not restored to its end; run the restore into it again",
        path.display()
    )]
    Unfinished {
        /// The directory.
        path: PathBuf,
    },

    /// A store cannot be made in a directory that holds something.
    #[error("{} is not empty (found `{found}`); choose a new directory", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// Something that it holds.
        found: String,
    },

    /// A later release wrote it.
    #[error(
        "{} has format {found}, and this release knows formats up to {known}; use the release that \
         wrote it or a later one",
        path.display()
    )]
    NewerFormat {
        /// The identity file.
        path: PathBuf,
        /// The format of the store.
        found: u32,
        /// The newest format that this release knows.
        known: u32,
    },

    /// The identity file is damaged.
    #[error(
        "{} is damaged ({reason}); restore the store from a backup, or put back this file alone. What \
         can be done: icecore doctor --data {}",
        path.display(),
        directory(path)
    )]
    IdentityUnreadable {
        /// The identity file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// The file system refused.
    #[error(
        "cannot {action} {}: {source}; check the path, its owner and permissions, and free space",
        path.display()
    )]
    Io {
        /// What was tried: a verb that stands before the path.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// Something is damaged, and the file cannot be kept as it is while it is opened.
    #[error(
        "sled/db in {} holds damaged values, and opening it may take away what can still be salvaged, \
         but it cannot be copied first: {source}. Make as much room as the file takes; what is \
         damaged: icecore doctor --data {}",
        path.display(),
        path.display()
    )]
    NotCopied {
        /// The data directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// Nothing says how long the log must be.
    #[error(
        "{} cannot be read ({reason}), so nobody can tell whether acknowledged events are missing; \
         put this file back or restore the store from a backup. What can be done: icecore doctor \
         --data {}",
        path.display(),
        directory(path)
    )]
    WatermarkUnreadable {
        /// The watermark file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// Acknowledged events are missing.
    #[error(
        "the log in {} ends at position {found}, but position {acknowledged} was acknowledged: \
         events are missing. What can be done: icecore doctor --data {}",
        path.display(),
        path.display()
    )]
    LogTooShort {
        /// The data directory.
        path: PathBuf,
        /// Where the log ends.
        found: u64,
        /// What had been acknowledged.
        acknowledged: u64,
    },

    /// Stored bytes are damaged.
    #[error(
        "the log in {} is damaged at position {position}: {reason}. What can be done: icecore doctor \
         --data {}",
        path.display(),
        path.display()
    )]
    Corrupted {
        /// The data directory.
        path: PathBuf,
        /// First position of the damaged chunk.
        position: u64,
        /// What is wrong with it.
        reason: String,
    },

    /// sled moved a page out to a file that nobody syncs; this engine never lets it do that.
    #[error(
        "{} is not empty: this store was written by something else than Icecore, and its contents \
         are not safe to use; restore the store from a backup, or see icecore doctor --data {}",
        path.display(),
        path.parent().map_or_else(String::new, directory)
    )]
    ForeignBlobs {
        /// The directory of these files.
        path: PathBuf,
    },

    /// sled could not open its files.
    #[error(
        "the engine cannot open {}: {reason}. What can be done: icecore doctor --data {}",
        path.display(),
        directory(path)
    )]
    Engine {
        /// The directory of sled.
        path: PathBuf,
        /// What sled said.
        reason: String,
    },
}

/// The data directory of a file or directory in it.
fn directory(path: &Path) -> String {
    let directory = path.parent().unwrap_or(path);
    directory.display().to_string()
}

impl OpenError {
    /// For `map_err`: what was tried with which path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::IdentityUnreadable { .. }
            | OpenError::WatermarkUnreadable { .. }
            | OpenError::LogTooShort { .. }
            | OpenError::Corrupted { .. } => Self::corrupted(error.to_string()),
            OpenError::InUse { .. } => Self::unavailable(error.to_string()),
            _ => Self::internal_from(error.to_string(), error),
        }
    }
}
