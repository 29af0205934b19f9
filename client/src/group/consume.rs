//! A consumer of a group: a stream of events to be answered, which joins again when the connection
//! breaks or the group sends it away.

use crate::call::{not_understood, reading};
use crate::client::Client;
use crate::retry::RetryPolicy;
use crate::subscribe::passes;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use icecore_core::{
    ConsumerId, Error, Finish, GroupDelivery, GroupId, GroupProblem, NackAction, RecordedEvent,
    Result, Settled,
};
use icecore_wire::proto::consume_request::Message as Request;
use icecore_wire::proto::consume_response::Message as Response;
use icecore_wire::{ConsumeMessage, Join, decode_deliveries, joined_consumer, proto};
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Answers that wait to be sent.
const ANSWERS_MAX: usize = 1_024;

/// Answers that are sent together.
const ANSWERS_AT_ONCE: usize = 256;

/// How long the server may take to let a consumer leave.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);

/// A consumer that is being put together.
#[derive(Clone, Debug)]
#[must_use = "a consumer joins with `start`"]
pub struct ConsumeCall {
    client: Client,
    join: Join,
    reconnection: RetryPolicy,
}

impl Client {
    /// Takes part in a group: gets events that no other consumer of it has at that moment, and answers
    /// each.
    pub fn consume(&self, group: &GroupId) -> ConsumeCall {
        ConsumeCall {
            client: self.clone(),
            join: Join {
                group: group.clone(),
                buffer_size: 10,
                name: String::new(),
            },
            reconnection: RetryPolicy::FOR_EVER,
        }
    }
}

impl ConsumeCall {
    /// How many events the consumer may have and not have answered; 10 unless set.
    pub fn buffer_size(mut self, events: u32) -> Self {
        self.join.buffer_size = events;
        self
    }

    /// What the consumer calls itself, for operators.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.join.name = name.into();
        self
    }

    /// How often it is tried to join again, counted from the last event that came;
    /// [`RetryPolicy::FOR_EVER`] unless set, [`RetryPolicy::NEVER`] turns it off.
    pub fn reconnection(mut self, policy: RetryPolicy) -> Self {
        self.reconnection = policy;
        self
    }

    /// Joins.
    pub fn start(self) -> GroupEvents {
        let (stopped, answers) = (Arc::default(), Answers::default());
        let consuming = Consuming {
            client: self.client,
            join: self.join,
            policy: self.reconnection,
            connection: None,
            received: VecDeque::new(),
            stopped: Arc::clone(&stopped),
            answers: Arc::clone(&answers),
            failed: 0,
        };
        let events = stream::unfold(Some(consuming), |consuming| async move {
            let mut consuming = consuming?;
            match consuming.next().await {
                Ok(Some(event)) => Some((Ok(event), Some(consuming))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        GroupEvents {
            events: events.boxed(),
            stopped,
            answers,
        }
    }
}

/// The events of a consumer, each to be answered. No more come than the consumer's buffer holds
/// unanswered.
///
/// When the connection breaks or the group sends the consumer away, it joins again; what it had not
/// answered goes to any consumer then. An error ends the stream: one where trying again makes no sense,
/// or the last one when the attempts are used up. It ends quietly after [`NackAction::Stop`].
pub struct GroupEvents {
    events: BoxStream<'static, Result<GroupEvent>>,
    stopped: Arc<AtomicBool>,
    answers: Answers,
}

/// Takes the answers for the open call; `None` ends the call behind them.
type AnswerSender = mpsc::Sender<Option<proto::ConsumeRequest>>;

/// The sender of the open call, if there is one.
type Answers = Arc<Mutex<Option<AnswerSender>>>;

impl GroupEvents {
    /// Leaves the group once every answer that was given has reached the server. What was not answered
    /// goes to others and does not count as tried. A consumer that is dropped instead may lose its last
    /// answers on the way, and those events come again.
    ///
    /// # Errors
    ///
    /// `OutcomeUnknown`, when the server has not let it go after ten seconds: the last answers may be
    /// lost.
    pub async fn leave(self) -> Result<()> {
        let left = timeout(LEAVE_TIMEOUT, self.leave_in_order()).await;
        left.map_err(|_| Error::OutcomeUnknown {
            reason: format!(
                "the server did not let the consumer go within {} s: what it answered last may come again",
                LEAVE_TIMEOUT.as_secs()
            ),
        })
    }

    async fn leave_in_order(mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let answers = self.answers.lock();
        let answers = answers.unwrap_or_else(PoisonError::into_inner).take();
        let Some(answers) = answers else { return };
        // A connection that breaks has no more to send.
        if answers.send(None).await.is_ok() {
            while self.events.next().await.is_some() {}
        }
    }
}

impl Stream for GroupEvents {
    type Item = Result<GroupEvent>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll_next_unpin(context)
    }
}

impl fmt::Debug for GroupEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupEvents").finish_non_exhaustive()
    }
}

/// An event that this consumer has to answer. Dropped without an answer it is delivered again when its
/// time is up.
#[derive(Clone, Debug)]
pub struct GroupEvent {
    delivery: GroupDelivery,
    group: GroupId,
    consumer: ConsumerId,
    answers: AnswerSender,
    stopped: Arc<AtomicBool>,
}

impl GroupEvent {
    /// The event; `None` where a link was resolved and its target is not there any more.
    pub fn event(&self) -> Option<&RecordedEvent> {
        self.delivery.event.as_ref()
    }

    /// The whole delivery: with the link, and how often the event was delivered before.
    pub fn delivery(&self) -> &GroupDelivery {
        &self.delivery
    }

    /// It is processed.
    ///
    /// # Errors
    ///
    /// `Group` with `Dropped`, when the connection over which it came is gone: the event is delivered
    /// again, to this consumer or another.
    pub async fn ack(self) -> Result<()> {
        self.answer(Settled::Ack).await
    }

    /// It is not processed, for a reason.
    ///
    /// # Errors
    ///
    /// As [`Self::ack`].
    pub async fn nack(self, action: NackAction, reason: impl Into<String>) -> Result<()> {
        if action == NackAction::Stop {
            self.stopped.store(true, Ordering::SeqCst);
        }
        let reason = reason.into();
        self.answer(Settled::Nack { action, reason }).await
    }

    /// For [`Client::append_finishing`]: the append that is made for this event also answers it.
    pub fn finish(&self) -> Finish {
        Finish {
            group: self.group.clone(),
            consumer: self.consumer,
            deliveries: vec![self.delivery.number],
        }
    }

    async fn answer(self, settled: Settled) -> Result<()> {
        let answer = ConsumeMessage::Settle(vec![self.delivery.number], settled);
        self.answers.send(Some(answer.into())).await.map_err(|_| {
            let reason = "the connection is gone".to_owned();
            Error::group(&self.group, GroupProblem::Dropped { reason })
        })
    }
}

/// A consumer at work.
struct Consuming {
    client: Client,
    join: Join,
    policy: RetryPolicy,
    connection: Option<Connection>,
    /// What has come and was not taken.
    received: VecDeque<GroupEvent>,
    stopped: Arc<AtomicBool>,
    answers: Answers,
    /// Attempts in a row that brought nothing.
    failed: u32,
}

/// One call.
struct Connection {
    messages: Streaming<proto::ConsumeResponse>,
    answers: AnswerSender,
    consumer: Option<ConsumerId>,
}

impl Consuming {
    /// The next event, over as many connections as that takes; `None` after a stop.
    async fn next(&mut self) -> Result<Option<GroupEvent>> {
        loop {
            if let Some(event) = self.received.pop_front() {
                self.failed = 0;
                return Ok(Some(event));
            }
            let Err(error) = self.receive().await else {
                continue;
            };
            self.connection = None;
            if self.stopped.load(Ordering::SeqCst) {
                return Ok(None);
            }
            self.failed += 1;
            let is_dropped =
                |problem: &GroupProblem| matches!(problem, GroupProblem::Dropped { .. });
            let is_worth_it = match &error {
                Error::Group { problem, .. } => is_dropped(problem),
                error => passes(error),
            };
            let pause = self.policy.pause_after(self.failed);
            let Some(pause) = pause.filter(|_| is_worth_it) else {
                return Err(error);
            };
            tracing::warn!(
                server = self.client.server(), group = %self.join.group, %error, failed = self.failed,
                ?pause, "consumer broke off, joining again"
            );
            sleep(pause).await;
        }
    }

    /// Takes the next message of the open call, which is opened first if need be.
    async fn receive(&mut self) -> Result<()> {
        if self.connection.is_none() {
            let connection = open(&self.client, &self.join).await?;
            let answers = Some(connection.answers.clone());
            *self.answers.lock().unwrap_or_else(PoisonError::into_inner) = answers;
            self.connection = Some(connection);
        }
        let connection = self.connection.as_mut().expect("it was opened above");
        let message = match connection.messages.next().await {
            Some(Ok(message)) => message.message,
            Some(Err(status)) => return Err(reading(self.client.error(&status))),
            None => return Err(Error::unavailable("the server ended the call")),
        };
        match message {
            Some(Response::Joined(joined)) => {
                let consumer = joined_consumer(&joined).map_err(not_understood)?;
                connection.consumer = Some(consumer);
            }
            Some(Response::Deliveries(message)) => {
                let deliveries = decode_deliveries(message.deliveries).map_err(not_understood)?;
                let consumer = connection.consumer;
                let consumer = consumer.ok_or_else(|| Error::internal("events before `joined`"))?;
                let answers = &connection.answers;
                self.received
                    .extend(deliveries.into_iter().map(|delivery| GroupEvent {
                        delivery,
                        group: self.join.group.clone(),
                        consumer,
                        answers: answers.clone(),
                        stopped: Arc::clone(&self.stopped),
                    }));
            }
            None => return Err(Error::internal("the server's answer says nothing")),
        }
        Ok(())
    }
}

async fn open(client: &Client, join: &Join) -> Result<Connection> {
    let (answers, waiting) = mpsc::channel(ANSWERS_MAX);
    let first = proto::ConsumeRequest::from(ConsumeMessage::Join(join.clone()));
    let waiting = ReceiverStream::new(waiting);
    let waiting = tokio_stream::StreamExt::map_while(waiting, |answer| answer);
    let waiting = waiting.ready_chunks(ANSWERS_AT_ONCE);
    let together = waiting.flat_map(|answers| stream::iter(together(answers)));
    let requests = stream::iter([first]).chain(together);
    let mut groups = client.groups();
    let opened = client.open(groups.consume(requests)).await;
    Ok(Connection {
        messages: opened.map_err(reading)?,
        answers,
        consumer: None,
    })
}

/// The same answers in fewer messages.
fn together(answers: Vec<proto::ConsumeRequest>) -> Vec<proto::ConsumeRequest> {
    let mut fewer: Vec<proto::ConsumeRequest> = Vec::new();
    for mut answer in answers {
        let last = fewer.last_mut().and_then(|last| last.message.as_mut());
        match (last, &mut answer.message) {
            (Some(Request::Ack(last)), Some(Request::Ack(next))) => {
                last.deliveries.append(&mut next.deliveries);
            }
            _ => fewer.push(answer),
        }
    }
    fewer
}
