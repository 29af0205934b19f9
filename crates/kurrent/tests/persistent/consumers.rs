//! Consumers: how they join, what they get, how they answer and how their calls end.

use crate::support::*;
use icecore_kurrent::proto::event_store::client as shared;
use icecore_kurrent::proto::event_store::client::persistent_subscriptions as proto;
use proto::create_req::stream_options::RevisionOption;
use proto::read_req::nack::Action;
use proto::{read_req, read_resp};
use read_resp::read_event::{Count, Position};
use tonic::Code;

#[tokio::test(start_paused = true)]
async fn events_come_as_long_as_there_is_room_and_once() {
    let door = Door::open().await;
    door.put("s", &[1, 2, 3]).await;
    door.create(of_stream("s", "g")).await.unwrap();
    let mut consumer = door.join(Some("s"), "g").await.unwrap();
    consumer.gets(&["s/0", "s/1", "-"]).await;
    consumer.ack(1).await;
    consumer.gets(&["s/2", "-"]).await;
    consumer.ack(2).await;
    consumer.ack(3).await;
    door.put("s", &[4]).await;
    consumer.gets(&["s/3", "-"]).await;
    let info = door.info(Some("s"), "g").await.unwrap();
    assert_eq!(info.status, "Live");
    assert_eq!((info.total_items, info.total_in_flight_messages), (4, 1));
    assert_eq!(info.last_known_event_position, "3");
}

#[tokio::test(start_paused = true)]
async fn an_event_says_everything_in_either_form_of_ids() {
    let door = Door::open().await;
    door.put_event("s", 7, "Placed", "[1]").await;
    door.create(of_stream("s", "g")).await.unwrap();
    let mut options = read_options(Some("s"), "g");
    let found = door
        .begin(options.clone(), "a")
        .await
        .unwrap()
        .event()
        .await;
    assert_eq!(found.link, None);
    assert_eq!(
        found.position,
        Some(Position::CommitPosition(
            found.event.as_ref().unwrap().commit_position,
        ))
    );
    assert_eq!(found.count, Some(Count::RetryCount(0)));
    let event = found.event.unwrap();
    assert_eq!(event.id, Some(text_id(7)));
    assert_eq!(event.stream_identifier, Some(identifier("s")));
    assert_eq!(
        (event.stream_revision, event.commit_position),
        (0, event.prepare_position)
    );
    assert_eq!(event.data, "[1]");
    assert_eq!(event.metadata["type"], "Placed");
    assert_eq!(event.metadata["content-type"], "application/json");
    assert_eq!(event.metadata["created"], "17000000001234567");
    options.uuid_option = Some(read_req::options::UuidOption {
        content: Some(read_req::options::uuid_option::Content::Structured(
            shared::Empty {},
        )),
    });
    let found = door.begin(options, "b").await.unwrap().event().await;
    let halves = shared::uuid::Structured {
        most_significant_bits: 0,
        least_significant_bits: 7,
    };
    let id = found.event.unwrap().id.unwrap().value;
    assert_eq!(id, Some(shared::uuid::Value::Structured(halves)));
}

#[tokio::test(start_paused = true)]
async fn a_resolved_link_is_answered_by_its_own_id() {
    let door = Door::open().await;
    door.put("target", &[1]).await;
    door.put_event("links", 2, "$>", "0@target").await;
    door.put_event("links", 3, "$>", "9@target").await;
    let mut options = of_stream("links", "g");
    options.settings.as_mut().unwrap().resolve_links = true;
    door.create(options).await.unwrap();
    let mut consumer = door.join(Some("links"), "g").await.unwrap();
    let found = consumer.event().await;
    let link = found.link.unwrap();
    assert_eq!(found.event.unwrap().id, Some(text_id(1)));
    assert_eq!(link.id, Some(text_id(2)));
    let at = read_resp::read_event::Position::CommitPosition(link.commit_position);
    assert_eq!(found.position, Some(at));
    let gone = consumer.event().await;
    assert_eq!(gone.event, None);
    assert_eq!(gone.link.unwrap().id, Some(text_id(3)));
    consumer.ack(2).await;
    consumer.ack(3).await;
    consumer.gets(&["-"]).await;
    let info = door.info(Some("links"), "g").await.unwrap();
    assert_eq!(info.total_in_flight_messages, 0);
}

#[tokio::test(start_paused = true)]
async fn a_group_of_all_wants_what_its_filter_says() {
    let door = Door::open().await;
    door.put("order-1", &[1]).await;
    door.put("invoice-1", &[2]).await;
    door.put("order-2", &[3]).await;
    let options = of_all("g", START, Some(prefixed("order-")));
    door.create(options).await.unwrap();
    let mut consumer = door.join(None, "g").await.unwrap();
    consumer.gets(&["order-1/0", "order-2/0", "-"]).await;
    let info = door.info(None, "g").await.unwrap();
    assert!(info.last_known_event_position.starts_with("C:"), "{info:?}");
    let reopened = door.reopen().await;
    let mut consumer = reopened.join(None, "g").await.unwrap();
    consumer.gets(&["order-1/0", "order-2/0", "-"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_group_begins_where_it_is_told_to() {
    let door = Door::open().await;
    door.put("s", &[1, 2]).await;
    let from = RevisionOption::Revision(1);
    door.create(from_revision("s", "one", from)).await.unwrap();
    let from = RevisionOption::End(shared::Empty {});
    door.create(from_revision("s", "end", from)).await.unwrap();
    door.put("s", &[3]).await;
    let mut one = door.join(Some("s"), "one").await.unwrap();
    one.gets(&["s/1", "s/2", "-"]).await;
    let mut end = door.join(Some("s"), "end").await.unwrap();
    end.gets(&["s/2", "-"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_comes_again_or_not_as_asked() {
    let door = Door::open().await;
    door.put("s", &[1]).await;
    door.create(of_stream("s", "g")).await.unwrap();
    let mut consumer = door.join(Some("s"), "g").await.unwrap();
    consumer.gets(&["s/0"]).await;
    consumer.nack(1, Action::Retry).await;
    consumer.gets(&["s/0 again 1"]).await;
    consumer.nack(1, Action::Unknown).await;
    consumer.gets(&["s/0 again 2"]).await;
    consumer.nack(1, Action::Skip).await;
    consumer.gets(&["-"]).await;
    let info = door.info(Some("s"), "g").await.unwrap();
    assert_eq!(
        (info.total_in_flight_messages, info.parked_message_count),
        (0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn who_wants_to_stop_is_done_and_others_get_the_event() {
    let door = Door::open().await;
    door.put("s", &[1]).await;
    door.create(of_stream("s", "g")).await.unwrap();
    let mut first = door.join(Some("s"), "g").await.unwrap();
    first.gets(&["s/0"]).await;
    first.nack(1, Action::Stop).await;
    let end = first.end().await.unwrap();
    let trailers = [("exception", "persistent-subscription-dropped")];
    check_status(&end, Code::Cancelled, &trailers);
    let mut second = door.join(Some("s"), "g").await.unwrap();
    second.gets(&["s/0"]).await;
}

#[tokio::test(start_paused = true)]
async fn who_has_no_more_to_say_leaves_and_what_it_said_counts() {
    let door = Door::open().await;
    door.put("s", &[1, 2]).await;
    door.create(of_stream("s", "g")).await.unwrap();
    let mut first = door.join(Some("s"), "g").await.unwrap();
    first.gets(&["s/0", "s/1"]).await;
    first.ack(1).await;
    first.finish();
    assert!(first.end().await.is_none());
    let mut second = door.join(Some("s"), "g").await.unwrap();
    second.gets(&["s/1", "-"]).await;
    // A client that is gone leaves as well, and may have died of what it had.
    drop(second);
    let mut third = door.join(Some("s"), "g").await.unwrap();
    third.gets(&["s/1 again 1"]).await;
}

#[tokio::test(start_paused = true)]
async fn there_are_no_more_consumers_than_there_may_be() {
    let door = Door::open().await;
    let mut options = of_stream("s", "g");
    options.settings.as_mut().unwrap().max_subscriber_count = 1;
    door.create(options).await.unwrap();
    let _first = door.join(Some("s"), "g").await.unwrap();
    let second = door.join(Some("s"), "g").await.err().unwrap();
    let trailers = [
        ("exception", "maximum-subscribers-reached"),
        ("stream-name", "s"),
        ("group-name", "g"),
    ];
    check_status(&second, Code::FailedPrecondition, &trailers);
    assert!(
        second
            .message()
            .starts_with("Maximum subscriptions reached")
    );
}

#[tokio::test(start_paused = true)]
async fn a_consumer_is_told_of_by_its_name() {
    let door = Door::open().await;
    door.put("s", &[1]).await;
    door.create(of_stream("s", "g")).await.unwrap();
    let mut named = door.join(Some("s"), "g").await.unwrap();
    let _unnamed = door.begin(read_options(Some("s"), "g"), "").await.unwrap();
    named.gets(&["s/0"]).await;
    let info = door.info(Some("s"), "g").await.unwrap();
    let connections = info.connections.iter();
    let mut told: Vec<_> = connections
        .map(|c| {
            (
                c.connection_name.as_str(),
                c.in_flight_messages,
                c.available_slots,
            )
        })
        .collect();
    told.sort_unstable();
    assert_eq!(told, [("<unknown>", 0, 2), ("tester", 1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_makes_no_sense_is_invalid() {
    let door = Door::open().await;
    door.create(of_stream("s", "g")).await.unwrap();
    let whole = read_options(Some("s"), "g");
    for bad in [
        read_req::Options {
            uuid_option: None,
            ..whole.clone()
        },
        read_req::Options {
            stream_option: None,
            ..whole.clone()
        },
        read_req::Options {
            buffer_size: 0,
            ..whole.clone()
        },
        read_req::Options {
            buffer_size: -1,
            ..whole.clone()
        },
    ] {
        let refused = door.begin(bad, "").await.err().unwrap();
        check_status(&refused, Code::InvalidArgument, &[]);
    }
    let mut twice = door.join(Some("s"), "g").await.unwrap();
    twice.send(read_req::Content::Options(whole)).await;
    check_status(&twice.end().await.unwrap(), Code::InvalidArgument, &[]);
    let mut no_id = door.join(Some("s"), "g").await.unwrap();
    let ack = read_req::Ack {
        ids: vec![shared::Uuid::default()],
        ..read_req::Ack::default()
    };
    no_id.send(read_req::Content::Ack(ack)).await;
    check_status(&no_id.end().await.unwrap(), Code::InvalidArgument, &[]);
    let never = futures::stream::pending();
    let silent = door.groups().read(never).await.unwrap_err();
    check_status(&silent, Code::Aborted, &[]);
    let first = proto::ReadReq {
        content: Some(read_req::Content::Ack(read_req::Ack::default())),
    };
    let refused = door.groups().read(futures::stream::iter([first])).await;
    check_status(&refused.unwrap_err(), Code::InvalidArgument, &[]);
}

#[tokio::test(start_paused = true)]
async fn consumers_hear_that_the_server_stops() {
    let door = Door::open().await;
    door.create(of_stream("s", "g")).await.unwrap();
    let mut consumer = door.join(Some("s"), "g").await.unwrap();
    door.store.stop().await.unwrap();
    check_status(&consumer.end().await.unwrap(), Code::Unavailable, &[]);
}
