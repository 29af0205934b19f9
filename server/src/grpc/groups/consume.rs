//! A consumer's call: events go one way, its answers come the other. When the client ends its requests
//! the consumer leaves, and when it is gone, too.

use futures::stream::{self, Stream};
use futures::{FutureExt, StreamExt};
use icecore_core::{Error, GroupDelivery, RecordedEvent, StoreId};
use icecore_eventstore::{GroupConsumer, GroupDeliveries};
use icecore_wire::proto::{ConsumeRequest, ConsumeResponse};
use icecore_wire::{ConsumeMessage, Join, status};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tonic::{Status, Streaming};
use tracing::Instrument;

/// Events that one message carries at most.
const EVENTS_MAX: usize = 64;

/// Bytes of events after which a message is full.
const BYTES_MAX: usize = 512 * 1_024;

/// The first message, which says who wants to join what.
pub(super) async fn first(
    requests: &mut Streaming<ConsumeRequest>,
    within: Duration,
) -> Result<Join, Status> {
    let invalid = |reason: &str| status::from_error(Error::invalid("join", reason.to_owned()));
    let first = timeout(within, requests.message()).await;
    let first = first.map_err(|_| invalid("did not come in time"))??;
    let first = first.ok_or_else(|| invalid("is missing"))?;
    match ConsumeMessage::try_from(first).map_err(status::from_error)? {
        ConsumeMessage::Join(join) => Ok(join),
        ConsumeMessage::Settle(..) => Err(invalid("must be the first message")),
    }
}

/// What goes to the client.
pub(super) fn answers(
    store_id: StoreId,
    consumer: GroupConsumer,
    deliveries: GroupDeliveries,
    requests: Streaming<ConsumeRequest>,
) -> impl Stream<Item = Result<ConsumeResponse, Status>> {
    let joined = ConsumeResponse::from((store_id, consumer.id()));
    let (breach, ended) = oneshot::channel();
    tokio::spawn(listen(consumer, requests, breach).in_current_span());
    let sending = Sending {
        deliveries: deliveries.peekable(),
        ended,
    };
    let messages = stream::unfold(Some(sending), |sending| async {
        let mut sending = sending?;
        match sending.next().await? {
            Ok(message) => Some((Ok(message), Some(sending))),
            Err(status) => Some((Err(status), None)),
        }
    });
    stream::iter([Ok(joined)]).chain(messages)
}

/// Takes answers until the client has said that there are no more. What breaks the protocol ends the
/// call.
async fn listen(
    consumer: GroupConsumer,
    mut requests: Streaming<ConsumeRequest>,
    breach: oneshot::Sender<Status>,
) {
    loop {
        let request = match requests.message().await {
            Ok(Some(request)) => request,
            Ok(None) => return consumer.leave().await,
            Err(_) => return,
        };
        let error = match ConsumeMessage::try_from(request) {
            Ok(ConsumeMessage::Settle(deliveries, settled)) => {
                match consumer.settle(deliveries, settled).await {
                    Err(error @ Error::InvalidArgument { .. }) => error,
                    // A consumer that was dropped hears that where its events come from.
                    Ok(()) | Err(_) => continue,
                }
            }
            Ok(ConsumeMessage::Join(_)) => Error::invalid("join", "comes first and once"),
            Err(error) => error,
        };
        let _ = breach.send(status::from_error(error));
        return;
    }
}

/// The sending side of a call.
struct Sending {
    deliveries: stream::Peekable<GroupDeliveries>,
    ended: oneshot::Receiver<Status>,
}

impl Sending {
    /// The next message; `None` when the client has ended the call.
    async fn next(&mut self) -> Option<Result<ConsumeResponse, Status>> {
        tokio::select! {
            breach = &mut self.ended => breach.ok().map(Err),
            first = self.deliveries.next() => match first? {
                Ok(first) => Some(Ok(self.gather(first).into())),
                Err(error) => Some(Err(status::from_error(error))),
            },
        }
    }

    /// The delivery and what is there besides, as much as a message carries.
    fn gather(&mut self, first: GroupDelivery) -> Vec<GroupDelivery> {
        let mut bytes = size(&first);
        let mut deliveries = vec![first];
        let mut waiting = std::pin::Pin::new(&mut self.deliveries);
        while deliveries.len() < EVENTS_MAX
            && let Some(Some(Ok(next))) = waiting.as_mut().peek().now_or_never()
        {
            bytes += size(next);
            if bytes > BYTES_MAX {
                break;
            }
            if let Some(Some(Ok(next))) = waiting.as_mut().next().now_or_never() {
                deliveries.push(next);
            }
        }
        deliveries
    }
}

fn size(delivery: &GroupDelivery) -> usize {
    let events = delivery.event.iter().chain(&delivery.link);
    events.map(RecordedEvent::size).sum()
}
