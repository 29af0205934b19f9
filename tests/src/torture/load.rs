//! The everyday load: a few writers of small events, and subscribers who read them as they come.

use super::crowd::noted;
use crate::process::ServerProcess;
use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt;
use futures::future::try_join_all;
use icecore_client::{Client, Error, ExpectedRevision, StreamName};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// How many write.
const WRITERS: usize = 8;

/// What the streams of the load begin with.
const PREFIX: &str = "small-";

/// Before an append that was turned away is sent again.
const PAUSE: Duration = Duration::from_millis(10);

/// A subscriber of the load's streams.
pub(super) struct Follower {
    count: watch::Receiver<u64>,
    following: JoinHandle<Result<()>>,
}

impl Follower {
    /// Begins on a connection of its own.
    pub(super) fn start(server: &ServerProcess) -> Self {
        let (counted, count) = watch::channel(0);
        Self {
            count,
            following: tokio::spawn(follow(server.client(), counted)),
        }
    }

    async fn has(&self, count: u64) -> Result<()> {
        let mut counted = self.count.clone();
        let reached = counted.wait_for(|has| *has >= count).await;
        reached.map(drop).context("a subscriber has ended")
    }

    /// Ends it and says how many events it was handed.
    pub(super) async fn stop(self) -> Result<u64> {
        if self.following.is_finished() {
            self.following.await??;
            bail!("a subscriber has ended");
        }
        self.following.abort();
        Ok(*self.count.borrow())
    }
}

/// Takes every event once and in order.
async fn follow(client: Client, counted: watch::Sender<u64>) -> Result<()> {
    let mut next = HashMap::<StreamName, u64>::new();
    let mut events = client.subscribe_all().prefix(PREFIX).start().events();
    while let Some(event) = events.next().await {
        let event = event?;
        let next = next.entry(event.stream.clone()).or_default();
        ensure!(
            event.revision.get() == *next,
            "{next} is to come, not {event:?}"
        );
        *next += 1;
        counted.send_modify(|count| *count += 1);
    }
    Ok(())
}

/// Appends small events, each writer one after the other, and waits until all followers have them.
/// Says how long that took.
pub(super) async fn small_appends(
    server: &ServerProcess,
    followers: &[Follower],
    appends: usize,
) -> Result<Duration> {
    let since = Instant::now();
    let writers = (0..WRITERS).map(|writer| write(server.client(), writer, appends));
    try_join_all(writers).await?;
    let asking = server.client();
    let mut written = 0;
    for writer in 0..WRITERS {
        let info = asking.get_stream(&stream(writer)?).await?;
        written += info.state.last_revision().map_or(0, |last| last.get() + 1);
    }
    try_join_all(followers.iter().map(|follower| follower.has(written))).await?;
    Ok(since.elapsed())
}

async fn write(client: Client, writer: usize, appends: usize) -> Result<()> {
    let stream = stream(writer)?;
    for _ in 0..appends {
        let event = noted(200)?;
        loop {
            let one = [event.clone()];
            match client.append(&stream, ExpectedRevision::Any, one).await {
                Ok(_) => break,
                Err(Error::Exhausted { .. }) => sleep(PAUSE).await,
                Err(error) => return Err(error).context("append a small event"),
            }
        }
    }
    Ok(())
}

fn stream(writer: usize) -> Result<StreamName> {
    Ok(StreamName::new(format!("{PREFIX}{writer}"))?)
}
