//! A consumer's call: it says which group it wants, gets events, and answers them by the ids of the
//! events that stand in what the group reads (of the links, where links are resolved).
//!
//! What it answers is heard by a task of its own, so that it is heard also while nobody takes events.

use super::answer;
use super::failure::failure;
use super::source::Source;
use crate::appending::next_part;
use crate::errors::status;
use crate::id::{self, IdForm};
use crate::proto::event_store::client as shared;
use crate::proto::event_store::client::persistent_subscriptions::{ReadReq, ReadResp, read_req};
use futures::StreamExt;
use futures::stream::{self, BoxStream, try_unfold};
use icecore_core::limits::GROUP_CONSUMER_BUFFER_MAX;
use icecore_core::{Consume, Error, GroupId, GroupProblem, NackAction, Settled, beginning};
use icecore_eventstore::{EventStore, GroupConsumer, GroupDeliveries};
use read_req::nack::Action;
use read_req::options::uuid_option;
use std::time::Duration;
use tokio::sync::oneshot;
use tonic::metadata::MetadataMap;
use tonic::{Request, Status, Streaming};
use uuid::Uuid;

/// The header in which a client says what it calls itself.
const CONNECTION_NAME: &str = "connection-name";

/// Longest part of that which is kept.
const CONNECTION_NAME_BYTES_MAX: usize = 256;

/// A client that says nothing of itself.
const UNNAMED: &str = "<unknown>";

/// Lets the client join the group that its first message names.
pub(super) async fn answers(
    store: &EventStore,
    request: Request<Streaming<ReadReq>>,
    message_timeout: Duration,
) -> Result<BoxStream<'static, Result<ReadResp, Status>>, Status> {
    let name = connection_name(request.metadata());
    let address = request.remote_addr();
    let mut messages = request.into_inner();
    let first = next_part(store, &mut messages, message_timeout).await?;
    let Some(read_req::Content::Options(options)) = first.and_then(|message| message.content)
    else {
        let reason = "the first message must be options";
        return Err(status(Error::invalid("options", reason)));
    };
    let ids = id_form(options.uuid_option).map_err(status)?;
    let id = Source::from(options.stream_option).group(options.group_name);
    let id = id.map_err(status)?;
    let consume = Consume {
        group: id.clone(),
        buffer_size: buffer_size(options.buffer_size).map_err(status)?,
        address: address
            .map(|address| address.to_string())
            .unwrap_or_default(),
        name,
    };
    consume.check().map_err(status)?;
    let joined = store.consume(consume).await;
    let (consumer, deliveries) = joined.map_err(|error| failure(&id, error))?;
    let (over, end) = oneshot::channel();
    tokio::spawn(hear(messages, consumer, stopped(&id), over));
    let confirmation = answer::confirmation(&id);
    let consuming = Consuming {
        id,
        ids,
        deliveries,
        end,
    };
    let events = try_unfold(consuming, |mut consuming| async move {
        let answer = consuming.next().await?;
        Ok(answer.map(|answer| (answer, consuming)))
    });
    Ok(stream::iter([Ok(confirmation)]).chain(events).boxed())
}

fn connection_name(headers: &MetadataMap) -> String {
    let name = headers.get(CONNECTION_NAME);
    let name = name.and_then(|name| name.to_str().ok()).unwrap_or(UNNAMED);
    beginning(name, CONNECTION_NAME_BYTES_MAX).to_owned()
}

fn id_form(option: Option<read_req::options::UuidOption>) -> Result<IdForm, Error> {
    match option.and_then(|option| option.content) {
        Some(uuid_option::Content::String(_)) => Ok(IdForm::Text),
        Some(uuid_option::Content::Structured(_)) => Ok(IdForm::Structured),
        None => Err(super::missing("uuid_option")),
    }
}

/// Who wants more than the store allows gets as many as that.
fn buffer_size(size: i32) -> Result<u32, Error> {
    let negative = |_| Error::invalid("buffer_size", format!("is {size}, it must be at least 1"));
    let size = u32::try_from(size).map_err(negative)?;
    Ok(size.min(GROUP_CONSUMER_BUFFER_MAX))
}

/// A call under way.
struct Consuming {
    id: GroupId,
    ids: IdForm,
    deliveries: GroupDeliveries,
    /// Why the client is done.
    end: oneshot::Receiver<Result<(), Status>>,
}

impl Consuming {
    async fn next(&mut self) -> Result<Option<ReadResp>, Status> {
        tokio::select! {
            end = &mut self.end => end.unwrap_or(Ok(())).map(|()| None),
            delivery = self.deliveries.next() => match delivery {
                Some(Ok(delivery)) => Ok(Some(answer::event(delivery, self.ids))),
                Some(Err(error)) => Err(failure(&self.id, error)),
                // The client has left, and its last word says how.
                None => (&mut self.end).await.unwrap_or(Ok(())).map(|()| None),
            },
        }
    }
}

/// How the call of a consumer ends that wants to stop. An end without an error would take a program with
/// the Rust clients down: they expect none while they wait for events.
fn stopped(id: &GroupId) -> Status {
    let reason = "the consumer stopped".to_owned();
    failure(id, Error::group(id, GroupProblem::Dropped { reason }))
}

/// The last word of a client that leaves.
enum Said {
    All,
    Stop,
}

/// Hears what the client answers until it is done, or nobody takes events any more.
async fn hear(
    mut messages: Streaming<ReadReq>,
    consumer: GroupConsumer,
    stopped: Status,
    mut over: oneshot::Sender<Result<(), Status>>,
) {
    let end = tokio::select! {
        end = settle(&mut messages, &consumer) => end,
        () = over.closed() => return,
    };
    if end.is_ok() {
        consumer.leave().await;
    }
    let end = end.and_then(|said| match said {
        Said::All => Ok(()),
        Said::Stop => Err(stopped),
    });
    // Who has gone meanwhile needs not know.
    let _ = over.send(end);
}

/// Passes answers on until the client has no more, or wants to stop.
async fn settle(
    messages: &mut Streaming<ReadReq>,
    consumer: &GroupConsumer,
) -> Result<Said, Status> {
    while let Some(message) = messages.message().await? {
        let (ids, settled) = match message.content {
            Some(read_req::Content::Ack(ack)) => (ack.ids, Settled::Ack),
            Some(read_req::Content::Nack(nack)) => {
                let action = match nack.action() {
                    Action::Unknown | Action::Retry => NackAction::Retry,
                    Action::Park => NackAction::Park,
                    Action::Skip => NackAction::Skip,
                    // The consumer leaves, and what it has goes to others.
                    Action::Stop => return Ok(Said::Stop),
                };
                let reason = nack.reason;
                (nack.ids, Settled::Nack { action, reason })
            }
            Some(read_req::Content::Options(_)) | None => {
                let reason = "comes once, before the answers";
                return Err(status(Error::invalid("options", reason)));
            }
        };
        let settled = consumer.settle_events(event_ids(&ids)?, settled).await;
        // When the group has dropped the consumer, its events end with the reason.
        if let Err(error @ Error::InvalidArgument { .. }) = settled {
            return Err(status(error));
        }
    }
    Ok(Said::All)
}

fn event_ids(ids: &[shared::Uuid]) -> Result<Vec<Uuid>, Status> {
    let ids = ids.iter().map(|id| id::read(Some(id)));
    ids.collect::<Result<_, _>>().map_err(status)
}
