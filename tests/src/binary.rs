//! Where the binary under test is.

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;
use std::{env, fs, io};

/// The `icecore` that belongs to this test: from the same build, not older than its sources.
///
/// `cargo test --workspace` builds it beside the tests. When only some packages were built, or by
/// another tool, it is built here.
///
/// # Panics
///
/// When it cannot be built.
pub fn icecore() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let beside = beside_this_test();
        beside.filter(|path| is_fresh(path)).unwrap_or_else(|| {
            build(&["--profile=dev"]).unwrap_or_else(|error| panic!("build icecore: {error:#}"))
        })
    })
}

/// Builds `icecore` with these further arguments of `cargo build` and says where it is.
///
/// # Errors
///
/// When it does not build.
pub fn build(arguments: &[&str]) -> Result<PathBuf> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--package=icecore-cli", "--bin=icecore"])
        .args(["--message-format=json-render-diagnostics"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(std::process::Stdio::inherit());
    let output = cargo.output().context("run cargo build")?;
    ensure!(output.status.success(), "cargo build: {}", output.status);
    let messages = String::from_utf8(output.stdout)?;
    let artifacts = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut executables = artifacts.filter_map(|artifact| {
        let executable = artifact.get("executable")?.as_str()?;
        Some(PathBuf::from(executable))
    });
    executables
        .next_back()
        .context("find the binary that was built")
}

/// `target/debug/icecore`, seen from `target/debug/deps/a_test`.
fn beside_this_test() -> Option<PathBuf> {
    let test = env::current_exe().ok()?;
    let path = test.parent()?.parent()?.join("icecore");
    path.is_file().then_some(path)
}

/// Folders whose sources make the binary, and what in them does not.
const SOURCES: [&str; 4] = ["client", "crates", "proto", "server"];
const NOT_IN_BINARY: [&str; 5] = ["benches", "testing", "tests", "tests.rs", "xtask"];

/// Whether no source is newer. (Cargo writes its own list of sources only for what it was asked to
/// build, and the tests are what it was asked for.)
fn is_fresh(binary: &Path) -> bool {
    let built = fs::metadata(binary).and_then(|file| file.modified());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    built.is_ok_and(|built| {
        let older = |folder: &&str| is_older(&root.join(folder), built).unwrap_or(false);
        SOURCES.iter().all(older)
    })
}

/// Whether everything in a folder was changed before the binary was built.
fn is_older(folder: &Path, built: SystemTime) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if NOT_IN_BINARY.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let is_older = if entry.file_type()?.is_dir() {
            is_older(&entry.path(), built)?
        } else {
            entry.metadata()?.modified()? <= built
        };
        if !is_older {
            return Ok(false);
        }
    }
    Ok(true)
}
