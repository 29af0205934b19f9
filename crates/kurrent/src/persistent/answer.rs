//! What a consumer gets: the confirmation, then events, each with the link by which it was found and how
//! often it was tried before.

use crate::event::identifier;
use crate::id::{IdForm, message};
use crate::proto::event_store::client::persistent_subscriptions::{ReadResp, read_resp};
use crate::tags;
use crate::ticks::ticks;
use icecore_core::{GroupDelivery, GroupId, RecordedEvent};
use read_resp::read_event::{Count, Position, RecordedEvent as Recorded};

/// The consumer has joined.
pub(super) fn confirmation(id: &GroupId) -> ReadResp {
    let confirmation = read_resp::SubscriptionConfirmation {
        subscription_id: id.to_string(),
    };
    ReadResp {
        content: Some(read_resp::Content::SubscriptionConfirmation(confirmation)),
    }
}

/// An event. The position is that of the link, if there is one.
pub(super) fn event(delivery: GroupDelivery, ids: IdForm) -> ReadResp {
    let position = delivery.original().map_or(0, |event| event.position.get());
    let retries = i32::try_from(delivery.retry_count).unwrap_or(i32::MAX);
    let event = read_resp::ReadEvent {
        event: delivery.event.map(|event| recorded(event, ids)),
        link: delivery.link.map(|link| recorded(link, ids)),
        position: Some(Position::CommitPosition(position)),
        count: Some(Count::RetryCount(retries)),
    };
    ReadResp {
        content: Some(read_resp::Content::Event(event)),
    }
}

fn recorded(event: RecordedEvent, ids: IdForm) -> Recorded {
    // Of content types these clients know two.
    let content_type = if event.content_type.is_json() {
        "application/json"
    } else {
        "application/octet-stream"
    };
    let created = ticks(event.recorded_at).to_string();
    let metadata = [
        ("type", event.event_type.to_string()),
        ("created", created),
        ("content-type", content_type.to_owned()),
    ];
    Recorded {
        id: Some(message(event.id, ids)),
        stream_revision: event.revision.get(),
        prepare_position: event.position.get(),
        commit_position: event.position.get(),
        metadata: metadata.map(|(key, value)| (key.to_owned(), value)).into(),
        custom_metadata: tags::put_in(&event.metadata, &event.tags),
        data: event.data,
        stream_identifier: Some(identifier(event.stream)),
    }
}
