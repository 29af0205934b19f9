//! A store that is being put together from somewhere else. It is built in a directory of its own inside
//! of the one that it is for, and moved up when it is complete; before that the outer one is no store
//! and is not opened as one, whenever the process ends.

use crate::OpenError;
use crate::directory::{BUILDING, IDENTITY, sync_directory};
use std::fs;
use std::path::{Path, PathBuf};

/// The place of a store that is not complete yet.
#[derive(Debug)]
pub struct UnfinishedStore {
    directory: PathBuf,
}

impl UnfinishedStore {
    /// Begins in a directory that is empty or not there; what an attempt before has left is removed.
    ///
    /// # Errors
    ///
    /// `NotEmpty` when it holds anything else.
    pub fn begin(directory: impl Into<PathBuf>) -> Result<Self, OpenError> {
        let directory = directory.into();
        fs::create_dir_all(&directory).map_err(OpenError::io("create", &directory))?;
        let list = fs::read_dir(&directory).map_err(OpenError::io("list", &directory))?;
        for entry in list {
            let entry = entry.map_err(OpenError::io("list", &directory))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name != BUILDING && name != "lost+found" {
                return Err(OpenError::NotEmpty {
                    path: directory,
                    found: name,
                });
            }
        }
        let building = directory.join(BUILDING);
        if building.exists() {
            fs::remove_dir_all(&building).map_err(OpenError::io("remove", &building))?;
        }
        fs::create_dir(&building).map_err(OpenError::io("create", &building))?;
        Ok(Self { directory })
    }

    /// Where the store is to be built: an empty directory.
    pub fn path(&self) -> PathBuf {
        self.directory.join(BUILDING)
    }

    /// Makes the directory a store: what was built, which nobody must have open any more, is moved
    /// there, the identity last.
    pub fn finish(self) -> Result<(), OpenError> {
        let building = self.path();
        let mut names = Vec::new();
        for entry in fs::read_dir(&building).map_err(OpenError::io("list", &building))? {
            names.push(entry.map_err(OpenError::io("list", &building))?.file_name());
        }
        names.sort_by_key(|name| name == IDENTITY);
        sync_directory(&building)?;
        for name in names {
            if name == IDENTITY {
                sync_directory(&self.directory)?;
            }
            let from = building.join(&name);
            fs::rename(&from, self.directory.join(&name)).map_err(OpenError::io("move", &from))?;
        }
        sync_directory(&self.directory)?;
        fs::remove_dir(&building).map_err(OpenError::io("remove", &building))?;
        match self.directory.parent() {
            Some(parent) if parent != Path::new("") => sync_directory(parent),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SledConfig, SledStorage};
    use icecore_core::StoreId;
    use uuid::Uuid;

    fn config(directory: &Path) -> SledConfig {
        SledConfig::new(directory, StoreId::new(Uuid::from_u128(5)))
    }

    #[test]
    fn until_it_is_finished_nothing_opens_it_and_afterwards_it_is_a_store() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new");
        let unfinished = UnfinishedStore::begin(&path).unwrap();
        drop(SledStorage::open(config(&unfinished.path())).unwrap());
        let refused = SledStorage::open(config(&path)).err().unwrap();
        assert!(matches!(refused, OpenError::Unfinished { .. }), "{refused}");

        // An attempt that was killed is begun anew.
        let unfinished = UnfinishedStore::begin(&path).unwrap();
        assert_eq!(fs::read_dir(unfinished.path()).unwrap().count(), 0);
        drop(SledStorage::open(config(&unfinished.path())).unwrap());
        unfinished.finish().unwrap();
        assert!(!path.join(BUILDING).exists());
        drop(SledStorage::open(config(&path)).unwrap());
        let refused = UnfinishedStore::begin(&path).unwrap_err();
        assert!(matches!(refused, OpenError::NotEmpty { .. }), "{refused}");
    }
}
