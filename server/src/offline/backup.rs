//! A backup: a directory of files with the entries of the log, and a manifest that names them. It is
//! usable whenever the process that writes it ends: the manifest always names whole files up to the
//! end of an append.

mod file;
mod manifest;
mod restore;
mod run;

pub use restore::{Restored, Until, restore};
pub use run::{BackupInfo, BackupRun};

use super::verify::progress;
use super::{OfflineError, Result};
use file::FileReader;
use icecore_core::{Finding, LogEntry, VerifyMessage, VerifyStep};
use icecore_storage::LogVerifier;
use manifest::Manifest;
use std::path::Path;

/// Reads a backup and says what is wrong with it. The last message is `Verified`. Blocks.
///
/// # Errors
///
/// When there is no backup, or its manifest cannot be read.
pub fn verify_backup(directory: &Path, tell: &mut dyn FnMut(VerifyMessage)) -> Result<()> {
    let manifest = load(directory)?;
    let mut log = LogVerifier::default();
    let total = manifest.last().get();
    for entry in &manifest.files {
        let read = each(directory, &manifest, entry, |entry| {
            log.entry(&entry)
                .into_iter()
                .for_each(|finding| tell(VerifyMessage::Finding(finding)));
            Ok(())
        });
        if let Err(error) = read {
            let finding = Finding::at(log.last().next(), entry.last, error.to_string());
            tell(VerifyMessage::Finding(finding));
            log.unreadable(entry.last);
        }
        tell(progress(VerifyStep::Log, log.last().get(), total));
    }
    let mut findings: Vec<_> = log.end().into_iter().collect();
    if log.tree().is_some_and(|tree| tree != manifest.tree) {
        let reason = "the events do not give the root of the tree that the manifest names";
        findings.push(Finding::general(reason));
    }
    for finding in findings {
        tell(VerifyMessage::Finding(finding));
    }
    tell(VerifyMessage::Verified(log.verified(manifest.store_id)));
    Ok(())
}

/// The manifest of a directory that must be a backup.
fn load(directory: &Path) -> Result<Manifest> {
    Manifest::load(directory)?.ok_or_else(|| {
        OfflineError::new(format!(
            "{} holds no backup (it has no manifest)",
            directory.display()
        ))
    })
}

/// Hands out the entries of a file, to its end.
fn each(
    directory: &Path,
    manifest: &Manifest,
    file: &manifest::FileEntry,
    mut take: impl FnMut(LogEntry) -> Result<()>,
) -> Result<()> {
    let mut reader = FileReader::open(directory, manifest.store_id, file)?;
    while let Some(entry) = reader.next()? {
        take(entry)?;
    }
    Ok(())
}
