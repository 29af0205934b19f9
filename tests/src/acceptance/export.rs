//! What is exported, imported elsewhere and exported again is the same file.

use super::{import, report};
use crate::process::{Icecore, ServerProcess};
use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, File};
use std::path::Path;
use std::time::Instant;

/// Exports a store, imports that into an empty one and exports that.
pub(super) async fn and_back(
    icecore: &Icecore,
    server: &ServerProcess,
    directory: &Path,
    events: usize,
) -> Result<()> {
    let (first, second) = (directory.join("first"), directory.join("second"));
    export(icecore, server, &first, events).await?;
    let other = icecore.serve(&directory.join("other")).await?;
    import::whole(icecore, &other, &first).await?;
    export(icecore, &other, &second, events).await?;
    other.stop().await?;
    compare(&first, &second)
}

async fn export(icecore: &Icecore, server: &ServerProcess, to: &Path, events: usize) -> Result<()> {
    let since = Instant::now();
    let file = File::create(to).with_context(|| format!("make {}", to.display()))?;
    let mut command = icecore.command(&["export", "--all"]);
    command.env("ICECORE_SERVER", server.url()).stdout(file);
    // `output` would read standard output itself.
    let child = command.spawn().context("start icecore export")?;
    let output = child.wait_with_output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", output.status);
    let exported = fs::read_to_string(to)?.lines().count();
    ensure!(exported == events, "{exported} of {events} were exported");
    report("exported", exported, since);
    Ok(())
}

fn compare(first: &Path, second: &Path) -> Result<()> {
    let (first, second) = (fs::read(first)?, fs::read(second)?);
    if first == second {
        return Ok(());
    }
    let lines = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (first, second) = (lines(&first), lines(&second));
    let mut pairs = (1..).zip(first.lines().zip(second.lines()));
    match pairs.find(|(_, (first, second))| first != second) {
        Some((number, (first, second))) => {
            bail!("the exports differ at line {number}:\n{first}\n{second}")
        }
        None => bail!(
            "the exports have {} and {} lines",
            first.lines().count(),
            second.lines().count()
        ),
    }
}
