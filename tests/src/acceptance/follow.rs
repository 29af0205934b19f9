//! A filtered subscription that is there before the first event and stays over every restart.

use crate::log::Expected;
use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt;
use icecore_client::{Client, Position, RecordedEvent, Subscription, SubscriptionMessage};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long the subscription may take to come to the end once everything is written.
const STUCK: Duration = Duration::from_secs(120);

/// A subscription at work.
pub(super) struct Follower {
    types: BTreeSet<String>,
    progress: watch::Receiver<Position>,
    end: watch::Sender<Option<Position>>,
    seen: JoinHandle<Result<Seen>>,
}

/// What the subscription delivered.
#[derive(Default)]
struct Seen {
    events: Vec<RecordedEvent>,
    connections: usize,
}

impl Follower {
    /// Follows every third of the log's event types.
    pub(super) fn start(client: &Client, expected: &[Expected]) -> Self {
        let mut counts = BTreeMap::<&str, usize>::new();
        for event in expected {
            *counts.entry(&event.line.event_type).or_default() += 1;
        }
        let types = counts.into_keys().step_by(3);
        let types: BTreeSet<_> = types.map(ToOwned::to_owned).collect();
        let subscription = client.subscribe_all().types(types.iter().cloned()).start();
        let (moved, progress) = watch::channel(Position::START);
        let (end, until) = watch::channel(None);
        let seen = tokio::spawn(follow(subscription, moved, until));
        Self {
            types,
            progress,
            end,
            seen,
        }
    }

    /// Waits until everything up to a position was looked at.
    pub(super) async fn reached(&self, position: Position) -> Result<()> {
        let mut progress = self.progress.clone();
        let reached = progress.wait_for(|at| *at >= position).await;
        reached.map(drop).context("follow on")
    }

    /// How far it has come.
    pub(super) fn position(&self) -> Position {
        *self.progress.borrow()
    }

    /// Waits until it has come to the last event that it is to see, and checks what it saw.
    pub(super) async fn finish(self, client: &Client, expected: &[Expected]) -> Result<()> {
        let types = self.types.iter().cloned();
        let last = client.read_all().types(types).backwards().limit(1).await?;
        let last = last.first().map(|event| event.position);
        self.end.send_replace(Some(last.unwrap_or_default()));
        let Seen {
            events,
            connections,
        } = timeout(STUCK, self.seen)
            .await
            .context("follow to the end in time")??
            .context("follow")?;
        let wanted = |event: &&Expected| self.types.contains(&event.line.event_type);
        let wanted: Vec<_> = expected.iter().filter(wanted).collect();
        for (expected, found) in wanted.iter().zip(&events) {
            expected.check(found).context("follow")?;
        }
        let (seen, of) = (events.len(), wanted.len());
        ensure!(seen == of, "the subscription saw {seen} of {of} events");
        ensure!(events.is_sorted_by(|a, b| a.position < b.position));
        println!(
            "followed {} types over {connections} connections: {seen} events, each once",
            self.types.len()
        );
        Ok(())
    }
}

async fn follow(
    mut subscription: Subscription,
    moved: watch::Sender<Position>,
    mut until: watch::Receiver<Option<Position>>,
) -> Result<Seen> {
    let mut seen = Seen::default();
    loop {
        let end = *until.borrow_and_update();
        if end.is_some_and(|end| *moved.borrow() >= end) {
            return Ok(seen);
        }
        let message = tokio::select! {
            message = subscription.next() => message,
            changed = until.changed() => {
                changed.context("wait for the end")?;
                continue;
            }
        };
        let at = match message.context("go on for ever")?? {
            SubscriptionMessage::Confirmed { .. } => {
                seen.connections += 1;
                continue;
            }
            SubscriptionMessage::Events(events) => {
                let Some(last) = events.last() else {
                    bail!("a message without events");
                };
                let last = last.position;
                seen.events.extend(events);
                last
            }
            SubscriptionMessage::Checkpoint(position)
            | SubscriptionMessage::CaughtUp { position } => position,
        };
        moved.send_modify(|position| *position = at.max(*position));
    }
}
