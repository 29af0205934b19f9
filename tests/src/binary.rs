//! Where the binary under test is.

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;
use std::{env, fs};

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

/// Whether no source is newer. Cargo lists the sources of a binary in a file beside it, like a line of
/// a makefile.
fn is_fresh(binary: &Path) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|file| file.modified());
    let check = || -> Option<bool> {
        let built: SystemTime = changed(binary).ok()?;
        let list = fs::read_to_string(binary.with_extension("d")).ok()?;
        let (_, sources) = list.split_once(": ")?;
        let mut sources = sources.split_whitespace();
        Some(sources.all(|source| changed(Path::new(source)).is_ok_and(|time| time <= built)))
    };
    check().unwrap_or(false)
}
