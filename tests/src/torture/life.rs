//! The life of one store: killed at random moments while it is written to and followed, and compared
//! in the end.

use super::check::{Check, Compared, Faults, Receipts};
use super::kills::Survived;
use super::plan::{Plan, WRITERS};
use super::relay::Relay;
use super::subscriber::{Follows, Subscriber};
use super::writer::{self, Written};
use crate::process::{Icecore, ServerProcess};
use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use futures::TryStreamExt;
use icecore_client::{Client, ListStreams, Read, RecordedEvent};
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

/// How long the writers may stand still before the server counts as stuck.
const STUCK: Duration = Duration::from_secs(120);

/// Small caches, so that reads go to the disk, and small index runs, so that they are cut and merged
/// all the time.
const SETTINGS: [&str; 8] = [
    "--index-run-events",
    "700",
    "--ring-bytes",
    "4MiB",
    "--chunk-cache-bytes",
    "1MiB",
    "--id-window-events",
    "200000",
];

/// When a server is ended.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// So long after its process began, whatever it does then.
    WhileStarting(Duration),
    /// When it has acknowledged so many appends, and a little later.
    AfterAppends(u64, Duration),
    /// So long after it was ready.
    AfterReady(Duration),
}

impl Moment {
    fn random(random: &mut Rng) -> Self {
        let mut up_to = |ms: u64| Duration::from_micros(random.u64(..ms * 1_000));
        let (starting, little, ready) = (up_to(300), up_to(20), up_to(500));
        match random.u8(..8) {
            0 => Self::WhileStarting(starting),
            1..5 => Self::AfterAppends(random.u64(1..300), little),
            _ => Self::AfterReady(ready),
        }
    }
}

/// A store, and everybody around it.
struct Life<'a> {
    icecore: &'a Icecore,
    data: &'a Path,
    relay: Relay,
    acknowledged: watch::Receiver<u64>,
    survived: Survived,
}

/// Kills a store so often and compares what it holds then with what it was given.
pub(super) async fn live(
    icecore: &Icecore,
    data: &Path,
    kills: u64,
    seed: u64,
) -> Result<Survived> {
    let plan = Plan::new(seed);
    let relay = Relay::start().await?;
    let url = relay.url();
    let (count, acknowledged) = watch::channel(0);
    let (stop, stopped) = watch::channel(false);
    let writers = (0..WRITERS)
        .map(|writer| writer::start(plan, writer, &url, count.clone(), stopped.clone()))
        .collect::<Result<Vec<_>>>()?;
    let subscribers = Follows::EVERY
        .into_iter()
        .map(|follows| Subscriber::start(follows, &url, seed))
        .collect::<Result<Vec<_>>>()?;
    let mut life = Life {
        icecore,
        data,
        relay,
        acknowledged,
        survived: Survived::default(),
    };
    life.killed(kills, &mut Rng::with_seed(seed)).await?;

    let server = life.start().await?;
    stop.send_replace(true);
    let receipts = life.finished(writers).await?;
    let client = server.client();
    let (compared, mut faults, ids) = compared(&client, plan, &receipts).await?;
    life.survived.compared(compared);
    for subscriber in subscribers {
        let follows = subscriber.follows;
        let wanted = follows.wanted(plan, &ids)?;
        let end = wanted.last().map_or(0, |(position, _)| *position);
        let handed = subscriber.finish(end).await?;
        faults.compare(&format!("subscriber {follows:?}"), &wanted, &handed.events);
        life.survived.followed(&handed);
    }
    life.survived.faults(&faults);
    ensure!(faults.is_empty(), "{faults}");
    each_stream_by_itself(&client, &ids).await?;
    life.survived.memory(&server);
    life.relay.lead_to(None);
    server.stop().await?;
    Ok(life.survived)
}

impl Life<'_> {
    async fn killed(&mut self, kills: u64, random: &mut Rng) -> Result<()> {
        for kill in 1..=kills {
            let moment = Moment::random(random);
            self.until(moment)
                .await
                .with_context(|| format!("kill {kill}, {moment:?}"))?;
            self.survived.kills += 1;
            // Now and then it is stopped in order in between.
            if random.u8(..10) == 0 {
                let server = self.start().await?;
                server
                    .stop()
                    .await
                    .with_context(|| format!("stop after kill {kill}"))?;
                self.relay.lead_to(None);
            }
        }
        Ok(())
    }

    /// Starts the server and kills it at that moment.
    async fn until(&mut self, moment: Moment) -> Result<()> {
        if let Moment::WhileStarting(after) = moment {
            return self
                .icecore
                .kill_starting(self.data, &SETTINGS, after)
                .await;
        }
        let server = self.start().await?;
        match moment {
            Moment::AfterAppends(count, little) => {
                let enough = *self.acknowledged.borrow() + count;
                let mut acknowledged = self.acknowledged.clone();
                let moved = timeout(STUCK, acknowledged.wait_for(|count| *count >= enough)).await;
                let moved = moved.map(|moved| moved.is_ok());
                ensure!(
                    moved == Ok(true),
                    "the writers stand still:\n{}",
                    server.said()
                );
                sleep(little).await;
            }
            Moment::AfterReady(after) | Moment::WhileStarting(after) => sleep(after).await,
        }
        self.survived.memory(&server);
        server.kill().await?;
        self.relay.lead_to(None);
        Ok(())
    }

    async fn start(&self) -> Result<ServerProcess> {
        let server = self
            .icecore
            .serve_with(self.data, "127.0.0.1:0", &SETTINGS)
            .await?;
        self.relay.lead_to(Some(server.address().parse()?));
        Ok(server)
    }

    /// What the writers know when each of them has come to its end.
    async fn finished(
        &mut self,
        writers: Vec<JoinHandle<Result<Written>>>,
    ) -> Result<Vec<Receipts>> {
        let mut receipts = Vec::new();
        for writer in writers {
            let written = timeout(STUCK, writer).await;
            let written = written.context("a writer does not come to its end")???;
            self.survived.unknown += written.unknown;
            receipts.push(written.receipts);
        }
        Ok(receipts)
    }
}

/// Reads everything and holds it against what was sent.
async fn compared(
    client: &Client,
    plan: Plan,
    receipts: &[Receipts],
) -> Result<(Compared, Faults, Vec<Uuid>)> {
    let mut check = Check::new(plan, receipts);
    let mut read = Read::all();
    read.filter = icecore_client::Filter::everything();
    let mut events = client.read(read).stream();
    while let Some(event) = events.try_next().await.context("read everything")? {
        check.take(&event)?;
    }
    Ok(check.finish())
}

/// Reads each stream, which the index leads to, and compares with the log.
async fn each_stream_by_itself(client: &Client, ids: &[Uuid]) -> Result<()> {
    let streams = client.list_streams(ListStreams::default()).await?;
    ensure!(
        streams.next_after.is_none(),
        "more streams than on one page"
    );
    let mut found = 0;
    for info in streams.streams {
        let stream = &info.stream;
        let mut events = client.read_stream(stream).stream();
        let mut last = None::<RecordedEvent>;
        while let Some(event) = events.try_next().await.context("read a stream")? {
            let in_log = usize::try_from(event.position.get() - 1)?;
            let next = last.as_ref().map_or(0, |last| last.revision.get() + 1);
            let is_next = event.revision.get() == next && event.stream == *stream;
            ensure!(
                is_next && ids.get(in_log) == Some(&event.id),
                "`{stream}` has {event:?}"
            );
            found += 1;
            last = Some(event);
        }
    }
    ensure!(
        found == ids.len(),
        "the streams have {found} events, the log has {}",
        ids.len()
    );
    Ok(())
}
