//! The ballast: a file that only takes up space. sled cannot open its files on a disk that is full to
//! the last byte, so opening deletes the ballast first; it comes back when there is room.

use crate::OpenError;
use crate::system::Space;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// On a small file system the ballast is at most one part in so many.
const SHARE_MAX: u64 = 32;

/// Bytes that are written at a time where the file system cannot allocate.
const BLOCK_BYTES: usize = 64 * 1_024;

/// `stat` counts in these.
const SECTOR_BYTES: u64 = 512;

/// Where the ballast is, and how large it shall be.
#[derive(Debug)]
pub(crate) struct Ballast {
    path: PathBuf,
    bytes_max: u64,
    /// It cannot be made; it is not tried again before the next start.
    gave_up: AtomicBool,
}

impl Ballast {
    pub(crate) fn new(path: PathBuf, bytes_max: u64) -> Self {
        Self {
            path,
            bytes_max,
            gave_up: AtomicBool::new(false),
        }
    }

    /// Deletes it before a store is opened, if the disk has less room than it takes.
    pub(crate) fn make_room(&self, space: Space) -> Result<(), OpenError> {
        if space.free_bytes >= self.bytes(space) || self.held_bytes() == 0 {
            return Ok(());
        }
        tracing::warn!(
            free_bytes = space.free_bytes,
            path = %self.path.display(),
            "the disk is full; the ballast is deleted so that the store can be opened"
        );
        self.delete()
            .map_err(OpenError::io("delete the ballast", &self.path))
    }

    /// Makes it, if it is not there and leaves free what must be and its own size again.
    pub(crate) fn keep(&self, space: Space, free_bytes_min: u64) {
        let (bytes, held) = (self.bytes(space), self.held_bytes());
        let needed = free_bytes_min.saturating_add(2 * bytes);
        let kept = if held > 0 && bytes == 0 {
            self.delete()
        } else if held < bytes && space.free_bytes + held >= needed {
            self.fill(bytes)
        } else {
            return;
        };
        if let Err(error) = kept
            && !self.gave_up.swap(true, Relaxed)
        {
            let path = self.path.display();
            tracing::warn!(%error, %path, "without the ballast a full disk cannot be opened");
        }
    }

    /// The size of the file; 0 when it is not there.
    pub(crate) fn held_bytes(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |found| found.len())
    }

    /// Its size on this file system.
    fn bytes(&self, space: Space) -> u64 {
        if self.gave_up.load(Relaxed) {
            return 0;
        }
        self.bytes_max.min(space.total_bytes / SHARE_MAX)
    }

    fn delete(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes up so many bytes of the disk. What cannot be had whole is given back.
    fn fill(&self, bytes: u64) -> io::Result<()> {
        let filled = self.open().and_then(|file| {
            match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
                Ok(()) | Err(Errno::OPNOTSUPP) => {}
                Err(error) => return Err(error.into()),
            }
            // Some file systems cannot allocate, or only say that they did.
            if file.metadata()?.blocks() * SECTOR_BYTES < bytes {
                write_noise(&file, bytes)?;
            }
            file.sync_all()
        });
        if filled.is_err() {
            // What is wrong with the disk is told by the error itself.
            let _ = self.delete();
        }
        filled
    }

    fn open(&self) -> io::Result<File> {
        OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .open(&self.path)
    }
}

/// Writes what no file system can make smaller.
fn write_noise(mut file: &File, bytes: u64) -> io::Result<()> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut state = 1_u64;
    let mut left = bytes;
    while left > 0 {
        for word in block.chunks_exact_mut(8) {
            // A xorshift generator; it never reaches 0.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        let count = left.min(BLOCK_BYTES as u64);
        file.write_all(&block[..usize::try_from(count).unwrap_or(BLOCK_BYTES)])?;
        left -= count;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek};

    const BYTES: u64 = 1 << 20;

    fn ballast(directory: &tempfile::TempDir, bytes_max: u64) -> Ballast {
        Ballast::new(directory.path().join("ballast"), bytes_max)
    }

    fn space(free_bytes: u64) -> Space {
        Space {
            total_bytes: 1 << 40,
            free_bytes,
        }
    }

    #[test]
    fn it_takes_up_space_while_there_is_room_and_gives_it_back_when_there_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let ballast = ballast(&directory, BYTES);
        let limit = 5 * BYTES;
        ballast.keep(space(limit + 2 * BYTES - 1), limit);
        assert_eq!(ballast.held_bytes(), 0);
        ballast.keep(space(limit + 2 * BYTES), limit);
        assert_eq!(ballast.held_bytes(), BYTES);
        let file = fs::metadata(&ballast.path).unwrap();
        assert!(file.blocks() * SECTOR_BYTES >= BYTES);

        ballast.keep(space(0), limit);
        ballast.make_room(space(BYTES)).unwrap();
        assert_eq!(ballast.held_bytes(), BYTES);
        ballast.make_room(space(BYTES - 1)).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        ballast.make_room(space(0)).unwrap();
    }

    #[test]
    fn it_follows_its_setting() {
        let directory = tempfile::tempdir().unwrap();
        for (bytes, held) in [(BYTES, BYTES), (2 * BYTES, 2 * BYTES), (0, 0)] {
            let ballast = ballast(&directory, bytes);
            ballast.keep(space(1 << 30), 0);
            assert_eq!(ballast.held_bytes(), held);
        }
    }

    #[test]
    fn what_cannot_be_had_is_not_tried_twice_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let ballast = ballast(&directory, u64::MAX);
        let endless = Space {
            total_bytes: u64::MAX,
            free_bytes: u64::MAX,
        };
        assert!(ballast.fill(1 << 60).is_err());
        ballast.keep(endless, 0);
        assert!(ballast.gave_up.load(Relaxed));
        ballast.keep(endless, 0);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn it_is_written_where_it_cannot_be_allocated() {
        let mut file = tempfile::tempfile().unwrap();
        let bytes = 3 * BLOCK_BYTES as u64 + 100;
        write_noise(&file, bytes).unwrap();
        assert_eq!(file.metadata().unwrap().len(), bytes);
        let mut found = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut found).unwrap();
        assert!(lz4_flex::compress(&found).len() >= found.len());
    }

    #[test]
    fn it_is_smaller_on_a_small_file_system() {
        let ballast = Ballast::new(PathBuf::new(), 64 << 20);
        for (total_bytes, bytes) in [(100 << 30, 64 << 20), (1 << 30, 32 << 20)] {
            let free_bytes = 0;
            let space = Space {
                total_bytes,
                free_bytes,
            };
            assert_eq!(ballast.bytes(space), bytes);
        }
    }
}
