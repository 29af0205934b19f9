//! Those who are too many: subscribers that never read, connections that do nothing, and writers of
//! more than fits into memory.

use crate::process::ServerProcess;
use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use icecore_client::{
    Client, Error, EventData, ExpectedRevision, RetryPolicy, StreamName, Subscription,
    SubscriptionMessage, new_event_id,
};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Writers of the flood. Together they send more than there is room for.
pub(super) const FLOODING: usize = 48;

/// What each of them appends at a time: 4 MiB, 192 in all.
const EVENTS: usize = 4;
pub(super) const EVENT_BYTES: usize = 1_024 * 1_024;

/// Appends that must have been turned away before the flood counts as one.
const TURNED_AWAY_MIN: u64 = 5;

/// Who is connected and does nothing.
pub(super) struct Crowd {
    standing: Vec<Subscription>,
    idle: Vec<Client>,
    silent: Vec<TcpStream>,
}

impl Crowd {
    /// Subscribers that read no further than to the end of what is there, and other connections:
    /// most of them have greeted the server, some have not.
    pub(super) async fn gather(
        server: &ServerProcess,
        standing: usize,
        others: usize,
    ) -> Result<Self> {
        let mut crowd = Self {
            standing: Vec::new(),
            idle: Vec::new(),
            silent: Vec::new(),
        };
        for n in 0..others {
            if n % 10 != 0 {
                crowd.idle.push(Client::connect(server.url()).await?);
            } else {
                let connection = TcpStream::connect(server.address()).await;
                crowd.silent.push(connection.context("connect")?);
            }
        }
        for _ in 0..standing {
            let mut subscription = server.client().subscribe_all().start();
            loop {
                let message = subscription.next().await.context("subscribe")??;
                if matches!(message, SubscriptionMessage::CaughtUp { .. }) {
                    break;
                }
            }
            crowd.standing.push(subscription);
        }
        Ok(crowd)
    }

    /// One of those who stood still goes on and is handed the next events, none left out.
    pub(super) async fn take_some(&mut self) -> Result<()> {
        const SOME: usize = 64;
        let subscription = self.standing.pop().context("somebody stands still")?;
        let events = subscription.events().take(SOME);
        let positions: Vec<_> = events
            .map(|event| event.map(|event| event.position))
            .collect()
            .await;
        let positions = positions.into_iter().collect::<Result<Vec<_>, _>>()?;
        let dense = positions.windows(2).all(|two| two[0].next() == two[1]);
        ensure!(
            positions.len() == SOME && dense,
            "it was handed {positions:?}"
        );
        Ok(())
    }
}

/// Writers of large appends who do not wait for each other.
pub(super) struct Flood {
    stop: watch::Sender<bool>,
    turned_away: watch::Receiver<u64>,
    writing: Vec<JoinHandle<Result<u64>>>,
}

impl Flood {
    /// Begins.
    pub(super) fn start(server: &ServerProcess) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (count, turned_away) = watch::channel(0);
        let writing = (0..FLOODING).map(|writer| {
            let client = Client::builder(server.url()).retry(RetryPolicy::NEVER);
            tokio::spawn(flood(
                client.connect_lazy(),
                writer,
                stopped.clone(),
                count.clone(),
            ))
        });
        Self {
            writing: writing.collect(),
            stop,
            turned_away,
        }
    }

    /// Waits until there is no more room for all of them.
    pub(super) async fn until_some_are_turned_away(&mut self) -> Result<()> {
        let enough = self.turned_away.wait_for(|count| *count >= TURNED_AWAY_MIN);
        enough.await.map(drop).context("the flood has ended")
    }

    /// Ends it. Says how many appends were written and how many were turned away.
    pub(super) async fn stop(self) -> Result<(u64, u64)> {
        self.stop.send_replace(true);
        let mut written = 0;
        for writing in self.writing {
            written += writing.await??;
        }
        Ok((written, *self.turned_away.borrow()))
    }
}

async fn flood(
    client: Result<Client, Error>,
    writer: usize,
    stopped: watch::Receiver<bool>,
    turned_away: watch::Sender<u64>,
) -> Result<u64> {
    let client = client?;
    let stream = StreamName::new(format!("flood-{writer}"))?;
    let mut written = 0;
    while !*stopped.borrow() {
        let events = (0..EVENTS).map(|_| noted(EVENT_BYTES));
        let events = events.collect::<Result<Vec<_>>>()?;
        match client.append(&stream, ExpectedRevision::Any, events).await {
            Ok(_) => written += 1,
            Err(Error::Exhausted { limit, .. }) if limit == "in_flight_bytes" => {
                turned_away.send_modify(|count| *count += 1);
            }
            Err(error) => return Err(error).context("append too much"),
        }
    }
    Ok(written)
}

/// An event of this many bytes that do not compress.
pub(super) fn noted(bytes: usize) -> Result<EventData> {
    let mut data = vec![0; bytes];
    fastrand::fill(&mut data);
    Ok(EventData::json(new_event_id(), "Noted", data)?)
}
