//! A consumer's side of a group: what it gets, and how it answers.

use super::command::{Answered, Command};
use futures::Stream;
use icecore_core::limits::{GROUP_CONSUMER_BUFFER_MAX, GROUP_REASON_BYTES_MAX};
use icecore_core::{
    ConsumerId, DeliveryNumber, Error, GroupDelivery, GroupProblem, Result, Settled, beginning,
};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;

/// Answers to deliveries. Clones answer for the same consumer.
#[derive(Clone, Debug)]
pub struct GroupConsumer {
    pub(super) id: ConsumerId,
    pub(super) group: String,
    pub(super) commands: mpsc::Sender<Command>,
}

impl GroupConsumer {
    /// Which consumer this is, as [`icecore_core::Finish`] names it.
    pub fn id(&self) -> ConsumerId {
        self.id
    }

    /// Answers deliveries. What the consumer does not have any more is left out without a word: it
    /// timed out, or was answered.
    ///
    /// Of a reason [`GROUP_REASON_BYTES_MAX`] bytes are kept.
    ///
    /// # Errors
    ///
    /// `Group` with `Dropped`, when the consumer is none of the group any more; `InvalidArgument` for
    /// more deliveries than a consumer may have, [`GROUP_CONSUMER_BUFFER_MAX`].
    pub async fn settle(&self, deliveries: Vec<DeliveryNumber>, settled: Settled) -> Result<()> {
        self.answer(Answered::Deliveries(deliveries), settled).await
    }

    /// Answers by the ids of the original events (of the links, where links are resolved).
    ///
    /// # Errors
    ///
    /// As [`Self::settle`].
    pub async fn settle_events(&self, events: Vec<Uuid>, settled: Settled) -> Result<()> {
        self.answer(Answered::Events(events), settled).await
    }

    /// Leaves in order, after what was answered: what the consumer has goes to others, and none of it
    /// counts as tried. The deliveries end without an error. Who drops the deliveries instead has broken
    /// down over the first of them.
    pub async fn leave(self) {
        let consumer = self.id;
        // A group that is asleep by now needs not know.
        let _ = self.commands.send(Command::Leave { consumer }).await;
    }

    async fn answer(&self, what: Answered, settled: Settled) -> Result<()> {
        let count = what.count();
        if count > GROUP_CONSUMER_BUFFER_MAX as usize {
            return Err(Error::invalid(
                "deliveries",
                format!("are {count}, a consumer has at most {GROUP_CONSUMER_BUFFER_MAX}"),
            ));
        }
        let command = Command::Settle {
            consumer: self.id,
            what,
            settled: shortened(settled),
        };
        let sent = self.commands.send(command).await;
        sent.map_err(|_| Error::Group {
            group: self.group.clone(),
            problem: GroupProblem::Dropped {
                reason: "it is closed".to_owned(),
            },
        })
    }
}

/// The answer with as much of its reason as is kept.
fn shortened(settled: Settled) -> Settled {
    match settled {
        Settled::Nack { action, reason } if reason.len() > GROUP_REASON_BYTES_MAX => {
            let reason = beginning(&reason, GROUP_REASON_BYTES_MAX).to_owned();
            Settled::Nack { action, reason }
        }
        settled => settled,
    }
}

/// What a consumer gets, until the group drops it. When this is dropped, the consumer leaves.
#[derive(Debug)]
pub struct GroupDeliveries {
    pub(super) id: ConsumerId,
    pub(super) deliveries: mpsc::Receiver<GroupDelivery>,
    /// Why there is no more; `None` when that is the consumer's own wish.
    pub(super) end: Arc<OnceLock<Option<Error>>>,
    /// Whether the group waits for room, and how it hears that there is.
    pub(super) awaited: Arc<AtomicBool>,
    pub(super) taken: Arc<Notify>,
    pub(super) leaves: mpsc::UnboundedSender<ConsumerId>,
    pub(super) ended: bool,
}

impl Stream for GroupDeliveries {
    type Item = Result<GroupDelivery>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.end.get().is_none() {
            match self.deliveries.poll_recv(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(delivery)) => {
                    if self.awaited.swap(false, Ordering::SeqCst) {
                        self.taken.notify_one();
                    }
                    return Poll::Ready(Some(Ok(delivery)));
                }
                Poll::Ready(None) => {}
            }
        }
        self.ended = true;
        let why = self.end.get().cloned();
        let why = why.unwrap_or_else(|| Some(Error::unavailable("the group broke off")));
        Poll::Ready(why.map(Err))
    }
}

impl Drop for GroupDeliveries {
    fn drop(&mut self) {
        // A group that is asleep by now needs not know.
        let _ = self.leaves.send(self.id);
    }
}
