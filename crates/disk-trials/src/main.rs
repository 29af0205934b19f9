//! Tries the engine on disks that lose power, fail and rot: `icecore-disk-trials <verb>`.
//!
//! Nothing of the engine or of sled is changed for this: their system calls are watched, recorded and
//! disturbed from outside, through ptrace. Knows nothing of how events are stored.

#![allow(
    clippy::print_stdout,
    reason = "the commands of a tool print their result"
)]

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod trials;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() -> anyhow::Result<std::process::ExitCode> {
    trials::run()
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() -> std::process::ExitCode {
    eprintln!("the trials know the system calls of Linux on x86-64, and run nowhere else");
    std::process::ExitCode::FAILURE
}
