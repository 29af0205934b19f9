//! The acceptance run: an event log goes through the built binary over a real socket, while a
//! subscription follows it and the server is stopped and killed, and comes back event for event.
//!
//! ```text
//! import ----> stop, start ----> kill both, start ----> import --resume ----> again: writes nothing
//! follow ------------------------------------------------------------------> saw each event once
//!                                             read everything, each stream, backwards, as of a time
//!                                             export ----> import elsewhere ----> the same export
//! ```

mod export;
mod follow;
mod import;
mod read;

use crate::log::read_log;
use crate::process::Icecore;
use anyhow::{Context, Result};
use follow::Follower;
use std::fmt;
use std::path::Path;
use std::time::Instant;

/// Puts a log through the binary and compares what comes back. Says on standard output how far it is
/// and how fast that went.
///
/// # Errors
///
/// At the first difference.
pub async fn accept(icecore: &Icecore, log: &Path) -> Result<()> {
    let expected = read_log(log)?;
    println!("{}: {} events", log.display(), expected.len());
    let directory = tempfile::tempdir().context("make a temporary directory")?;
    let data = directory.path().join("store");

    let server = icecore.serve(&data).await?;
    let follower = Follower::start(&server.client(), &expected);
    let server =
        import::interrupted(icecore, server, &data, log, expected.len(), &follower).await?;
    let client = server.client();
    follower.finish(&client, &expected).await?;
    read::everything(&client, &expected).await?;
    read::as_of_by_command(icecore, &server, &expected).await?;
    export::and_back(icecore, &server, directory.path(), expected.len()).await?;

    let server = restarted(icecore, server, &data).await?;
    read::everything(&server.client(), &expected).await?;
    let took = server.stop().await?;
    println!("the server stopped within {took:?}");
    Ok(())
}

/// Stops a server in order and starts it again, in the same place.
async fn restarted(
    icecore: &Icecore,
    server: crate::ServerProcess,
    data: &Path,
) -> Result<crate::ServerProcess> {
    let address = server.address().to_owned();
    server.stop().await?;
    icecore.serve_with(data, &address, &[]).await
}

/// Says how many there were and how fast it went.
fn report(what: impl fmt::Display, events: usize, since: Instant) {
    let seconds = since.elapsed().as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = events as f64 / seconds;
    println!("{what}: {events} events in {seconds:.2} s, {rate:.0}/s");
}
