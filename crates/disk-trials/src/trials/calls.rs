//! What system calls mean for files. Knows nothing of recordings.
//!
//! Everything that can change a file is either understood here or named as foreign, so that a call
//! which the recorder does not understand ends a trial instead of being missed.

use super::tracer::{Call, Tracee};
use anyhow::Result;
use nix::libc;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Longest path.
const PATH_BYTES_MAX: usize = 4_096;

/// A call, as far as files are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FileCall {
    Open {
        path: Option<PathBuf>,
        flags: i32,
    },
    /// `at` as for writes.
    Read {
        descriptor: i32,
        at: Option<usize>,
        length: usize,
    },
    /// `at` is where, if the call says so; `pieces` are addresses and lengths in memory.
    Write {
        descriptor: i32,
        at: Option<usize>,
        pieces: Vec<(u64, usize)>,
    },
    SetLength {
        descriptor: i32,
        length: usize,
    },
    Rename {
        from: Option<PathBuf>,
        to: Option<PathBuf>,
    },
    Remove {
        path: Option<PathBuf>,
    },
    MakeDirectory {
        path: Option<PathBuf>,
    },
    Sync {
        descriptor: i32,
    },
    /// Promises nothing.
    WeakSync {
        descriptor: i32,
    },
    /// It may read or change a file in a way that is not understood.
    Foreign {
        name: &'static str,
        path: Option<PathBuf>,
    },
    /// It changes no file.
    Other,
}

impl FileCall {
    /// Takes a call apart.
    pub(crate) fn of(tracee: &Tracee, call: Call) -> Result<Self> {
        let [a, b, c, d, ..] = call.arguments;
        let fd = descriptor;
        let here = libc::AT_FDCWD;
        Ok(match call.number {
            libc::SYS_open => Self::Open {
                path: path(tracee, here, a),
                flags: flags(b),
            },
            libc::SYS_openat => Self::Open {
                path: path(tracee, fd(a), b),
                flags: flags(c),
            },
            libc::SYS_creat => Self::Open {
                path: path(tracee, here, a),
                flags: libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC,
            },
            libc::SYS_read => Self::Read {
                descriptor: fd(a),
                at: None,
                length: size(c),
            },
            libc::SYS_pread64 => Self::Read {
                descriptor: fd(a),
                at: Some(size(d)),
                length: size(c),
            },
            libc::SYS_write => Self::Write {
                descriptor: fd(a),
                at: None,
                pieces: vec![(b, size(c))],
            },
            libc::SYS_pwrite64 => Self::Write {
                descriptor: fd(a),
                at: Some(size(d)),
                pieces: vec![(b, size(c))],
            },
            libc::SYS_writev => Self::Write {
                descriptor: fd(a),
                at: None,
                pieces: vector(tracee, b, c)?,
            },
            libc::SYS_pwritev => Self::Write {
                descriptor: fd(a),
                at: Some(size(d)),
                pieces: vector(tracee, b, c)?,
            },
            libc::SYS_ftruncate => Self::SetLength {
                descriptor: fd(a),
                length: size(b),
            },
            libc::SYS_fsync | libc::SYS_fdatasync => Self::Sync { descriptor: fd(a) },
            libc::SYS_sync_file_range => Self::WeakSync { descriptor: fd(a) },
            _ => return Ok(Self::of_name(tracee, call)),
        })
    }

    /// Calls about names, and those that are not understood.
    fn of_name(tracee: &Tracee, call: Call) -> Self {
        let [a, b, c, d, ..] = call.arguments;
        let fd = descriptor;
        let here = libc::AT_FDCWD;
        match call.number {
            libc::SYS_rename => Self::Rename {
                from: path(tracee, here, a),
                to: path(tracee, here, b),
            },
            libc::SYS_renameat => Self::Rename {
                from: path(tracee, fd(a), b),
                to: path(tracee, fd(c), d),
            },
            libc::SYS_unlink | libc::SYS_rmdir => Self::Remove {
                path: path(tracee, here, a),
            },
            libc::SYS_unlinkat => Self::Remove {
                path: path(tracee, fd(a), b),
            },
            libc::SYS_mkdir => Self::MakeDirectory {
                path: path(tracee, here, a),
            },
            libc::SYS_mkdirat => Self::MakeDirectory {
                path: path(tracee, fd(a), b),
            },
            _ => Self::foreign(tracee, call),
        }
    }

    fn foreign(tracee: &Tracee, call: Call) -> Self {
        let [a, b, c, d, mapped, _] = call.arguments;
        let fd = descriptor;
        let here = libc::AT_FDCWD;
        let by_descriptor = |name, at: u64| (name, tracee.descriptor(fd(at)));
        let (name, path) = match call.number {
            libc::SYS_renameat2 => ("renameat2", path(tracee, fd(c), d)),
            libc::SYS_link => ("link", path(tracee, here, b)),
            libc::SYS_linkat => ("linkat", path(tracee, fd(c), d)),
            libc::SYS_symlink => ("symlink", path(tracee, here, b)),
            libc::SYS_symlinkat => ("symlinkat", path(tracee, fd(b), c)),
            libc::SYS_truncate => ("truncate", path(tracee, here, a)),
            libc::SYS_openat2 => ("openat2", path(tracee, fd(a), b)),
            libc::SYS_pwritev2 => by_descriptor("pwritev2", a),
            libc::SYS_fallocate => by_descriptor("fallocate", a),
            libc::SYS_copy_file_range => by_descriptor("copy_file_range", c),
            libc::SYS_sendfile => by_descriptor("sendfile", a),
            libc::SYS_readv => by_descriptor("readv", a),
            libc::SYS_preadv => by_descriptor("preadv", a),
            libc::SYS_splice => by_descriptor("splice", c),
            libc::SYS_syncfs => by_descriptor("syncfs", a),
            libc::SYS_mmap if is_shared_and_written(c, d) => by_descriptor("mmap", mapped),
            _ => return Self::Other,
        };
        Self::Foreign { name, path }
    }
}

fn is_shared_and_written(protection: u64, mode: u64) -> bool {
    let kind = flags(mode) & libc::MAP_TYPE;
    flags(protection) & libc::PROT_WRITE != 0 && kind != libc::MAP_PRIVATE
}

/// A register holds a descriptor and flags in its lower half.
#[allow(clippy::cast_possible_truncation, reason = "as the system reads them")]
fn descriptor(register: u64) -> i32 {
    (register as u32).cast_signed()
}

fn flags(register: u64) -> i32 {
    descriptor(register)
}

fn size(register: u64) -> usize {
    usize::try_from(register).unwrap_or(usize::MAX)
}

/// A path in the memory of the process; `None` if there is none, which the call itself refuses.
fn path(tracee: &Tracee, directory: i32, address: u64) -> Option<PathBuf> {
    let mut bytes = Vec::new();
    while bytes.len() < PATH_BYTES_MAX {
        // Not beyond the page: the next one may not be there.
        let next = address + bytes.len() as u64;
        let piece = tracee.read(next, size(64 - next % 64)).ok()?;
        match piece.iter().position(|byte| *byte == 0) {
            Some(end) => {
                bytes.extend_from_slice(&piece[..end]);
                let path = PathBuf::from(OsString::from_vec(bytes));
                return Some(tracee.descriptor(directory)?.join(path));
            }
            None => bytes.extend(piece),
        }
    }
    None
}

/// The pieces of a vectored write.
fn vector(tracee: &Tracee, address: u64, count: u64) -> Result<Vec<(u64, usize)>> {
    let bytes = tracee.read(address, 16 * size(count))?;
    let (words, _) = bytes.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from_ne_bytes(*word));
    let words: Vec<_> = words.collect();
    let (pairs, _) = words.as_chunks::<2>();
    Ok(pairs
        .iter()
        .map(|[at, bytes]| (*at, size(*bytes)))
        .collect())
}
