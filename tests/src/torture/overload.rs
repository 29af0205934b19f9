//! More than a server takes: a thousand connections, hundreds of subscribers of whom some never read,
//! appends that do not fit into memory. Meanwhile a few writers and many subscribers go about their
//! business, as they did before without the crowd.

use super::crowd::{Crowd, EVENT_BYTES, FLOODING, Flood};
use super::files;
use super::load::{Follower, small_appends};
use crate::process::{Icecore, ServerProcess};
use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use icecore_client::{Error, RetryPolicy};
use std::fmt;
use std::time::Duration;
use tokio::time::timeout;

const MIB: u64 = 1_024 * 1_024;

/// What the default settings allow: sled's cache (384 MiB) and what it overshoots here (128), the chunk
/// cache (64), the ring (32), room for appends (81 and 4 for small ones), the window of ids (32), the
/// index that is not written yet (32), and the program itself with what its allocator keeps (128).
const SETTINGS_BYTES: u64 = (384 + 128 + 64 + 32 + 81 + 4 + 32 + 32 + 128) * MIB;

/// Buffers of a connection.
const CONNECTION_BYTES: u64 = 64 * 1_024;

/// What a connection may send ahead of the room that it waits for.
const WINDOW_BYTES: u64 = MIB;

/// What a subscriber is handed at a time; it is there as events and encoded.
const PAGE_BYTES: u64 = MIB / 2;

/// How many times longer the load may take in the crowd. A small append has up to 12 MiB of large ones
/// before it, and crowd and server share the machine. Measured: 2.7 to 9.2.
const SLOWDOWN_MAX: f64 = 60.0;

/// How long anything may stand still before the server counts as stuck.
const STUCK: Duration = Duration::from_secs(300);

/// Files that the server and this process need beside the connections.
const OTHER_FILES: usize = 200;

/// Connections of the load, of the flood, and of who asks.
const BUSY_CONNECTIONS: usize = FLOODING + 20;

/// How many come, and how much they do.
#[derive(Clone, Copy, Debug)]
pub struct Overload {
    /// Connections in all.
    pub connections: usize,
    /// Subscribers among them.
    pub subscribers: usize,
    /// Subscribers that never read.
    pub standing: usize,
    /// Small appends of each of the writers, before the crowd comes and again while it is there.
    pub appends: usize,
}

/// What a server withstood.
#[derive(Clone, Copy, Debug)]
pub struct Withstood {
    /// What it was put under; fewer where the system allows fewer open files.
    pub overload: Overload,
    /// How long the load took without the crowd.
    pub alone: Duration,
    /// How long the same load took in the crowd.
    pub crowded: Duration,
    /// Large appends that were written meanwhile.
    pub large: u64,
    /// Large appends that were turned away with `RESOURCE_EXHAUSTED`.
    pub turned_away: u64,
    /// Events that the subscribers who read were handed, each once.
    pub delivered: u64,
    /// Most memory that the server took, in bytes; 0 where the system does not tell.
    pub memory: u64,
    /// What it may take at most, in bytes.
    pub memory_limit: u64,
}

impl Overload {
    /// What is promised: a thousand connections, 500 subscribers of whom 50 never read.
    pub const FULL: Self = Self {
        connections: 1_000,
        subscribers: 500,
        standing: 50,
        appends: 100,
    };

    /// Puts a server under it.
    ///
    /// # Errors
    ///
    /// When the server takes more memory than it may, when somebody does not get what is theirs, or
    /// when nobody is told that a limit is used up.
    pub async fn run(self, icecore: &Icecore) -> Result<Withstood> {
        let overload = self.fitted()?;
        let directory = tempfile::tempdir().context("make a temporary directory")?;
        let connections_max = overload.connections.to_string();
        let subscriptions_max = overload.subscribers.to_string();
        let settings = [
            ["--connections-max", &connections_max],
            ["--subscriptions-max", &subscriptions_max],
            ["--admission-timeout", "50ms"],
        ];
        let settings = settings.concat();
        let server = icecore.serve_with(directory.path(), "127.0.0.1:0", &settings);
        let server = server.await?;
        let withstood = timeout(STUCK, overload.put_on(&server)).await;
        let withstood = withstood
            .context("come to the end in time")
            .and_then(|withstood| withstood)
            .with_context(|| format!("the server said:\n{}", server.said()))?;
        server.stop().await?;
        Ok(withstood)
    }

    /// As many as the system allows open files for, with the proportions kept.
    fn fitted(self) -> Result<Self> {
        let allowed = files::allow_most()?;
        let connections = self.connections.min(allowed.saturating_sub(OTHER_FILES));
        let part = |of: usize| of * connections / self.connections;
        let fitted = Self {
            connections,
            subscribers: part(self.subscribers),
            standing: part(self.standing),
            ..self
        };
        ensure!(fitted.standing > 0, "{allowed} open files are too few");
        Ok(fitted)
    }

    async fn put_on(self, server: &ServerProcess) -> Result<Withstood> {
        let reading = self.subscribers - self.standing;
        let followers = (0..reading).map(|_| Follower::start(server));
        let followers: Vec<_> = followers.collect();
        let alone = small_appends(server, &followers, self.appends).await?;

        let others = self.connections - self.subscribers;
        let others = others.saturating_sub(BUSY_CONNECTIONS);
        let mut crowd = Crowd::gather(server, self.standing, others).await?;
        let mut flood = Flood::start(server);
        flood.until_some_are_turned_away().await?;
        let crowded = small_appends(server, &followers, self.appends).await?;
        let (large, turned_away) = flood.stop().await?;
        crowd.take_some().await?;
        self.subscriptions_end(server).await?;

        let mut delivered = 0;
        for follower in followers {
            delivered += follower.stop().await?;
        }
        let memory = server.memory_max().unwrap_or_default();
        let withstood = Withstood {
            overload: self,
            alone,
            crowded,
            large,
            turned_away,
            delivered,
            memory,
            memory_limit: self.memory_limit(),
        };
        withstood.check()?;
        Ok(withstood)
    }

    /// One subscription too many is told so.
    async fn subscriptions_end(self, server: &ServerProcess) -> Result<()> {
        let client = server.client();
        let mut more = Vec::new();
        let limit = loop {
            ensure!(
                more.len() <= self.subscribers,
                "there is no end of subscriptions"
            );
            let call = client.subscribe_all().from_end();
            let mut subscription = call.reconnection(RetryPolicy::NEVER).start();
            match subscription.next().await.context("subscribe")? {
                Ok(_) => more.push(subscription),
                Err(Error::Exhausted { limit, .. }) => break limit,
                Err(error) => return Err(error).context("subscribe once too often"),
            }
        };
        ensure!(limit == "subscriptions_max", "the limit is called {limit}");
        Ok(())
    }

    /// What the server may take at most: what its settings allow, and something for everybody who is
    /// there. Nothing of it grows with what is stored or with how long somebody stands still.
    fn memory_limit(self) -> u64 {
        let connections = self.connections as u64 * CONNECTION_BYTES;
        let flooding = FLOODING as u64 * WINDOW_BYTES;
        let subscribers = self.subscribers as u64 * PAGE_BYTES * 2;
        // The event that each of them does not take: in memory, encoded, and on its way.
        let standing = self.standing as u64 * 3 * EVENT_BYTES as u64;
        SETTINGS_BYTES + connections + flooding + subscribers + standing
    }
}

impl Withstood {
    fn check(&self) -> Result<()> {
        ensure!(
            self.memory < self.memory_limit,
            "it took too much memory: {self}"
        );
        ensure!(
            self.slowdown() < SLOWDOWN_MAX,
            "others were slowed too much: {self}"
        );
        ensure!(self.turned_away > 0, "nobody was turned away: {self}");
        Ok(())
    }

    /// How many times longer the load took in the crowd.
    pub fn slowdown(&self) -> f64 {
        self.crowded.as_secs_f64() / self.alone.as_secs_f64()
    }
}

impl fmt::Display for Withstood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Overload {
            connections,
            subscribers,
            standing,
            ..
        } = self.overload;
        write!(
            f,
            "connections={connections} subscribers={subscribers} standing={standing} \
             alone_ms={} crowded_ms={} slowdown={:.1} large_appends={} turned_away={} \
             events_delivered={} memory_max_mib={} memory_limit_mib={}",
            self.alone.as_millis(),
            self.crowded.as_millis(),
            self.slowdown(),
            self.large,
            self.turned_away,
            self.delivered,
            self.memory / MIB,
            self.memory_limit / MIB,
        )
    }
}
