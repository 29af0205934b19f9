//! What an operator does to stores that no server has open: verify one by its files, verify a backup,
//! write one, restore it, find out why a store does not start and repair it. Nothing here writes into
//! the directory of a store that exists. Everything blocks, but for what is async.

mod backup;
mod building;
mod doctor;
mod erasures;
mod verify;

pub use backup::{BackupInfo, BackupRun, Restored, Until, restore, verify_backup};
pub use doctor::{Choice, Diagnosis, Repaired, diagnose, repair};
pub use verify::verify_data;

use icecore_core::Error;
use icecore_storage_sled::OpenError;
use std::fmt;
use std::io;
use std::path::Path;

/// Why something offline could not be done, in words for the operator.
#[derive(Debug)]
pub struct OfflineError(String);

impl OfflineError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For `map_err`: what was tried with which path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.display().to_string();
        move |error| Self(format!("{action} {path}: {error}"))
    }
}

impl fmt::Display for OfflineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OfflineError {}

impl From<OpenError> for OfflineError {
    fn from(error: OpenError) -> Self {
        Self(error.to_string())
    }
}

impl From<Error> for OfflineError {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable { reason }
            | Error::OutcomeUnknown { reason }
            | Error::Corrupted { reason }
            | Error::Internal { reason, .. } => Self(reason),
            other => Self(other.to_string()),
        }
    }
}

type Result<T> = std::result::Result<T, OfflineError>;
