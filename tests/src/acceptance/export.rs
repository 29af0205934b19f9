//! What is exported, imported elsewhere and exported again is the same file.

use super::import;
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
) -> Result<()> {
    let (first, second) = (directory.join("first"), directory.join("second"));
    export(icecore, server, &first).await?;
    let other = icecore.serve(&directory.join("other")).await?;
    import::whole(icecore, &other, &first).await?;
    export(icecore, &other, &second).await?;
    other.stop().await?;
    compare(&first, &second)
}

async fn export(icecore: &Icecore, server: &ServerProcess, to: &Path) -> Result<()> {
    let since = Instant::now();
    let file = File::create(to).with_context(|| format!("make {}", to.display()))?;
    let mut command = icecore.command(&["export", "--all"]);
    command.env("ICECORE_SERVER", server.url()).stdout(file);
    let output = command.output().await.context("run icecore export")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", output.status);
    let seconds = since.elapsed().as_secs_f64();
    println!(
        "exported {} bytes in {seconds:.2} s",
        fs::metadata(to)?.len()
    );
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
