//! What consumers park: counted, replayed, given up.

use crate::support::*;
use icecore_kurrent::proto::event_store::client as shared;
use icecore_kurrent::proto::event_store::client::persistent_subscriptions as proto;
use proto::read_req::nack::Action;
use proto::{replay_parked_req, truncate_parked_req};
use tonic::{Code, Status};

async fn replay(door: &Door, group: &str, stop_at: Option<i64>) -> Result<(), Status> {
    use replay_parked_req::options::{StopAtOption, StreamOption};
    let options = Some(replay_parked_req::Options {
        group_name: group.to_owned(),
        stream_option: Some(StreamOption::StreamIdentifier(identifier("s"))),
        stop_at_option: Some(match stop_at {
            Some(revision) => StopAtOption::StopAt(revision),
            None => StopAtOption::NoLimit(shared::Empty {}),
        }),
    });
    let request = proto::ReplayParkedReq { options };
    door.groups().replay_parked(request).await.map(drop)
}

async fn truncate(door: &Door, group: &str, stop_at: Option<i64>) -> Result<(), Status> {
    use truncate_parked_req::options::{StopAtOption, StreamOption};
    let options = Some(truncate_parked_req::Options {
        group_name: group.to_owned(),
        stream_option: Some(StreamOption::StreamIdentifier(identifier("s"))),
        stop_at_option: stop_at.map(StopAtOption::StopAt),
    });
    let request = proto::TruncateParkedReq { options };
    door.groups().truncate_parked(request).await.map(drop)
}

async fn parked(door: &Door) -> i64 {
    let info = door.info(Some("s"), "g").await.unwrap();
    info.parked_message_count
}

/// A group whose consumer has parked two events.
async fn with_two_parked() -> (Door, Consumer) {
    let door = Door::open().await;
    door.put("s", &[1, 2]).await;
    door.create(of_stream("s", "g")).await.unwrap();
    let mut consumer = door.join(Some("s"), "g").await.unwrap();
    consumer.gets(&["s/0", "s/1"]).await;
    consumer.nack(1, Action::Park).await;
    consumer.nack(2, Action::Park).await;
    consumer.gets(&["-"]).await;
    assert_eq!(parked(&door).await, 2);
    (door, consumer)
}

#[tokio::test(start_paused = true)]
async fn parked_events_are_replayed_as_if_they_were_new() {
    let (door, mut consumer) = with_two_parked().await;
    replay(&door, "g", Some(1)).await.unwrap();
    consumer.gets(&["s/0", "-"]).await;
    assert_eq!(parked(&door).await, 1);
    consumer.ack(1).await;
    replay(&door, "g", None).await.unwrap();
    consumer.gets(&["s/1", "-"]).await;
    consumer.ack(2).await;
    consumer.gets(&["-"]).await;
    assert_eq!(parked(&door).await, 0);
    // Also when there is nothing.
    replay(&door, "g", None).await.unwrap();
    consumer.gets(&["-"]).await;
}

#[tokio::test(start_paused = true)]
async fn parked_events_outlive_the_server() {
    let (door, consumer) = with_two_parked().await;
    drop(consumer);
    let door = door.reopen().await;
    assert_eq!(parked(&door).await, 2);
    replay(&door, "g", None).await.unwrap();
    let mut consumer = door.join(Some("s"), "g").await.unwrap();
    consumer.gets(&["s/0", "s/1", "-"]).await;
}

#[tokio::test(start_paused = true)]
async fn parked_events_can_be_given_up() {
    let (door, mut consumer) = with_two_parked().await;
    truncate(&door, "g", Some(1)).await.unwrap();
    assert_eq!(parked(&door).await, 1);
    truncate(&door, "g", None).await.unwrap();
    assert_eq!(parked(&door).await, 0);
    replay(&door, "g", None).await.unwrap();
    consumer.gets(&["-"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_fails_too_often_is_parked() {
    let door = Door::open().await;
    door.put("s", &[1]).await;
    let mut options = of_stream("s", "g");
    options.settings.as_mut().unwrap().max_retry_count = 1;
    door.create(options).await.unwrap();
    let mut consumer = door.join(Some("s"), "g").await.unwrap();
    consumer.gets(&["s/0"]).await;
    consumer.nack(1, Action::Retry).await;
    consumer.gets(&["s/0 again 1"]).await;
    consumer.nack(1, Action::Retry).await;
    consumer.gets(&["-"]).await;
    assert_eq!(parked(&door).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_not_there_has_nothing_parked() {
    let (door, _consumer) = with_two_parked().await;
    let missing = replay(&door, "none", None).await.unwrap_err();
    check_missing(&missing, "s", "none");
    let missing = truncate(&door, "none", None).await.unwrap_err();
    check_missing(&missing, "s", "none");
    let negative = replay(&door, "g", Some(-1)).await.unwrap_err();
    check_status(&negative, Code::InvalidArgument, &[]);
}
