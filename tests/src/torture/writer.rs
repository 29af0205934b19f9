//! Writers that go on over every kill. All but the impatient ones send an append until they know what
//! became of it, with the same event ids; so each of theirs must be there once.

use super::check::Receipts;
use super::plan::{Kind, Plan};
use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use icecore_client::{Append, Appended, Client, Error, Position, RetryPolicy, StreamName};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Before something that failed is tried again, and before an impatient writer goes on.
const PAUSE: Duration = Duration::from_millis(30);
const IMPATIENT_PAUSE: Duration = Duration::from_millis(200);

/// Appends that a session has under way.
const UNDER_WAY: usize = 24;

/// One append of so many is sent once more after its answer.
const AGAIN_ONE_OF: u8 = 16;

/// A client that tries for a while by itself, a little more often than usual.
const RETRY: RetryPolicy = RetryPolicy {
    attempts_max: 6,
    pause_first: Duration::from_millis(20),
    pause_max: Duration::from_millis(500),
};

/// A writer at work.
pub(super) struct Writer {
    plan: Plan,
    number: u16,
    client: Client,
    random: Rng,
    receipts: Receipts,
    /// The next revision of its own streams, counting what is under way.
    next: HashMap<StreamName, u64>,
    /// The last position of its own.
    last: Position,
    stop: watch::Receiver<bool>,
    /// Counts the answers of all writers.
    acknowledged: watch::Sender<u64>,
    unknown: u64,
}

/// What a writer brings back.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) receipts: Receipts,
    /// How many appends broke off after they were sent.
    pub(super) unknown: u64,
}

/// Starts a writer, which ends after `stop` when it knows of all of its appends.
pub(super) fn start(
    plan: Plan,
    writer: u16,
    url: &str,
    acknowledged: watch::Sender<u64>,
    stop: watch::Receiver<bool>,
) -> Result<JoinHandle<Result<Written>>> {
    let retry = match Kind::of(writer) {
        Kind::Impatient => RetryPolicy::NEVER,
        _ => RETRY,
    };
    let writer = Writer {
        plan,
        number: writer,
        client: Client::builder(url).retry(retry).connect_lazy()?,
        random: Rng::with_seed(u64::from(writer)),
        receipts: Receipts::new(),
        next: HashMap::new(),
        last: Position::START,
        stop,
        acknowledged,
        unknown: 0,
    };
    Ok(tokio::spawn(writer.run()))
}

impl Writer {
    async fn run(mut self) -> Result<Written> {
        let writer = self.number;
        let written = match Kind::of(writer) {
            Kind::Session => self.sessions().await,
            _ => self.one_by_one().await,
        };
        written.with_context(|| format!("write as writer {writer}"))?;
        Ok(Written {
            receipts: self.receipts,
            unknown: self.unknown,
        })
    }

    async fn one_by_one(&mut self) -> Result<()> {
        while !*self.stop.borrow() {
            let append = self.next_append(self.receipts.len())?;
            let Some(appended) = self.append(&append).await? else {
                self.receipts.push(None);
                continue;
            };
            let patient = Kind::of(self.number) != Kind::Impatient;
            if patient && self.random.u8(..AGAIN_ONE_OF) == 0 {
                let again = self.append(&append).await?;
                ensure!(
                    again.as_ref() == Some(&appended),
                    "{again:?} after {appended:?}"
                );
            }
            self.receive(&appended);
        }
        Ok(())
    }

    /// Sends an append until its outcome is known; an impatient writer sends it once.
    async fn append(&mut self, append: &Append) -> Result<Option<Appended>> {
        let mut broke_off = false;
        let appended = loop {
            match self.client.append_request(append).await {
                Ok(appended) => break Some(appended),
                Err(error) if passes(&error) => {
                    broke_off |= matches!(error, Error::OutcomeUnknown { .. });
                }
                Err(error) => return Err(error).context("append"),
            }
            if Kind::of(self.number) == Kind::Impatient {
                sleep(IMPATIENT_PAUSE).await;
                break None;
            }
            sleep(PAUSE).await;
        };
        self.unknown += u64::from(broke_off);
        Ok(appended)
    }

    /// One session after the other. What has no answer when one breaks goes first in the next one.
    async fn sessions(&mut self) -> Result<()> {
        let mut under_way = VecDeque::new();
        let mut broke_off = 0;
        loop {
            if *self.stop.borrow() && under_way.is_empty() {
                return Ok(());
            }
            match self.session(&mut under_way).await {
                Err(error) if passes(&error) => {
                    // Counted once for each append, however often it is sent.
                    let sent = self.receipts.len() + under_way.len();
                    self.unknown += (sent - broke_off.max(self.receipts.len())) as u64;
                    broke_off = sent;
                    sleep(PAUSE).await;
                }
                Err(error) => return Err(error).context("append in a session"),
                Ok(()) => {}
            }
        }
    }

    /// A session until it breaks, or until the end.
    async fn session(&mut self, under_way: &mut VecDeque<Append>) -> Result<(), Error> {
        let mut session = self.client.append_session().await?;
        let mut answers = VecDeque::new();
        for append in under_way.iter() {
            answers.push_back(session.append(append).await?);
        }
        loop {
            while under_way.len() < UNDER_WAY && !*self.stop.borrow() {
                let number = self.receipts.len() + under_way.len();
                let append = self.next_append(number);
                under_way.push_back(append.map_err(|e| Error::internal(format!("{e:#}")))?);
                let append = under_way.back().expect("it was put there");
                answers.push_back(session.append(append).await?);
            }
            let Some(answer) = answers.pop_front() else {
                session.close().await;
                return Ok(());
            };
            let appended = answer.await?;
            under_way.pop_front();
            self.receive(&appended);
        }
    }

    fn next_append(&mut self, number: usize) -> Result<Append> {
        let place = (self.number, u32::try_from(number)?);
        let next = |stream: &StreamName| self.next.get(stream).copied().unwrap_or_default();
        let append = self.plan.append(place, next, self.last)?;
        for event in append.events() {
            let stream = &append.streams()[event.stream].stream;
            *self.next.entry(stream.clone()).or_default() += 1;
        }
        Ok(append)
    }

    fn receive(&mut self, appended: &Appended) {
        self.last = appended.last_position;
        self.receipts.push(Some(appended.into()));
        self.acknowledged.send_modify(|count| *count += 1);
    }
}

/// Whether an error is what a kill does.
fn passes(error: &Error) -> bool {
    matches!(
        error,
        Error::OutcomeUnknown { .. } | Error::Unreachable { .. } | Error::Unavailable { .. }
    )
}
