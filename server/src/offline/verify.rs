//! Verifies a store by its files, without opening it.

use super::Result;
use icecore_core::{Position, Verified, VerifyMessage, VerifyProgress, VerifyStep};
use icecore_storage::LogVerifier;
use icecore_storage_sled::RawStore;
use std::path::Path;

/// Reads a data directory that no server has open and says what is wrong with it. Writes nothing. The
/// last message is `Verified`. Blocks.
///
/// # Errors
///
/// When a server has the store open, when its file cannot be read, when there is no store.
pub fn verify_data(directory: &Path, tell: &mut dyn FnMut(VerifyMessage)) -> Result<()> {
    let store = RawStore::scan(directory, &mut |done, total| {
        tell(progress(VerifyStep::File, done, total));
    })?;
    let verified = verify_raw(&store, tell)?;
    tell(VerifyMessage::Verified(verified));
    Ok(())
}

/// Checks the log of a store that was scanned, and its files.
pub(super) fn verify_raw(
    store: &RawStore,
    tell: &mut dyn FnMut(VerifyMessage),
) -> Result<Verified> {
    let store_id = store
        .store_id()
        .ok_or_else(|| super::OfflineError::new("there is no trace of an Icecore store"))?;
    let mut log = LogVerifier::default();
    let total = store.acknowledged().unwrap_or(Position::START);
    let last = store.read_log(|append| {
        for entry in &append {
            log.entry(entry)
                .into_iter()
                .for_each(|finding| tell(VerifyMessage::Finding(finding)));
        }
        if log.last().get().is_multiple_of(PROGRESS_EVERY) {
            tell(progress(VerifyStep::Log, log.last().get(), total.get()));
        }
        Ok::<_, super::OfflineError>(())
    })?;
    for finding in store.findings(last) {
        tell(VerifyMessage::Finding(finding));
    }
    Ok(log.verified(store_id))
}

/// Positions between two words about progress.
const PROGRESS_EVERY: u64 = 1_000;

pub(super) fn progress(step: VerifyStep, done: u64, total: u64) -> VerifyMessage {
    VerifyMessage::Progress(VerifyProgress { step, done, total })
}
