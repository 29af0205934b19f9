//! What the engine asks the operating system for beyond reading and writing files. Tests answer in
//! its place, since a full disk, a disk that hangs and a barrier that is none cannot be had otherwise.

use crate::barrier::{self, Barrier};
use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::path::Path;

/// The operating system, as the engine sees it.
pub trait System: Debug + Send + Sync {
    /// How large the file system of a directory is and how much of it is free.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn space(&self, directory: &Path) -> io::Result<Space> {
        let found = rustix::fs::statvfs(directory)?;
        Ok(Space {
            total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
            free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
        })
    }

    /// Makes the contents of a file durable.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    /// Whether sled's own sync is durable in this program.
    fn sled_syncs(&self) -> bool {
        barrier::check() == Barrier::InSled
    }
}

/// The room of a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total_bytes: u64,
    /// What this process may still use.
    pub free_bytes: u64,
}

/// The system that this program runs on.
#[derive(Clone, Copy, Debug)]
pub struct RealSystem;

impl System for RealSystem {}
