//! The barrier that makes `sled::Db::flush` durable on Linux. The only module with `unsafe`.
//!
//! sled 0.34 writes a buffer and then calls `sync_file_range`, which neither flushes the disk's
//! cache nor the length of the file. When that call answers `ENOSYS`, sled falls back to a real
//! `fsync` after every buffer and reports its error. So this module defines the symbol itself: the
//! program's own definition comes before the C library's, and nothing else here calls it.
//!
//! [`check`] says whether that worked; [`crate::engine`] decides what follows if it did not.

#![allow(unsafe_code)]

/// Whether sled syncs for real.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barrier {
    /// `flush()` is durable by itself.
    InSled,
    /// The definition below did not win at linking: every flush needs a sync of our own after it.
    OwnSync,
}

/// Answers "not implemented", so that sled falls back to `fsync`.
///
/// # Safety
///
/// Touches nothing but the calling thread's `errno`.
#[cfg(target_os = "linux")]
#[unsafe(no_mangle)]
extern "C" fn sync_file_range(
    _descriptor: libc::c_int,
    _offset: libc::off64_t,
    _count: libc::off64_t,
    _flags: libc::c_uint,
) -> libc::c_int {
    // SAFETY: the C library gives each thread its own valid `errno`.
    unsafe { *libc::__errno_location() = libc::ENOSYS };
    -1
}

/// Calls through the C library's name, as sled does, with a descriptor that cannot exist: the real
/// function would answer `EBADF`.
#[cfg(target_os = "linux")]
pub(crate) fn check() -> Barrier {
    // Naming the definition here keeps its object file in the program.
    std::hint::black_box(sync_file_range as *const ());
    // SAFETY: no descriptor -1 exists, so even the real function does nothing.
    let answer = unsafe { libc::sync_file_range(-1, 0, 0, 0) };
    let errno = std::io::Error::last_os_error().raw_os_error();
    if answer == -1 && errno == Some(libc::ENOSYS) {
        Barrier::InSled
    } else {
        Barrier::OwnSync
    }
}

/// On other systems sled calls `fsync` by itself.
#[cfg(not(target_os = "linux"))]
pub(crate) fn check() -> Barrier {
    Barrier::InSled
}

#[cfg(test)]
mod tests {
    #[test]
    fn sled_falls_back_to_fsync() {
        assert_eq!(super::check(), super::Barrier::InSled);
    }
}
