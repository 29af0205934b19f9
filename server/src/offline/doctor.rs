//! What a start that was refused needs: finds out what is wrong, knows what can be done about it, and
//! does it into a new directory. The store itself is only read.

use super::building::Building;
use super::erasures::Erasures;
use super::verify::verify_raw;
use super::{OfflineError, Result};
use icecore_core::{Finding, LogEntry, Position, StoreId, VerifyMessage};
use icecore_storage_sled::{
    RawStore, UnfinishedStore, copy_without_indexes, copy_without_snapshots,
};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// Appends that may wait to be written.
const APPENDS_WAITING: usize = 64;

/// Something that can be done about a store that does not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Copy it without sled's snapshots.
    Snapshots,
    /// Copy it without its index.
    Indexes,
    /// Make a store of everything before the first damage.
    Cut,
    /// Make a store of everything that the raw file still holds in one piece.
    Salvage,
}

/// What was found out about a data directory.
#[derive(Clone, Debug)]
pub struct Diagnosis {
    /// The store; `None` when nothing says which.
    pub store_id: Option<StoreId>,
    /// What was acknowledged; `None` when the watermark cannot be read.
    pub acknowledged: Option<Position>,
    /// Where the log in the raw file ends.
    pub found: Position,
    /// The last position before everything that is wrong with the log.
    pub sound: Position,
    /// Snapshots of sled.
    pub snapshots: usize,
    /// Versions of chunks in the raw file.
    pub chunk_versions: usize,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What fits.
    pub choices: Vec<Choice>,
}

/// What a repair has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// The id of the store in the new directory: a new one after a cut or a salvage.
    pub store_id: Option<StoreId>,
    /// Its last position; `None` for a copy, whose next start tells.
    pub last_position: Option<Position>,
}

/// Looks at a data directory that no server has open. `tell` hears about progress. Blocks.
pub fn diagnose(directory: &Path, tell: &mut dyn FnMut(VerifyMessage)) -> Result<Diagnosis> {
    let store = RawStore::scan(directory, &mut |_, _| {})?;
    let mut findings = Vec::new();
    let mut listen = |message| match message {
        VerifyMessage::Finding(finding) => findings.push(finding),
        other => tell(other),
    };
    let found = match store.store_id() {
        Some(_) => verify_raw(&store, &mut listen)?.last_position,
        None => Position::START,
    };
    if store.store_id().is_none() {
        findings = store.findings(found);
    }
    let firsts = findings.iter().filter_map(|finding| finding.positions);
    let damage = firsts.map(|(first, _)| first).min();
    let before_damage = damage.map_or(found, Position::previous);
    let sound = last_append_end(&store, before_damage.min(found));
    let mut diagnosis = Diagnosis {
        store_id: store.store_id(),
        acknowledged: store.acknowledged().ok(),
        found,
        sound,
        snapshots: store.snapshots().len(),
        chunk_versions: store.chunk_versions(),
        findings,
        choices: Vec::new(),
    };
    diagnosis.choices = choices(&store, &diagnosis);
    Ok(diagnosis)
}

fn last_append_end(store: &RawStore, before: Position) -> Position {
    let mut last = Position::START;
    // The walk ends early by an error that is none.
    let _: std::result::Result<_, ()> = store.read_log(|append| {
        let end = append
            .last()
            .map_or(Position::START, |entry| entry.position);
        if end > before {
            return Err(());
        }
        last = end;
        Ok(())
    });
    last
}

fn choices(store: &RawStore, diagnosis: &Diagnosis) -> Vec<Choice> {
    let mut choices = Vec::new();
    let is_whole = store.identity_error().is_none()
        && diagnosis
            .acknowledged
            .is_some_and(|acknowledged| diagnosis.found >= acknowledged);
    if is_whole && diagnosis.snapshots > 0 {
        choices.push(Choice::Snapshots);
    }
    if is_whole {
        choices.push(Choice::Indexes);
    }
    if diagnosis.sound < diagnosis.found && diagnosis.sound > Position::START {
        choices.push(Choice::Cut);
    }
    if diagnosis.found > Position::START {
        choices.push(Choice::Salvage);
    }
    choices
}

/// Does one of the choices, into a directory that is empty or not there. `until` ends a cut at the
/// last whole append up to there (inclusive).
pub async fn repair(
    from: &Path,
    choice: Choice,
    until: Option<Position>,
    to: &Path,
) -> Result<Repaired> {
    match choice {
        Choice::Snapshots => copy(from, to, copy_without_snapshots).await,
        Choice::Indexes => copy(from, to, copy_without_indexes).await,
        Choice::Cut => {
            let until = match until {
                Some(until) => until,
                None => {
                    blocking(from, |from| diagnose(&from, &mut |_| {}))
                        .await?
                        .sound
                }
            };
            salvage(from, until, to).await
        }
        Choice::Salvage => salvage(from, until.unwrap_or(Position::new(u64::MAX)), to).await,
    }
}

async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce(PathBuf) -> Result<T> + Send + 'static,
) -> Result<T> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || work(path))
        .await
        .map_err(|error| OfflineError::new(format!("reading the store broke off: {error}")))?
}

async fn copy(
    from: &Path,
    to: &Path,
    copy: fn(&Path, &Path) -> std::result::Result<(), icecore_storage_sled::OpenError>,
) -> Result<Repaired> {
    let to = to.to_owned();
    blocking(from, move |from| {
        // Keeps servers out while it is copied, and says whose it is.
        let store = RawStore::scan(&from, &mut |_, _| {})?;
        let unfinished = UnfinishedStore::begin(to)?;
        copy(&from, &unfinished.path())?;
        unfinished.finish()?;
        Ok(Repaired {
            store_id: store.store_id(),
            last_position: None,
        })
    })
    .await
}

/// Makes a store of the log in the raw file, without what was erased in any version of it.
async fn salvage(from: &Path, until: Position, to: &Path) -> Result<Repaired> {
    let mut building = Building::begin(to).await?;
    let (send, mut appends) = mpsc::channel::<Vec<LogEntry>>(APPENDS_WAITING);
    let reading = blocking(from, move |from| {
        let store = RawStore::scan(&from, &mut |_, _| {})?;
        let mut erasures = Erasures::default();
        store.read_every_version(|entry| erasures.note(entry));
        // Whoever takes the appends ends the walk.
        let _ = store.read_log(|mut append| {
            for entry in &mut append {
                erasures.apply(entry);
            }
            match append.last().filter(|entry| entry.position <= until) {
                Some(_) => send.blocking_send(append).map_err(|_| ()),
                None => Err(()),
            }
        });
        Ok(())
    });
    let writing = async {
        while let Some(append) = appends.recv().await {
            building.append(append).await?;
        }
        Ok::<_, OfflineError>(building)
    };
    let (read, written) = tokio::join!(reading, writing);
    read?;
    let (store_id, last_position) = written?.finish().await?;
    Ok(Repaired {
        store_id: Some(store_id),
        last_position: Some(last_position),
    })
}
