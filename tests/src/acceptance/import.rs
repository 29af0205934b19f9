//! The import, and what happens to it on the way.

use super::follow::Follower;
use super::report;
use crate::process::{Icecore, ServerProcess};
use anyhow::{Context, Result, ensure};
use icecore_client::Position;
use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Instant;
use tokio::process::Child;

/// Imports a log while the server is stopped in order once and killed once together with the import.
/// Gives the server that runs in the end.
pub(super) async fn interrupted(
    icecore: &Icecore,
    server: ServerProcess,
    data: &Path,
    log: &Path,
    count: usize,
    follower: &Follower,
) -> Result<ServerProcess> {
    let since = Instant::now();
    let events = u64::try_from(count)?;
    let part = |n: u64| Position::new(events * n / 3);
    let address = server.address().to_owned();

    let mut import = start(icecore, &server, &["import"], log)?;
    wait(&mut import, follower, part(1)).await?;
    server.stop().await.context("stop within an import")?;
    println!("stopped at {} of {count}", follower.position());
    let server = icecore.serve_with(data, &address, &[]).await?;
    wait(&mut import, follower, part(2)).await?;
    let broke_off = import.try_wait()?.is_some_and(|status| !status.success());
    ensure!(
        !broke_off,
        "the import did not survive: {}",
        said(import).await?
    );

    server.kill().await?;
    import
        .start_kill()
        .or_else(|error| match import.try_wait() {
            Ok(Some(_)) => Ok(()),
            _ => Err(error),
        })?;
    import.wait().await?;
    println!("killed at {} of {count}", follower.position());
    let server = icecore.serve_with(data, &address, &[]).await?;
    let path = path(log)?;
    icecore.must(&server, &["import", "--resume", path]).await?;
    report("imported over all that", count, since);

    let last = server.client().stats().await?.last_position;
    icecore.must(&server, &["import", "--resume", path]).await?;
    let then = server.client().stats().await?.last_position;
    ensure!(then == last, "resuming a finished import wrote something");
    Ok(server)
}

/// Imports a log into an empty store.
pub(super) async fn whole(icecore: &Icecore, server: &ServerProcess, log: &Path) -> Result<()> {
    let since = Instant::now();
    icecore.must(server, &["import", path(log)?]).await?;
    let seconds = since.elapsed().as_secs_f64();
    let bytes = fs::metadata(log)?.len();
    println!("imported {bytes} bytes in one go in {seconds:.2} s");
    Ok(())
}

fn start(
    icecore: &Icecore,
    server: &ServerProcess,
    arguments: &[&str],
    log: &Path,
) -> Result<Child> {
    let mut command = icecore.command(arguments);
    command.arg(log).env("ICECORE_SERVER", server.url());
    command.spawn().context("start icecore import")
}

/// Waits until the follower has come to a position, or the import has ended.
async fn wait(import: &mut Child, follower: &Follower, position: Position) -> Result<()> {
    tokio::select! {
        reached = follower.reached(position) => reached,
        ended = import.wait() => ended.map(drop).context("wait for the import"),
    }
}

async fn said(child: Child) -> Result<String> {
    let Output { status, stderr, .. } = child.wait_with_output().await?;
    Ok(format!("{status}: {}", String::from_utf8_lossy(&stderr)))
}

fn path(log: &Path) -> Result<&str> {
    log.to_str().context("name the log in UTF-8")
}
